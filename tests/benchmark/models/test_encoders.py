"""Contract of every kind of encoder: tiny random models of each architecture, loaded from files."""

import json
import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_encoders import ARCHITECTURES
from torch.nn.functional import normalize
from transformers import AutoModel, AutoTokenizer
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from benchmark import FrozenFeatures, Images, Prompts, load_backbone
from benchmark.models.backbone import PROMPTS, TOKENS
from benchmark.models.encoders.stored import write_features
from benchmark.models.loading import capabilities
from fdrd.errors import FdrdError
from fdrd.kinds import kind_of

CAPTIONS = [
    "a red circle on the left",
    "A photo of a zebra",
    "the big black square and a small dog",
]
IMAGES = [Image.radial_gradient("L").resize((40 + 20 * n, 64)).convert("RGB") for n in range(3)]
SIDES = (("encode_text", CAPTIONS), ("encode_image", IMAGES))
PROMPTABLE = ("clip", "metaclip_2", "siglip", "siglip2")


every = pytest.mark.parametrize("name", ["clip", *ARCHITECTURES])
with_and_without_prompts = pytest.mark.parametrize("name", ["siglip2", "align"])
promptable = pytest.mark.parametrize("name", PROMPTABLE)


def close(one, other, tolerance=1e-06):
    return bool((one - other).abs().max() <= tolerance)


def prompts(encoder, layers=2, n=2):
    generator = torch.Generator().manual_seed(0)

    def drawn(width):
        return [0.3 * torch.randn(n, width, generator=generator) for _ in range(layers)]

    return Prompts(text=drawn(encoder.text_width), vision=drawn(encoder.vision_width))


@every
def test_features_equal_the_call_of_the_library(name, folders, encoders):
    folder = folders[name]
    model = AutoModel.from_pretrained(folder).eval()
    padding = "max_length" if name.startswith("siglip") else True
    captions = [each.lower() for each in CAPTIONS] if name.startswith("siglip") else CAPTIONS
    texts = AutoTokenizer.from_pretrained(folder)(
        captions, padding=padding, truncation=True, max_length=24, return_tensors="pt"
    )
    pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(IMAGES, return_tensors="pt")
    with torch.no_grad():
        text = model.get_text_features(**texts).pooler_output
        image = model.get_image_features(**pixels).pooler_output
    assert close(encoders[name].encode_text(CAPTIONS).pooled, normalize(text, dim=-1))
    assert close(encoders[name].encode_image(IMAGES).pooled, normalize(image, dim=-1))


@every
@pytest.mark.parametrize("prompted", [False, True])
def test_batch_mates_change_nothing(name, prompted, encoders):
    if prompted and name not in PROMPTABLE:
        pytest.skip("takes no prompts")
    encoder = encoders[name]
    given = [prompts(encoder)] if prompted else []
    for encode in (encoder.encode_text, encoder.encode_image):
        items = CAPTIONS if encode == encoder.encode_text else IMAGES
        alone = torch.cat([encode([item], *given).pooled for item in items])
        assert close(encode(items, *given).pooled, alone)


def _copy(folder, out, change=lambda _key, _matrix: {}):
    """Copy a model; `change` gets a matrix and its name, and returns tensors to put in, or None to leave out."""
    shutil.copytree(folder, out)
    tensors = load_file(out / "model.safetensors")
    key = max(key for key, value in tensors.items() if value.dim() > 1)
    tensors |= change(key, tensors[key])
    tensors = {key: value for key, value in tensors.items() if value is not None}
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    return out


@with_and_without_prompts
def test_the_fingerprint_changes_with_the_weights(name, folders, encoders, tmp_path):
    assert load_backbone(str(folders[name])).fingerprint == encoders[name].fingerprint
    changed = _copy(folders[name], tmp_path / "changed", lambda key, matrix: {key: 2 * matrix})
    assert load_backbone(str(changed)).fingerprint != encoders[name].fingerprint


@with_and_without_prompts
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda key, _: {key: None}, r"do not fit .*missing: [\w.]+.*save_pretrained"),
        (lambda *_: {"more": torch.ones(2)}, "do not fit .*unknown: more.*save_pretrained"),
        (
            lambda key, matrix: {key: torch.ones(matrix.numel() + 1)},
            r"do not fit .*another shape: [\w.]+.*save_pretrained",
        ),
        (
            lambda key, matrix: {key: matrix.to(torch.int8)},
            r"[\w.]+ are stored as I8, .* save the model in float32",
        ),
    ],
    ids=["missing", "unknown", "another shape", "integers"],
)
def test_tensors_that_do_not_fit_are_refused_by_name(name, change, message, folders, tmp_path):
    with pytest.raises(FdrdError, match=message):
        load_backbone(str(_copy(folders[name], tmp_path / "damaged", change)))


@with_and_without_prompts
def test_tensors_of_lower_precision_are_read(name, folders, tmp_path):
    lower = _copy(folders[name], tmp_path / "lower", lambda key, matrix: {key: matrix.bfloat16()})
    assert load_backbone(str(lower)).dim


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "bert"}, "model_type 'bert' is not a dual encoder"),
        ({"model_type": "clip_text_model"}, "'clip_text_model' is not a dual encoder"),
        (
            {"model_type": "fgclip", "auto_map": {}},
            "needs code of its repository.*file.py:function",
        ),
    ],
)
def test_another_model_type_is_refused_by_name(config, message, folders, tmp_path):
    folder = _copy(folders["clip"], tmp_path / "other")
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(FdrdError, match=message):
        load_backbone(str(folder))


def test_a_tokenizer_shorter_than_the_model_is_reported(folders, tmp_path, caplog):
    folder = _copy(folders["clip"], tmp_path / "long")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": 12}))
    assert load_backbone(str(folder)).context == 12
    assert "reads 24 tokens, but its tokenizer stops at 12; set model_max_length" in caplog.text


@every
def test_capabilities_are_known_before_loading(name, folders, encoders):
    assert capabilities(str(folders[name])) == encoders[name].can
    assert (PROMPTS in encoders[name].can) == (name in PROMPTABLE)


@every
def test_a_feature_beyond_pooled_ones_is_refused_if_not_offered(name, encoders):
    encoder = encoders[name]
    if TOKENS in encoder.can:
        assert encoder.encode_image(IMAGES, tokens=True).tokens.shape[2] == encoder.dim
        assert encoder.encode_text(CAPTIONS, tokens=True).tokens.shape[2] == encoder.dim
    else:
        with pytest.raises(FdrdError):
            encoder.encode_image(IMAGES, tokens=True)


@with_and_without_prompts
def test_cached_features_are_the_same(name, folders, encoders, tmp_path):
    for _ in range(2):
        frozen = FrozenFeatures(tmp_path)
        cached = load_backbone(str(folders[name]), frozen=frozen)
        for encode, items in SIDES:
            one, other = (getattr(each, encode)(items).pooled for each in (cached, encoders[name]))
            assert close(one, other)
        frozen.flush()
    assert list(tmp_path.rglob("*.npy"))


@every
def test_tokens_are_counted_by_the_tokenizer_of_the_encoder(name, folders, encoders):
    own = AutoTokenizer.from_pretrained(folders[name])
    long = "red " * 40
    assert encoders[name].count_tokens([long, "a cat"]) == [
        len(own(c)["input_ids"]) for c in (long, "a cat")
    ]
    assert encoders[name].context == 24


@promptable
def test_context_that_spells_words_equals_the_words(name, encoders):
    encoder = encoders[name]
    context = Prompts(text=[encoder.word_embeddings("a photo of")])
    captions = ["a dog", "the big cat"]
    mark = " " if name == "siglip2" else ""  # a word within a caption begins with a mark
    found = encoder.encode_text([mark + caption for caption in captions], context).pooled
    assert close(found, encoder.encode_text([f"a photo of {each}" for each in captions]).pooled)


@promptable
def test_gradients_reach_prompts_only(name, encoders):
    encoder, given = encoders[name], prompts(encoders[name])
    every = [each.requires_grad_() for each in (*given.text, *given.vision)]
    texts, images = encoder.encode_text(CAPTIONS, given), encoder.encode_image(IMAGES, given)
    (texts.pooled * images.pooled).sum().backward()
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in every)
    assert all(weight.grad is None for weight in encoder.model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in encoder.model.modules())


@promptable
def test_prompts_of_later_layers_replace_those_before(name, encoders):
    encoder, given = encoders[name], prompts(encoders[name], layers=3)
    for side, (encode, items) in zip(("text", "vision"), SIDES, strict=True):
        layers = [Prompts(**{side: getattr(given, side)[:depth]}) for depth in range(4)]
        found = [getattr(encoder, encode)(items, each).pooled for each in layers]
        for one, other in pairwise(found):
            assert not close(one, other, 1e-4)


@promptable
def test_token_weights_of_one_change_nothing_and_others_do(name, encoders):
    encoder, given = encoders[name], prompts(encoders[name])
    shape = encoder.encode_text(CAPTIONS, tokens=True, reserve=2).valid.shape
    plain = encoder.encode_text(CAPTIONS, Prompts(text=given.text)).pooled
    other = torch.linspace(0.5, 2, shape[1]).expand(shape)
    for weights, same in ((torch.ones(shape), True), (other, False)):
        weighted = Prompts(text=given.text, token_weights=weights)
        assert close(encoder.encode_text(CAPTIONS, weighted).pooled, plain) == same


@promptable
def test_valid_tokens_are_neither_special_nor_padding(name, encoders):
    captions = ["red zebra cat", "red"]
    words = encoders[name].tokenizer(captions, add_special_tokens=False)["input_ids"]
    valid = encoders[name].encode_text(captions, tokens=True).valid
    assert valid.sum(1).tolist() == [len(each) for each in words]


@pytest.mark.parametrize("name", ["siglip", "siglip2"])
def test_visual_tokens_can_be_hidden_from_the_attention_head(name, folders, encoders):
    pooled, hidden = encoders[name], load_backbone(f"{folders[name]}#pool=patches")
    vision = Prompts(vision=prompts(pooled, layers=3).vision)
    assert close(hidden.encode_image(IMAGES).pooled, pooled.encode_image(IMAGES).pooled)
    with_tokens = pooled.encode_image(IMAGES, vision).pooled
    without = hidden.encode_image(IMAGES, vision).pooled
    assert not close(with_tokens, without, 1e-4)
    assert hidden.fingerprint != pooled.fingerprint


def test_hidden_visual_tokens_of_the_last_layer_only_act_through_attention(folders):
    """With zero value projections in all layers, hidden tokens cannot act at all."""
    encoder = load_backbone(f"{folders['siglip']}#pool=patches")
    with torch.no_grad():
        for layer in encoder.model.vision_model.encoder.layers:
            layer.self_attn.v_proj.weight.zero_()
            layer.self_attn.v_proj.bias.zero_()
    vision = Prompts(vision=prompts(encoder, layers=3).vision)
    plain = encoder.encode_image(IMAGES).pooled
    assert close(encoder.encode_image(IMAGES, vision).pooled, plain)


@every
def test_encoding_in_bfloat16_is_another_encoder_with_close_features(
    name, folders, encoders, tmp_path
):
    frozen = FrozenFeatures(tmp_path)
    lower = load_backbone(f"{folders[name]}#precision=bfloat16", frozen=frozen)
    assert lower.fingerprint != encoders[name].fingerprint
    for encode, items in SIDES:
        rounded, own = (getattr(each, encode)(items).pooled for each in (lower, encoders[name]))
        assert rounded.dtype == torch.float32
        assert 1e-5 < (rounded - own).abs().max() < 0.1
    frozen.flush()
    assert {path.name for path in tmp_path.iterdir()} == {lower.fingerprint}


@pytest.mark.parametrize("name", ["clip", pytest.param("siglip", marks=pytest.mark.slow)])
def test_compiled_towers_give_the_same_features_and_leave_prompts_alone(name, folders, encoders):
    """`eager` instead of a C++ compiler: what is compiled must be what runs."""
    ran = []

    def backend(graph, _inputs):
        return lambda *args: ran.append(graph) or graph.forward(*args)

    exact = encoders[name]
    with pytest.MonkeyPatch.context() as patch:
        own = torch.compile
        patch.setattr(torch, "compile", lambda module, **o: own(module, backend=backend, **o))
        compiled = load_backbone(f"{folders[name]}#compile=yes")
    assert compiled.fingerprint == exact.fingerprint
    given = prompts(exact)
    for (encode, items), mine in zip(
        SIDES, (Prompts(text=given.text), Prompts(vision=given.vision)), strict=True
    ):
        for gradients, prompted, compiles in (
            (False, (), True),
            (False, (mine,), False),
            (True, (), False),
        ):
            ran.clear()
            with torch.set_grad_enabled(gradients):
                one, other = (
                    getattr(each, encode)(items, *prompted).pooled for each in (compiled, exact)
                )
            assert close(one, other)
            assert bool(ran) == compiles


def test_a_failed_compilation_is_an_error_with_a_remedy(folders, monkeypatch):
    def fail(_graph, _inputs):
        raise RuntimeError("no C++ compiler")

    own = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module, **o: own(module, backend=fail, **o))
    with pytest.raises(FdrdError, match=r"cannot compile it here .*no C\+\+ compiler.*leave out"):
        load_backbone(f"{folders['clip']}#compile=yes")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("clip#pool=patches", "no option pool; this encoder has precision, compile"),
        ("align#compile=yes", "no option compile; this encoder has precision"),
        ("clip#precision=float8", r"precision=float8: choose from float32 \| bfloat16"),
        ("clip#fast", r"write backbone .*clip\d*# name=value"),
        ("clip#speed=9", "option 'speed'"),
    ],
)
def test_options_that_an_encoder_does_not_have_are_refused(spec, message, folders):
    name, _, options = spec.partition("#")
    with pytest.raises(FdrdError, match=message):
        load_backbone(f"{folders[name]}#{options}")


def test_a_full_disk_names_the_folder_of_features(encoders, tiny_dataset, tmp_path):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        with pytest.raises(OSError, match=r"too large: .*stored'"):
            write_features(encoders["align"], [tiny_dataset["test"]], tmp_path / "stored")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "stored").exists()


def test_stored_features_are_those_that_were_written(encoders, tiny_dataset, tmp_path):
    encoder, dataset, folder = encoders["align"], tiny_dataset["test"], tmp_path / "stored"
    write_features(encoder, [dataset], folder)
    assert kind_of(folder) == "features"
    stored = load_backbone(f"features:{folder}")
    assert stored.can == frozenset()
    images = Images.of(dataset)
    assert close(stored.encode_image(images).pooled, encoder.encode_image(images).pooled)
    negative = [dataset.negatives[0][0].caption]
    assert close(stored.encode_text(negative).pooled, encoder.encode_text(negative).pooled)
    with pytest.raises(FdrdError, match=r"has no features of 1 of 1 texts, e\.g\. 'a unicorn'"):
        stored.encode_text(["a unicorn"])
    keys = folder / "texts.json"
    keys.write_text(json.dumps(json.loads(keys.read_text())[1:]))
    with pytest.raises(FdrdError, match=r"texts\.npy must have a row"):
        load_backbone(f"features:{folder}")


def test_a_function_may_return_an_encoder(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\n"
        "from benchmark.models.plain_encoder import PlainEncoder\n"
        "def constant():\n"
        "    one = lambda items: torch.ones(len(items), 4)\n"
        "    return PlainEncoder(one, one, name='', fingerprint='1', dim=4)\n"
    )
    encoder = load_backbone(f"{file}:constant", allow_code=True)
    assert encoder.name == f"{file}:constant"
    assert encoder.encode_text(["a"]).pooled.tolist() == [[0.5] * 4]
    assert capabilities(f"{file}:constant") is None


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 1e300])
@pytest.mark.parametrize("side", ["images", "texts"])
def test_stored_features_that_are_not_finite_are_refused(side, value, tmp_path):
    for each in ("images", "texts"):
        np.save(tmp_path / f"{each}.npy", np.ones((3, 2)))
        (tmp_path / f"{each}.json").write_text('["a", "b", "c"]')

    def load(number):
        np.save(tmp_path / f"{side}.npy", [[1, 1], [1, number], [1, 1]])
        return load_backbone(f"features:{tmp_path}")

    message = rf"{side}\.npy has NaN or infinite .* 1 of 3 rows, e\.g\. that of 'b'"
    with pytest.raises(FdrdError, match=message):
        load(value)
    assert load(float(np.finfo(np.float32).max)).dim == 2


def test_features_are_not_encoded_for_an_occupied_folder(
    encoders, tiny_dataset, tmp_path, monkeypatch
):
    (tmp_path / "note.txt").touch()
    monkeypatch.setattr(encoders["align"], "encode_image", lambda _: pytest.fail("encoded"))
    with pytest.raises(FdrdError, match="contains files already"):
        write_features(encoders["align"], [tiny_dataset["test"]], tmp_path)


@pytest.mark.parametrize(
    "content",
    ["\ufeff{}", "[" * 10**5, '{"a":' * 10**5, "[]", "", "{", '{"model_type": ["clip"]}', "\x00"],
    ids=["mark", "deep list", "deep", "list", "empty", "open", "type", "zero"],
)
def test_a_damaged_configuration_is_one_line(content, folders, tmp_path):
    damaged = _copy(folders["clip"], tmp_path / "damaged")
    (damaged / "config.json").write_text(content, encoding="utf-8")
    for load in (capabilities, load_backbone):
        if load is capabilities and "model_type" in content:
            assert load(str(damaged)) == frozenset()
            continue
        with pytest.raises(FdrdError, match=r"config|model_type") as error:
            load(str(damaged))
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 500
