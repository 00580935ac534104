"""The array source: several archives as one data set, without duplicates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concilium.data.dataset import Dataset
from concilium.foundation.errors import InputError
from concilium.labels.states import State
from concilium.sources.array_bundle import ArrayBundle

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
LABELS = np.array([[1, 0], [0, 1], [0, 0], [1, 1], [0, 0], [0, 1]], np.uint8)
PATIENT = np.array([17, 17, 3, 4, 4, 5])


def bundle(folder: Path, name: str = "a.npz", **arrays: Any) -> Path:
    content = {"images": IMAGES, "labels": LABELS, "patient": PATIENT}
    content |= {"label_names": np.array(["Mass", "Edema"])}
    kept = {key: array for key, array in (content | arrays).items() if array is not None}
    np.savez_compressed(folder / name, **kept)
    return folder / name


def load(*files: Path, **settings: Any) -> Dataset:
    return ArrayBundle(files, **settings).load(files[0].parent / "cache")


def refused(*files: Path, **settings: Any) -> str:
    with pytest.raises(InputError) as caught:
        load(*files, **settings)
    return str(caught.value)


def test_arrays_are_read_as_they_are(tmp_path: Path) -> None:
    data = load(
        bundle(tmp_path, age=np.array([50, 60, 70, 414, 20, 30]), split=np.array(["a"] * 6))
    )
    assert np.array_equal(data.images, IMAGES)
    assert isinstance(data.images, np.memmap)
    assert np.array_equal(data.table.states, LABELS)
    assert data.table.patient.tolist() == [0, 0, 1, 2, 2, 3]
    assert data.table.covariates.keys() == {"age"}, "a file's own split is not taken"
    assert np.isnan(data.table.covariates["age"].astype(float)).tolist() == [0, 0, 0, 1, 0, 0]
    assert data.notes["duplicates dropped"] == "0"


def test_two_files_equal_one_that_holds_both(tmp_path: Path) -> None:
    first = {"images": IMAGES[:4], "labels": LABELS[:4], "patient": PATIENT[:4]}
    second = {"images": IMAGES[4:], "labels": LABELS[4:], "patient": PATIENT[4:]}
    parts = load(bundle(tmp_path, "1.npz", **first), bundle(tmp_path, "2.npz", **second))
    whole = load(bundle(tmp_path))
    assert np.array_equal(parts.images, whole.images)
    assert np.array_equal(parts.table.states, whole.table.states)
    assert np.array_equal(parts.table.patient, whole.table.patient), "patient 4 is in both files"


def test_duplicates_are_dropped_within_a_file_and_between_files(tmp_path: Path) -> None:
    again = {
        "images": IMAGES[[5, 0, 2]],
        "labels": LABELS[[5, 1, 2]],
        "patient": PATIENT[[5, 0, 3]],
    }
    files = (bundle(tmp_path, "1.npz"), bundle(tmp_path, "2.npz", **again))
    data = load(*files)
    assert np.array_equal(data.images, IMAGES)
    assert np.array_equal(data.table.states, LABELS), "the first keeps its labels"
    assert data.notes["duplicates dropped"] == "3"
    assert data.notes["duplicates whose labels differed"].startswith("1 ")
    assert data.notes["duplicates whose patient differed"].startswith("1 ")
    twice = bundle(tmp_path, "3.npz", images=IMAGES[[0, 1, 0, 3, 4, 5]])
    assert load(twice).table.states.tolist() == LABELS[[0, 1, 3, 4, 5]].tolist()


def test_the_same_name_and_pixels_to_within_rounding_are_the_same_image(tmp_path: Path) -> None:
    names = np.array([f"{i}.png" for i in range(6)])
    rounded, other = IMAGES.copy(), IMAGES.copy()
    rounded[:, 0, 0] = np.where(rounded[:, 0, 0] < 255, rounded[:, 0, 0] + 1, 254)
    other[:, 0, 0] ^= 128
    first = bundle(tmp_path, "1.npz", image=names)
    same = bundle(tmp_path, "2.npz", images=rounded, image=names)
    assert np.array_equal(load(first, same).images, IMAGES)
    assert load(first, same).notes["duplicates dropped"] == "6"
    # The same name with another image, and nearly the same image with another name, both stay.
    for stays in ({"images": other, "image": names}, {"images": rounded, "image": names[::-1]}):
        assert len(load(first, bundle(tmp_path, "3.npz", **stays)).images) == 12
    assert len(load(first, bundle(tmp_path, "4.npz", images=rounded)).images) == 12


def test_the_same_files_give_the_same_bytes_from_the_cache_and_without(tmp_path: Path) -> None:
    file = bundle(tmp_path, images=np.repeat(IMAGES, 2, axis=1))
    miss, hit = load(file, image_size=4), load(file, image_size=4)
    afresh = ArrayBundle((file,), image_size=4).load(tmp_path / "another cache")
    assert miss.images.tobytes() == hit.images.tobytes() == afresh.images.tobytes()
    assert miss.notes == hit.notes


def test_permuting_rows_permutes_exams(tmp_path: Path) -> None:
    order = np.array([5, 0, 3, 1, 2, 4])
    one = load(bundle(tmp_path, "1.npz"))
    arrays = {"images": IMAGES[order], "labels": LABELS[order], "patient": PATIENT[order]}
    other = load(bundle(tmp_path, "2.npz", **arrays))
    assert np.array_equal(other.images, one.images[order])
    assert np.array_equal(other.table.states, one.table.states[order])


def test_a_label_that_a_file_does_not_have_is_unknown_there(tmp_path: Path) -> None:
    names = np.array(["Hernia", "mass"])  # another order, another case
    other = bundle(tmp_path, "2.npz", images=255 - IMAGES, label_names=names)
    table = load(bundle(tmp_path, "1.npz"), other).table
    assert table.schema.names == ("Mass", "Edema", "Hernia")
    assert (table.states[:6, 2] == State.UNKNOWN).all()
    assert (table.states[6:, 1] == State.UNKNOWN).all()
    assert table.states[6:, [2, 0]].tolist() == LABELS.tolist()


def test_labels_and_vocabulary_choose_order_and_names(tmp_path: Path) -> None:
    file = bundle(tmp_path, label_names=np.array(["Pulmonary Edema", "Pleural Effusion"]))
    table = load(file, vocabulary="nih", labels=("Effusion", "Edema")).table
    assert table.states.tolist() == LABELS[:, ::-1].tolist()
    assert "no file has the label 'Efusion'" in refused(file, labels=("Efusion",))
    unknown = bundle(tmp_path, "b.npz", label_names=np.array(["Mass", "Edma"]))
    assert "unknown label 'Edma'; did you mean 'Edema'?" in refused(unknown, vocabulary="nih")
    nameless = bundle(tmp_path, "c.npz", label_names=None)
    assert load(nameless, labels=("x", "y")).table.schema.names == ("x", "y")
    assert "does not name its labels" in refused(nameless)


def test_the_four_states_and_nan(tmp_path: Path) -> None:
    labels = LABELS.astype(float)
    labels[0], labels[1, 0] = [-1, np.nan], -2
    data = load(bundle(tmp_path, labels=labels))
    assert data.table.states[:2].tolist() == [[-1, -2], [-2, 1]]
    assert data.notes["unknown label entries"] == "2 of 12"
    labels[3, 1] = 0.5
    assert "row 3 (from 0): label 1 is 0.5" in refused(bundle(tmp_path, labels=labels))


def test_deeper_and_coloured_images_become_8_bit_gray(tmp_path: Path) -> None:
    colour = np.repeat(IMAGES[..., None], 3, axis=-1)
    assert np.array_equal(load(bundle(tmp_path, "c.npz", images=colour)).images, IMAGES)
    deep = IMAGES.astype(np.uint16) * 257
    found = load(bundle(tmp_path, "d.npz", images=deep), window="full").images
    assert np.array_equal(found, IMAGES)
    found = load(bundle(tmp_path, "f.npz", images=IMAGES / 255), window="full").images
    assert np.array_equal(found, IMAGES)


def test_column_major_archives_are_read_alike(tmp_path: Path) -> None:
    file = bundle(tmp_path, images=np.asfortranarray(IMAGES), labels=np.asfortranarray(LABELS))
    data = load(file)
    assert np.array_equal(data.images, IMAGES)
    assert np.array_equal(data.table.states, LABELS)


def test_without_patients_every_image_is_its_own(tmp_path: Path) -> None:
    data = load(
        bundle(tmp_path, "1.npz", patient=None), bundle(tmp_path, "2.npz", images=255 - IMAGES)
    )
    assert data.table.patient.tolist() == [0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 8, 9]
    assert "no patient identifiers" in data.notes["patients"]


def test_patients_are_the_same_whatever_the_type_of_their_number(tmp_path: Path) -> None:
    text = np.array([str(number) for number in PATIENT])
    for same in (PATIENT.astype(float), text, text.astype("S")):
        other = bundle(tmp_path, "2.npz", images=255 - IMAGES, patient=same)
        table = load(bundle(tmp_path, "1.npz"), other).table
        assert table.patient[:6].tolist() == table.patient[6:].tolist()


def test_covariates_of_another_name_are_kept_when_asked(tmp_path: Path) -> None:
    file = bundle(tmp_path, "1.npz", followup=np.arange(6), sex=np.array(["female"] * 6))
    other = bundle(tmp_path, "2.npz", images=255 - IMAGES)
    columns = load(file, other, covariates=("followup",)).table.covariates
    assert columns["followup"][:6].tolist() == [0, 1, 2, 3, 4, 5]
    assert np.isnan(columns["followup"][6:].astype(float)).all()
    assert columns["sex"].tolist() == ["F"] * 6 + [""] * 6


def test_nan_pixels_are_refused_with_every_row(tmp_path: Path) -> None:
    images = IMAGES / 255
    images[1, 0, 0], images[4, 7, 7] = np.nan, np.inf
    message = refused(bundle(tmp_path, images=images))
    assert "a.npz, row 1 (from 0): has NaN or infinite pixels" in message
    assert "a.npz, row 4 (from 0)" in message
    assert not (tmp_path / "cache").exists()


def test_python_objects_are_never_loaded(tmp_path: Path) -> None:
    names = np.array(["Mass", "Edema"], dtype=object)
    message = refused(bundle(tmp_path, label_names=names))
    assert "array 'label_names': holds Python objects; save it as numbers or text" in message


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"labels": None}, "holds no array 'labels'"),
        ({"labels": LABELS[:5]}, "'images' has shape (6, 8, 8) and 'labels' (5, 2)"),
        ({"labels": LABELS[:, 0]}, "must be (N, L)"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "holds no rows"),
        ({"images": IMAGES.reshape(6, 64)}, "give images (N, H, W)"),
        ({"images": IMAGES.astype(complex)}, "row 0 (from 0): has type complex128"),
        ({"labels": LABELS.astype(str)}, "has type <U"),
        ({"patient": PATIENT[:5]}, "has shape (5,), expected (6,)"),
        ({"patient": np.array(["a", "", "b", "c", "d", "e"])}, "row 1 (from 0): has no patient"),
        ({"label_names": np.array(["Mass"])}, "2 columns, but there are 1 label names"),
        ({"label_names": np.array(["Mass", "mass"])}, "are the same label; remove one"),
        ({"label_names": np.array(["Mass", "No Finding"])}, "is a statement about all labels"),
        ({"images": IMAGES[:, :4].astype(float)}, "4 x 8 pixels are not square; set `image_size`"),
    ],
)
def test_arrays_that_cannot_be_used_say_what_to_do(
    tmp_path: Path, arrays: dict[str, Any], expected: str
) -> None:
    assert expected in refused(bundle(tmp_path, **arrays))


def test_files_that_cannot_be_used_are_all_named(tmp_path: Path) -> None:
    whole = bundle(tmp_path).read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.npz").write_text("no archive")
    message = refused(tmp_path / "half.npz", tmp_path / "gone.npz", tmp_path / "text.npz")
    assert "half.npz: is no .npz archive, or is truncated" in message
    assert "gone.npz: there is no such file" in message
    assert "text.npz: is no .npz archive" in message
    with pytest.raises(InputError, match="at least one"):
        ArrayBundle(())


def test_a_flipped_byte_in_an_archive_is_noticed(tmp_path: Path) -> None:
    file = bundle(tmp_path)
    content = bytearray(file.read_bytes())
    content[400] ^= 255  # inside the compressed images, which come first
    file.write_bytes(content)
    assert "array 'images': is damaged" in refused(file)


def test_sizes_must_agree_or_be_set(tmp_path: Path) -> None:
    small, large = (
        bundle(tmp_path, "1.npz"),
        bundle(tmp_path, "2.npz", images=np.zeros((6, 9, 9), "u1")),
    )
    assert "1.npz: 8 x 8, 2.npz: 9 x 9); set `image_size`" in refused(small, large)
    assert load(small, large, image_size=4).images.shape == (7, 4, 4), (
        "five of the zeros are copies"
    )


@pytest.mark.slow
def test_the_real_nih_arrays_hold_1617_images(real_data: Path, tmp_path: Path) -> None:
    files = tuple(real_data / "nih" / f"nih_{name}_64.npz" for name in ("starter621", "kcr1000"))
    data = ArrayBundle(files, vocabulary="nih").load(tmp_path)
    assert data.images.shape == (1617, 64, 64)
    assert data.notes["duplicates dropped"] == "4"
    assert "duplicates whose labels differed" not in data.notes
    patients = np.concatenate([np.load(file)["patient"] for file in files])
    assert data.table.patient.max() + 1 == len(np.unique(patients))
    assert set(data.table.covariates) == {"age", "sex", "view"}
