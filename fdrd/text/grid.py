"""Tables for the terminal, all in one style.

A narrow terminal wraps texts between words. Number columns that do not fit go on in further blocks below, each of
which repeats the names of the rows. Nothing is cut.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from textwrap import wrap

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

_NUMBER = re.compile(r"[-–+<\[ ]*\d.*|[-–]?")
_SHORT = 24
"""Longest text that stays on one line if the terminal is wide enough for the other columns."""


@dataclass(frozen=True)
class Grid:
    """A table for `rich`.

    Attributes:
        head: column headings.
        rows: cells; a column of numbers is aligned to the right.
        title: a sentence above it.
        strong: (row, column) of cells to highlight.
        foot: number of rows at the end that are set apart.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    strong: Iterable[tuple[int, int]] = field(default=())
    foot: int = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.title:
            yield Text(self.title, style="bold")
        layouts = {gap: self._blocks(options.max_width, gap) for gap in (2, 1)}
        gap = 1 if len(layouts[1]) < len(layouts[2]) else 2  # rather narrow gaps than more blocks
        for index, columns in enumerate(layouts[gap]):
            if index:
                yield Text("")
            yield self._table(columns, gap)

    def _blocks(self, width: int, gap: int) -> list[list[int]]:
        """Return the columns of each block. Only a column of numbers begins one, because texts can wrap."""
        count = len(self.head)
        numbers = {index for index in range(count) if self._is_number(index)}
        names = list(range(max(1, min(numbers, default=count))))
        start = used = sum(self._least(index) + gap for index in names)
        blocks = [list(names)]
        for index in range(len(names), count):
            needed = self._least(index) + gap
            if index in numbers and used + needed > width and len(blocks[-1]) > len(names):
                blocks.append(list(names))
                used = start
            blocks[-1].append(index)
            used += needed
        return blocks

    def _cells(self, index: int) -> list[str]:
        return [row[index] for row in self.rows]

    def _is_number(self, index: int) -> bool:
        cells = self._cells(index)
        return any(cells) and all(_NUMBER.fullmatch(cell) and len(cell) <= _SHORT for cell in cells)

    def _widest(self, index: int) -> int:
        words = [len(word) for word in self.head[index].split()]
        return max([*words, *map(len, self._cells(index))], default=0)

    def _least(self, index: int) -> int:
        """Return the characters that a column of the table needs."""
        widest = self._widest(index)
        if self._is_number(index) or widest <= _SHORT // 2:
            return widest
        texts = [self.head[index], *self._cells(index)]
        longest = max(len(word) for text in texts for word in text.split() or [""])
        return min(widest, max(longest, _SHORT // 2))

    def _heading(self, index: int) -> str:
        """Return a heading; that of numbers is not wider than they are, if its words allow."""
        text = self.head[index]
        return "\n".join(wrap(text, self._widest(index))) if self._is_number(index) else text

    def _table(self, columns: Sequence[int], gap: int) -> Table:
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
        table.padding = (0, 0, 0, gap - 1)
        heads = [self._heading(index) for index in columns]
        lines = max(head.count("\n") for head in heads)
        for index, head in zip(columns, heads, strict=True):
            aligned = self._is_number(index)
            table.add_column(
                Text("\n" * (lines - head.count("\n")) + head),
                justify="right" if aligned else "left",
                overflow="fold",
                no_wrap=aligned or self._widest(index) <= _SHORT // 2,
            )
        strong, last = set(self.strong), len(self.rows) - self.foot
        for position, row in enumerate(self.rows):
            if position < last or any(row[index] for index in columns[1:]):
                styles = ["bold green" if (position, index) in strong else "" for index in columns]
                cells = map(Text, [row[index] for index in columns], styles)
                table.add_row(*cells, style="" if position < last else "dim")
        return table
