"""Many records at once: what is decided for all of them, their tags, their export, and a build of them only."""

import json
import re
from urllib.parse import parse_qs, parse_qsl, urlencode

import pytest

from fdrd.curation.decisions import read_selection
from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build
from fdrd.viewer import review_pages


def act(site, action, rows=(), **values):
    """Send the form around the grid; return the message of the page that follows."""
    version = site.context.library.current().version
    fields = {"version": version, "back": "/", "action": action} | values
    body = urlencode([*fields.items(), *(("row", row) for row in rows)])
    answer = site.ask("/select", "POST", body, Origin=site.base)
    if answer.status != 303:
        return answer
    return dict(parse_qsl(answer.headers["location"].partition("?")[2]))


def counts(site, facet="verified", **values):
    """Return the count of each value of a facet, as the page shows it."""
    page = site.text("/", **values)
    found = re.findall(rf'href="[^"]*{facet}=([^"&]+)".*?class="count">([\d,]+)', page, re.DOTALL)
    return {parse_qs(f"v={label}")["v"][0]: int(count.replace(",", "")) for label, count in found}


def test_one_decision_for_many_is_undone_at_once(copied, open_site):
    site = open_site(copied, review="many", reviewer="ann")
    assert act(site, "drop", range(20))["saved"] == "drop: 20 records"
    assert counts(site)["dropped"] == 20
    assert act(site, "accept", [20])["saved"] == "accept: 1 record"
    assert act(site, "undo")["saved"] == "undid 1 record"
    assert act(site, "undo")["saved"] == "undid 20 records"
    assert counts(site)["not reviewed"] == 90
    assert act(site, "undo")["problem"] == "there is nothing to undo"


def test_all_of_a_filter_is_more_than_a_page(copied, open_site, monkeypatch):
    site = open_site(copied, review="all")
    index = site.context.library.current()
    some = int(index.columns.mask("split", ["train", "test"]).sum())
    assert 48 < some < 90
    back = "/?split=train&split=test"
    accepted = act(site, "accept", back=f"{back}&page=2", all="1")
    assert accepted["saved"] == f"accept: {some} records"
    assert counts(site)["verified"] == some
    monkeypatch.setattr(review_pages, "MOST", some - 1)
    assert f"at most {some - 1}" in act(site, "drop", back=back, all="1")["problem"]
    monkeypatch.setattr(review_pages, "MOST", some)
    assert "saved" in act(site, "drop", back=back, all="1")


def test_a_category_is_set_and_what_does_not_fit_is_refused(copied, open_site):
    site = open_site(copied, review="category")
    index = site.context.library.current()
    renamed = act(site, "category", [0, 1], category=" new  name ")
    assert renamed["saved"] == "category new name: 2 records"
    record = index.records([0])[0]
    assert "After the next build: <bdi>new name" in site.text("/record", id=record["id"])
    assert act(site, "category", [0], category=" ")["problem"] == "Not saved: the category is empty"
    assert "over 1,000 characters" in act(site, "tag", [0], tag="x" * 1001)["problem"]
    for rows in ((), ["-1", "90", "1e3", "9" * 5000, "x"]):
        assert act(site, "accept", rows)["problem"] == "no record is selected"
    assert act(site, "destroy", [0])["problem"] == "unknown action"
    assert "has changed" in act(site, "accept", [0], version="0" * 16)["problem"]
    assert len(site.context.review.decisions()) == 2


def test_tags_are_filters_and_change_no_build(drawn, copied, open_site, tmp_path):
    site = open_site(copied, review="tags")
    assert "saved" in act(site, "tag", [1, 2, 3], tag="<b>odd</b>")
    assert "saved" in act(site, "tag", [3], tag="second look")
    assert "saved" in act(site, "untag", [1], tag="<b>odd</b>")
    assert counts(site, "tag") == {"<b>odd</b>": 2, "second look": 1}
    page = site.text("/", tag="<b>odd</b>")
    assert "<strong>2</strong> records" in page
    assert "<b>odd" not in page
    file = site.context.review.path
    built = build(drawn / "raw", tmp_path / "set", decisions=file, workers=1)
    assert (built.manifest.records.kept, built.manifest.decisions.applied) == (90, 0)
    assert built.stale == []


def test_a_selection_is_exported_and_built(drawn, copied, open_site, tmp_path):
    site = open_site(copied)
    index = site.context.library.current()
    assert act(site, "accept", [0]).status == 403
    assert "Export ids" in site.text("/")
    assert 'value="drop"' not in site.text("/")
    ids = [record["id"] for record in index.records([3, 5, 8])]
    answer = act(site, "ids", [3, 5, 8])
    assert "attachment" in answer.headers["content-disposition"]
    (tmp_path / "ids.txt").write_bytes(answer.read())
    lines = act(site, "jsonl", back="/?split=test", all="1").read().splitlines()
    assert len(lines) == int(index.columns.mask("split", ["test"]).sum())
    assert json.loads(lines[0])["split"] == "test"

    def build_only(*lines):
        if lines:
            (tmp_path / "ids.txt").write_text("\n".join(lines))
        return build(drawn / "raw", tmp_path / "few", only=tmp_path / "ids.txt", workers=1)

    built = build_only()
    records = built.manifest.records
    assert (records.kept, records.rejected, records.read) == (3, 87, 90)
    kept = [each["id"] for split in built for each in built[split]]
    assert sorted(kept) == sorted(ids)
    assert build_only().nothing_to_do
    assert build_only(ids[0]).manifest.records.kept == 1
    with pytest.raises(FdrdError, match=r"lacks 1 of the 2 records, e.g. 'raw/none'"):
        build_only(ids[0], "raw/none")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('a/1\r\n\n"b\\n2"\n{"id": "c"}', {"a/1", "b\n2", "c"}),
        *((text, None) for text in ('{"id": 1}\n', "{}\n", "\n", "\ud8ff", '"' + "[" * 9999)),
    ],
)
def test_a_file_of_ids(tmp_path, text, found):
    (tmp_path / "ids").write_text(text, errors="surrogatepass")
    if found:
        assert read_selection(tmp_path / "ids")[0] == found
    else:
        with pytest.raises(FdrdError, match=r"ids(: line 1)? names no record"):
            read_selection(tmp_path / "ids")
