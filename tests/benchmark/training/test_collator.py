"""Batches of the collator give the same features as the backbone, for every format of rows."""

import io

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from benchmark import ClipCollator
from tests.scenes import encoded


@pytest.fixture
def rows(make_row, make_drawing, make_dataset):
    """Six rows of odd sizes, one grayscale and one transparent; the last has one negative, the others two."""
    made = []
    for number, color in enumerate(["red", "green", "blue", "black", "red", "green"]):
        image = Image.open(io.BytesIO(make_drawing(color, "circle", "left")))
        image = image.resize((40 + number, 44)).convert({2: "L", 3: "RGBA"}.get(number, "RGB"))
        if number == 3:
            image.putalpha(Image.linear_gradient("L").resize(image.size))
        colors = ("white", "black")[: 1 if number == 5 else 2]
        negatives = [(f"a {other} circle", "circle", "attribute", "color") for other in colors]
        caption = f"a {color} circle on the left" + " and a cat" * (20 if number == 4 else number)
        made.append(make_row(number, encoded(image), caption, "circle", negatives=negatives))
    return make_dataset(made, "train", ["circle", "square"])._rows


def test_a_batch_gives_the_features_of_the_backbone(rows, tiny_clip):
    (batch,) = DataLoader(rows, 6, collate_fn=ClipCollator.of(tiny_clip))
    assert batch.keys() == {"pixel_values", "input_ids", "attention_mask"}
    with torch.no_grad():
        found = tiny_clip.model(**batch)
    images = tiny_clip.encode_image([row["image"] for row in rows]).pooled
    captions = tiny_clip.encode_text(list(rows["caption"])).pooled
    torch.testing.assert_close(found.image_embeds, images, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.text_embeds, captions, atol=1e-5, rtol=0)


def test_a_truncated_caption_keeps_eos(rows, tiny_clip):
    ids = ClipCollator.of(tiny_clip)([rows[4]])["input_ids"]
    assert ids.shape[1] == 24
    assert ids[0, -1] == tiny_clip.tokenizer.eos_token_id


def test_torch_format_and_streams_give_the_same_batch(rows, tiny_clip):
    collate = ClipCollator.of(tiny_clip)
    (expected,) = DataLoader(rows, 6, collate_fn=collate)
    for other in (rows.with_format("torch"), rows.to_iterable_dataset()):
        (found,) = DataLoader(other, 6, collate_fn=collate)
        for key in expected:
            torch.testing.assert_close(found[key], expected[key], atol=1e-6, rtol=0)


def test_padded_negatives_are_masked(rows, tiny_clip):
    batch = ClipCollator.of(tiny_clip, negatives=2)(list(rows))
    assert batch["negative_input_ids"].shape[:2] == batch["negative_valid"].shape == (6, 2)
    assert batch["negative_valid"].tolist() == [[True, True]] * 5 + [[True, False]]
    decoded = tiny_clip.tokenizer.decode(
        batch["negative_input_ids"][0, 1], skip_special_tokens=True
    )
    assert decoded == "a black circle"
