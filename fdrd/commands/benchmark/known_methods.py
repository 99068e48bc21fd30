"""What commands do before they use a method."""

from __future__ import annotations

import sys


def quiet_transformers() -> None:
    """Keeps its bars and advice off the terminal; errors still come through."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def register_methods(plugins: list[str]) -> None:
    """Makes the methods of this package and of the plugins known."""
    quiet_transformers()  # before the imports that it would comment on
    import baselines  # noqa: F401 - registers them
    import dcar  # noqa: F401
    from benchmark.registry import load_plugin

    sys.path.insert(0, "")  # a plugin may lie in the folder where the command runs
    for plugin in plugins:
        load_plugin(plugin)
