"""The list of `fdrd caption --list`."""

from __future__ import annotations

from fdrd.commands.console import out, print_json, print_options


def print_captioners(json: bool) -> None:
    """Print captioners and their options, noise filters, and why an image gets no caption."""
    from fdrd.captioning import captioner_names, captioner_options, captioner_summary
    from fdrd.captioning.interface import FAILURES
    from fdrd.captioning.noise import FILTERS
    from fdrd.captioning.prompts import VERDICTS

    filters = {name: feedback for name, (feedback, _) in FILTERS.items()}
    reasons = {"filters": filters, "verdicts of an evaluator": VERDICTS, "failures": FAILURES}
    captioners = {
        name: (captioner_summary(name), captioner_options(name)) for name in captioner_names()
    }
    if json:
        listed = {
            name: {"summary": summary, "options": {key: one.doc for key, one in options.items()}}
            for name, (summary, options) in captioners.items()
        }
        print_json({"captioners": listed, **reasons})
        return
    for name, (summary, options) in captioners.items():
        out.print(name, style="bold", end="  ")
        out.print(summary)
        print_options(options.values())
    for title, codes in reasons.items():
        out.print(title, style="bold")
        for code, meaning in codes.items():
            out.print(f"    {code}  {meaning}")
