"""The field guide as a folder."""

import json
from collections import Counter

import pytest
from PIL import Image

from fdrd.errors import FdrdError
from fdrd.field_guide import categories, draw, sample, splits
from tests.folders import digests

SMALL = {"categories": 12, "pairs": 72, "size": 32}


def lines(folder):
    with (folder / "metadata.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    out = tmp_path_factory.mktemp("drawn") / "raw"
    assert sample(out, **SMALL, workers=1)
    return out


def test_metadata_matches_the_images(drawn):
    described = lines(drawn)
    files = {path.relative_to(drawn).as_posix() for path in drawn.rglob("*.jpg")}
    assert len(described) == SMALL["pairs"]
    assert {line["file_name"] for line in described} == files
    for line in described:
        split, category, _ = line["file_name"].split("/")
        assert (split, category) == (line["split"], line["category"])
        assert category in line["caption"]
        assert line["license"] == "CC0-1.0"
        for span in line["attributes"]:
            assert line["caption"][span["start"] : span["end"]] == span["value"]
        with Image.open(drawn / line["file_name"]) as image:
            assert image.size == (SMALL["size"],) * 2


def test_files_hold_what_draw_returns(drawn):
    category = categories(SMALL["categories"])[4]
    plate = draw(category, 3, size=SMALL["size"])
    (line,) = (li for li in lines(drawn) if li["file_name"].endswith(f"/{category.name}/0004.jpg"))
    assert (drawn / line["file_name"]).read_bytes() == plate.encoded()
    assert line["caption"] == plate.caption


def test_another_seed_draws_other_images_of_the_same_categories(drawn, tmp_path):
    sample(tmp_path / "raw", **SMALL, seed=1, workers=1)
    one, other = lines(drawn), lines(tmp_path / "raw")
    assert {line["category"] for line in one} == {line["category"] for line in other}
    images = set(digests(drawn).values()) & set(digests(tmp_path / "raw").values())
    assert not images


def test_groups_stay_in_one_split(drawn):
    splits_of = {}
    for line in lines(drawn):
        splits_of.setdefault(line["group"], set()).add(line["split"])
    assert all(len(found) == 1 for found in splits_of.values())
    assert len(splits_of) == SMALL["pairs"] // 2


@pytest.mark.parametrize(("categories_", "pairs"), [(120, 2400), (1500, 230_000), (40, 2400)])
def test_ten_test_images_per_category_at_the_documented_scales(categories_, pairs):
    for images in {pairs // categories_, -(-pairs // categories_)}:
        counts = Counter(splits(images))
        assert counts["test"] >= 10
        assert counts["validation"] >= 2
        assert counts["train"] >= 8
        assert counts.total() == images


def test_a_second_run_draws_nothing_and_other_contents_are_never_overwritten(drawn, tmp_path):
    before = digests(drawn)
    assert not sample(drawn, **SMALL, workers=1)
    with pytest.raises(FdrdError, match="holds something else"):
        sample(drawn, **{**SMALL, "pairs": 96}, workers=1)
    assert digests(drawn) == before
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(FdrdError, match="remove it or choose another folder"):
        sample(tmp_path, **SMALL, workers=1)
    assert (tmp_path / "mine.txt").read_text() == "precious"


class Stopped(KeyboardInterrupt):
    """The user's Ctrl-C, told from any other."""


def test_an_interrupted_run_leaves_no_target_and_the_next_one_resumes(drawn, tmp_path):
    out = tmp_path / "raw"

    def stop(stage, done, total):
        if done >= total // 2:
            raise Stopped

    with pytest.raises(Stopped):
        sample(out, **SMALL, workers=1, progress=stop)
    assert not out.exists()

    seen = []
    assert sample(out, **SMALL, workers=1, progress=lambda stage, done, total: seen.append(done))
    assert seen[0] >= SMALL["pairs"] // 2  # what was finished is not drawn again
    assert seen[-1] == SMALL["pairs"]
    assert digests(out) == digests(drawn)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 8}, "pixels, got 8"),
        ({"pairs": 20}, "at least 48 pairs"),
        ({"categories": 0}, "at least one"),
        ({"first": -1}, "demo pool has"),
    ],
)
def test_invalid_arguments_are_refused_with_a_remedy(tmp_path, change, message):
    with pytest.raises(FdrdError, match=message):
        sample(tmp_path / "raw", **{**SMALL, **change}, workers=1)
    assert not any(tmp_path.iterdir())
