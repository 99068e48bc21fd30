"""The embedded backbone: small, of CLIP's own classes, and between chance and perfect."""

import hashlib
from pathlib import Path

import pytest
import torch

import benchmark
from benchmark import load_backbone
from fdrd.field_guide import categories, draw

FOLDER = Path(benchmark.__file__).parent / "models" / "embedded"


@pytest.fixture(scope="module")
def embedded():
    return load_backbone("embedded")


def test_the_embedded_weights_match_their_published_digest():
    """Its results are documented; other weights would need another tag and other numbers."""
    weights = (FOLDER / "model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() in (FOLDER / "README.md").read_text()
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 12_000_000


def test_the_embedded_tokenizer_covers_any_text(embedded):
    for text in ("a bird", "An Ærøskøbing café, 3 µm!", "写真", "🦜"):
        ids = embedded.tokenizer(text)["input_ids"]
        assert embedded.tokenizer.unk_token_id not in ids[1:-1]


def test_the_embedded_backbone_scores_between_chance_and_perfect(embedded):
    plates = [draw(category, 7, seed=123) for category in categories(100)]
    with torch.no_grad():
        images = embedded.encode_image([plate.image for plate in plates]).pooled
        texts = embedded.encode_text([plate.caption for plate in plates]).pooled
    scores = images @ texts.T
    for found in (scores.argmax(1), scores.argmax(0)):
        assert 0.10 < (found == torch.arange(100)).float().mean() < 0.60
