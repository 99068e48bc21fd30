"""Converted models equal those of open_clip, and what cannot be converted is refused by name."""

import io
import json
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from benchmark.models.backbone import Prompts
from benchmark.models.clip import CLIPBackbone
from benchmark.models.conversion import clip_model, configuration_of, convert, tokenizer_of
from benchmark.models.image_batches import Images
from benchmark.models.loading import load_backbone
from benchmark.models.tensor_files import read_tensors
from fdrd.errors import FdrdError
from tests.running import run_method

CAPTIONS = ["a red circle on the left", "a photo of a dog and a cat", "cat", "white"]


def config(vocabulary, **also):
    vision = {"image_size": 32, "patch_size": 16, "width": 128, "layers": 2, "mlp_ratio": 2.0}
    text = {"context_length": 24, "vocab_size": vocabulary, "width": 64, "heads": 1, "layers": 3}
    return {"embed_dim": 16, "vision_cfg": vision, "text_cfg": {**text, "mlp_ratio": 2.0}, **also}


@pytest.fixture(scope="module")
def coding(clip_parts):
    return clip_parts()[1]


def backbone(parts):
    return CLIPBackbone(*parts, name="converted")


def towers(clip, pixels):
    return clip.encode_pixels(pixels, Prompts(), 0, False).pooled, clip.encode_text(CAPTIONS).pooled


def open_clip_model(vocabulary, *, quick_gelu, custom_text=False):
    """Return a random model of the package."""
    library = pytest.importorskip("open_clip").model
    torch.manual_seed(0)
    form = library.CustomTextCLIP if custom_text else library.CLIP
    model = form(**config(vocabulary), quick_gelu=quick_gelu)
    for each in model.parameters():  # otherwise a mix-up of norms or biases would not show
        each.data.add_(0.1 * torch.randn_like(each))
    return model.eval().requires_grad_(False)


def tensors_of(coding, **options):
    return dict(open_clip_model(len(coding), **options).state_dict())


def theirs(model, coding, pixels):
    rows = [coding(caption)["input_ids"] for caption in CAPTIONS]
    ids = torch.zeros(len(rows), 24, dtype=torch.long)  # open_clip pads with zeros
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
    return model.encode_image(pixels, normalize=True), model.encode_text(ids, normalize=True)


@pytest.mark.parametrize("custom_text", [False, True])
@pytest.mark.parametrize("quick_gelu", [False, True])
def test_both_towers_are_equal(coding, clip_parts, quick_gelu, custom_text):
    model = open_clip_model(len(coding), quick_gelu=quick_gelu, custom_text=custom_text)
    pixels = torch.randn(3, 3, 32, 32)
    bos, *_, eos = coding("a")["input_ids"]
    for claimed, equal in ((quick_gelu, True), (not quick_gelu, False)):
        cfg = config(len(coding), quick_gelu=claimed, custom_text=custom_text)
        converted = clip_model(cfg, dict(model.state_dict()), bos=bos, eos=eos, name="it")
        found = towers(backbone((converted, coding, clip_parts()[2])), pixels)
        for ours, wanted in zip(found, theirs(model, coding, pixels), strict=True):
            assert ((ours - wanted).abs().max() < 1e-5) == equal
    assert converted.logit_scale.item() == pytest.approx(model.logit_scale.item())


@pytest.mark.parametrize(
    ("part", "change", "reason"),
    [
        ("vision_cfg", {"timm_model_name": "vit_base_patch16"}, "a vision tower of timm"),
        ("vision_cfg", {"layers": [3, 4, 6, 3]}, "a ResNet as its vision tower"),
        ("vision_cfg", {"pool_type": "avg"}, "pooled patches"),
        ("vision_cfg", {"no_ln_pre": True}, "no normalization before the vision layers"),
        ("vision_cfg", {"attentional_pool": True}, "attentional pooling"),
        ("vision_cfg", {"ls_init_value": 1e-5}, "layer scale"),
        ("vision_cfg", {"eva_model_name": "eva-clip-b"}, "eva_model_name, which is unknown"),
        ("text_cfg", {"hf_model_name": "xlm-roberta-base"}, "a text tower of another family"),
        ("text_cfg", {"no_causal_mask": True}, "a text tower that is not causal"),
        ("text_cfg", {"pool_type": "last"}, "text that is not pooled at EOS"),
        ("text_cfg", {"pool_type": "eos", "eos_id": 5}, "pooled at token 5, which is not EOS"),
        ("text_cfg", {"proj_bias": True}, "a text projection with a bias"),
        ("text_cfg", {"proj_type": "none"}, "no linear text projection"),
        ("text_cfg", {"tokenizer_kwargs": {"clean": "x"}}, "a tokenizer with settings"),
        ("text_cfg", {"norm_kwargs": {"affine": False}}, "a normalization with settings"),
        ("multimodal_cfg", {"width": 768}, "multimodal_cfg, which is unknown"),
    ],
    ids=str,
)
def test_what_a_clip_model_cannot_express_is_refused_by_name(coding, part, change, reason):
    cfg = config(len(coding))
    cfg[part] = {**cfg.get(part, {}), **change}
    tensors = tensors_of(coding, quick_gelu=False)
    with pytest.raises(FdrdError, match=f"it cannot become a CLIPModel: it has .*{reason}"):
        clip_model(cfg, tensors, bos=0, eos=len(coding) - 1, name="it")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda _: {"ln_final.bias": None}, r"Missing key.*text_model\.final_layer_norm\.bias"),
        (lambda _: {"visual.rope": torch.ones(2)}, r"Unexpected key.*visual\.rope"),
        (
            lambda _: {"text_projection": torch.ones(64, 8)},
            r"text_projection.*\[8, 64\].*\[16, 64\]",
        ),
        (
            lambda t: {"text_projection": t["text_projection"].to(torch.int8)},
            r"^it: text_projection\.weight are stored as int8",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(coding, change, reason):
    tensors = tensors_of(coding, quick_gelu=False)
    tensors |= change(tensors)
    tensors = {key: value for key, value in tensors.items() if value is not None}
    with pytest.raises(FdrdError, match=reason):
        clip_model(config(len(coding)), tensors, bos=0, eos=len(coding) - 1, name="it")


def test_shapes_tell_the_configuration(coding):
    tensors = tensors_of(coding, quick_gelu=True)
    assert configuration_of(tensors, quick_gelu=True) == config(len(coding), quick_gelu=True)
    with pytest.raises(FdrdError, match="not the tensors of a CLIP with a vision transformer"):
        configuration_of({"visual.layer1.0.conv1.weight": torch.ones(2)}, quick_gelu=True)


@pytest.fixture
def folder(coding, tmp_path):
    """The files that `open_clip.push_to_hf_hub` uploads."""
    folder = tmp_path / "open_clip"
    coding.save_pretrained(folder)
    save_file(tensors_of(coding, quick_gelu=True), folder / "open_clip_model.safetensors")
    cfg = config(len(coding), quick_gelu=True)
    cfg["text_cfg"]["hf_tokenizer_name"] = "the folder itself"
    preprocessing = {"mean": [0.5, 0.5, 0.5], "interpolation": "bilinear"}
    said = {"model_cfg": cfg, "preprocess_cfg": preprocessing}
    (folder / "open_clip_config.json").write_text(json.dumps(said))
    return folder


def test_open_clip_measures_the_same_recalls(folder, tiny_dataset):
    """open_clip encodes with its own towers, and its training code computes the recalls."""
    library = pytest.importorskip("open_clip")
    measured = pytest.importorskip("open_clip_train.train")
    name, dataset = f"local-dir:{folder}", tiny_dataset["test"]
    model, _, preprocess = library.create_model_and_transforms(name)
    tokenize = library.get_tokenizer(name)
    assert (dataset.pairs[:, 0] == dataset.pairs[:, 1]).all()  # what open_clip's code assumes
    with torch.no_grad():
        pixels = torch.stack([preprocess(image) for image in dataset.images(range(24))])
        images = model.eval().encode_image(pixels, normalize=True)
        captions = model.encode_text(tokenize(dataset.captions), normalize=True)
    found = measured.get_clip_metrics(images, captions, model.logit_scale.exp())
    converted, plain = (
        load_backbone(each, device="cpu") for each in (str(folder), f"open_clip:{name}")
    )
    assert plain.count_tokens(CAPTIONS) == converted.count_tokens(CAPTIONS)
    for backbone in (converted, plain):
        assert (backbone.encode_image(Images.of(dataset)).pooled - images).abs().max() < 1e-5
        assert (backbone.encode_text(dataset.captions).pooled - captions).abs().max() < 1e-5
        metrics = run_method("zero_shot", tiny_dataset, backbone=backbone).metrics
        for direction in ("image_to_text", "text_to_image"):
            for cutoff in ("R@1", "R@5", "R@10"):
                recall = metrics.by_direction[direction][cutoff]
                assert found[f"{direction}_{cutoff}"] == pytest.approx(recall)
        assert 0 < metrics.by_direction["image_to_text"]["R@1"] < 1


def test_pickled_weights_are_refused_with_a_hint_to_convert(folder):
    (folder / "open_clip_model.safetensors").rename(folder / "open_clip_pytorch_model.bin")
    with pytest.raises(
        FdrdError, match=r"no open_clip_model\.safetensors.*`fdrd export --to transformers`"
    ):
        load_backbone(str(folder))


def test_a_checkpoint_of_training_is_converted(folder, tmp_path):
    tensors = read_tensors(folder / "open_clip_model.safetensors")
    wrapped = {f"module.{key}": value.half() for key, value in tensors.items()}
    file, out = tmp_path / "epoch_32.pt", tmp_path / "out"
    torch.save({"epoch": 32, "state_dict": wrapped, "optimizer": {"state": {}}}, file)
    with pytest.raises(FdrdError, match="does not say which activation"):
        convert(file, out, tokenizer=str(folder))
    convert(file, out, quick_gelu=True, tokenizer=str(folder))
    assert not [path for path in out.iterdir() if path.suffix in (".bin", ".pt")]
    pixels = torch.randn(3, 3, 32, 32)
    both = (towers(load_backbone(str(each), device="cpu"), pixels) for each in (out, folder))
    for ours, wanted in zip(*both, strict=True):
        assert (ours - wanted).abs().max() < 1e-2  # they were saved in half precision
    with pytest.raises(FdrdError, match="contains files already"):
        convert(file, out, quick_gelu=True, tokenizer=str(folder))


def test_configuration_and_tokenizer_beside_the_weights_are_used(folder, tmp_path):
    tensors = read_tensors(folder / "open_clip_model.safetensors")
    (folder / "open_clip_model.safetensors").unlink()
    torch.save(tensors, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(FdrdError, match="leave out --activation"):
        convert(folder, tmp_path / "out", quick_gelu=True)
    convert(folder, tmp_path / "out")  # also uses the tokenizer there
    loaded = load_backbone(str(tmp_path / "out"), device="cpu")
    assert list(loaded.image_processor.image_mean) == [0.5, 0.5, 0.5]
    assert loaded.model.config.text_config.hidden_act == "quick_gelu"


def test_a_pickled_clip_model_is_converted(clip_parts, tiny_clip, tmp_path):
    folder = tmp_path / "old"
    for part in clip_parts():
        part.save_pretrained(folder)
    tensors = read_tensors(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    positions = {"text_model.embeddings.position_ids": torch.arange(24).unsqueeze(0)}
    torch.save(tensors | positions, folder / "pytorch_model.bin")
    with pytest.raises(FdrdError, match=r"the folder needs model\.safetensors"):
        load_backbone(str(folder))
    convert(folder, tmp_path / "new")
    loaded = load_backbone(str(tmp_path / "new"), device="cpu")
    assert loaded.fingerprint == tiny_clip.fingerprint
    config = (folder / "config.json").rename(tmp_path / "config.json")
    with pytest.raises(FdrdError, match=r"a CLIPModel without its config\.json"):
        convert(folder, tmp_path / "other")
    convert(folder, tmp_path / "other", config=config)
    fewer = {key: value for key, value in tensors.items() if "layers.2" not in key}
    torch.save(fewer, folder / "pytorch_model.bin")
    with pytest.raises(FdrdError, match=r"does not fit .*Missing key"):
        convert(folder, tmp_path / "third", config=config)
    assert not (tmp_path / "third").exists()


class Hostile:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("form", ["zip", "old", "pickle"])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, form):
    file, mark = tmp_path / "hostile.pt", tmp_path / "ran"
    held = {"state_dict": {"a": torch.ones(2)}, "extra": Hostile(mark)}
    if form == "pickle":
        file.write_bytes(pickle.dumps(held["extra"], protocol=2))
    else:
        torch.save(held, file, _use_new_zipfile_serialization=form == "zip")
    message = r"more than tensors \(it asks for posix\.mkdir\).*none of its code was run"
    with pytest.raises(FdrdError, match=message):
        convert(file, tmp_path / "out", quick_gelu=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hostile.pt"]
    torch.load(file, weights_only=False) if form != "pickle" else pickle.loads(file.read_bytes())
    assert mark.is_dir()  # it would have


def torchscript():
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: b"", "not a file written by torch.save"),
        (lambda: b"no pickle", "holds no tensors"),
        (torchscript, r"TorchScript archive.*`backbone` openai/clip-vit-base"),
        (None, "no such"),
    ],
)
def test_an_unreadable_file_is_refused(tmp_path, content, message):
    file = tmp_path / "it.pt"
    if content is not None:
        file.write_bytes(content())
    with pytest.raises(FdrdError, match=message):
        convert(file, tmp_path / "out", quick_gelu=True)


def test_only_the_byte_pairs_of_clip_are_accepted(tmp_path):
    file = tmp_path / "bpe.txt"
    file.write_text("#version\na b\n")
    with pytest.raises(FdrdError, match="not CLIP's list of 48,894 byte pairs"):
        tokenizer_of(str(file))
    with pytest.raises(FdrdError, match="is not a list of byte pairs"):
        tokenizer_of(str(tmp_path / "none.txt.gz"))
