"""`fdrd methods`."""

from __future__ import annotations

from typing import Annotated

import typer

from fdrd.commands.benchmark.known_methods import register_methods
from fdrd.commands.console import Json, app, out, print_json


@app.command(epilog="Example:  fdrd methods")
def methods(
    plugin: Annotated[
        list[str], typer.Option(help="Import this module first, to know its methods.")
    ] = [],  # noqa: B006
    json: Json = False,
) -> None:
    """List the methods and their options, and the options of the training."""
    register_methods(plugin)
    from benchmark.registry import method_names, method_options, summary
    from benchmark.training.loop import TrainConfig
    from fdrd.options import options_of

    listed = [(name, summary(name), method_options(name)) for name in method_names()]
    training = ("training (-T)", "what every method that trains takes", options_of(TrainConfig))
    if json:
        print_json(
            {
                name: {
                    "summary": said,
                    "options": {
                        option.name: {
                            "default": option.default,
                            "values": option.values,
                            "doc": option.doc,
                        }
                        for option in options.values()
                    },
                }
                for name, said, options in listed
            }
        )
        return
    for name, said, options in [*listed, training]:
        out.print(name, style="bold", end="  ")
        out.print(said)
        for option in options.values():
            out.print(f"    {option.name}={option.default}  ({option.values})  {option.doc}")
