"""`--explain` names the layout of every folder, the reason, and near misses."""

import json
import tarfile

import pytest
from datasets import Dataset

from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build
from fdrd.sources.explain import explain
from fdrd.storage.manifest import RecordCounts


def lines(root):
    return list(explain(root / "raw"))


def draw_all(root, write, draw):
    """Write a folder for each layout."""
    for number, folder in enumerate(("folder", "listed", "authors", "table")):
        write(f"{folder}/wren/{number}.png", draw(number))
    write("folder/wren/0.txt", "A wren.")
    write("listed/metadata.jsonl", {"file_name": "wren/1.png", "caption": "A wren, listed."})
    record = {"file_name": "2.png", "class_name": "wren", "positive": "A wren of authors."}
    write("authors/captions.json", {"2": record})
    write("table/pairs.csv", "file,text,class\nwren/3.png,A wren in a row.,wren\n")
    write("splits/images/4.png", draw(4))
    write("splits/split_zhou_X.json", {"train": [["4.png", 0, "wren"]]})
    for name, data in (("wren/5.png", draw(5)), ("wren/5.txt", b"A wren in a tar.")):
        file = write("tmp", data)
        (root / "raw/tars").mkdir(exist_ok=True)
        with tarfile.open(root / "raw/tars/0.tar", "a") as archive:
            archive.add(file, name)
        file.unlink()
    rows = {"image": [{"bytes": draw(6)}], "caption": ["A wren, saved."], "label": ["wren"]}
    Dataset.from_dict(rows).save_to_disk(root / "raw/saved")


def test_every_layout_is_recognized_with_a_reason_that_names_a_file(tmp_path, write, draw):
    draw_all(tmp_path, write, draw)
    found = {line.partition(":")[0]: line for line in lines(tmp_path) if not line.startswith(" ")}
    expected = {
        "authors": ("released", "captions.json"),
        "folder": ("image_folder", "wren/0.png"),
        "listed": ("image_folder", "metadata.jsonl"),
        "saved": ("saved_dataset", ".arrow"),
        "splits": ("coop_splits", "split_zhou_X.json"),
        "table": ("table", "'text' for the caption"),
        "tars": ("webdataset", "0.tar"),
    }
    assert found.keys() == expected.keys()
    for domain, (reader, reason) in expected.items():
        assert found[domain].startswith(f"{domain}: {reader}, because ")
        assert reason in found[domain]


def test_other_matching_layouts_and_domain_toml_are_named(tmp_path, write, draw):
    draw_all(tmp_path, write, draw)
    write("table/domain.toml", 'license = "CC0-1.0"\ngroup = "{group}_*"')
    found = lines(tmp_path)
    place = found.index(next(line for line in found if line.startswith("table:")))
    assert found[place + 1] == "    domain.toml gives license, group"
    assert "image_folder matches too" in found[place + 2]


def test_a_folder_with_an_unknown_layout_is_named_and_counted(tmp_path, write, draw):
    write("birds/wren/1.png", draw(1))
    write("birds/wren/1.txt", "A wren.")
    write("loose/a/b/c/2.png", draw(2))
    write("notes/plan.md", "x")
    (tmp_path / "raw/linked").symlink_to(tmp_path / "raw/birds")
    text = "\n".join(lines(tmp_path))
    assert "loose: left out" in text
    assert "a/b/c/2.png is deeper" in text
    assert "linked: not used: links" in text
    built = build(tmp_path / "raw", tmp_path / "out", workers=1)
    assert built.manifest.records == RecordCounts(2, 1, 1)
    (rejected,) = map(json.loads, (tmp_path / "out/rejected.jsonl").read_text().splitlines())
    assert (rejected["file"], rejected["reason"]) == ("loose", "unreadable_annotations")


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("1.png", b"", "image_folder: 1.png has neither a metadata.jsonl nor"),
        ("1.png", b"", "if the images are in class folders, such as tench/1.jpg"),
        ("a/b/c/d/1.png", b"", "image_folder: b/c/d/1.png is deeper"),
        ("finch/1.jxl", b"", "finch: 1.jxl: JPEG XL is not read; convert it to PNG or JPEG"),
        ("labels.json", "{}", 'released: labels.json has no "positive"'),
        ("a.csv", "item,price\n", "table: a.csv has no image or caption column"),
        ("0.tar.gz", b"", "webdataset: 0.tar.gz is compressed; decompress it"),
        ("0.tar", b"none", "webdataset: 0.tar does not start like a tar archive"),
        ("all.zip", b"", "all.zip is an archive that is not read in place; unpack it"),
    ],
)
def test_an_unknown_layout_lists_near_misses(tmp_path, write, path, content, message):
    write(path, content)
    with pytest.raises(FdrdError, match="unknown layout") as raised:
        lines(tmp_path)
    assert message in str(raised.value)


def test_a_built_dataset_and_a_link_out_of_the_folder_are_named(tmp_path, write, draw):
    draw_all(tmp_path, write, draw)
    build(tmp_path / "raw", tmp_path / "out", workers=1)
    with pytest.raises(FdrdError, match="is a built dataset"):
        list(explain(tmp_path / "out"))
    (tmp_path / "links").mkdir()
    (tmp_path / "links/captions.json").symlink_to(tmp_path / "raw/authors/captions.json")
    with pytest.raises(FdrdError, match=r"captions.json is a link out of the folder"):
        list(explain(tmp_path / "links"))


def test_an_image_that_a_build_rejects_is_named(tmp_path, write, draw):
    write("raw/wren/1.png", b"text")
    write("raw/wren/1.txt", "A wren.")
    (tmp_path / "raw/raw/wren/2.png").symlink_to(write("elsewhere/2.png", draw(2)))
    write("raw/wren/2.txt", "A wren.")
    found = "\n".join(explain(tmp_path / "raw/raw"))
    assert "rejected: not_an_image: begins with b'text'" in found
    assert "rejected: path_outside: " in found
