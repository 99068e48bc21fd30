"""`fdrd captioners`."""

from __future__ import annotations

from fdrd.commands.console import app, out, print_json
from fdrd.commands.dataset.caption import load_captioners
from fdrd.commands.options import Json, Plugins


@app.command(epilog="Example:  fdrd captioners")
def captioners(
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """List captioners and their options, noise filters, and why an image gets no caption."""
    from fdrd.captioning import captioner_names, captioner_options, captioner_summary
    from fdrd.captioning.interface import FAILURES
    from fdrd.captioning.noise import FILTERS
    from fdrd.captioning.prompts import VERDICTS

    load_captioners(plugin or ())
    filters = {name: feedback for name, (feedback, _) in FILTERS.items()}
    reasons = {"filters": filters, "verdicts of an evaluator": VERDICTS, "failures": FAILURES}
    found = {name: (captioner_summary(name), captioner_options(name)) for name in captioner_names()}
    if json:
        listed = {
            name: {"summary": summary, "options": {key: one.doc for key, one in options.items()}}
            for name, (summary, options) in found.items()
        }
        print_json({"captioners": listed, **reasons})
        return
    for name, (summary, options) in found.items():
        out.print(name, style="bold", end="  ")
        out.print(summary)
        for one in options.values():
            out.print(f"    {one.name}={one.default}  ({one.values})  {one.doc}")
    for title, codes in reasons.items():
        out.print(title, style="bold")
        for code, meaning in codes.items():
            out.print(f"    {code}  {meaning}")
