"""COCO val 5k in shape: 5,000 drawn images, 25,010 captions; recalls equal those of an independent script."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from benchmark.rank_metrics import DIRECTIONS
from fdrd.pipeline.builder import build
from tests.running import run_method

IMAGES = int(os.environ.get("FDRD_COCO_IMAGES", "5000"))
COLORS = "red green blue yellow black white orange purple brown gray".split()
THINGS = "bird car dog cat boat train horse chair cup clock".split()


def draw_coco(root):
    """Write captions_val2017.json and the images: five captions each, one more for every 500th."""
    rng = np.random.default_rng(0)
    (root / "val2017").mkdir(parents=True)
    (root / "annotations").mkdir()
    images, annotations = [], []
    for number in range(IMAGES):
        name = f"{number:012d}.png"
        pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((32, 32), 0).save(root / "val2017" / name)
        images.append({"id": number, "file_name": name, "width": 32, "height": 32})
        for _ in range(6 if number % 500 == 0 else 5):
            color, thing = COLORS[rng.integers(10)], THINGS[rng.integers(10)]
            caption = f"A {color} {thing} beside {rng.integers(10**6)} trees."
            annotations.append({"id": len(annotations), "image_id": number, "caption": caption})
    coco = {"info": {}, "licenses": [], "images": images, "annotations": annotations}
    (root / "annotations/captions_val2017.json").write_text(json.dumps(coco))
    return coco


def independent_recalls(root, coco):
    """Rank all captions for each image and all images for each caption, from the JSON file itself.

    A tie counts against the method. Images and captions are encoded in the order of the file.
    """
    import torch

    from benchmark.models.loading import load_backbone

    backbone = load_backbone("embedded")
    with torch.no_grad():
        files = [root / "val2017" / image["file_name"] for image in coco["images"]]
        images = torch.cat([
            backbone.encode_image([Image.open(file).convert("RGB") for file in files[start : start + 64]]).pooled
            for start in range(0, len(files), 64)
        ]).double()  # fmt: skip
        captions = [each["caption"] for each in coco["annotations"]]
        texts = torch.cat([
            backbone.encode_text(captions[start : start + 256]).pooled
            for start in range(0, len(captions), 256)
        ]).double()  # fmt: skip
    images, texts = torch.nn.functional.normalize(images), torch.nn.functional.normalize(texts)
    scores = (images @ texts.T).numpy()
    owner = np.array([each["image_id"] for each in coco["annotations"]])
    best = np.array([scores[image, owner == image].max() for image in range(len(images))])
    to_text = 1 + np.array([(row > top).sum() for row, top in zip(scores, best, strict=True)])
    own = scores[owner, np.arange(len(captions))]
    to_image = 1 + (scores > own).sum(axis=0)
    return [
        {f"R@{k}": float(np.mean(ranks <= k)) for k in (1, 5, 10)} for ranks in (to_text, to_image)
    ]


@pytest.mark.slow
def test_zero_shot_recalls_of_coco_equal_an_independent_script(tmp_path):
    coco = draw_coco(tmp_path / "raw")
    built = build(tmp_path / "raw", tmp_path / "out", workers=2)
    assert built.manifest.records.kept == len(coco["annotations"])
    result = run_method("zero_shot", tmp_path / "out", split="validation", backbone="embedded")
    expected = independent_recalls(tmp_path / "raw", coco)
    for direction, recalls in zip(DIRECTIONS, expected, strict=True):
        values = result.metrics.by_direction[direction].values
        assert {name: values[name] for name in recalls} == pytest.approx(recalls, abs=2 / IMAGES)
