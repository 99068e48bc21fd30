"""`--explain` names the layout of every folder, the reason, and near misses."""

import json

import pytest
from layouts import LAYOUTS, PAIRS

from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build
from fdrd.sources.explain import explain
from fdrd.storage.manifest import RecordCounts


def lines(root):
    return list(explain(root / "raw"))


EXPECTED = {
    "cub": ("cub", "images.txt"),
    "imagefolder_metadata": ("image_folder", "metadata.jsonl"),
    "img2dataset_webdataset": ("webdataset", "00000.tar"),
    "authors_json": ("released", "birds_test.json"),
    "save_to_disk_sentences_and_classes": ("saved_dataset", ".arrow"),
    "csv_absolute_paths": ("table", "'text' for the caption"),
    "text_files_in_class_folders": ("image_folder", "robin/bird_01.png"),
}


@pytest.fixture
def layouts(tmp_path):
    """Return a source with a layout in each folder."""
    for name in EXPECTED:
        (tmp_path / "raw" / name).mkdir(parents=True)
        LAYOUTS[name].write(tmp_path / "raw" / name, PAIRS)
    return tmp_path / "raw"


def test_every_layout_is_recognized_with_a_reason_that_names_a_file(layouts):
    found = {line.partition(":")[0]: line for line in explain(layouts) if line[0] != " "}
    assert found.keys() == EXPECTED.keys()
    for domain, (reader, reason) in EXPECTED.items():
        assert found[domain].startswith(f"{domain}: {reader}, because ")
        assert reason in found[domain]


def test_other_matching_layouts_and_domain_toml_are_named(tmp_path, write, draw):
    write("table/wren/3.png", draw(3))
    write("table/pairs.csv", "file,text,class\nwren/3.png,A wren in a row.,wren\n")
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


def test_a_built_dataset_and_a_link_out_of_the_folder_are_named(tmp_path, built_birds):
    with pytest.raises(FdrdError, match="is a built dataset"):
        list(explain(built_birds.out))
    (tmp_path / "links").mkdir()
    (tmp_path / "captions.json").write_text('{"2": {"positive": "A wren."}}')
    (tmp_path / "links/captions.json").symlink_to(tmp_path / "captions.json")
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
