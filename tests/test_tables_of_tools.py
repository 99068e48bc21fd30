"""The lines about tables in docs/other-tools.md run, with each tool that is installed."""

import contextlib
import re
from pathlib import Path

import pytest

import fdrd
from tests.folders import caches_in

PAGE = (Path(__file__).parent.parent / "docs/other-tools.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```py\n(import (\w+).*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    with caches_in(folder), contextlib.chdir(folder):
        fdrd.sample("raw", categories=4, pairs=60, size=32, workers=1)
        fdrd.build("raw", "data/fdrd", workers=1)
        fdrd.export("data/fdrd", "tables")
    return folder


@pytest.mark.parametrize("lines", [block[0] for block in BLOCKS], ids=[b[1] for b in BLOCKS])
def test_the_lines_of_a_tool_read_the_rows(folder, lines, monkeypatch):
    pytest.importorskip(re.match(r"import (\w+)", lines)[1])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    names: dict[str, object] = {}
    with contextlib.chdir(folder):
        exec(lines, names)
    view = fdrd.load(folder / "data/fdrd").view("test")
    rows = names["rows"]
    if isinstance(rows, list):  # DuckDB counts the rows of all splits
        assert sum(count for _, count in rows) == 60
        assert {name for name, _ in rows} == set(view.categories)
        return
    captions = rows["caption"]
    captions = captions.to_pylist() if hasattr(captions, "to_pylist") else list(captions)
    assert sorted(captions) == sorted(view.captions[caption] for _, caption in view.pairs)


def test_every_tool_of_the_page_is_tried():
    assert {tool for _, tool in BLOCKS} == {"polars", "duckdb", "pandas", "pyarrow", "datasets"}
