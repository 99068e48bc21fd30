"""Caltech-101 with the published captions, if $FDRD_REAL or a folder beside the project has a copy."""

from fdrd.reasons import Rejection
from fdrd.sources.layouts import released
from fdrd.sources.reading.source_folder import SourceFolder
from tests.real import REAL, needs_real


@needs_real
def test_every_published_pair_of_caltech_has_its_image():
    found = list(released.read(SourceFolder(REAL / "caltech101")))
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
