"""An archive or a table as source gives the same records as its folder."""

import gzip
import io
import json
import shutil
import zipfile

import pytest
from layouts import LAYOUTS, PAIRS

import fdrd
from fdrd.dataset import load_splits
from fdrd.errors import FdrdError
from fdrd.sources.single_file import as_folder


def records(out):
    """Return the domains, and all fields of all records but the place of their images."""
    found = []
    for view in load_splits(out):
        for row in view.records(range(len(view))):
            source = row.pop("source")
            found.append([view.split, source["sha256"], source["license"], json.dumps(row)])
    domains = [
        domain["name"] for domain in json.loads((out / "manifest.json").read_text())["domains"]
    ]
    return domains, sorted(found)


def pack(folder, form):
    return shutil.make_archive(str(folder), form, folder)


@pytest.mark.parametrize(("form", "around"), [("zip", ""), ("zip", "raw/"), ("gztar", "raw/")])
def test_an_archive_gives_the_records_of_its_folder(tmp_path, form, around):
    source = tmp_path / "birds"
    for name in ("csv_relative_paths", "csv_numbered_captions"):
        (source / around / name).mkdir(parents=True)
        LAYOUTS[name].write(source / around / name, PAIRS)
        (source / around / name / "domain.toml").write_text('license = "CC0-1.0"')
    archive = pack(source, form)
    fdrd.build(source, tmp_path / "one", workers=1)
    fdrd.build(archive, tmp_path / "two", workers=1)
    domains, found = records(tmp_path / "two")
    assert (domains, found) == records(tmp_path / "one")
    assert domains == ["csv_numbered_captions", "csv_relative_paths"]
    assert {license for _, _, license, _ in found} == {"CC0-1.0"}
    assert fdrd.build(archive, tmp_path / "two", workers=1).nothing_to_do
    assert list((tmp_path / "cache/fdrd/sources").iterdir()) == []


@pytest.mark.parametrize("name", ["img2dataset_webdataset", "img2dataset_parquet", "karpathy"])
def test_a_file_names_the_domain(tmp_path, name):
    (tmp_path / "raw").mkdir()
    LAYOUTS[name].write(tmp_path / "raw", PAIRS)
    archives = [*(tmp_path / "raw").glob("*.tar"), *(tmp_path / "raw").glob("*.parquet")]
    file = archives[0] if archives else pack(tmp_path / "raw", "zip")
    source = tmp_path / f"my birds.{str(file).rpartition('.')[2]}"
    shutil.move(file, source)
    fdrd.build(source, tmp_path / "out", workers=1)
    domains, found = records(tmp_path / "out")
    assert (domains, len(found)) == (["my_birds"], 8 * LAYOUTS[name].captions)


def zipped(image):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("wren/1.png", image)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("pairs.csv", b"image,caption\n", "give the folder that holds it"),
        ("a.tar.gz", gzip.compress(bytes(2**22), mtime=0), "expands to over 50 times its size"),
        ("a.tar.gz", gzip.compress(b"x" * 999, mtime=0)[:-9], "cannot be decompressed"),
        ("a.tar.gz", b"no gzip", "cannot be decompressed"),
        ("a.tar.bz2", b"no bzip2", "cannot be decompressed"),
        ("a.tgz", gzip.compress(b"no tar", mtime=0), "a.tgz: unknown layout"),
        ("a.zip", b"no zip", "a.zip: unknown layout"),
        ("a.zip", zipped(bytes(2**26 + 1)), "expands to over 50 times its size; unpack it"),
    ],
)
def test_other_files_are_refused_by_their_name(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FdrdError, match=message) as raised:
        fdrd.build(tmp_path / name, tmp_path / "out", workers=1)
    assert str(raised.value).startswith(str(tmp_path / name))


def test_what_killed_builds_left_is_removed_and_what_others_use_is_kept(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("pairs.csv", "image,caption\n")
    kept = tmp_path / "cache/fdrd/sources"
    (kept / "killed/a").mkdir(parents=True)
    (kept / "killed/a/a.zip").touch()
    with as_folder(tmp_path / "a.zip") as first:
        assert not (kept / "killed").exists()
        with as_folder(tmp_path / "a.zip") as second:
            assert [*first.iterdir()] == [first / "a.zip"]
            assert second != first
    assert list(kept.iterdir()) == []
