"""Images without a caption are found; captions are not invented from folders that are not categories."""

import pytest
from layouts import LAYOUTS, PAIRS

from fdrd.captioning.uncaptioned import find_uncaptioned
from fdrd.errors import FdrdError


def test_folders_that_are_not_categories_are_refused(tmp_path, write, draw):
    for number in range(3):
        write(f"val2017/{number}.png", draw(number))
    write("boxes.csv", "bild,beschreibung\nval2017/1.png,A small wren.\n")
    with pytest.raises(FdrdError) as raised:
        find_uncaptioned(tmp_path / "raw")
    assert "3 of 3 images have no category" in str(raised.value)
    assert "Not used: boxes.csv: " in str(raised.value)
    assert "--map image=bild --map caption=beschreibung" in str(raised.value)
    write("domain.toml", 'category = "bird"')
    assert find_uncaptioned(tmp_path / "raw").categories == {"raw": ("bird",)}


def test_a_captioned_source_needs_no_captions(tmp_path):
    LAYOUTS["coco"].write(tmp_path, PAIRS)
    with pytest.raises(FdrdError, match="every image has a caption"):
        find_uncaptioned(tmp_path)


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path, birds, monkeypatch):
    (birds / "metadata.jsonl").unlink()
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FDRD_CACHE", str(tmp_path / "file/cache"))
    assert len(find_uncaptioned(birds).images) == 48


def test_an_image_that_changed_after_its_check_is_not_sent(birds):
    (birds / "metadata.jsonl").unlink()
    one, two, *_ = find_uncaptioned(birds).images
    (birds / one.path).write_bytes((birds / two.path).read_bytes())
    two.load()
    with pytest.raises(OSError, match="changed since it was checked; run the command again"):
        one.load()
