"""Layers of the towers: the same as a plain forward pass with hidden states, without padding, encoded once."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize
from transformers import AutoModel, AutoTokenizer
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from benchmark import FrozenFeatures, Images, Prompts, load_backbone
from benchmark.models.backbone import LAYERS
from benchmark.models.layers import BlockEncoder
from fdrd.errors import FdrdError
from tests.encoding import counted

CAPTIONS = ["a red circle on the left", "a dog", "the big black square and a small dog"]
IMAGES = [Image.radial_gradient("L").resize((40 + 30 * n, 64)).convert("RGB") for n in range(3)]
CHOSEN = (2, 0, 3)
"""In an order of its own: each must be found by its number."""


promptable = pytest.mark.parametrize("name", ["clip", "metaclip_2", "siglip", "siglip2"])


def direct(tower, own, **inputs):
    """Return (n, width) unit means of the states of one item at the positions `own`."""
    with torch.no_grad():
        states = tower(**inputs, output_hidden_states=True).hidden_states
    return normalize(torch.stack([states[layer][0, own].mean(0) for layer in CHOSEN]), dim=-1)


@promptable
def test_layers_are_the_means_of_a_plain_forward_pass(name, folders, encoders):
    model = AutoModel.from_pretrained(folders[name]).eval()
    tokenizer = AutoTokenizer.from_pretrained(folders[name])
    processor = AutoImageProcessor.from_pretrained(folders[name], backend="pil")
    encoder, siglip = encoders[name], name.startswith("siglip")
    first = 0 if siglip else 1  # behind BOS, or the class token
    options = {"padding": "max_length" if siglip else False, "max_length": 24}

    texts = encoder.encode_text(CAPTIONS, layers=CHOSEN)
    images = encoder.encode_image(IMAGES, layers=CHOSEN)
    for row, caption in enumerate(CAPTIONS):
        words = len(tokenizer(caption, add_special_tokens=False)["input_ids"])
        coded = tokenizer(caption, return_tensors="pt", **options)
        found = direct(model.text_model, slice(first, first + words), **coded)
        assert (texts.layers[row] - found).abs().max() < 1e-6
    for row, image in enumerate(IMAGES):
        inputs = dict(processor(image, return_tensors="pt"))
        patches = slice(first, None)
        if "spatial_shapes" in inputs:
            patches = slice(0, int(inputs["spatial_shapes"][0].prod()))
        found = direct(model.vision_model, patches, **inputs)
        assert (images.layers[row] - found).abs().max() < 1e-6
    assert torch.equal(texts.pooled, encoder.encode_text(CAPTIONS).pooled)
    assert torch.equal(images.pooled, encoder.encode_image(IMAGES).pooled)


def blocks(backbone, layers, dataset):
    encoder = BlockEncoder(backbone, layers)
    return encoder.encode_image(Images.of(dataset)), encoder.encode_text(dataset.captions)


def test_one_pass_gives_all_layers_and_a_second_run_encodes_nothing(
    make_clip, tiny_clip, tiny_dataset, tmp_path
):
    dataset, all_of_them = tiny_dataset["test"], "joint,0,2,last"
    nothing, everything = (dict.fromkeys(("images", "captions"), count) for count in (0, 24))
    frozen = FrozenFeatures(tmp_path)
    with counted(backbone := make_clip(frozen)) as seen:
        first = blocks(backbone, all_of_them, dataset)
    assert seen == everything
    frozen.flush()
    with counted(backbone := make_clip(FrozenFeatures(tmp_path))) as seen:
        again, fewer, joint = (
            blocks(backbone, layers, dataset) for layers in (all_of_them, "joint,3", "joint")
        )
        assert seen == nothing
        blocks(backbone, "joint,0,1", dataset)
        assert seen == everything
    computed = blocks(tiny_clip, all_of_them, dataset)
    for side, width in enumerate((48, 32)):
        assert torch.equal(first[side], again[side])
        assert torch.equal(again[side], computed[side])
        assert torch.equal(joint[side], again[side][:, :16])
        last = torch.cat([again[side][:, :16], again[side][:, -width:]], dim=1)
        assert torch.equal(fewer[side], last)


def test_a_caption_cut_short_for_prompts_has_other_layers(make_clip, tmp_path):
    caption = "a red circle on the left and a small dog with a big cat on the right of a white cat"
    backbone = make_clip(FrozenFeatures(tmp_path))
    encoders = [BlockEncoder(backbone, "joint,0", reserve) for reserve in (0, 12)]
    whole, cut = (encoder.encode_text([caption]) for encoder in encoders)
    short = encoders[0].encode_text([" ".join(caption.split()[:10])])
    assert (cut - short).abs().max() < 1e-6
    assert (whole - cut).abs().max() > 1e-3


def test_blocks_have_unit_length_and_auto_nests_them(tiny_clip, tiny_dataset):
    encoder = BlockEncoder(tiny_clip, "auto")
    assert encoder.sets == [(16, 16), (64, 48), (112, 80), (160, 112)]
    assert encoder.names_of((112, 80)) == "joint,last,0"
    for side, width in zip(blocks(tiny_clip, "auto", tiny_dataset["test"]), (48, 32), strict=True):
        for block in (side[:, :16], *side[:, 16:].split(width, dim=1)):
            assert (block.norm(dim=1) - 1).abs().max() < 1e-6
    fixed = BlockEncoder(tiny_clip, "joint,last,0,middle")
    assert fixed.sets == [(160, 112)]
    assert fixed.names_of((160, 112)) == "joint,last,0,middle"
    wanted = [tiny_clip.encode_text(["a dog"], layers=[layer]).layers[0, 0] for layer in (3, 0, 1)]
    assert torch.equal(fixed.encode_text(["a dog"])[0, 16:], torch.cat(wanted))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("joint,4", r"layers: 4 is none of backbone 'tiny'; its image tower has 0 .* to 3"),
        *(
            (layers, "give `joint`, then layers")
            for layers in ("0,joint", "joint,first", "joint,-1", "")
        ),
        ("joint,3,last", r"image layers \(3, 3\) repeat"),
    ],
)
def test_unknown_layers_are_one_line(layers, message, tiny_clip):
    with pytest.raises(FdrdError, match=message):
        BlockEncoder(tiny_clip, layers)


def test_an_encoder_without_layers_says_which_have_them(encoders):
    encoder = encoders["align"]
    assert BlockEncoder(encoder).encode_text(["a"]).shape == (1, encoder.dim)
    for layers in ("joint,0", "auto"):
        with pytest.raises(FdrdError, match=r"offers the joint space only; .* CLIP, MetaCLIP 2"):
            BlockEncoder(encoder, layers)


def test_layers_are_read_without_prompts(tiny_clip):
    with pytest.raises(ValueError, match="without prompts"):
        tiny_clip.encode_text(["a"], Prompts(text=[torch.zeros(1, 32)]), layers=[0])


def store(folder, layers=(0, 6), texts=None):
    """Store features of two items with (2, 3) images and (2, 3) texts, and layers of width 4 and 5."""
    rows = np.random.default_rng(0)
    for side, width, numbers in (("images", 4, layers), ("texts", 5, texts or layers)):
        (folder / f"{side}.json").write_text('["a", "b"]')
        np.save(folder / f"{side}.npy", rows.normal(size=(2, 3)))
        for layer in numbers:
            np.save(folder / f"{side}.layer-{layer}.npy", rows.normal(size=(2, width)))
    return f"features:{folder}"


def test_stored_features_have_an_array_per_layer(tmp_path):
    encoder = load_backbone(store(tmp_path))
    assert encoder.can == {LAYERS}
    blocks = BlockEncoder(encoder, "joint,0,last")
    assert (blocks.image_dim, blocks.text_dim) == (11, 13)
    parts = [np.load(tmp_path / f"texts{each}.npy") for each in ("", ".layer-0", ".layer-6")]
    expected = [part[1] / np.linalg.norm(part[1]) for part in parts]
    assert blocks.encode_text(["b"])[0].numpy() == pytest.approx(np.concatenate(expected), abs=1e-6)
    with pytest.raises(FdrdError, match="has no layer 3 of texts; it has 0, 6"):
        BlockEncoder(encoder, "joint,middle").encode_text(["b"])
    before = encoder.fingerprint
    rows = np.load(tmp_path / "images.layer-6.npy")
    np.save(tmp_path / "images.layer-6.npy", rows + 1)
    assert load_backbone(f"features:{tmp_path}").fingerprint != before
    rows[0, 0] = np.nan
    np.save(tmp_path / "images.layer-6.npy", rows)
    with pytest.raises(FdrdError, match=r"images\.layer-6\.npy has NaN"):
        load_backbone(f"features:{tmp_path}")
    np.save(tmp_path / "images.layer-6.npy", rows[:1])
    with pytest.raises(FdrdError, match=r"images\.layer-6\.npy must have a row"):
        load_backbone(f"features:{tmp_path}")


@pytest.mark.parametrize(
    ("layers", "texts", "message"),
    [((0, 6), (0,), r"layers \[0, 6\], texts \[0\]"), (("x",), None, "does not name a layer")],
)
def test_stored_layers_that_do_not_fit_are_refused(layers, texts, message, tmp_path):
    with pytest.raises(FdrdError, match=message):
        load_backbone(store(tmp_path, layers, texts))
