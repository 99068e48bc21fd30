"""`fdrd methods`."""

from __future__ import annotations

from fdrd.commands.console import app, out, print_json, quiet_transformers
from fdrd.commands.options import Json, Plugins, load_plugins


@app.command(epilog="Example:  fdrd methods")
def methods(
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """List the methods with their options, and the training options."""
    quiet_transformers()
    from benchmark.registry import method_names, method_options, summary
    from benchmark.settings import TrainConfig
    from fdrd.options import options_of

    load_plugins(plugin)
    listed = [(name, summary(name), method_options(name)) for name in method_names()]
    training = ("training (-T)", "for every method that trains", options_of(TrainConfig))
    if json:
        print_json(
            {
                name: {
                    "summary": text,
                    "options": {
                        option.name: {
                            "default": option.default,
                            "values": option.values,
                            "doc": option.doc,
                        }
                        for option in options.values()
                    },
                }
                for name, text, options in listed
            }
        )
        return
    for name, text, options in [*listed, training]:
        out.print(name, style="bold", end="  ")
        out.print(text)
        for option in options.values():
            out.print(f"    {option.name}={option.default}  ({option.values})  {option.doc}")
