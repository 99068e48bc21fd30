"""`fdrd view` of damaged and forged datasets: pages answer, and damage is named where it is and nowhere else."""

import hashlib
import json
import os
import re
import resource
import shutil
import time
from contextlib import contextmanager
from urllib.parse import quote

import pyarrow as pa
import pytest
from filelock import FileLock
from markupsafe import escape
from msgspec import convert

from fdrd.errors import FdrdError
from fdrd.storage.manifest import Shard, digest_of_shards, read_manifest
from fdrd.viewer.index import open_index
from tests.tampering import bomb

PAGES = (
    "/",
    "/?q=blue&split=test",
    "/duplicates",
    "/rejected",
    "/results",
    "/review",
    "/review?queue=flagged",
)


@pytest.fixture
def copy(drawn, tmp_path):
    """A copy of the drawn dataset."""
    shutil.copytree(drawn / "set", tmp_path / "set")
    return tmp_path / "set"


@contextmanager
def manifest_of(folder):
    """Let the block change a manifest."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    yield manifest
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")


def forge(folder, change, shard=0):
    """Change the rows of a shard as `change` does, and write its new digest into the manifest."""
    with manifest_of(folder) as manifest:
        entry = manifest["shards"][shard]
        path = folder / entry["path"]
        with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
            table = stream.read_all()
        rows = table.to_pylist()
        schema = change(rows) or table.schema
        path.unlink()
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
            writer.write_table(pa.Table.from_pylist(rows, schema))
        entry |= {"bytes": path.stat().st_size, "rows": len(rows),
                  "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}  # fmt: skip
        manifest["digest"] = digest_of_shards(convert(manifest["shards"], list[Shard]))
    return rows


def put(**values):
    """Return a change of the first row."""
    return lambda rows: rows[0].update(values)


def without(*names):
    """Return a change that removes columns."""

    def change(rows):
        schema = pa.Table.from_pylist(rows).schema
        return pa.schema([field for field in schema if field.name not in names])

    return change


def put_numbers(rows):
    """Put numbers in the place of captions."""
    schema = pa.Table.from_pylist(rows).schema
    for row in rows:
        row["caption"] = 7
    return schema.set(schema.get_field_index("caption"), pa.field("caption", pa.int64()))


def with_image(data):
    def change(rows):
        rows[0]["image"]["bytes"] = data
        rows[0]["source"]["sha256"] = hashlib.sha256(data or b"").hexdigest()

    return change


def first_shard(folder):
    return folder / read_manifest(folder).shards[0].path


def replaced(make):
    def damage(folder):
        path = first_shard(folder)
        data = path.read_bytes()
        path.unlink()
        make(path, data)

    return damage


FILES = {
    "missing": lambda path, data: None,
    "truncated": lambda path, data: path.write_bytes(data[: len(data) // 2]),
    "empty": lambda path, data: path.write_bytes(b""),
    "folder": lambda path, data: path.mkdir(),
    "pipe": lambda path, data: os.mkfifo(path),
    "noise": lambda path, data: path.write_bytes(os.urandom(len(data))),
}
ROWS = {
    "null id": put(id=None),
    "null caption": put(caption=None),
    "null source": put(source=None),
    "null negatives": put(negatives=None),
    "null negative": put(negatives=[None]),
    "null attributes": put(attributes=None),
    "null group": put(group=None),
    "null width": put(width=None),
    "label 99": put(category=99),
    "label -7": put(category=-7),
    "kind": put(
        negatives=[{"caption": "A.", "category": "", "kind": "evil", "attribute_type": None}]
    ),
    "long caption": put(caption="x" * 20_001),
    "repeated id": lambda rows: rows[0].update(id=rows[1]["id"]),
    "no column": without("caption"),
    "other column": put_numbers,
}
IMAGES = {
    "null image": put(image=None),
    "null bytes": with_image(None),
    "no image": with_image(b"<svg/>"),
    "bomb": with_image(bomb()),
}
SHOWN = {
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
def test_a_shard_that_cannot_be_read_is_named(copy, open_site, name):
    rows = read_manifest(copy).shards[0].rows
    replaced(FILES[name])(copy)
    site = open_site(copy, review="r")
    page = visit(site)
    assert page.count('role="alert"') == 1
    assert first_shard(copy).name in page
    assert 90 - rows <= site.context.library.current().columns.size < 90


@pytest.mark.parametrize("name", ROWS)
def test_rows_that_cannot_be_shown_are_named(copy, open_site, name):
    forge(copy, ROWS[name])
    site = open_site(copy, review="r")
    page = visit(site)
    assert page.count('role="alert"') == 1
    assert first_shard(copy).name in page
    lost = 90 - site.context.library.current().columns.size
    if "column" in name:
        assert lost == read_manifest(copy).shards[0].rows
        assert "columns" in page
    else:
        assert lost == 1
        assert "rows that cannot be shown: 1, first row" in page


@pytest.mark.parametrize(
    "damage", [replaced(FILES["missing"]), lambda folder: forge(folder, ROWS["label 99"])]
)
def test_results_of_a_damaged_dataset_are_shown(copy, measured, open_site, damage):
    damage(copy)
    site = open_site(copy, results=[measured / "runs"], review="r")
    visit(site)
    row = site.context.library.current().records([0])[0]
    for path in (
        "/results/queries?show=all",
        "/results/query?n=1",
        "/review?queue=boundary",
        f"/record?id={quote(row['id'])}",
    ):
        assert site.ask(path).status in (200, 404), path


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_cannot_be_shown_has_a_placeholder(copy, open_site, name):
    rows = forge(copy, IMAGES[name])
    site = open_site(copy, review="r")
    assert 'role="alert"' not in visit(site)
    for path in ("/thumb", "/image"):
        answer = site.ask(f"{path}?id={quote(rows[0]['id'])}")
        assert (answer.status, answer.headers["content-type"]) == (200, "image/svg+xml")


@pytest.mark.parametrize("name", SHOWN)
def test_odd_rows_are_shown(copy, open_site, name):
    forge(copy, SHOWN[name])
    site = open_site(copy, review="r")
    assert 'role="alert"' not in visit(site)
    assert site.context.library.current().columns.size == 90


def test_a_shard_that_is_listed_three_times_is_refused(copy):
    with manifest_of(copy) as manifest:
        manifest["shards"] += manifest["shards"][:1] * 2
    with pytest.raises(FdrdError, match="a shard is listed twice"):
        open_index(copy)


@pytest.mark.parametrize("rows", [10**7, 2**63 - 1, 1])
def test_a_manifest_cannot_make_the_index_larger_than_the_shards(copy, open_site, rows):
    with manifest_of(copy) as manifest:
        true = manifest["shards"][0]["rows"]
        manifest["shards"][0]["rows"] = rows
    site = open_site(copy)
    assert f"{true:,} rows can be read, the manifest counts {int(rows):,}" in visit(site)
    assert site.context.library.current().columns.size == 90


def test_a_manifest_with_a_lone_surrogate_is_refused(copy):
    with manifest_of(copy) as manifest:
        manifest["shards"][0]["domain"] = "\ud800"
    with pytest.raises(FdrdError, match=r"is not JSON .*surrogate"):
        open_index(copy)


def edit_caption(folder):
    """Overwrite a letter of a caption in place."""
    path = first_shard(folder)
    data = path.read_bytes()
    at = data.index(b"A picture of a")
    path.write_bytes(data[:at] + b"#" + data[at + 1 :])


def test_a_forged_copy_is_never_shown_for_the_original(drawn, copy):
    stamp = first_shard(copy).stat()
    edit_caption(copy)
    os.utime(first_shard(copy), ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    forged, genuine = open_index(copy), open_index(drawn / "set")
    captions = {each["caption"] for each in genuine.records(range(90))}
    (edited,) = {each["caption"] for each in forged.records(range(90))} - captions
    assert edited.startswith("# picture of a")
    assert [error for _, error in genuine.shards.values() if error] == []
    assert [error for _, error in forged.shards.values() if error] != []


def test_damage_that_appears_later_is_named_and_a_repair_ends_it(copy):
    assert not any(error for _, error in open_index(copy).shards.values())
    whole = first_shard(copy).read_bytes()
    edit_caption(copy)
    assert any(error for _, error in open_index(copy).shards.values())
    first_shard(copy).write_bytes(whole)
    assert not any(error for _, error in open_index(copy).shards.values())


def test_damage_is_noticed_while_the_viewer_is_open(copy, open_site):
    site = open_site(copy)
    assert 'role="alert"' not in site.text("/")
    first_shard(copy).unlink()
    for _ in range(200):
        if 'role="alert"' in site.text("/"):
            break
        time.sleep(0.05)
    assert first_shard(copy).name in site.text("/")


def cached(folder):
    return sorted(path.name for path in (folder / "cache" / "fdrd" / "viewer").glob("*"))


def test_an_index_with_errors_is_not_kept(copy, tmp_path):
    edit_caption(copy)
    whole = cached(tmp_path)
    index = open_index(copy)
    assert len(index.records(range(90))) == 90
    assert len(cached(tmp_path)) == len(whole) + 1
    del index
    assert cached(tmp_path) == whole


def test_what_a_killed_viewer_left_is_removed_and_what_another_is_writing_stays(copy, tmp_path):
    left, busy = (tmp_path / f"cache/fdrd/viewer/{name}.unfinished" for name in ("left", "busy"))
    for folder in (left, busy):
        folder.mkdir(parents=True)
        (folder / "lock").touch()
        (folder / "index.sqlite").write_bytes(b"half")
    with FileLock(busy / "lock"):
        open_index(copy)
        assert not left.exists()
        assert (busy / "index.sqlite").exists()


def test_an_index_that_was_cut_short_is_written_again(copy, tmp_path):
    open_index(copy)
    (path,) = (tmp_path / "cache/fdrd/viewer").glob("*.sqlite")
    for data in (path.read_bytes()[:5000], b"", b"no database" * 999):
        path.write_bytes(data)
        assert open_index(copy).columns.size == 90


def test_a_full_disk_is_said_in_one_line(copy, tmp_path):
    (tmp_path / "cache/fdrd/viewer").mkdir(parents=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, hard))
        with pytest.raises(FdrdError, match=r"viewer: .*; FDRD_CACHE names another cache") as error:
            open_index(copy)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
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
    "types": lambda path: path.write_text('{"file": 1, "key": null, "reason": [], "detail": {}}\n[]\n7\n'),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_a_damaged_list_of_rejected_records_is_shown(copy, open_site, name):
    (copy / "rejected.jsonl").unlink(missing_ok=True)
    LISTS[name](copy / "rejected.jsonl")
    site = open_site(copy, review="r", source=copy)
    page = site.text("/rejected")
    for number in re.findall(r"/rejected/image\?n=(\d+)", page):
        assert site.ask(f"/rejected/image?n={number}").status == 200
    for link in set(re.findall(r'href="(/rejected\?[^"]*)"', page)):
        assert site.ask(link.replace("&amp;", "&")).status == 200
    if name == "surrogates":
        assert str(escape("\\udcff")) in page
