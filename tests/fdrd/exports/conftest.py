"""A small dataset with two domains that share categories, and an image with two captions."""

import json

import pytest

import fdrd
from tests.folders import caches_in
from tests.scenes import image_bytes


@pytest.fixture(scope="module")
def shared_birds(tmp_path_factory):
    """Return a built dataset with all splits. Captions have spans, negatives and signs of any script."""
    folder = tmp_path_factory.mktemp("birds")
    number = 0
    for domain in ("garden", "shore"):
        lines = []
        for split in ("train", "validation", "test"):
            for category in ("house wren", "robin"):
                number += 1
                suffix, form = (("png", "PNG"), ("jpg", "JPEG"))[number % 2]
                path = folder / "raw" / domain / "images" / f"{number}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(image_bytes(number, form=form))
                for caption in (
                    f"A red {category}, “no. {number}”, é\u4e2d.",
                    f"A small {category} {number}.",
                ):
                    lines.append({"file_name": f"images/{path.name}", "caption": caption})
                    lines[-1] |= {"category": category, "split": split, "license": "CC0-1.0"}
                    lines[-1] |= {"meta_category": "songbird"}
        text = "\n".join(map(json.dumps, lines))
        (folder / "raw" / domain / "metadata.jsonl").write_text(text)
    with caches_in(folder):
        fdrd.build(folder / "raw", folder / "data", workers=1)
    return folder / "data"
