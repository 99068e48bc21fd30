"""Data and options at their limits, for DCAR and for a baseline: a right result, or a message that helps."""

import pytest
from msgspec.structs import asdict

from benchmark.rank_metrics import DIRECTIONS
from fdrd.errors import FdrdError
from fdrd.text.attributes import find_attributes
from tests.running import run_method

ALONE = 2
"""Epochs in which the adapter of `dcar` trains alone."""
TRAIN = {"epochs": 2, "batch_size": 4}
COLORS = ("red", "green", "blue", "black")

both = pytest.mark.parametrize("method", ["dcar", "maple"])


@pytest.fixture
def splits(make_row, make_dataset, make_drawing):
    """The same few rows as training, validation and test split, from (color, shape, caption)."""

    def make(described, categories):
        rows = []
        for number, (color, shape, caption) in enumerate(described):
            row = make_row(number, make_drawing(color, shape, "left"), caption, shape)
            row["attributes"] = [asdict(each) for each in find_attributes(caption, shape)]
            rows.append(row)
        return {
            name: make_dataset(rows, name, categories) for name in ("train", "validation", "test")
        }

    return make


def run(method, data, backbone, **asked):
    alone = {"adapter_epochs": ALONE} if method == "dcar" else {}
    options = {"n_ctx": 2, "depth": 2, **alone, **asked.pop("options", {})}
    train = {**TRAIN, **asked.pop("train", {})}
    return run_method(method, data, backbone=backbone, options=options, train=train, **asked)


def check(result, queries):
    """Every query has a rank within the gallery, and the training came to an end."""
    alone = ALONE if result.settings.method == "dcar" else 0
    assert len(result.fit.epochs) == alone + 2
    for direction in DIRECTIONS:
        ranks = list(map(int, result.ranks[direction].strict.split()))
        assert len(ranks) == queries
        assert all(1 <= rank <= queries for rank in ranks)


@both
def test_a_nan_loss_names_the_step_and_a_remedy(method, tiny_clip, tiny_dataset, tmp_path):
    """Prompts of a rate of 1e30 overflow; nothing is left that a rerun would resume."""
    rate = {"learning_rate": 1e30, "optimizer": "sgd"}
    options = {"adapter_epochs": 0} if method == "dcar" else {}
    message = r"step \d+ of \d+; lower the learning rate, e.g. -T learning_rate"
    with pytest.raises(FdrdError, match=message):
        run(method, tiny_dataset, tiny_clip, options=options, train=rate, results=tmp_path)
    assert not list(tmp_path.iterdir())


@both
def test_a_category_may_have_one_image(method, tiny_clip, splits):
    rows = [(color, "circle", f"a {color} circle") for color in COLORS]
    data = splits([*rows, ("red", "square", "a red square")], ["circle", "square"])
    result = run(method, data, tiny_clip)
    check(result, 5)
    assert set(result.metrics.by_category) == {"circle", "square"}
    assert result.metrics.by_category["square"]["image_to_text"].queries == 1
    check(run(method, data, tiny_clip, shots=1, train={"batch_size": 2}), 5)


@both
@pytest.mark.parametrize("caption", ["a {} circle", "thing {}"], ids=["named", "unnamed"])
def test_a_dataset_may_have_one_category(method, caption, tiny_clip, splits):
    """There is no other category to swap in; where nothing is described either, no negative at all."""
    names = COLORS if "circle" in caption else range(4)
    rows = [
        (color, "circle", caption.format(each)) for color, each in zip(COLORS, names, strict=True)
    ]
    check(run(method, splits(rows, ["circle"]), tiny_clip), 4)


@both
def test_captions_may_have_one_word_or_two_hundred(method, tiny_clip, splits):
    """What does not fit the context is cut; two captions that agree up to there tie, and a tie is lost."""
    long = "red circle " * 100
    captions = ["circle", "red", f"{long}on the left", f"{long}on the right"]
    rows = [(color, "circle", text) for color, text in zip(COLORS, captions, strict=True)]
    result = run(method, splits(rows, ["circle"]), tiny_clip)
    check(result, 4)
    to_text = list(map(int, result.ranks["image_to_text"].strict.split()))
    assert min(to_text[2:]) > 1
