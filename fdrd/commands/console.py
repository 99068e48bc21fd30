"""What all commands share: the app, its two consoles, progress, and how JSON is printed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

app = typer.Typer(
    name="fdrd",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start here:  fdrd demo",
)


_HARMFUL = (
    *range(9),
    *range(11, 32),
    *range(127, 160),
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
)
_SHOWN = {sign: f"\\x{sign:02x}" if sign < 256 else f"\\u{sign:04x}" for sign in _HARMFUL}


class _Plain(Console):
    """A console that shows the signs in a file's name that would steer the terminal or turn the line around."""

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(text.translate(_SHOWN), **how)


# Names of files and categories may hold brackets, so nothing that is printed is read as markup.
out = _Plain(
    highlight=False, markup=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160
)
err = _Plain(stderr=True, highlight=False, markup=False)

INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


@contextmanager
def show_progress(resumes: str) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr for each step while it runs, and a line at its end, as in a log.

    What a stage says behind " | " may change as it goes on. Ctrl-C says how to go on and exits with 130.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.1f}/s" if task.speed else "")

    class Said(ProgressColumn):  # what a narrow terminal cuts first
        def render(self, task: Task) -> Text:
            return Text(task.fields["said"], no_wrap=True, overflow="ellipsis")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        Rate(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        Said(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            stage, _, said = what.partition(" | ")
            if done == total:
                if stage in tasks:
                    bars.remove_task(tasks.pop(stage))
                err.print(f"{stage}: {done:,}  {said}".rstrip(), soft_wrap=True)
            elif stage in tasks:
                bars.update(tasks[stage], completed=done, total=total or None, said=said)
            elif err.is_terminal:
                tasks[stage] = bars.add_task(stage, completed=done, total=total or None, said=said)

        try:
            yield show
        except KeyboardInterrupt:
            bars.stop()
            err.print(f"Stopped. {resumes}", soft_wrap=True)
            raise typer.Exit(INTERRUPTED) from None


def print_json(value: object) -> None:
    """Prints a value as JSON on stdout; nothing where another process speaks for this one."""
    import json

    if not out.quiet:
        print(json.dumps(value, ensure_ascii=False, indent=1))  # noqa: T201 - for machines, so without rich


Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Folder = Annotated[Path, typer.Argument(help="Folder that `fdrd build` wrote.")]
