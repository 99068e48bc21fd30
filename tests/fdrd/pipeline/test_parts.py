"""Parts that are built separately and merged without the source give the bytes of one build."""

import json
import shutil

import pytest

from fdrd.build_config import BuildConfig
from fdrd.checks.validation import validate
from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build, merge
from fdrd.pipeline.part_builder import build_part
from fdrd.pipeline.parts import Part, parse_part
from tests.folders import digests

SMALL = BuildConfig(shard_bytes=800)


@pytest.fixture
def untidy(birds, write, draw):
    """Return birds with a leak, a copy within a split, a broken image, a bad line and a missing file."""
    write("train/wren/04.png", draw(4)[:60])
    write("train/robin/leak.png", draw(5))  # also in the test split
    write("train/robin/twin.png", draw(7))  # also in this split, with the same caption
    lines = [
        json.dumps({"file_name": "train/robin/leak.png", "caption": "A leak."}),
        "not JSON",
        json.dumps({"file_name": "train/robin/lost.png", "caption": "A lost one."}),
        json.dumps(
            {
                "file_name": "train/robin/twin.png",
                "caption": "A small robin sits on branch 7 in the green shade.",
            }
        ),
    ]
    metadata = birds / "metadata.jsonl"
    metadata.write_text(metadata.read_text() + "\n".join(lines) + "\n")
    return birds


def make_parts(source, folder, of, config=SMALL):
    parts = [folder / f"{number}-of-{of}" for number in range(1, of + 1)]
    for number, part in enumerate(parts, 1):
        build_part(source, part, Part(number, of), config=config, workers=1)
    return parts


@pytest.mark.parametrize("of", [1, 3])
def test_merged_parts_equal_a_single_build(untidy, tmp_path, of):
    whole = build(untidy, tmp_path / "whole", config=SMALL, workers=1)
    assert len(whole.manifest["rejected"]) >= 4
    parts = make_parts(untidy, tmp_path / "parts", of)
    shutil.rmtree(untidy)
    merged = merge(parts[::-1], tmp_path / "merged", workers=1)
    assert digests(tmp_path / "merged") == digests(tmp_path / "whole")
    assert merged.shards_written > 3
    assert list(validate(tmp_path / "merged")) == []
    assert merge(parts, tmp_path / "merged", workers=1).nothing_to_do


def test_each_part_checks_only_its_own_images(birds, tmp_path):
    parts = make_parts(birds, tmp_path / "parts", 3)
    checked = [
        {json.loads(line)["image"]["path"] for line in (part / "images.jsonl").open()}
        for part in parts
    ]
    assert all(checked)
    assert sum(map(len, checked)) == len(set().union(*checked)) == 48


def test_a_part_is_rebuilt_only_if_the_source_changed(birds, tmp_path, draw):
    part = tmp_path / "part"
    assert build_part(birds, part, Part(1, 1), workers=1)
    assert not build_part(birds, part, Part(1, 1), workers=1)
    ledger = tmp_path / "part.work" / "examined.jsonl"
    lines = len(ledger.read_text().splitlines())
    (birds / "train/wren/02.png").write_bytes(draw(99))
    assert build_part(birds, part, Part(1, 1), workers=1)
    assert len(ledger.read_text().splitlines()) == lines + 1


def test_parts_of_different_builds_are_rejected(birds, tmp_path, draw):
    one, two = make_parts(birds, tmp_path / "parts", 2)
    with pytest.raises(FdrdError, match="part 2/2 is missing"):
        merge([one], tmp_path / "out")
    with pytest.raises(FdrdError, match="part 2/2 is missing"):
        merge([one, one], tmp_path / "out")
    shutil.copytree(one, tmp_path / "copy")
    with pytest.raises(FdrdError, match="same part"):
        merge([one, two, tmp_path / "copy"], tmp_path / "out")
    build_part(birds, tmp_path / "other", Part(2, 2), config=BuildConfig(seed=1), workers=1)
    with pytest.raises(FdrdError, match="config differs"):
        merge([one, tmp_path / "other"], tmp_path / "out")
    line = {"file_name": "train/wren/00.png", "caption": "A wren, yet again."}
    (birds / "metadata.jsonl").open("a").write(json.dumps(line) + "\n")
    build_part(birds, tmp_path / "later", Part(2, 2), config=SMALL, workers=1)
    with pytest.raises(FdrdError, match="source differs"):
        merge([one, tmp_path / "later"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["items.jsonl", "images.jsonl", "images.tar", "part.json"])
def test_a_damaged_part_is_rejected(birds, tmp_path, name):
    (part,) = make_parts(birds, tmp_path / "parts", 1)
    data = bytearray((part / name).read_bytes())
    data[len(data) // 2] ^= 1
    (part / name).write_bytes(data)
    with pytest.raises(FdrdError, match=r"build the part again|build --part"):
        merge([part], tmp_path / "out")


def test_a_part_does_not_overwrite_other_files(birds, tmp_path):
    build(birds, tmp_path / "out", workers=1)
    with pytest.raises(FdrdError, match="its own --out"):
        build_part(birds, tmp_path / "out", Part(1, 2), workers=1)
    with pytest.raises(FdrdError, match="is a built dataset, not a part of a build"):
        merge([tmp_path / "out"], tmp_path / "merged")


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "-1/2", "1/2/3", ""])
def test_an_invalid_part_is_rejected(text):
    with pytest.raises(FdrdError, match="I from 1 to N"):
        parse_part(text)
