"""Export for clip_benchmark: layout, image bytes, reproducible archives, no partial output.

In `tests/test_other_tools.py`, clip_benchmark itself reads and scores an export.
"""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

import fdrd
from fdrd.errors import FdrdError
from tests.folders import caches_in
from tests.scenes import encoded, image_bytes, scene

BIRDS = ("wren", "robin")


def draw(root, domain, files, captions=1):
    """Write a domain with the split `test`, half wrens and half robins."""
    folder = root / domain / "test"
    for number, (name, content) in enumerate(files.items()):
        path = folder / BIRDS[number % 2] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        with (folder / "metadata.jsonl").open("a") as file:
            for n in range(captions):
                line = {"file_name": f"{path.parent.name}/{name}"}
                line["text"] = f"A {path.parent.name}, {name} {n}."
                file.write(json.dumps(line) + "\n")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Two domains with the same categories; images of `a` have two captions."""
    folder = tmp_path_factory.mktemp("built")
    sideways = Image.Exif()
    sideways[0x0112] = 6
    odd = {
        "turned.jpg": image_bytes(90, form="JPEG", exif=sideways),
        "map.bmp": image_bytes(91, form="BMP"),
        "whole.webp": image_bytes(92, form="WEBP"),
        "plain.jpg": image_bytes(93, form="JPEG"),
        "glass.png": encoded(Image.merge("RGBA", (*scene(94).split(), scene(95).convert("L")))),
    }
    draw(folder / "raw", "a", {f"{n}.png": image_bytes(n) for n in range(9)}, 2)
    draw(folder / "raw", "b", odd)
    with caches_in(folder):
        fdrd.build(folder / "raw", folder / "data", workers=1)
    return folder / "data"


def read(folder):
    """Return the samples of all shards."""
    samples = {}
    shards = int((folder / "nshards.txt").read_text())
    assert {f"{n}.tar" for n in range(shards)} == {path.name for path in folder.glob("*.tar")}
    for number in range(shards):
        with tarfile.open(folder / f"{number}.tar") as archive:
            for member in archive:
                key, _, ending = member.name.partition(".")
                content = archive.extractfile(member)
                assert content is not None
                samples.setdefault(key, {})[ending] = content.read()
    return list(samples.values())


def pixels(sample):
    """Decode an image like a reader that supports three formats and ignores orientation."""
    (ending,) = {"jpg", "png", "webp"} & sample.keys()
    return Image.open(io.BytesIO(sample[ending])).convert("RGB").tobytes()


def test_each_domain_is_a_root_with_its_images_and_captions(built, tmp_path):
    found = fdrd.export(built, tmp_path / "out", to="webdataset")
    assert {(each.domain, each.split, each.images, each.captions) for each in found} == {
        ("a", "test", 9, 18),
        ("b", "test", 5, 5),
    }
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b"]
    for domain in "ab":
        root = tmp_path / "out" / domain
        assert (root / "dataset_type.txt").read_text().strip() == "retrieval"
        view = fdrd.load(built).view("test", domain)
        wanted = [
            [view.captions[caption] for image, caption in view.pairs if image == number]
            for number in range(len(view.image_digests))
        ]
        samples = read(root / "test")
        assert [sample["txt"].decode().splitlines() for sample in samples] == wanted
        shown = [image.tobytes() for image in view.images(range(len(samples)))]
        assert [pixels(sample) for sample in samples] == shown


def test_images_keep_their_bytes_unless_a_simple_reader_would_decode_them_differently(
    built, tmp_path
):
    fdrd.export(built, tmp_path / "out", to="webdataset", domain="b")
    kept = {}
    for sample in read(tmp_path / "out" / "b" / "test"):
        (row,) = json.loads(sample["json"])["rows"]
        (ending,) = {"jpg", "png", "webp"} & sample.keys()
        same = hashlib.sha256(sample[ending]).hexdigest() == row["source"]["sha256"]
        kept[Path(row["source"]["file"]).name] = (ending, same)
    assert kept == {
        "turned.jpg": ("png", False),
        "map.bmp": ("png", False),
        "whole.webp": ("webp", True),
        "plain.jpg": ("jpg", True),
        "glass.png": ("png", False),
    }


def test_classification_lists_only_the_classes_of_the_domain(built, tmp_path):
    fdrd.export(built, tmp_path / "out", to="webdataset", task="zeroshot_classification")
    root = tmp_path / "out" / "a"
    assert not (root / "dataset_type.txt").exists()
    assert (root / "classnames.txt").read_text().split() == ["robin", "wren"]
    assert "{c}" in (root / "zeroshot_classification_templates.txt").read_text()
    for sample in read(root / "test"):
        row = json.loads(sample["json"])["rows"][0]
        assert ["robin", "wren"][int(sample["cls"])] == row["category"]
        assert "txt" not in sample


def test_there_are_enough_shards_for_all_workers_and_none_is_too_large(built, tmp_path):
    fdrd.export(built, tmp_path / "few", to="webdataset", domain="a")
    assert (tmp_path / "few/a/test/nshards.txt").read_text().strip() == "4"
    fdrd.export(built, tmp_path / "small", to="webdataset", domain="a", shard_bytes=1)
    assert (tmp_path / "small/a/test/nshards.txt").read_text().strip() == "9"
    assert read(tmp_path / "few/a/test") == read(tmp_path / "small/a/test")


def test_a_folder_that_is_not_empty_is_rejected_and_unchanged(built, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(FdrdError, match="contains files already; give a new or empty folder"):
        fdrd.export(built, tmp_path / "out", to="webdataset")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_domain_name_cannot_leave_the_output_folder(
    make_dataset, make_row, tmp_path, monkeypatch
):
    row = make_row(0, image_bytes(0), "A wren.", "wren", domain="../up")
    dataset = make_dataset([row], "test", ["wren"])
    monkeypatch.setattr("fdrd.exports.writing.load_splits", lambda *_: [dataset])
    with pytest.raises(FdrdError, match="cannot be used as a folder name"):
        fdrd.export("org/data", tmp_path / "out", to="webdataset")
    assert not (tmp_path / "up").exists()
