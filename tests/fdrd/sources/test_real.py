"""Caltech-101 with the published captions, where a copy lies beside the project or at $FDRD_REAL."""

import os
import shutil
from pathlib import Path

import pytest

from fdrd.reasons import Rejection
from fdrd.sources.layouts import released

REAL = Path(os.environ.get("FDRD_REAL", Path(__file__).parents[3].parent / "shared" / "real"))
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the published annotations are not here")


@needs_real
def test_every_published_pair_of_caltech_finds_its_picture():
    found = list(released.read(REAL / "caltech101"))
    assert len(found) == 8242
    assert not [item for item in found if isinstance(item, Rejection)]
    assert len({item.category for item in found}) == 100
    assert sum(item.split == "test" for item in found) == 2465
    assert len({item.image.path for item in found}) == 8242
    by_key = {item.id: item for item in found}
    airplane = by_key["airplanes_image_0357.jpg"]
    assert airplane.image.path == "101_ObjectCategories/airplanes/image_0357.jpg"
    assert airplane.category == "airplane"
    assert not any("_" in item.caption or "photo of banded.The" in item.caption for item in found)


@needs_real
@pytest.mark.parametrize(
    ("file", "records"),
    [("pets_test.json", 3669), ("flower_test.json", 2463), ("inter_dtd_test.json", 1692)],
)
def test_the_other_published_files_are_read_but_for_their_pictures(tmp_path, file, records):
    shutil.copy(REAL / "annotations_only" / file, tmp_path)  # a link out would not be followed
    found = list(released.read(tmp_path))
    assert len(found) == records
    assert {item.reason for item in found} == {"image_missing"}
