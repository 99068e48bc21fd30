"""`fdrd captioners`."""

from __future__ import annotations

from typing import Annotated

import typer

from fdrd.commands.console import Json, app, out, print_json
from fdrd.commands.dataset.caption import register_captioners


@app.command(epilog="Example:  fdrd captioners")
def captioners(
    plugin: Annotated[
        list[str], typer.Option(help="Import this module first, to know its captioners.")
    ] = [],  # noqa: B006
    json: Json = False,
) -> None:
    """List the captioners and their options, the noise filters, and why a picture gets no caption."""
    from fdrd.captioning import captioner_names, captioner_options, captioner_summary
    from fdrd.captioning.noise import FILTERS
    from fdrd.captioning.reasons import FAILURES, VERDICTS

    register_captioners(plugin)
    filters = {name: wrong for name, (wrong, _) in FILTERS.items()}
    reasons = {"filters": filters, "verdicts of an evaluator": VERDICTS, "failures": FAILURES}
    listed = [
        (name, captioner_summary(name), captioner_options(name)) for name in captioner_names()
    ]
    if json:
        options = {
            name: {"summary": said, "options": {key: each.doc for key, each in found.items()}}
            for name, said, found in listed
        }
        print_json({"captioners": options, **reasons})
        return
    for name, said, found in listed:
        out.print(name, style="bold", end="  ")
        out.print(said)
        for each in found.values():
            out.print(f"    {each.name}={each.default}  ({each.values})  {each.doc}")
    for title, codes in reasons.items():
        out.print(title, style="bold")
        for code, what in codes.items():
            out.print(f"    {code}  {what}")
