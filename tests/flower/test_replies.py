"""Replies at the strategy's door: what is malformed is refused by name, and changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

pytest.importorskip("flwr", reason="the extra `flower` is not installed")

from flwr.app import Array, ArrayRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.app.message.message import make_message
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import Result

from concilium.algorithms.fedopt import FedOpt
from concilium.evaluation.sums import EvaluationSums
from concilium.flower.records import evaluation_record, label_counts, sums_record
from concilium.flower.replies import CODES
from concilium.flower.strategy import ConciliumStrategy
from concilium.foundation.errors import InputError
from concilium.weightings.by_label_evidence import ByLabelEvidence
from concilium.weightings.contract import Weighting
from tests.flower.hospitals_in_memory import GridInMemory, Meddle, context

BAD = 20
NODES = (10, BAD, 30)
NUM_LABELS = 2
CANARY = "PATIENT-4711"


def initial(dtype: str = "float32") -> dict[str, npt.NDArray[Any]]:
    """A state dict with every kind of tensor: batch normalisation's buffers, a mask, a scalar."""
    generator = np.random.default_rng(0)
    return {
        "fc1.weight": generator.normal(size=(3, 4)).astype(dtype),
        "norm.running_var": np.ones(3, dtype),
        "norm.num_batches_tracked": np.array(0, np.int64),
        "index": np.array([5, 2**40 + 1, 9], np.int64),
        "mask": np.array([True, False]),
        "scale": np.array(1.5, dtype),
        "empty": np.zeros((0, 4), dtype),
        "fc2.weight": generator.normal(size=(NUM_LABELS, 3)).astype(dtype),
        "fc2.bias": np.zeros(NUM_LABELS, dtype),
    }


def labels(node: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    generator = np.random.default_rng(node)
    return (generator.random((node, 2)) > 0.6).astype(float), generator.random((node, 2)) > 0.2


def app(node: int) -> ClientApp:
    """A client that does not train: it moves every float by a rule of its own, and counts steps."""
    own = ClientApp()

    @own.train()
    def train(message: Message, context: Context) -> Message:
        round_ = message.content["config"]["server-round"]
        generator = np.random.default_rng((node, round_))
        arrays = {n: a.numpy() for n, a in message.content["arrays"].items()}
        for name, array in arrays.items():
            if np.issubdtype(array.dtype, np.floating):
                moved = array + generator.normal(size=array.shape)
                arrays[name] = np.asarray(moved, array.dtype)
        arrays["norm.num_batches_tracked"] = np.array(round_ * node // 10, np.int64)
        metrics = {"train_loss": node / 10, "per_label": [0.5, node / 10]}
        if node == BAD:
            metrics["only_here"] = 7.0
        return reply_to(message, arrays, MetricRecord(metrics | label_counts(*labels(node))))

    @own.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        target, known = labels(node)
        sums = evaluation_record(np.cos(target + np.arange(len(target))[:, None]), target, known)
        metrics = MetricRecord({"eval_loss": node / 10, "num-examples": node})
        return Message(RecordDict({"metrics": metrics, "sums": sums}), reply_to=message)

    return own


def reply_to(
    message: Message, arrays: dict[str, npt.NDArray[Any]], metrics: MetricRecord
) -> Message:
    record = ArrayRecord({name: Array(array) for name, array in arrays.items()})
    return Message(RecordDict({"arrays": record, "metrics": metrics}), reply_to=message)


def run(
    meddle: Meddle | None = None,
    nodes: tuple[int, ...] = NODES,
    weighting: Weighting | None = None,
    arrays: dict[str, npt.NDArray[Any]] | None = None,
    **own: Any,
) -> tuple[ConciliumStrategy, Result]:
    """Two rounds, in both of which the replies of one node are meddled with."""
    strategy = ConciliumStrategy(head="fc2", weighting=weighting or ByLabelEvidence(), **own)
    grid = GridInMemory({n: (app(n), context(n)) for n in nodes}, {BAD: meddle} if meddle else {})
    first = ArrayRecord({name: Array(a) for name, a in (arrays or initial()).items()})
    return strategy, strategy.start(grid, first, 2)


def bytes_of(result: Result) -> dict[str, tuple[str, bytes]]:
    return {name: (array.dtype, array.data) for name, array in result.arrays.items()}


Change = Callable[[RecordDict], object]


def in_arrays(name: str, change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Change:
    def changed(content: RecordDict) -> None:
        content["arrays"][name] = Array(np.asarray(change(content["arrays"][name].numpy())))

    return changed


def in_fields(name: str, **fields: Any) -> Change:
    """An array whose declaration is another than its bytes are."""

    def changed(content: RecordDict) -> None:
        own = content["arrays"][name]
        told = {"dtype": own.dtype, "shape": own.shape, "stype": own.stype, "data": own.data}
        content["arrays"][name] = Array(**(told | fields))

    return changed


def in_counts(**counts: Any) -> Change:
    def changed(content: RecordDict) -> None:
        for name, value in counts.items():
            content["metrics"].__dict__["_data"][name.replace("_", "-")] = value  # unchecked

    return changed


def saved(array: npt.NDArray[Any]) -> bytes:
    stream = BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def header(shape: str, descr: str = "'<f4'") -> bytes:
    """An .npy file of 48 bytes whose header says anything."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(48)


MALFORMED: dict[str, tuple[str, Change]] = {
    "NaN": ("not_finite: fc1.weight", in_arrays("fc1.weight", lambda a: a * np.nan)),
    "one infinite entry": (
        "not_finite: fc2.bias",
        in_arrays("fc2.bias", lambda a: np.float32([-np.inf, 0])),
    ),
    "NaN in a buffer": (
        "not_finite: norm.running_var",
        in_arrays("norm.running_var", lambda a: np.full_like(a, np.nan)),
    ),
    "huge": ("too_large: scale", in_arrays("scale", lambda a: (a * 1e30).astype(a.dtype))),
    "hugely negative": (
        "too_large: scale",
        in_arrays("scale", lambda a: (a * -1e30).astype(a.dtype)),
    ),
    "a huge integer": ("too_large: index", in_arrays("index", lambda a: a + 2**60)),
    "another float type": (
        "types: fc1.weight",
        in_arrays("fc1.weight", lambda a: a.astype("float16")),
    ),
    "integers as floats": ("types: index", in_arrays("index", lambda a: a.astype(np.float64))),
    "bytes in another order": ("types: scale", in_arrays("scale", lambda a: a.astype(">f4"))),
    "complex": ("types: scale", in_arrays("scale", lambda a: a.astype(np.complex64))),
    "transposed": ("shapes: fc1.weight", in_arrays("fc1.weight", lambda a: a.T)),
    "broadcastable": ("shapes: fc2.weight", in_arrays("fc2.weight", lambda a: a[:1])),
    "a vector for a scalar": ("shapes: scale", in_arrays("scale", lambda a: a[None])),
    "a name too few": ("names", lambda content: content["arrays"].pop("scale")),
    "a name too many": (
        "names",
        lambda content: content["arrays"].update({CANARY: Array(np.zeros(1))}),
    ),
    "no arrays": ("records", lambda content: content.pop("arrays")),
    "arrays twice": ("records", lambda content: content.update({"more": ArrayRecord()})),
    "no metrics": ("records", lambda content: content.pop("metrics")),
    "metrics twice": ("records", lambda content: content.update({"more": MetricRecord()})),
    "no counts": ("no_counts", lambda content: content["metrics"].pop("label-known")),
    "no number of exams": ("no_counts", lambda content: content["metrics"].pop("num-examples")),
    "negative counts": ("counts", in_counts(label_positives=[-1, 0])),
    "negative exams": ("counts", in_counts(num_examples=-20)),
    "NaN exams": ("counts", in_counts(num_examples=float("nan"))),
    "boolean exams": ("counts", in_counts(num_examples=True)),
    "boolean counts": ("counts", in_counts(label_positives=[True, False])),
    "counts as floats": ("counts", in_counts(label_known=[3.0, 4.0])),
    "more positives than known": ("counts", in_counts(label_known=[0, 0])),
    "more known than exams": ("counts", in_counts(num_examples=1)),
    "too many exams": ("counts", in_counts(num_examples=10**8)),
    "exams beyond 64 bits": ("counts", in_counts(num_examples=2**70)),
    "counts of other labels": ("counts", in_counts(label_known=[20] * 3, label_positives=[1] * 3)),
    "ragged counts": ("counts", in_counts(label_positives=[1])),
    "one count for all": ("counts", in_counts(label_known=20, label_positives=1)),
    "a lying type": ("unreadable: scale", in_fields("scale", data=saved(np.zeros((), np.float64)))),
    "a lying shape": ("unreadable: fc1.weight", in_fields("fc1.weight", data=header("(4, 3)"))),
    "a bomb": ("unreadable: fc1.weight", in_fields("fc1.weight", data=header("(10**15, 4)"))),
    "a nested header": ("unreadable: scale", in_fields("scale", data=header("(" * 5000))),
    "a pickle": (
        "unreadable: fc2.bias",
        in_fields("fc2.bias", data=saved(np.array([print, print], object))),
    ),
    "cut short": ("unreadable: fc1.weight", in_fields("fc1.weight", data=header("(3, 4)")[:-1])),
    "too long": ("unreadable: fc1.weight", in_fields("fc1.weight", data=header("(3, 4)") + b"0")),
    "no bytes": ("unreadable: fc1.weight", in_fields("fc1.weight", data=b"")),
    "no array": ("unreadable: fc1.weight", in_fields("fc1.weight", data=b"GIF89a" * 30)),
    "an unknown serialisation": ("types: fc1.weight", in_fields("fc1.weight", stype="pickle")),
    "no content": ("records", lambda content: [content.pop(key) for key in list(content)]),
}

DELIVERED: dict[str, tuple[str, Meddle]] = {
    "silent": ("silent", lambda reply: []),
    "twice": ("twice", lambda reply: [reply, reply]),
    "thrice": ("twice", lambda reply: [reply, reply, reply]),
    "failed": (
        "failed: error 1",
        lambda reply: [make_message(reply.metadata, error=Error(1, CANARY))],
    ),
}


def meddling(change: Change) -> Meddle:
    """In training only: an evaluation passes."""

    def meddle(reply: Message) -> list[Message]:
        if reply.metadata.message_type == "train":
            change(reply.content)
        return [reply]

    return meddle


@pytest.fixture(scope="module")
def without() -> Result:
    """The run in which the hospital does not take part."""
    return run(nodes=(10, 30))[1]


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_reply_is_refused_by_its_code_and_the_rest_is_as_without_it(
    what: str, without: Result, caplog: pytest.LogCaptureFixture
) -> None:
    code, change = MALFORMED[what]
    with caplog.at_level(logging.WARNING, "flwr"):
        strategy, result = run(meddling(change))
    assert strategy.left_out["train 1"] == strategy.left_out["train 2"] == {BAD: code}
    assert strategy.left_out["evaluate 1"] == {}
    assert bytes_of(result) == bytes_of(without)
    expected = dict(without.train_metrics_clientapp[2]) | {"num-left-out": 1}
    assert dict(result.train_metrics_clientapp[2]) == expected
    assert f"node {BAD} is left out: {code}" in caplog.text
    assert CANARY not in caplog.text


@pytest.mark.parametrize("what", DELIVERED)
def test_each_reply_is_counted_once_or_not_at_all(
    what: str, without: Result, caplog: pytest.LogCaptureFixture
) -> None:
    code, meddle = DELIVERED[what]
    strategy, result = run(meddle)
    assert set(strategy.left_out) == {f"{p} {r}" for p in ("train", "evaluate") for r in (1, 2)}
    assert all(own == {BAD: code} for own in strategy.left_out.values())
    assert bytes_of(result) == bytes_of(without)
    assert result.evaluate_metrics_clientapp[2]["num-examples"] == 40
    assert CANARY not in caplog.text  # the text of an exception stays where it was raised


def test_a_stranger_is_not_counted_and_costs_nobody_a_vote() -> None:
    def with_a_stranger(reply: Message) -> list[Message]:
        strange = Message(reply.content, reply_to=Message(RecordDict(), 99, "train"))
        return [strange, reply]

    strategy, result = run(with_a_stranger)
    assert strategy.left_out["train 1"] == {99: "stranger"}
    assert bytes_of(result) == bytes_of(run()[1])


def test_every_code_has_a_sentence() -> None:
    used = {code.split(":")[0] for code, _ in (*MALFORMED.values(), *DELIVERED.values())}
    assert used | {"stranger", "sums"} == set(CODES)
    assert all(sentence for sentence in CODES.values())


# What stands in a state dict beside parameters.


def test_every_tensor_keeps_its_type_shape_and_place() -> None:
    result = run()[1]
    for (name, own), first in zip(result.arrays.items(), initial().items(), strict=True):
        assert (name, own.dtype, own.shape) == (first[0], str(first[1].dtype), first[1].shape)


def test_integers_are_the_rounded_weighted_mean_and_stay_where_nobody_moves_them() -> None:
    arrays = {name: array.numpy() for name, array in run()[1].arrays.items()}
    np.testing.assert_array_equal(arrays["index"], [5, 2**40 + 1, 9])
    np.testing.assert_array_equal(arrays["mask"], [True, False])
    known = np.array([labels(node)[1].sum() for node in NODES])
    steps = 2 * np.array(NODES) // 10  # in the second round
    assert arrays["norm.num_batches_tracked"] == round((known * steps).sum() / known.sum())
    assert arrays["norm.num_batches_tracked"].dtype == np.int64


def test_a_boolean_goes_with_the_majority_of_the_weight() -> None:
    flipped = in_arrays("mask", lambda mask: ~mask)
    for node, expected in ((10, [True, False]), (30, [False, True])):
        strategy = ConciliumStrategy(head="fc2")
        grid = GridInMemory({n: (app(n), context(n)) for n in (10, 30)}, {node: meddling(flipped)})
        first = ArrayRecord({name: Array(a) for name, a in initial().items()})
        result = strategy.start(grid, first, 1)
        np.testing.assert_array_equal(result.arrays["mask"].numpy(), expected)


def test_no_server_optimiser_moves_running_statistics() -> None:
    plain = {name: array.numpy() for name, array in run()[1].arrays.items()}
    adam = {name: array.numpy() for name, array in run(algorithm=FedOpt("adam"))[1].arrays.items()}
    np.testing.assert_array_equal(adam["norm.running_var"], plain["norm.running_var"])
    assert np.abs(adam["scale"] - plain["scale"]).max() > 0.01
    named = run(algorithm=FedOpt("adam"), buffers=["scale"])[1].arrays["scale"].numpy()
    np.testing.assert_allclose(named, plain["scale"], rtol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-6), ("float16", 5e-3)])
def test_other_float_types_move_alike(dtype: str, tolerance: float) -> None:
    plain = run()[1].arrays
    other = run(arrays=initial(dtype))[1].arrays
    for name, array in other.items():
        own = array.numpy()
        assert own.dtype == (plain[name].numpy().dtype if own.dtype.kind in "ib" else dtype)
        np.testing.assert_allclose(own, plain[name].numpy(), rtol=tolerance, atol=tolerance)


def test_a_label_that_nobody_knows_anywhere_leaves_its_row_alone() -> None:
    def unknown(content: RecordDict) -> None:
        for name in ("label-known", "label-positives"):
            content["metrics"][name] = [content["metrics"][name][0], 0]

    strategy = ConciliumStrategy(head="fc2", weighting=ByLabelEvidence())
    meddle = {node: meddling(unknown) for node in NODES}
    grid = GridInMemory({n: (app(n), context(n)) for n in NODES}, meddle)
    first = ArrayRecord({name: Array(a) for name, a in initial().items()})
    result = strategy.start(grid, first, 2)
    before, after = initial()["fc2.weight"], result.arrays["fc2.weight"].numpy()
    np.testing.assert_array_equal(after[1], before[1])
    assert np.abs(after[0] - before[0]).max() > 0.1


# What clients report of their own.


def test_a_metric_that_one_hospital_lacks_is_averaged_over_the_others() -> None:
    report = run()[1].train_metrics_clientapp[1]
    known = np.array([labels(node)[1].sum() for node in NODES])
    assert report["only_here"] == 7.0
    assert report["train_loss"] == pytest.approx((known * [1, 2, 3]).sum() / known.sum())
    assert report["per_label"] == pytest.approx([0.5, report["train_loss"]])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_a_metric_that_is_not_finite_at_one_hospital_does_not_spoil_the_mean(
    value: float | None,
) -> None:
    def spoilt(content: RecordDict) -> None:
        del content["metrics"]["train_loss"]
        if value is not None:
            content["metrics"]["train_loss"] = value
            content["metrics"]["per_label"] = [0.5, value]

    strategy, result = run(meddling(spoilt))
    assert strategy.left_out["train 1"] == {}  # its model counts all the same
    known = np.array([labels(node)[1].sum() for node in (10, 30)])
    report = result.train_metrics_clientapp[1]
    assert report["train_loss"] == pytest.approx((known * [1, 3]).sum() / known.sum())
    if value is not None:
        assert report["per_label"] == pytest.approx([0.5, report["train_loss"]])


def test_lists_of_different_lengths_have_no_mean() -> None:
    report = run(meddling(lambda content: content["metrics"].update({"per_label": [1.0]})))[1]
    assert "per_label" not in report.train_metrics_clientapp[1]
    assert "train_loss" in report.train_metrics_clientapp[1]


# Evaluations.

SUMS: dict[str, tuple[str, Callable[[dict[str, npt.NDArray[Any]]], object]]] = {
    "NaN": ("not_finite: log_loss", lambda a: a["log_loss"].fill(np.nan)),
    "a bin too full": ("sums", lambda a: a["positives"].__setitem__((0, 5), 9)),
    "a bin below 0": ("sums", lambda a: a["negatives"].__setitem__((0, slice(0, 2)), [-1, 1])),
    "an error below 0": ("sums", lambda a: a["squared_error"].fill(-1.0)),
    "more probability than entries": ("sums", lambda a: a["probability"].__iadd__(1)),
    "more exams than any hospital has": (
        "sums",
        lambda a: a["statistics.num_images"].fill(10**9),
    ),
    "fewer exams than known": ("sums", lambda a: a["statistics.num_images"].fill(1)),
    "more patients than exams": ("sums", lambda a: a["statistics.num_patients"].fill(1000)),
    "thresholds": ("sums", lambda a: a["alerts.thresholds"].fill(0.0)),
    "alerts": ("sums", lambda a: a["alerts.false_alerts"].fill(3)),
    "other labels": ("shapes: statistics.both_known", lambda a: a.update(other_labels())),
    "a field too few": ("names", lambda a: a.pop("log_loss")),
    "float counts": ("types: positives", lambda a: a.update(positives=a["positives"] * 1.0)),
}


def other_labels() -> dict[str, npt.NDArray[Any]]:
    return EvaluationSums.zero(NUM_LABELS + 1).to_arrays()


@pytest.mark.parametrize("what", SUMS)
def test_a_malformed_evaluation_is_refused_and_the_rest_is_as_without_it(
    what: str, without: Result
) -> None:
    code, change = SUMS[what]

    def meddle(reply: Message) -> list[Message]:
        if reply.metadata.message_type == "evaluate":
            arrays = {n: a.numpy().copy() for n, a in reply.content["sums"].items()}
            change(arrays)
            reply.content["sums"] = ArrayRecord({n: Array(a) for n, a in arrays.items()})
        return [reply]

    strategy, result = run(meddle)
    assert strategy.left_out["evaluate 1"] == {BAD: code}
    plain = without.evaluate_metrics_clientapp[1]
    ours = result.evaluate_metrics_clientapp[1]
    # The model differs from that of the others alone, what is evaluated here does not.
    for name in ("auroc", "average-precision", "num-examples", "eval_loss"):
        assert ours[name] == plain[name]
    assert ours["num-left-out"] == 1


def test_an_evaluation_that_nobody_sends_does_not_end_the_run() -> None:
    meddle = {n: (lambda own: [own] if own.metadata.message_type == "train" else []) for n in NODES}
    grid = GridInMemory({n: (app(n), context(n)) for n in NODES}, meddle)
    first = ArrayRecord({name: Array(a) for name, a in initial().items()})
    strategy = ConciliumStrategy(head="fc2")
    result = strategy.start(grid, first, 1)
    assert result.evaluate_metrics_clientapp == {}
    assert strategy.left_out["evaluate 1"] == dict.fromkeys(NODES, "silent")


# The two lines at the client.


def test_counts_take_torch_tensors_and_every_entry_is_known_unless_somebody_says_otherwise() -> (
    None
):
    target = torch.tensor([[1.0, 0.3], [0.6, 0.0]])
    assert label_counts(target)["label-known"] == [2, 2]
    assert label_counts(target)["label-positives"] == [2, 0]
    known = torch.tensor([[True, False], [False, False]])
    assert label_counts(target, known) == {
        "num-examples": 2,
        "label-known": [1, 0],
        "label-positives": [1, 0],
    }
    MetricRecord(label_counts(target, known))  # fits into a record as it is


def test_what_stands_at_an_unknown_entry_has_no_influence() -> None:
    target, known = labels(30)
    spoilt = np.where(known, target, np.nan)
    assert label_counts(spoilt, known) == label_counts(target, known)
    scores = np.zeros_like(target)
    assert evaluation_record(scores, spoilt, known) == evaluation_record(scores, target, known)


def test_targets_that_cannot_be_are_refused_at_the_client() -> None:
    with pytest.raises(InputError, match=r"not in \[0, 1\]: give ``known``"):
        label_counts([[np.nan, 1.0]])
    with pytest.raises(InputError, match=r"not in \[0, 1\]"):
        label_counts([[3.0, 1.0]])
    with pytest.raises(InputError, match=r"must both be \(exams, labels\)"):
        label_counts([1, 0])
    with pytest.raises(InputError, match=r"\(exams, labels\)"):
        label_counts([[1, 0]], [[True]])


def test_an_evaluation_record_is_the_sums_and_holds_no_patient() -> None:
    target, known = labels(30)
    scores = np.sin(np.arange(60.0)).reshape(30, 2)
    patient = np.arange(30) // 2 + 4711
    record = evaluation_record(scores, target, known, patient)
    sums = EvaluationSums.of(scores, target, known, patient)
    assert record == sums_record(sums)
    assert record["statistics.num_patients"].numpy() == 15
    assert not any((array.numpy() == 4711).any() for array in record.values())
    alone = evaluation_record(scores, target, known)
    assert alone["statistics.num_patients"].numpy() == 30
