"""A converted dataset equals a build in that format."""

import json

import pytest

from fdrd.build_config import BuildConfig
from fdrd.checks.validation import validate
from fdrd.errors import FdrdError
from fdrd.hub.dataset_repository import convert_dataset
from fdrd.pipeline.builder import build


@pytest.mark.parametrize(("built_as", "wanted"), [("arrow", "parquet"), ("parquet", "arrow")])
def test_a_converted_dataset_equals_a_build_in_that_format(birds, tmp_path, built_as, wanted):
    folder = build(birds, tmp_path / "a/out", config=BuildConfig(format=built_as), workers=1).out
    direct = build(birds, tmp_path / "b/out", config=BuildConfig(format=wanted), workers=1).out
    assert convert_dataset(folder, built_as) == folder
    copy = convert_dataset(folder, wanted)
    assert not list(validate(copy))
    files = {p.relative_to(direct) for p in direct.rglob("*") if p.is_file()}
    for file in files:
        if file.name != "manifest.json":
            assert (copy / file).read_bytes() == (direct / file).read_bytes(), file
    made, of_build = (json.loads((f / "manifest.json").read_text()) for f in (copy, direct))
    for shard in (*made["shards"], *of_build["shards"]):
        del shard["key"]
    assert made == of_build


def test_a_conversion_is_reused_until_the_build_changes(birds, tmp_path, draw):
    folder = build(birds, tmp_path / "out", workers=1).out
    before = (convert_dataset(folder, "parquet") / "manifest.json").stat().st_mtime_ns
    assert (convert_dataset(folder, "parquet") / "manifest.json").stat().st_mtime_ns == before
    (birds / "train/wren/02.png").write_bytes(draw(99))
    digest = build(birds, folder, workers=1).manifest.digest
    assert (convert_dataset(folder, "parquet") / "of.txt").read_text() == digest
    with pytest.raises(FdrdError, match="choose from arrow, parquet"):
        convert_dataset(folder, "csv")
