"""Policies are checked before anything is read, and decide what happens to each reason."""

import json

import pytest

from fdrd.build_config import BuildConfig
from fdrd.checks.validation import validate
from fdrd.errors import CheckError, FdrdError
from fdrd.pipeline.builder import build
from fdrd.reasons import REASONS, parse


@pytest.fixture
def leaky(birds, write, draw):
    """Return birds with a training image and a training caption that are also in the test split."""
    write("train/robin/copy.png", draw(5))  # 05.png is in the test split
    write("train/robin/other.png", draw(300))
    caption = "A small robin sits on branch 5 in the green shade."
    lines = [
        {"file_name": "train/robin/copy.png", "caption": "A copy."},
        {"file_name": "train/robin/other.png", "caption": caption},
    ]
    metadata = birds / "metadata.jsonl"
    metadata.write_text(metadata.read_text() + "".join(json.dumps(line) + "\n" for line in lines))
    return birds


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("image_in_other_splt=drop", "did you mean image_in_other_split"),
        ("duplicate=drop", r"did you mean duplicate_id or duplicate_pair\?"),
        ("duplicate_pair=kep", "did you mean keep"),
        ("image_broken=keep", "cannot be kept"),
        ("duplicate_pair", "give REASON=keep"),
        ("=keep", "give REASON=keep"),
        ("zzz=drop", "`fdrd build --reasons` lists them"),
    ],
)
def test_an_invalid_policy_has_a_suggestion(option, message):
    with pytest.raises(FdrdError, match=message):
        parse([option])


def test_a_config_completes_and_checks_the_policy():
    policy = BuildConfig(policy={"duplicate_pair": "fail"}).policy
    assert set(policy) == set(REASONS)
    assert (policy["duplicate_pair"], policy["caption_in_other_split"]) == ("fail", "keep")
    assert parse(["duplicate_pair=keep", "duplicate_pair=fail"]) == policy
    with pytest.raises(FdrdError, match="unknown reason"):
        BuildConfig(policy={"x": "keep"})


@pytest.mark.parametrize("reason", ["image_in_other_split", "caption_in_other_split"])
def test_validation_accepts_only_leaks_that_the_policy_keeps(leaky, tmp_path, reason):
    built = build(leaky, tmp_path / "out", config=BuildConfig(policy={reason: "keep"}), workers=1)
    assert built.manifest.reported[reason] == 1
    assert list(validate(tmp_path / "out")) == []
    manifest = tmp_path / "out/manifest.json"
    manifest.write_text(manifest.read_text().replace(f'"{reason}": "keep"', f'"{reason}": "drop"'))
    what = reason.split("_", maxsplit=1)[0]
    assert [f"its {what} is also in" in each.what for each in validate(tmp_path / "out")] == [True]


def test_a_failing_policy_names_the_first_record_and_leaves_no_dataset(leaky, tmp_path):
    config = BuildConfig(policy={"image_in_other_split": "fail"})
    with pytest.raises(CheckError, match=r"1 image_in_other_split; the first is metadata.jsonl"):
        build(leaky, tmp_path / "out", config=config, workers=1)
    assert not (tmp_path / "out").exists()
    assert "image_in_other_split" in (tmp_path / "out.work/rejected.jsonl").read_text()
    assert build(leaky, tmp_path / "out", workers=1).manifest.records.rejected == 1
