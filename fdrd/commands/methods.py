"""`fdrd methods` and `fdrd backbones`."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from fdrd.commands.console import out, quiet_transformers
from fdrd.commands.options import Json, Plugins, load_plugins

TRAINING = "training"  # stands for the options of `-T` where a method is named


def methods(
    name: Annotated[str | None, typer.Argument(metavar="NAME")] = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """List the methods with what each trains, or show one with its options.

    Args:
        name: A method, to see its paper, what differs from it, and its options; `training` for those of -T.

    Examples:
        fdrd methods
        fdrd methods coop
        fdrd methods training
    """
    quiet_transformers()
    from benchmark.registry import about, method_names, method_options
    from benchmark.settings import TrainConfig
    from fdrd.options import options_of

    load_plugins(plugin)
    if json and name == TRAINING:
        out.json({TRAINING: _as_json("", options_of(TrainConfig))})
    elif json:
        names = [name] if name else method_names()
        out.json({each: _as_json(about(each).summary, method_options(each)) for each in names})
    elif name is None:
        rows = [
            (each, about(each).argument("trains") or "", _paper(about(each).summary))
            for each in method_names()
        ]
        out.table(("method", "trains", "paper"), rows)
        out.hint("Next:  fdrd methods NAME        fdrd methods training")
    elif name == TRAINING:
        out.print("Options of the training of every method (-T):")
        out.describe(options_of(TrainConfig).values())
    else:
        declared = about(name)
        out.print(name, style="bold", end=": ")
        out.print(declared.summary)
        for paragraph in filter(None, declared.notes.split("\n\n")):
            out.print()
            out.paragraph(" ".join(paragraph.split()))
        options = declared.options
        out.print("\nOptions (-M):" if options else "\nIt has no options.")
        out.describe(options.values())


def _paper(summary: str) -> str:
    """Return the paper that the summary of a method names; empty if it names none.

    >>> _paper("Train context vectors before every caption (arXiv 2109.01134).")
    'arXiv 2109.01134'
    """
    found = re.search(r"arXiv [\d.]*\d", summary)
    return found[0] if found else ""


def _as_json(summary: str, options: dict[str, Any]) -> dict[str, Any]:
    listed = {
        name: {"default": each.default, "values": each.values, "doc": each.doc}
        for name, each in options.items()
    }
    return {"summary": summary, "options": listed}


def backbones(
    name: Annotated[str | None, typer.Argument(metavar="NAME")] = None, json: Json = False
) -> None:
    """List the kinds of backbones and what each can do, or the methods that work on one.

    Weights are not loaded.

    Args:
        name: A backbone, to list the methods that work on it.

    Examples:
        fdrd backbones embedded
    """
    quiet_transformers()
    from benchmark.models.loading import KINDS, capabilities
    from benchmark.registry import method_names, obstacle, works_with

    if name is None:
        kinds = [(kind.form, kind.loads, kind.abilities, kind.extra) for kind in KINDS.values()]
        if json:
            keys = ("form", "loads", "offers", "install")
            out.json([dict(zip(keys, kind, strict=True)) for kind in kinds])
            return
        for form, loads, offers, extra in kinds:
            out.print(form, style="bold")
            out.print(f"    {loads}")
            out.print(f"    offers besides pooled features: {offers}")
            if extra:
                out.print(f"    pip install '{extra}'")
        out.hint("Options follow the name:  NAME#precision=bfloat16,compile=yes,pool=patches")
        out.hint("Next:  fdrd backbones NAME")
        return
    can = capabilities(name)
    if can is None and json:
        out.json({"offers": None, "methods": None})
        return
    if can is None:
        out.print(f"{name} must be loaded to know what it offers.")
        return
    rows = []
    for method in method_names():
        options = works_with(method, can)
        works = "no" if options is None else "yes"
        rows.append((method, works, options or obstacle(method, {}, can)))
    if json:
        out.json({"offers": sorted(can), "methods": {m: works == "yes" for m, works, _ in rows}})
        return
    out.print(f"{name} offers pooled features{''.join(f', {each}' for each in sorted(can))}.")
    out.table(["method", "works", ""], rows)
