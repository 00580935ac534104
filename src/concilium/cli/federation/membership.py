"""``concilium federation init``, ``join`` and ``admit``: who takes part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from concilium.cli.federation.folders import PORT, Home


def init(
    folder: Annotated[Path, typer.Argument(help="A new folder for the federation.")],
    hospital: Annotated[
        list[str] | None,
        typer.Option(help="A hospital at this place, for a trial; several times for several."),
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(help="A name or address under which hospitals reach this machine."),
    ] = None,
    port: Annotated[int, typer.Option(help="The port that hospitals reach.")] = PORT,
) -> None:
    """Make a coordinator with an authority of its own, and folders of hospitals for a trial.

    Without `--hospital` the coordinator alone: hospitals then `join` with its `ca.crt`, and are
    admitted by the public key that they send. Without `--host` it is for this machine alone.

    Example: `concilium federation init trial --hospital north --hospital south`
    """
    from rich.console import Console

    from concilium.cli.federation.needs import needs_flower

    needs_flower()
    from concilium.cli.federation.founding import found

    home, folders = found(folder, tuple(hospital or ()), tuple(host or ()), port)
    for line in (*_made(home, folders), *_what_next(home, bool(folders))):
        Console().print(line, markup=False, highlight=False, soft_wrap=True)


def _made(home: Home, folders: Mapping[str, Path]) -> Iterator[str]:
    yield f"coordinator: {home.folder}, port {home.port}, listens on {home.listen}"
    for name, folder in folders.items():
        yield f"hospital {name}: {folder}"


def _what_next(home: Home, is_trial: bool) -> Iterator[str]:
    """The commands that follow."""
    if is_trial:
        yield "Say in each hospital.toml where its exams are, then for each study:"
        yield "  concilium federation allow STUDY --hospital FOLDER"
    else:
        reach = f"{home.hosts[0] if home.hosts else '127.0.0.1'}:{home.port}"
        yield f"Send {home.folder / 'ca.crt'} to each hospital; nothing else. There:"
        join = f"join FOLDER --name NAME --authority ca.crt --address {reach}"
        yield f"  concilium federation {join}"
        yield "and with the NAME.pub that it sends back, here:"
        yield f"  concilium federation admit {home.folder} NAME.pub"
    yield "Then, each in a terminal of its own:"
    yield f"  concilium federation coordinator {home.folder}"
    yield "  concilium federation hospital FOLDER"
    yield f"  concilium federation start STUDY --coordinator {home.folder}"


def join(
    folder: Annotated[Path, typer.Argument(help="A new folder for this hospital.")],
    name: Annotated[str, typer.Option(help="The hospital's name in the federation.")],
    authority: Annotated[Path, typer.Option(help="The ca.crt that the coordinator sent.")],
    address: Annotated[str, typer.Option(help="The coordinator's HOST:PORT.")],
) -> None:
    """Make a hospital's folder with a key of its own, which never leaves it.

    Example: `concilium federation join here --name north --authority ca.crt --address HOST:9443`
    """
    from rich.console import Console

    from concilium.cli.federation.needs import needs_flower

    needs_flower()
    from concilium.cli.federation.making import fingerprint, make_hospital

    public = make_hospital(folder, name, authority, address)
    lines = (
        f"Send {public} to the coordinator: it is public.",
        f"  key {fingerprint(public)}: read it to them by telephone",
        f"Say in {folder / 'hospital.toml'} where the exams are.",
        f"Then: concilium federation allow STUDY --hospital {folder}",
        f"and:  concilium federation hospital {folder}",
    )
    for line in lines:
        Console().print(line, markup=False, highlight=False, soft_wrap=True)


def admit(
    coordinator: Annotated[Path, typer.Argument(help="The coordinator's folder.")],
    key: Annotated[Path, typer.Argument(help="The NAME.pub that a hospital sent.")],
    name: Annotated[
        str | None, typer.Option(help="The hospital's name; default that of the file.")
    ] = None,
) -> None:
    """Let a hospital take part, by its public key; also while the coordinator runs.

    Example: `concilium federation admit trial/coordinator north.pub`
    """
    from urllib.parse import unquote

    from rich.console import Console

    from concilium.cli.federation.folders import is_held, read_home
    from concilium.cli.federation.needs import needs_flower

    needs_flower()
    from concilium.cli.federation.making import checked_hospital, fingerprint
    from concilium.flower.keys import add_member, read_public_key

    home = read_home(coordinator)
    read_public_key(key)
    own = checked_hospital(unquote(key.stem) if name is None else name, coordinator)
    public = add_member(home.folder, own, key)
    when = "within seconds" if is_held(home.folder) else "as soon as the coordinator runs"
    lines = (
        f"{own} is admitted, and can take part {when}.",
        f"  key {fingerprint(public)}: compare it with what the hospital reads to you",
    )
    for line in lines:
        Console().print(line, markup=False, highlight=False, soft_wrap=True)
