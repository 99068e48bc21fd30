"""A name with HTML, Markdown, terminal or bidirectional controls stays a name wherever it is shown."""

import csv
import json
import re
from dataclasses import replace

import pytest
import yaml
from markdown_it import MarkdownIt
from rich.table import Table as Grid
from rich.text import Text

import benchmark
from benchmark.reporting.latex import latex
from benchmark.reporting.pages import _html, rendered, table
from benchmark.reporting.plots import Plot, Series, inline_svg
from benchmark.reporting.publishing import method_card
from benchmark.reporting.tables import Table
from benchmark.settings import Named
from fdrd.commands.console import out
from fdrd.pipeline.builder import build
from fdrd.text.markup import code, escape
from tests.running import made_settings, run_method

NAME = (
    '</td><script>x</script> | `a` *b* [c](d) \\x1b $e$ "\x1b[2J\x9b31m\x07\u202egnp\u2066\u200f\u2028'
    ": #- \u200b\ufeff\u00ad\U000e0041"
)
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\U000e0000-\U000e007f]"
)
TABLE = Table(NAME, [NAME, NAME], [[NAME, NAME]], [[NAME, NAME]])


def printed(show):
    def run(capsys):
        show()
        return capsys.readouterr().out

    return run


def html_in(markdown):
    """Return the HTML that is not a mark of a section, and the links of a name."""
    plain = markdown.split("\n---\n")[-1]
    tokens = MarkdownIt().enable("table").parse(plain)
    every = [part for token in tokens for part in (token, *(token.children or ()))]
    html = (part.content.strip() for part in every if part.type.startswith("html"))
    links = (part.attrs["href"] for part in every if part.type == "link_open")
    marks = re.compile(r"<!--[^<>]*-->")
    found = [text for text in html if not marks.fullmatch(text)]
    return found + [link for link in links if not link.startswith("http")]


def print_grid():
    grid = Grid(title=NAME)
    grid.add_column(Text(NAME))
    grid.add_row(Text(NAME))
    out.print(grid)


SHOWN = {
    "a sentence": printed(lambda: out.print(NAME)),
    "styled text": printed(lambda: out.print(Text(NAME))),
    "a table": printed(lambda: out.table([NAME], [[NAME]])),
    "a grid of text": printed(print_grid),
    "a report": printed(lambda: out.print(rendered([TABLE, NAME]))),
    "a line": printed(lambda: out.cells([NAME, NAME])),
    "JSON": printed(lambda: out.json({NAME: NAME})),
    "Markdown": lambda _: escape(NAME),
    "Markdown code": lambda _: code(NAME),
    "HTML": lambda _: _html(TABLE),
    "LaTeX": lambda _: latex([TABLE, NAME]),
    "SVG": lambda _: inline_svg(
        Plot(NAME, NAME, [NAME], [Series(NAME, [1.0], 0)], NAME, NAME, bars=True)
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
    card = (tmp_path / "out/README.md").read_text()
    matter, body = card.split("\n---\n", 1)
    assert "script" in body
    assert not html_in(body)
    assert not HIDDEN.search(card)
    found = yaml.safe_load(matter)
    assert found["license_name"] == NAME
    names = found["dataset_info"][0]["features"][3]["dtype"]["class_label"]["names"]
    assert names == {"0": " ".join(category.split())}


@pytest.fixture(scope="module")
def result(tiny_clip, tiny_dataset):
    return run_method("zero_shot", tiny_dataset, backbone=tiny_clip)


@pytest.mark.parametrize("form", ["markdown", "html", "latex", "csv", "terminal", "card"])
def test_a_result_file_cannot_control_a_report(form, result, capsys):
    fence = f"=1\n```\n{NAME}\n````"
    named = {
        key: replace(getattr(result.settings, key), name=fence) for key in ("data", "backbone")
    }
    named |= {"remarks": {NAME: NAME}, "options": {NAME: NAME}}
    named |= dict.fromkeys(("method", "label", "domain"), fence)
    settings = replace(result.settings, train=None, **named)
    sides = {NAME: next(iter(result.metrics.by_domain.values()))}
    metrics = replace(result.metrics, by_domain={**sides, "b": sides[NAME]}, by_category=sides)
    results = [replace(result, settings=settings, metrics=metrics, versions={NAME: NAME})]
    if form == "terminal":
        out.print(table(results))
        text = capsys.readouterr().out
    elif form == "card":
        settings = made_settings(fence, Named(fence, "0"), options={NAME: NAME})
        text = method_card("method_card.md", "org/name", settings, results, 1, {"license": NAME})
        assert yaml.safe_load(text.split("\n---\n")[0])["license"] == NAME
    else:
        text = benchmark.report(results, format=form)
    assert "gnp" in text
    assert not HIDDEN.search(text)
    if form in ("markdown", "card"):
        assert not html_in(text)
    if form == "html":
        assert "<script" not in text
    if form == "csv":
        cells = [cell for row in csv.reader(text.splitlines()) for cell in row]
        assert not any(cell.startswith("=") for cell in cells)
