"""A CLIP and a dataset that are small enough to train in a test."""

import hashlib
import io

import torch
from datasets import Dataset, Features
from PIL import Image, ImageDraw
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
    PreTrainedTokenizerFast,
)

from benchmark.models.clip import CLIPBackbone
from fdrd.columns import features
from fdrd.dataset import RetrievalDataset

COLORS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220), "black": (0, 0, 0)}
SHAPES = ("circle", "square", "triangle")
PLACES = ("left", "right")
WORDS = [*"a photo of on the big small white with and cat dog".split(), *COLORS, *SHAPES, *PLACES]


LETTERS = [letter for letter in "abcdefghijklmnopqrstuvwxyz0123456789.," if letter not in WORDS]
PIECES = [*LETTERS, *(f"##{letter}" for letter in [*LETTERS, "a"]), *WORDS]
"""A token per word, letters for other words."""


def piece_tokenizer(pieces, before, after, context, normalizer=None, **special):
    """Return a tokenizer with these tokens; `before` and `after`, which may be empty, surround a caption."""
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    coding = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=40))
    if normalizer:
        coding.normalizer = normalizer
    coding.pre_tokenizer = pre_tokenizers.Whitespace()
    coding.post_processor = processors.TemplateProcessing(
        single=" ".join(each for each in (before, "$A", after) if each),
        special_tokens=[(end, vocabulary[end]) for end in (before, after) if end],
    )
    options = {"tokenizer_object": coding, "unk_token": "[UNK]", "model_max_length": context}
    return PreTrainedTokenizerFast(**options, **special)


def tokenizer():
    """Return a tokenizer whose EOS has the highest id, as in CLIP."""
    special = {"bos_token": "[BOS]", "eos_token": "[EOS]", "pad_token": "[EOS]"}
    return piece_tokenizer(["[UNK]", *PIECES, "[BOS]", "[EOS]"], "[BOS]", "[EOS]", 24, **special)


def clip_model(seed=0):
    """Return a CLIP with three layers, and different widths in each tower to detect mix-ups."""
    eos = len(tokenizer()) - 1
    layers = {"num_hidden_layers": 3, "num_attention_heads": 4}
    tokens = {"bos_token_id": eos - 1, "eos_token_id": eos, "pad_token_id": eos}
    tokens |= {"vocab_size": eos + 1, "max_position_embeddings": 24}
    text = CLIPTextConfig(hidden_size=32, intermediate_size=64, **tokens, **layers)
    size = {"hidden_size": 48, "intermediate_size": 96, "image_size": 32, "patch_size": 16}
    vision = CLIPVisionConfig(**size, **layers)
    torch.manual_seed(seed)
    return CLIPModel(
        CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=16)
    ).eval()


def image_processor():
    return CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, do_convert_rgb=True
    )


def tiny_backbone(frozen=None, seed=0):
    return CLIPBackbone(
        clip_model(seed), tokenizer(), image_processor(), name="tiny", frozen=frozen
    )


def drawing(color, shape, place):
    """Return a PNG of one shape."""
    image = Image.new("RGB", (40, 40), "white")
    left = 2 if place == "left" else 18
    box = (left, 10, left + 18, 28)
    pen = ImageDraw.Draw(image)
    if shape == "circle":
        pen.ellipse(box, fill=COLORS[color])
    elif shape == "square":
        pen.rectangle(box, fill=COLORS[color])
    else:
        pen.polygon([(left, 28), (left + 18, 28), (left + 9, 10)], fill=COLORS[color])
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def row(number, image, caption, category, *, domain="shapes", negatives=(), partners=()):
    """Return a row; its negatives are (caption, category, kind, attribute type), its partners (kind, number)."""
    fields = ("caption", "category", "kind", "attribute_type")
    return {
        "id": f"{domain}/{number}",
        "image": {"bytes": image, "path": f"{number}.png"},
        "caption": caption,
        "category": category,
        "meta_category": "shape",
        "domain": domain,
        "attributes": [],
        "negatives": [dict(zip(fields, each, strict=True)) for each in negatives],
        "natural_pairs": [{"kind": kind, "id": f"{domain}/{each}"} for kind, each in partners],
        "group": "",
        "source": {
            "file": f"{number}.png",
            "sha256": hashlib.sha256(image).hexdigest(),
            "license": "CC0-1.0",
            "origin": "drawn",
        },
        "width": 40,
        "height": 40,
    }


def dataset(rows, split, categories=SHAPES):
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    schema = Features.from_dict(features(list(categories)))
    return RetrievalDataset(Dataset.from_dict(columns, features=schema), name="drawn", split=split)


def drawn(split):
    """Return 24 drawings with a caption, a category negative and an attribute negative each, in natural pairs."""
    rows = []
    for color in COLORS:
        for shape in SHAPES:
            for place in PLACES:
                size = {"train": "big", "validation": "small", "test": "the"}[split]
                other_shape = SHAPES[(SHAPES.index(shape) + 1) % len(SHAPES)]
                other_color = next(c for c in COLORS if c != color)
                caption = f"a {size} {color} {shape} on the {place}"
                negatives = [
                    (caption.replace(shape, other_shape), other_shape, "category", None),
                    (caption.replace(color, other_color), shape, "attribute", "color"),
                ]
                image, number = drawing(color, shape, place), len(rows)
                # Numbers count places first, then shapes, then colors.
                partners = [("attribute", number + 6 if number // 6 % 2 == 0 else number - 6)]
                if number % 6 < 4:
                    partners.insert(0, ("category", number + 2 if number % 6 < 2 else number - 2))
                more = {"negatives": negatives, "partners": partners}
                rows.append(row(number, image, caption, shape, **more))
    return dataset(rows, split)
