"""Composition: files in the published formats, and metrics by hand and against their definitions."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from benchmark import Features
from benchmark.evaluation.composition import composition, retrieval_metrics, text_only_share
from benchmark.evaluation.composition_files import read_composition
from fdrd.commands import app
from fdrd.errors import FdrdError

COLORS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


class Colors:
    """The feature of an image is its color, that of a caption the mean of the colors that it names."""

    def encode_image(self, images):
        pixels = [image.getpixel((0, 0)) for image in images]
        return Features(torch.nn.functional.normalize(torch.tensor(pixels).float()))

    def encode_text(self, captions):
        named = [[COLORS[w] for w in text.split() if w in COLORS] for text in captions]
        means = [torch.tensor(each).float().mean(0) if each else torch.ones(3) for each in named]
        return Features(torch.nn.functional.normalize(torch.stack(means)))

    def similarity(self, images, texts):
        return images.pooled @ texts.pooled.T


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name, color in COLORS.items():
        Image.new("RGB", (4, 4), color).save(folder / f"{name}.png")
    return folder


def measured(paths, images, captions=None):
    return composition(Colors(), read_composition(paths, images, captions), images)


def written(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def choice(image, caption, negative, **more):
    return {"filename": f"{image}.png", "caption": caption, "negative_caption": negative, **more}


def test_a_choice_is_right_if_the_caption_scores_above_the_negative(tmp_path, images):
    """The first is right, the second wrong, the third a tie and so wrong."""
    rows = [("red", "a red cup", "a blue cup"), ("red", "a blue cup", "a red cup"),
            ("green", "a red cup on blue", "a blue cup on red")]  # fmt: skip
    file = {str(number): choice(*row) for number, row in enumerate(rows)}
    written(tmp_path / "sugar" / "swap_att.json", file)
    (score,) = measured([tmp_path / "sugar"], images)
    assert (score.file, score.metric, score.rows, score.chance) == ("swap_att", "accuracy", 3, 0.5)
    assert score.score == pytest.approx(1 / 3)
    assert score.text_only is None  # three rows do not fill the folds


def test_two_right_captions_must_both_win_and_be_most_alike(tmp_path, images):
    """ITT: of the first both win; of the second one ties. TOT: only the pair of the first is the most alike."""
    rows = [
        choice("red", "a red cup", "a blue cup", caption2="the cup is red"),
        choice("red", "a red cup", "the blue cup", caption2="the cup is blue"),
    ]
    itt, tot = measured([written(tmp_path / "replace_att.json", rows)], images)
    assert (itt.metric, itt.score, tot.metric, tot.score) == ("ITT", 0.5, "TOT", 0.5)
    # By words "a red cup" is nearest to "a blue cup", and the second pair shares "cup" with all.
    assert tot.text_only == 0


def test_a_reader_without_the_image_finds_what_the_text_gives_away():
    """Every wrong caption has a word of its own, which no caption in training contradicts."""
    rows = [[(f"a cup number {n}", f"a purple cup number {n}")] for n in range(40)]
    assert text_only_share(rows) == 1
    hidden = [[(f"{'ab'[n % 2]} cup {n}", f"{'ba'[n % 2]} cup {n}")] for n in range(40)]
    assert text_only_share(hidden) < 0.9
    pairs = [[row[0], (row[0][1], row[0][0])] for row in rows]  # one right, one wrong way round
    assert text_only_share(pairs) == 0


def reference(scores, relevant):
    """Return the three metrics as the set's own paper words them; no two scores are equal."""
    best = sorted(range(len(scores)), key=lambda place: -scores[place])
    precisions = [len(set(best[:r]) & set(relevant)) / r for r in range(1, len(relevant) + 1)]
    counted = [p if best[r] in relevant else 0 for r, p in enumerate(precisions)]
    return sum(counted) / len(counted), precisions[-1], float(best[0] in relevant)


def test_retrieval_metrics_equal_their_definition_and_ties_lose():
    generator = np.random.default_rng(0)
    for _ in range(20):
        scores = generator.normal(size=12).astype(np.float32)
        relevant = sorted(generator.choice(12, size=4, replace=False).tolist())
        assert retrieval_metrics(scores, relevant) == pytest.approx(reference(scores, relevant))
    assert retrieval_metrics(np.zeros(4, dtype=np.float32), [0, 1]) == (0, 0, 0)


@pytest.fixture
def eccv(tmp_path):
    """Three images with a caption each; the query image 1 has two relevant captions."""
    gallery = {"1": [10], "2": [20], "3": [30]}
    folder = tmp_path / "eccv"
    written(folder / "original_image_to_caption.json", gallery)
    written(folder / "eccv_image_to_caption.json", {"1": [10, 20]})
    written(folder / "eccv_caption_to_image.json", {"10": [1], "30": [2, 3]})
    named = zip((1, 2, 3), COLORS, strict=True)
    captions = [(10, 1, "a red cup"), (20, 2, "green and red"), (30, 3, "a blue cup"), (99, 9, "a")]
    coco = {
        "images": [{"id": number, "file_name": f"{name}.png"} for number, name in named],
        "annotations": [{"id": n, "image_id": i, "caption": text} for n, i, text in captions],
    }
    return folder, written(tmp_path / "captions.json", coco)


def test_many_matches_of_a_query(eccv, images):
    """Image 1 (red) ranks 10, 20 first. Caption 30 (blue) finds image 3 first; 1 and 2 tie, so 1 comes last."""
    folder, captions = eccv
    found = {s.metric: s for s in measured([folder], images, captions)}
    assert [found[f"{m} image to text"].score for m in ("mAP@R", "R-precision", "R@1")] == [1, 1, 1]
    assert found["mAP@R text to image"].score == pytest.approx((1 + 0.5) / 2)
    assert found["R-precision text to image"].score == pytest.approx((1 + 0.5) / 2)
    assert found["R@1 text to image"].score == 1
    assert found["R@1 image to text"].rows == 1
    assert found["R@1 image to text"].chance == pytest.approx(2 / 3)


def test_what_is_missing_is_named(eccv, images, tmp_path):
    folder, captions = eccv
    with pytest.raises(FdrdError, match=r"give COCO's captions_val2014.json with --captions"):
        measured([folder], images)
    written(folder / "eccv_caption_to_image.json", {"10": [7]})
    with pytest.raises(FdrdError, match=r"image 7 is not in .*1 are missing"):
        measured([folder], images, captions)
    lacking = written(tmp_path / "a.json", {"0": {"filename": "red.png", "caption": "a"}})
    with pytest.raises(FdrdError, match=r"a.json: .*missing required field `negative_caption`"):
        measured([lacking], images)
    for name in ("gone.png", "../a.json", "a\0.png"):
        row = written(tmp_path / "b.json", {"0": choice("red", "a", "b") | {"filename": name}})
        with pytest.raises(FdrdError, match=r"b: image .*--images"):
            measured([row], images)
    for deep in ('{"x": ' + "[" * 100_000, "[" * 100_000):
        (tmp_path / "a.json").write_text(deep)
        with pytest.raises(FdrdError, match="not a file of SugarCrepe"):
            measured([tmp_path / "a.json"], images)
    with pytest.raises(FdrdError, match=r"no \*.json"):
        measured([images], images)


def test_the_command_prints_a_row_per_number(tmp_path, images, monkeypatch):
    monkeypatch.setenv("FDRD_CACHE", str(tmp_path / "cache"))
    rows = {str(n): choice("red", f"a red cup {n}", f"a blue cup {n}") for n in range(40)}
    file = written(tmp_path / "swap_att.json", rows)
    asked = ["composition", str(file), "--images", str(images), "--backbone", "embedded"]
    done = CliRunner().invoke(app, asked)
    assert re.search(r"swap_att +accuracy +[\d.]+ +100.0 +50.0 +40", done.stdout), done.output
