"""Tar archives of samples are read in place; hostile members are rejected."""

import io
import json
import tarfile

import pytest

from fdrd.reasons import Rejection
from fdrd.record import Record
from fdrd.sources import find_domains
from tests.archives import tar


def pack(path, members):
    """Write a tar of (name, bytes) members; a `TarInfo` as the name makes links and devices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar(members))


def link(name, kind, to):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info, b""


def img2dataset(number, draw, **fields):
    note = {"caption": f"Bird {number}.", "url": "https://example.org", "key": f"{number:09d}"}
    note |= {"category": "wren", **fields}
    return [
        (f"{number:09d}.jpg", draw(number, form="JPEG")),
        (f"{number:09d}.txt", f"Bird {number}.".encode()),
        (f"{number:09d}.json", json.dumps(note).encode()),
    ]


def test_categories_come_from_json_cls_classnames_or_folders(tmp_path, write, draw, read):
    write("classnames.txt", "robin\nhouse_wren\n")
    members = {f"{name}.png": draw(n) for n, name in enumerate(("a", "b", "jay/c", "jay/d"))}
    members |= {
        "a.cls": b"1\n",
        "a.txt": b"A.",
        "b.cls": b"owl",
        "b.txt": b"B.",
        "jay/c.txt": b"C.",
    }
    members["jay/d.json"] = b'{"class_name": "magpie", "caption": "D."}'
    pack(tmp_path / "raw/test/0.tar", dict(sorted(members.items())))
    found = read("webdataset")
    assert [item.category for item in found] == ["house wren", "owl", "jay", "magpie"]
    assert {item.split for item in found} == {"test"}


def test_a_sample_without_an_image_or_a_caption_is_rejected(tmp_path, draw, read):
    members = [("wren/a.txt", b"A."), ("wren/b.png", draw(1)), ("wren/c.seg.npy", b"")]
    pack(tmp_path / "raw/0.tar", members)
    assert [(item.key, item.reason) for item in read("webdataset")] == [
        ("wren/a", "image_missing"),
        ("wren/b", "caption_missing"),
        ("wren/c", "image_missing"),
    ]


@pytest.mark.parametrize(
    ("member", "reason"),  # more in tests/hostile.py
    [
        (link("wren/x.png", tarfile.SYMTYPE, "a.png"), "not_a_file"),
        (("wren/a.png", b"again"), "duplicate_id"),
        (("wren/a.txt", b"again"), "duplicate_id"),
    ],
)
def test_links_and_repeated_members_are_rejected(tmp_path, draw, read, member, reason):
    pack(tmp_path / "raw/0.tar", [("wren/a.png", draw(1)), ("wren/a.txt", b"A."), member])
    found = read("webdataset")
    rejected = [item for item in found if isinstance(item, Rejection)]
    assert [(item.file, item.reason) for item in rejected] == [("0.tar", reason)]
    assert [item.caption for item in found if item not in rejected] == ["A."]


@pytest.mark.parametrize("cut", [0.3, 0.62, 0.9])
def test_a_truncated_or_damaged_archive_is_rejected(tmp_path, draw, read, cut):
    pack(tmp_path / "raw/0.tar", [m for row in range(6) for m in img2dataset(row, draw)])
    whole = (tmp_path / "raw/0.tar").read_bytes().rstrip(b"\0")
    (tmp_path / "raw/0.tar").write_bytes(whole[: int(len(whole) * cut)])
    *kept, last = read("webdataset")
    assert (last.file, last.reason) == ("0.tar", "unreadable_annotations")
    assert sum(isinstance(item, Record) for item in kept) < 6
    broken = bytearray(whole) + bytes(4096)
    with tarfile.open(fileobj=io.BytesIO(broken)) as archive:
        place = archive.getmembers()[9].offset
    broken[place : place + 512] = b"x" * 512
    (tmp_path / "raw/0.tar").write_bytes(broken)
    assert read("webdataset")[-1].reason == "unreadable_annotations"


def test_an_archive_that_tar_made_of_the_current_folder_holds_samples(tmp_path, draw):
    """`tar cf birds.tar .` writes names that start with `./`."""
    members = [
        (f"./{name}", data) for number in range(3) for name, data in img2dataset(number, draw)
    ]
    pack(tmp_path / "raw/birds.tar", members)
    (domain,) = find_domains(tmp_path / "raw")
    assert domain.reader == "webdataset"
