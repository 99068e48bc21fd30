"""`fdrd view` of damaged and forged datasets: pages answer, and damage is named where it is and nowhere else."""

import json
import os
import re
from urllib.parse import quote

import pytest
from filelock import FileLock
from markupsafe import escape

from fdrd.errors import FdrdError
from fdrd.storage.manifest import read_manifest
from fdrd.viewer.index import open_index
from tests.tampering import (
    OF_FILES,
    OF_IMAGES,
    OF_ROWS,
    edit_manifest,
    replaced_by,
    rewrite,
    shard_of,
    with_row,
)

PAGES = (
    *("/", "/?q=blue&split=test", "/duplicates", "/rejected", "/results", "/review"),
    "/review?queue=flagged",
)


def put(**values):
    """Return a damage that changes values of the first row."""
    return with_row(lambda row: row.update(values))


FILES = {**OF_FILES, "a pipe": replaced_by(os.mkfifo)}
ROWS = {
    **OF_ROWS,
    "id null": put(id=None),
    "attributes null": put(attributes=None),
    "group null": put(group=None),
    "width null": put(width=None),
    "long caption": put(caption="x" * 20_001),
    "repeated id": lambda folder: rewrite(folder, lambda rows: rows[0].update(id=rows[1]["id"])),
}
del ROWS["label just too high"]  # this dataset has more categories
IMAGES = {name: ROWS.pop(name) for name in ("image null", "image bytes null")} | OF_IMAGES
SHOWN = {
    **{
        name: ROWS.pop(name)
        for name in ("digest is a path", "domain is a path", "a column of the manifest only")
    },
    "spans outside": put(attributes=[{"type": "x", "value": "y", "start": -5, "end": 2**31 - 1}]),
    "hostile texts": put(caption="<script>\0\x1b[2J", group="near-\0", meta_category="\u202e"),
    "no category": put(category=None),
}


def visit(site):
    """Ask for every page and for the images of the first records; return the first page."""
    index = site.context.library.current()
    paths = [*PAGES]
    for record in index.records(range(min(3, index.columns.size))):
        paths += [
            f"/{page}?id={quote(record['id'])}" for page in ("record", "thumb", "image", "review")
        ]
    for path in paths:
        answer = site.ask(path)
        assert answer.status == 200, (path, answer.read())
    return site.text("/")


@pytest.mark.parametrize("name", FILES)
def test_a_shard_that_cannot_be_read_is_named(copied, open_site, name):
    rows = read_manifest(copied).shards[0].rows
    FILES[name](copied)
    site = open_site(copied, review="r")
    page = visit(site)
    assert page.count('role="alert"') == 1
    assert shard_of(copied).name in page
    assert 90 - rows <= site.context.library.current().columns.size < 90


@pytest.mark.parametrize("name", ROWS)
def test_rows_that_cannot_be_shown_are_named(copied, open_site, name):
    ROWS[name](copied)
    site = open_site(copied, review="r")
    page = visit(site)
    assert page.count('role="alert"') == 1
    assert shard_of(copied).name in page
    lost = 90 - site.context.library.current().columns.size
    if "column" in name or "UTF-8" in name:
        assert lost == read_manifest(copied).shards[0].rows
        assert "cannot be read (" in page
    else:
        assert lost == 1
        reason = "47 rows can be read" if name == "fewer rows" else "cannot be shown: 1, first row"
        assert reason in page


@pytest.mark.parametrize("damage", [OF_FILES["missing"], OF_ROWS["label too high"]])
def test_results_of_a_damaged_dataset_are_shown(copied, measured, open_site, damage):
    damage(copied)
    site = open_site(copied, results=[measured / "runs"], review="r")
    visit(site)
    row = site.context.library.current().records([0])[0]
    for path in (
        *("/results/queries?show=all", "/results/query?n=1", "/review?queue=boundary"),
        f"/record?id={quote(row['id'])}",
    ):
        assert site.ask(path).status in (200, 404), path


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_cannot_be_shown_has_a_placeholder(copied, open_site, name):
    IMAGES[name](copied)
    site = open_site(copied, review="r")
    assert 'role="alert"' not in visit(site)
    first = site.context.library.current().records([0])[0]
    for path in ("/thumb", "/image"):
        answer = site.ask(f"{path}?id={quote(first['id'])}")
        assert (answer.status, answer.headers["content-type"]) == (200, "image/svg+xml")


@pytest.mark.parametrize("name", SHOWN)
def test_odd_rows_are_shown(copied, open_site, name):
    SHOWN[name](copied)
    site = open_site(copied, review="r")
    assert 'role="alert"' not in visit(site)
    assert site.context.library.current().columns.size == 90


@pytest.mark.parametrize("rows", [10**7, 2**63 - 1, 1])
def test_a_manifest_cannot_make_the_index_larger_than_the_shards(copied, open_site, rows):
    true = read_manifest(copied).shards[0].rows
    edit_manifest(copied, lambda found: found["shards"][0].update(rows=rows))
    site = open_site(copied)
    assert f"{true:,} rows can be read, the manifest counts {int(rows):,}" in visit(site)
    assert site.context.library.current().columns.size == 90


def edit_caption(folder):
    """Overwrite a letter of a caption in place."""
    path = shard_of(folder)
    data = path.read_bytes()
    at = data.index(b"A picture of a")
    path.write_bytes(data[:at] + b"#" + data[at + 1 :])


def test_a_forged_copy_is_never_shown_for_the_original(drawn, copied, open_site):
    stamp = shard_of(copied).stat()
    edit_caption(copied)
    os.utime(shard_of(copied), ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    forged, genuine = open_index(copied), open_index(drawn / "set")
    captions = {each["caption"] for each in genuine.records(range(90))}
    (edited,) = {each["caption"] for each in forged.records(range(90))} - captions
    assert edited.startswith("# picture of a")
    assert [error for _, error in genuine.shards.values() if error] == []
    assert [error for _, error in forged.shards.values() if error] != []
    site = open_site(copied)
    record = site.context.library.current().records([0])[0]
    assert str(escape(record["error"])) in site.text("/record", id=record["id"])


def test_damage_that_appears_later_is_named_and_a_repair_ends_it(copied):
    assert not any(error for _, error in open_index(copied).shards.values())
    whole = shard_of(copied).read_bytes()
    edit_caption(copied)
    assert any(error for _, error in open_index(copied).shards.values())
    shard_of(copied).write_bytes(whole)
    assert not any(error for _, error in open_index(copied).shards.values())


def test_damage_is_noticed_while_the_viewer_is_open(copied, open_site):
    site = open_site(copied)
    assert 'role="alert"' not in site.text("/")
    shard_of(copied).unlink()
    assert shard_of(copied).name in site.wait("/", lambda page: 'role="alert"' in page)


def cached(folder):
    return sorted(path.name for path in (folder / "cache" / "fdrd" / "viewer").glob("*"))


def test_an_index_with_errors_is_not_kept(copied, tmp_path):
    edit_caption(copied)
    whole = cached(tmp_path)
    index = open_index(copied)
    assert len(index.records(range(90))) == 90
    assert len(cached(tmp_path)) == len(whole) + 1
    del index
    assert cached(tmp_path) == whole


def test_what_a_killed_viewer_left_is_removed_and_what_another_is_writing_stays(copied, tmp_path):
    left, busy = (tmp_path / f"cache/fdrd/viewer/{name}.unfinished" for name in ("left", "busy"))
    for folder in (left, busy):
        folder.mkdir(parents=True)
        (folder / "lock").touch()
        (folder / "index.sqlite").write_bytes(b"half")
    with FileLock(busy / "lock"):
        open_index(copied)
        assert not left.exists()
        assert (busy / "index.sqlite").exists()


def test_an_index_that_was_cut_short_is_written_again(copied, tmp_path):
    open_index(copied)
    (path,) = (tmp_path / "cache/fdrd/viewer").glob("*.sqlite")
    for data in (path.read_bytes()[:5000], b"", b"no database" * 999):
        path.write_bytes(data)
        assert open_index(copied).columns.size == 90


def test_a_full_disk_is_said_in_one_line(copied, tmp_path, small_disk):
    (tmp_path / "cache/fdrd/viewer").mkdir(parents=True)
    full = pytest.raises(FdrdError, match=r"viewer: .*; FDRD_CACHE names another cache")
    with small_disk(16_384), full as error:
        open_index(copied)
    assert "\n" not in str(error.value)
    assert cached(tmp_path) == []


LISTS = {
    "folder": lambda path: path.mkdir(),
    "pipe": lambda path: os.mkfifo(path),
    "noise": lambda path: path.write_bytes(os.urandom(3000) + b"\n[" * 5000),
    "surrogates": lambda path: path.write_text(
        "\n".join(
            json.dumps({"file": "\udcff", "key": "\ud800", "reason": reason, "detail": detail})
            for reason in ("image_in_other_split", "\ud800")
            for detail in ("\udcff: looks like \udcff of train", "a", "\ud800: \ud800")
        )
    ),
    "types": lambda path: path.write_text('{"file": 1, "key": null, "reason": []}\n[]\n7\n'),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_damaged_list_of_rejected_records_is_shown(copied, open_site, name):
    (copied / "rejected.jsonl").unlink(missing_ok=True)
    LISTS[name](copied / "rejected.jsonl")
    site = open_site(copied, review="r", source=copied)
    page = site.text("/rejected")
    for number in re.findall(r"/rejected/image\?n=(\d+)", page):
        assert site.ask(f"/rejected/image?n={number}").status == 200
    for link in set(re.findall(r'href="(/rejected\?[^"]*)"', page)):
        assert site.ask(link.replace("&amp;", "&")).status == 200
    if name == "surrogates":
        assert str(escape("\\udcff")) in page
