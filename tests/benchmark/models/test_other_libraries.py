"""Encoders of other libraries, if they are installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize

import benchmark
from benchmark import load_backbone
from benchmark.models.backbone import ALL
from benchmark.models.encoders.open_clip_package import _counter
from fdrd.errors import FdrdError

EMBEDDED = Path(benchmark.__file__).parent / "models" / "embedded"
CAPTIONS = ["a red circle on the left", "A photo of 2 dogs", "the big black square"]
IMAGES = [Image.radial_gradient("L").resize((40 + 20 * n, 64)).convert("RGB") for n in range(3)]


def test_sentence_transformers_gives_the_same_features(monkeypatch):
    library = pytest.importorskip("sentence_transformers")
    loads = []
    original = library.SentenceTransformer.__init__

    def load(self, *given, **options):
        loads.append(given)
        original(self, *given, **options)

    monkeypatch.setattr(library.SentenceTransformer, "__init__", load)
    encoder = load_backbone(f"st:{EMBEDDED}", device="cpu")
    assert len(loads) == 1  # no tensor is random
    options = {"device": "cpu", "model_kwargs": {"dtype": torch.float32}}
    model = library.SentenceTransformer(str(EMBEDDED), **options)
    own = torch.as_tensor(model.encode(CAPTIONS))
    assert (encoder.encode_text(CAPTIONS).pooled - normalize(own, dim=-1)).abs().max() < 1e-5
    embedded = load_backbone("embedded", device="cpu")
    for name, items in (("encode_text", CAPTIONS), ("encode_image", IMAGES)):
        one, other = (getattr(each, name)(items, layers=[0, 2]) for each in (encoder, embedded))
        assert (one.pooled - other.pooled).abs().max() < 1e-4  # torchvision or PIL preprocesses
        assert (one.layers - other.layers).abs().max() < 1e-3


def test_a_sentence_transformer_with_random_weights_is_refused(tmp_path):
    pytest.importorskip("sentence_transformers")
    folder = shutil.copytree(EMBEDDED, tmp_path / "damaged")
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("text_projection.weight")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(FdrdError, match="some of its tensors are random"):
        load_backbone(f"st:{folder}")


def test_a_name_of_open_clip_that_does_not_exist_is_refused():
    pytest.importorskip("open_clip")
    with pytest.raises(FdrdError, match="open_clip cannot load it"):
        load_backbone("open_clip:ViT-B-32/no_such_weights")


def test_tokens_are_counted_by_the_tokenizer_of_open_clip():
    library = pytest.importorskip("open_clip")
    assert _counter(library.get_tokenizer("ViT-B-32"), 77)(["a photo"]) == [4]


def test_kinds_are_named_by_prefix(folders):
    assert load_backbone(f"hf:{folders['siglip']}").can == ALL
    for name, message in (
        ("open_clip:ViT-B-32", "names no weights|needs open_clip"),
        ("st:/nowhere", "cannot load it|needs sentence_transformers"),
        ("features:/nowhere", "images cannot be read"),
    ):
        with pytest.raises(FdrdError, match=message):
            load_backbone(name)
