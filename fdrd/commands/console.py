"""Shared by all commands: the two consoles, which print tables, hints and JSON, and progress bars.

`NO_COLOR` turns colors off, and `TERM=dumb` also the progress bars; `rich` reads both.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from textwrap import fill
from textwrap import indent as indented
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from fdrd.progress import FINISHED
from fdrd.text.markup import JSON_ESCAPES, visible

if TYPE_CHECKING:
    from fdrd.options import Option
    from fdrd.progress import Progress


@dataclass
class Shown:
    """What `--quiet` and `--verbose` change."""

    hints: bool = True
    tracebacks: bool = False


shown = Shown()


class SafeConsole(Console):
    """A console that escapes control and bidirectional characters, e.g. in file names."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Yield the segments of a text or a table, escaped."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text), style, control)

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table; a narrow terminal folds it and cuts nothing."""
        from fdrd.text.grid import Grid

        self.print(Grid(headings, [*rows]))

    def describe(self, options: Iterable[Option]) -> None:
        """Print options of a method or captioner: a line with name, default and values, the text below it."""
        for option in options:
            text = f"  {option.name}={option.default}  ({option.values})"
            self.print(text, soft_wrap=not self.is_terminal)
            self.paragraph(option.doc, indent=6)

    def paragraph(self, text: str, indent: int = 0) -> None:
        """Print text, wrapped between words at the width of the terminal, at most 80 columns."""
        width = min(self.width, 80) - indent
        self.print(indented(fill(text, width, break_on_hyphens=False), " " * indent))

    def report(self, tables: RenderableType) -> None:
        """Print tables and sentences. A terminal wraps between words, a log does not wrap."""
        self.print(tables, soft_wrap=not self.is_terminal)

    def hint(self, text: str) -> None:
        """Print what to do next, unless `--quiet` is given."""
        if shown.hints:
            self.print(text, style="dim")

    def cells(self, cells: Iterable[str]) -> None:
        """Print a line for other programs: cells with tabs between them."""
        text = "\t".join(visible(" ".join(cell.split())) for cell in cells)
        print(text)  # noqa: T201 - rich would expand tabs

    def json(self, value: object) -> None:
        """Print a value, also dataclasses in it, as JSON, but only in the main process of a distributed run."""
        if not self.quiet:
            text = json.dumps(value, ensure_ascii=False, indent=1, default=asdict)
            print(text.translate(JSON_ESCAPES))  # noqa: T201 - rich would wrap lines


# Names of files and categories may contain brackets and `:x:`, so markup and emoji are off.
_plain = partial(SafeConsole, highlight=False, markup=False, emoji=False)
out = _plain(soft_wrap=True, width=None if sys.stdout.isatty() else 160)
err = _plain(stderr=True)


INTERRUPTED = 130  # exit code of a program that Ctrl-C ended, as shells report it


@contextmanager
def show_progress(hint: str) -> Iterator[Progress]:
    """Show a progress bar per stage on stderr, and print a line when a stage ends; of a run only the last one.

    The text after " | " in a stage may change. Ctrl-C prints `hint`, which says how to resume, and exits
    with 130.
    """
    from rich import progress as rich
    from rich.table import Column

    class Rate(rich.ProgressColumn):
        def render(self, task: rich.Task) -> Text:
            return Text(f"{task.speed:,.1f}/s" if task.speed else "")

    class Count(rich.MofNCompleteColumn):
        def render(self, task: rich.Task) -> Text:
            return super().render(task) if task.total or task.completed else Text("")

    class Note(rich.ProgressColumn):  # the first column that a narrow terminal truncates
        def render(self, task: rich.Task) -> Text:
            return Text(task.fields["note"], no_wrap=True, overflow="ellipsis")

    columns = (
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(bar_width=20),
        Count(table_column=Column(no_wrap=True)),
        Rate(table_column=Column(no_wrap=True)),
        rich.TimeRemainingColumn(table_column=Column(no_wrap=True)),
        Note(),
    )
    with rich.Progress(*columns, console=err, disable=not err.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def show(text: str, done: int, total: int) -> None:
            stage, _, note = text.partition(" | ")
            of_run, last = ": " in stage, stage.endswith(f": {FINISHED}")
            several = total if total > 1 else None  # "1 of 1" says nothing
            if done == total:
                run = stage.removesuffix(FINISHED) if last else None
                for each in [*tasks]:
                    if each == stage or (run and each.startswith(run)):
                        bars.remove_task(tasks.pop(each))
                count = f": {done:,}" if several else ""
                line = note if last else f"{stage}{count}  {note}".rstrip()
                if last or not of_run or shown.tracebacks:
                    err.print(line, soft_wrap=True)
            elif stage in tasks:
                bars.update(tasks[stage], completed=done, total=several, note=note)
            elif err.is_terminal:
                tasks[stage] = bars.add_task(stage, completed=done, total=several, note=note)

        try:
            yield show
        except KeyboardInterrupt:
            bars.stop()
            err.print(f"Stopped. {hint}", soft_wrap=True)
            raise typer.Exit(INTERRUPTED) from None


def count_of(count: int, noun: str) -> str:
    """Return a number of things.

    >>> count_of(1, "shard"), count_of(2, "shard")
    ('1 shard', '2 shards')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def quiet_transformers() -> None:
    """Silence progress bars and advice of transformers, unless `--verbose` is given.

    The variables act when transformers is imported, which this leaves to whoever needs it.
    """
    if shown.tracebacks:
        return
    os.environ |= {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    if "transformers" in sys.modules:
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
