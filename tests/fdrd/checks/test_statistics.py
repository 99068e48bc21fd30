import pytest

import fdrd
from fdrd.build_config import BuildConfig
from fdrd.pipeline.builder import build


@pytest.mark.parametrize("format", ["arrow", "parquet"])
def test_statistics_of_a_build_are_those_of_its_manifest(birds, tmp_path, format):
    built = build(birds, tmp_path / "out", config=BuildConfig(format=format), workers=1)
    found = fdrd.stats(tmp_path / "out")
    assert {each.split: (each.pairs, each.images, each.captions) for each in found} == {
        split: (counts.pairs, counts.images, counts.captions)
        for split, counts in built.manifest.splits["raw"].items()
    }
    assert all(each.words_max >= each.words_median > 1 for each in found)
    assert all(each.negatives_per_pair > 0 for each in found)
