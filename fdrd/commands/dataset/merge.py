"""`fdrd merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdrd.commands.console import show_progress
from fdrd.commands.dataset.build_summary import print_build, resume_hint, tokens_of
from fdrd.commands.options import Engine, Json, Out, Replace, Workers


def merge(
    parts: Annotated[list[Path], typer.Argument(help="Folders of all parts, in any order.")],
    target: Out = None,
    replace: Replace = False,
    workers: Workers = None,
    engine: Engine = "local",
    json: Json = False,
) -> None:
    """Merge the parts that `fdrd build --part I/N` wrote into the same bytes as a single build.

    The source is not needed. Run it again to resume; it does nothing if nothing changed.

    Examples:
        fdrd merge data/parts/* --out data/fdrd
    """
    from fdrd.hub.name_check import start_name_check
    from fdrd.pipeline.builder import merge as run_merge
    from fdrd.pipeline.parts import read_common

    # `data/parts/*` also matches the work folders next to the parts.
    parts = [part for part in parts if part.suffix != ".work"]
    on_hub = start_name_check(read_common(parts)["config"]["name"])
    with show_progress(resume_hint(target)) as progress:
        built = run_merge(
            parts, target, replace=replace, workers=workers, engine=engine, tokens=tokens_of,
            progress=progress,
        )  # fmt: skip
    print_build(built, json, on_hub())
