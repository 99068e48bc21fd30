"""A name with HTML, Markdown, terminal or bidirectional controls stays a name wherever it is shown."""

import json
import re

import pytest
from rich.table import Table as Grid
from rich.text import Text

from benchmark.reporting.latex import latex
from benchmark.reporting.pages import _html
from benchmark.reporting.svg_plots import Plot, Series, svg
from benchmark.reporting.tables import Table
from benchmark.reporting.terminal import rendered
from fdrd.commands.console import out, print_json, print_line, print_table
from fdrd.pipeline.builder import build
from fdrd.text.markup import code, escape

NAME = '</td><script>x</script> | `a` *b* [c](d) \\x1b $e$ "\x1b[2J\x9b31m\x07\u202egnp\u2066\u200f\u2028'
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
TABLE = Table(NAME, [NAME, NAME], [[NAME, NAME]], [[NAME, NAME]])


def printed(show):
    def run(capsys):
        show()
        return capsys.readouterr().out

    return run


def print_grid():
    grid = Grid(title=NAME)
    grid.add_column(Text(NAME))
    grid.add_row(Text(NAME))
    out.print(grid)


SHOWN = {
    "a sentence": printed(lambda: out.print(NAME)),
    "styled text": printed(lambda: out.print(Text(NAME))),
    "a table": printed(lambda: print_table([NAME], [[NAME]])),
    "a grid of text": printed(print_grid),
    "a report": printed(lambda: out.print(rendered([TABLE, NAME]))),
    "a line": printed(lambda: print_line([NAME, NAME])),
    "JSON": printed(lambda: print_json({NAME: NAME})),
    "Markdown": lambda _: escape(NAME),
    "Markdown code": lambda _: code(NAME),
    "HTML": lambda _: _html(TABLE),
    "LaTeX": lambda _: latex([TABLE, NAME]),
    "SVG": lambda _: svg(
        Plot(NAME, NAME, [NAME], [Series(NAME, [1.0], 0)], NAME, NAME, bars=True), standalone=True
    ),
}


@pytest.mark.parametrize("place", SHOWN)
def test_a_name_is_shown_literally(place, capsys):
    text = SHOWN[place](capsys)
    assert text
    assert not HIDDEN.search(text)
    if place in ("HTML", "SVG"):
        assert "<script" not in text
    if place == "Markdown":
        assert not re.search(r"(?<!\\)[<|*`\[$]", text)
    if place == "JSON":
        assert json.loads(text) == {NAME: NAME}


def test_a_card_shows_hostile_names_literally(write, draw, tmp_path):
    category = NAME.replace("\u2028", "").replace("\n", "")
    lines = []
    for number in range(12):
        write(f"x/{number}.png", draw(number))
        row = {"file_name": f"x/{number}.png", "caption": f"A photo, number {number}."}
        lines.append({**row, "category": category, "license": NAME})
    write("metadata.jsonl", "\n".join(map(json.dumps, lines)))
    build(tmp_path / "raw", tmp_path / "out", workers=1)
    body = (tmp_path / "out/README.md").read_text().split("\n---\n", 1)[1]
    assert "script" in body
    assert "<script" not in body.replace("\\<script", "")
    assert not HIDDEN.search(body)
