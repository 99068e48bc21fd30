"""`fdrd backbones`."""

from __future__ import annotations

from typing import Annotated

import typer

from fdrd.commands.console import out, print_hint, print_json, print_table, quiet_transformers
from fdrd.commands.options import Json


def backbones(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A backbone, to list the methods that work on it."),
    ] = None,
    json: Json = False,
) -> None:
    """List the kinds of backbones and what each can do, or the methods that work on one.

    Weights are not loaded.

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
            print_json([dict(zip(keys, kind, strict=True)) for kind in kinds])
            return
        for form, loads, offers, extra in kinds:
            out.print(form, style="bold")
            out.print(f"    {loads}")
            out.print(f"    offers besides pooled features: {offers}")
            if extra:
                out.print(f"    pip install '{extra}'")
        print_hint("Options follow the name:  NAME#precision=bfloat16,compile=yes,pool=patches")
        print_hint("Next:  fdrd backbones NAME")
        return
    can = capabilities(name)
    if can is None:
        out.print(f"{name} must be loaded to know what it offers.")
        return
    rows = []
    for method in method_names():
        options = works_with(method, can)
        works = "no" if options is None else "yes"
        rows.append((method, works, options or obstacle(method, {}, can)))
    if json:
        print_json({"offers": sorted(can), "methods": {m: works == "yes" for m, works, _ in rows}})
        return
    out.print(f"{name} offers pooled features{''.join(f', {each}' for each in sorted(can))}.")
    print_table(["method", "works", ""], rows)
