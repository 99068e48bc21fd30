"""Encoders of sentence-transformers and open_clip, if they are installed: the same features and recalls."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize

import benchmark
from benchmark import Images, load_backbone
from benchmark.models.backbone import ALL
from benchmark.models.conversion import _TENSORS
from benchmark.models.encoders.open_clip_package import _counter
from fdrd.errors import FdrdError
from tests.running import run_method

EMBEDDED = Path(benchmark.__file__).parent / "models" / "embedded"
CAPTIONS = ["a red circle on the left", "A photo of 2 dogs", "the big black square"]
IMAGES = [Image.radial_gradient("L").resize((40 + 20 * n, 64)).convert("RGB") for n in range(3)]


def test_sentence_transformers_gives_the_same_features_and_recalls(tiny_dataset, monkeypatch):
    library = pytest.importorskip("sentence_transformers")
    evaluation = pytest.importorskip("sentence_transformers.evaluation")
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

    dataset = tiny_dataset["test"]
    captions = {str(number): caption for number, caption in enumerate(dataset.captions)}
    images = {str(number): image for number, image in enumerate(dataset.images(range(24)))}
    metrics = run_method("zero_shot", tiny_dataset, backbone=encoder).metrics
    for direction, queries, corpus, pairs in (
        ("text_to_image", captions, images, dataset.pairs[:, ::-1]),
        ("image_to_text", images, captions, dataset.pairs),
    ):
        relevant = {}
        for query, item in pairs.tolist():
            relevant.setdefault(str(query), set()).add(str(item))
        options = {"accuracy_at_k": [1, 5, 10], "main_score_function": "cosine"}
        retrieval = evaluation.InformationRetrievalEvaluator(queries, corpus, relevant, **options)
        found = retrieval(model)
        for k in (1, 5, 10):
            recall = metrics.by_direction[direction][f"R@{k}"]
            assert found[f"cosine_accuracy@{k}"] == pytest.approx(recall)


def test_a_sentence_transformer_with_random_weights_is_refused(tmp_path):
    pytest.importorskip("sentence_transformers")
    folder = shutil.copytree(EMBEDDED, tmp_path / "damaged")
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("text_projection.weight")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(FdrdError, match="some of its tensors are random"):
        load_backbone(f"st:{folder}")


@pytest.fixture
def embedded_as_open_clip(tmp_path):
    """The embedded model as open_clip saves it: the same weights under open_clip's names."""
    pytest.importorskip("open_clip")
    vision = {"image_size": 128, "layers": 5, "width": 192, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 2277, "width": 192, "heads": 3, "layers": 4}
    text["hf_tokenizer_name"] = "the folder itself"
    config = {"embed_dim": 192, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}
    tensors = {k: v.float() for k, v in load_file(EMBEDDED / "model.safetensors").items()}
    renamed = {}
    for key, value in tensors.items():
        name = key
        for theirs, ours in reversed(_TENSORS):
            name = name.replace(ours, theirs)
        if ".q_proj." in name:
            parts = [tensors[key.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            renamed[name.replace("q_proj.", "in_proj_")] = torch.cat(parts)
        elif ".k_proj." not in name and ".v_proj." not in name:
            renamed[name] = value.T.contiguous() if key.endswith("_projection.weight") else value
    save_file(renamed, tmp_path / "open_clip_model.safetensors")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(EMBEDDED / name, tmp_path)
    return tmp_path


def test_open_clip_measures_the_same_recalls_of_the_embedded_model(
    embedded_as_open_clip, tiny_dataset
):
    """open_clip encodes with its own towers, and its training code computes the recalls."""
    library = pytest.importorskip("open_clip")
    measured = pytest.importorskip("open_clip_train.train")
    name, dataset = f"local-dir:{embedded_as_open_clip}", tiny_dataset["test"]
    model, _, preprocess = library.create_model_and_transforms(name)
    tokenize = library.get_tokenizer(name)
    assert (dataset.pairs[:, 0] == dataset.pairs[:, 1]).all()  # what open_clip's code assumes
    with torch.no_grad():
        pixels = torch.stack([preprocess(image) for image in dataset.images(range(24))])
        images = model.eval().encode_image(pixels, normalize=True)
        captions = model.encode_text(tokenize(dataset.captions), normalize=True)
    found = measured.get_clip_metrics(images, captions, model.logit_scale.exp())
    embedded, plain = (
        load_backbone(each, device="cpu") for each in ("embedded", f"open_clip:{name}")
    )
    assert plain.count_tokens(CAPTIONS) == embedded.count_tokens(CAPTIONS)
    for backbone in (embedded, plain):
        assert (backbone.encode_image(Images.of(dataset)).pooled - images).abs().max() < 1e-5
        assert (backbone.encode_text(dataset.captions).pooled - captions).abs().max() < 1e-5
        metrics = run_method("zero_shot", tiny_dataset, backbone=backbone).metrics
        for direction in ("image_to_text", "text_to_image"):
            for cutoff in ("R@1", "R@5", "R@10"):
                recall = metrics.by_direction[direction][cutoff]
                assert found[f"{direction}_{cutoff}"] == pytest.approx(recall)
        assert 0 < metrics.by_direction["image_to_text"]["R@1"] < 1


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
