"""Convert models of open_clip, OpenAI and others to `CLIPModel`: the same two towers under other names.

`convert` writes a folder that `--backbone` takes. Anything that `CLIPModel` cannot express is refused by name, because
a partly converted tower gives wrong features that look right. Configuration keys are those of `open_clip_config.json`
(https://github.com/mlfoundations/open_clip).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from PIL.Image import Resampling
from tokenizers import pre_tokenizers
from torch import Tensor
from transformers import AutoTokenizer, CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from benchmark.models.tensor_files import read_tensors, refuse_integers, writing_tensors
from fdrd.connection import hub_or_cache
from fdrd.errors import FdrdError, first_line
from fdrd.files.atomic import atomic_folder
from fdrd.kinds import refuse_other
from fdrd.text.tokens import CLIP_LIMIT

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "model.safetensors")
"""Names that open_clip gives to its files."""

_FILES = (*WEIGHTS, "open_clip_pytorch_model.bin", "pytorch_model.bin")
_CLIP_MODEL = "vision_model.embeddings.class_embedding"
"""Name of a tensor that only a CLIPModel of `transformers` has."""

CLIP_TOKENIZER = "openai/clip-vit-base-patch32@d15b5f29721ca72dac15f8526b284be910de18be"
"""Default tokenizer of open_clip's models."""
TOKENIZER_FILES = ("tokenizer.json", "vocab.json")
"""A folder with a fast tokenizer has one of these."""
_MERGES = 49152 - 256 - 2
"""Merges of the published vocabulary file that CLIP uses."""

_SUPPORTED = frozenset(
    # converted
    "embed_dim vision_cfg text_cfg quick_gelu custom_text image_size layers width head_width mlp_ratio "
    "patch_size context_length vocab_size heads eos_id "
    # checked one by one
    "norm_kwargs pool_type proj_type "
    # no effect on the features
    "init_logit_scale init_logit_bias nonscalar_logit_scale patch_dropout output_tokens pos_embed_type "
    "pad_id hf_tokenizer_name final_ln_after_pool attn_pooler_queries attn_pooler_heads "
    "timm_model_pretrained timm_pool timm_proj timm_proj_bias timm_drop timm_drop_path "
    "hf_model_pretrained hf_proj_type hf_pooler_type".split()
)
_UNSUPPORTED = {
    "timm_model_name": "a vision tower of timm",
    "attentional_pool": "attentional pooling",
    "no_ln_pre": "no normalization before the vision layers",
    "hf_model_name": "a text tower of another family",
    "embed_cls": "a class token after the caption",
    "no_causal_mask": "a text tower that is not causal",
    "proj_bias": "a text projection with a bias",
    "tokenizer_kwargs": "a tokenizer with settings",
    "tokenizer_mode": "a tokenizer with a mode",
    "ls_init_value": "layer scale",
    "block_type": "custom transformer blocks",
    "qk_norm": "normalized queries and keys",
    "scaled_cosine_attn": "cosine attention",
    "scale_heads": "scaled attention heads",
    "scale_attn_inner": "a normalization inside attention",
    "scale_attn": "a normalization after attention",
    "scale_fc": "a normalization inside its MLPs",
    "act_kwargs": "an activation with settings",
}

_TENSORS = (  # replaced in this order
    ("visual.transformer.resblocks.", "vision_model.encoder.layers."),
    ("transformer.resblocks.", "text_model.encoder.layers."),
    (".attn.", ".self_attn."),
    (".ln_1.", ".layer_norm1."),
    (".ln_2.", ".layer_norm2."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
    ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
    ("visual.conv1.", "vision_model.embeddings.patch_embedding."),
    ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
    ("visual.ln_pre.", "vision_model.pre_layrnorm."),
    ("visual.ln_post.", "vision_model.post_layernorm."),
    ("visual.proj", "visual_projection.weight"),
    ("token_embedding.", "text_model.embeddings.token_embedding."),
    ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
    ("ln_final.", "text_model.final_layer_norm."),
    ("text_projection", "text_projection.weight"),
)


def convert(
    source: Path,
    out: Path,
    *,
    config: Path | None = None,
    quick_gelu: bool | None = None,
    tokenizer: str | None = None,
) -> Path:
    """Write a CLIPModel with its tokenizer and image processor as safetensors and JSON.

    Args:
        source: a `.pt`, `.pth`, `.bin` or `.safetensors` file with tensors of open_clip, OpenAI or
            `transformers`, or a folder that holds one.
        out: a new or empty folder.
        config: `open_clip_config.json` or `config.json`; by default the one next to the weights. Without
            one, the sizes of an open_clip model are inferred from the shapes.
        quick_gelu: the activation, where no configuration says it.
        tokenizer: as for `tokenizer_of`; by default the one next to the weights.

    Raises:
        FdrdError: the file holds more than tensors, or `CLIPModel` cannot express the model.
    """
    weights = source
    if source.is_dir():
        found = [source / name for name in _FILES if (source / name).is_file()]
        if not found:
            refuse_other(source, "the weights of a model")
            raise FdrdError(f"{source} holds none of {', '.join(_FILES)}; give the file itself")
        weights = found[0]
    with atomic_folder(out) as folder:  # refuse an occupied folder before the slow part
        tensors = read_tensors(weights)
        beside = (weights.parent / file for file in TOKENIZER_FILES)
        if tokenizer is None and any(path.is_file() for path in beside):
            tokenizer = str(weights.parent)
        is_clip_model = _CLIP_MODEL in tensors
        default = weights.with_name("config.json" if is_clip_model else CONFIG)
        chosen = config or (default if default.is_file() else None)
        if chosen is not None and quick_gelu is not None:
            raise FdrdError(f"{chosen} says what the activation is; leave out --activation")
        if is_clip_model:
            parts = _from_transformers(weights, tensors, chosen, tokenizer)
        else:
            described = _open_clip_config(weights, tensors, chosen, quick_gelu)
            coding = tokenizer_of(tokenizer, context=described.context)
            parts = clip_parts(described, tensors, coding, name=str(weights))
        with writing_tensors(out):
            for part in parts:
                part.save_pretrained(folder)
    return out


def _open_clip_config(
    weights: Path, tensors: dict[str, Tensor], config: Path | None, quick_gelu: bool | None
) -> OpenClipConfig:
    if config is not None:
        return read_config(config)
    if quick_gelu is None:
        raise FdrdError(
            f"{weights} does not say which activation its towers use, and the wrong one gives wrong "
            f"features; give --activation quick_gelu for OpenAI's models and models fine-tuned from "
            f"them, gelu for most others, or --config with open_clip's description of the model"
        )
    return OpenClipConfig(configuration_of(tensors, quick_gelu=quick_gelu))


def _from_transformers(
    weights: Path, tensors: dict[str, Tensor], config: Path | None, tokenizer: str | None
) -> tuple[CLIPModel, Any, Any]:
    """Return the parts of a CLIPModel that was saved as a pickle (`pytorch_model.bin`)."""
    if config is None:
        raise FdrdError(f"{weights} is a CLIPModel without its config.json; give it as --config")
    try:
        described = CLIPConfig.from_dict(json.loads(config.read_text(encoding="utf-8")))
        model = CLIPModel(described).eval()
        refuse_integers({key: value.dtype for key, value in tensors.items()}, model, str(weights))
        # Older versions saved the numbers 0, 1, 2, ... among the weights.
        model.load_state_dict({k: v for k, v in tensors.items() if not k.endswith("position_ids")})
    except (AttributeError, OSError, ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise FdrdError(f"{weights} does not fit {config} ({reason})") from error
    if weights.with_name("preprocessor_config.json").is_file():
        processor = AutoImageProcessor.from_pretrained(weights.parent, backend="pil")
    else:
        side = described.vision_config.image_size
        square = {"height": side, "width": side}
        processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=square)
    context = described.text_config.max_position_embeddings
    return model, tokenizer_of(tokenizer, context=context), processor


class _Text(msgspec.Struct):
    context_length: int = 77


class _Model(msgspec.Struct):
    """What `model_cfg` must have."""

    embed_dim: int
    vision_cfg: dict[str, Any]
    text_cfg: _Text


@dataclass(frozen=True)
class OpenClipConfig:
    """Description of a model (`model_cfg`) and of its image preprocessing (`preprocess_cfg`)."""

    model: dict[str, Any]
    preprocess: dict[str, Any] = field(default_factory=dict)

    @property
    def context(self) -> int:
        """Tokens that the text tower reads."""
        return int(self.model["text_cfg"].get("context_length", 77))


def read_config(path: Path) -> OpenClipConfig:
    """Read `open_clip_config.json` or one of open_clip's `model_configs`.

    Raises:
        FdrdError: the file is missing or is not such a configuration.
    """
    try:
        content = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        model = msgspec.convert(content.get("model_cfg", content), dict[str, Any])
        msgspec.convert(model, _Model)
        preprocess = msgspec.convert(content.get("preprocess_cfg") or {}, dict[str, Any])
    except (OSError, ValueError, RecursionError) as error:
        raise FdrdError(f"{path} is not an open_clip configuration ({error})") from error
    return OpenClipConfig(model, preprocess)


def clip_parts(
    config: OpenClipConfig, tensors: Mapping[str, Tensor], tokenizer: Any, *, name: str
) -> tuple[CLIPModel, Any, Any]:
    """Return (CLIPModel, tokenizer, image_processor) of an open_clip model."""
    bos, *_, eos = tokenizer("a")["input_ids"]
    model = clip_model(config.model, tensors, bos=bos, eos=eos, name=name)
    return model, tokenizer, image_processor(config)


def clip_model(
    model_cfg: Mapping[str, Any], tensors: Mapping[str, Tensor], *, bos: int, eos: int, name: str
) -> CLIPModel:
    """Return the CLIPModel that computes the same as an open_clip model.

    Raises:
        FdrdError: `CLIPModel` cannot express it, or the tensors do not fit.
    """
    if obstacles := list(_obstacles(model_cfg, eos)):
        raise FdrdError(f"{name} cannot become a CLIPModel: it has {'; '.join(obstacles)}")
    model = CLIPModel(_config(model_cfg, bos, eos)).eval()
    try:
        renamed = _renamed(tensors)
        refuse_integers({key: value.dtype for key, value in renamed.items()}, model, name)
        model.load_state_dict({key: value.float().contiguous() for key, value in renamed.items()})
    except RuntimeError as error:  # names tensors that are missing, unknown or of another shape
        reason = " ".join(str(error).split())[:400]
        raise FdrdError(f"{name} does not fit its configuration: {reason}") from error
    return model


def image_processor(config: OpenClipConfig) -> Any:
    """Return open_clip's evaluation preprocessing as an image processor.

    Raises:
        FdrdError: CLIP's image processor cannot resize that way.
    """
    settings = config.preprocess
    size = _square(settings.get("size") or config.model["vision_cfg"].get("image_size", 224))
    mode = settings.get("resize_mode") or "shortest"
    filters = {"bicubic": Resampling.BICUBIC, "bilinear": Resampling.BILINEAR}
    interpolation = settings.get("interpolation") or "bicubic"
    if mode not in ("shortest", "squash") or interpolation not in filters:
        raise FdrdError(f"CLIPImageProcessor cannot resize by {mode!r} with {interpolation!r}")
    square = {"height": size, "width": size}
    pixels = {"image_mean": settings.get("mean"), "image_std": settings.get("std")}
    return CLIPImageProcessorPil(
        size={"shortest_edge": size} if mode == "shortest" else square,
        crop_size=square,
        do_center_crop=mode == "shortest",
        resample=filters[interpolation],
        do_convert_rgb=True,
        **{key: list(value) for key, value in pixels.items() if value},
    )


def configuration_of(tensors: Mapping[str, Tensor], *, quick_gelu: bool) -> dict[str, Any]:
    """Infer `model_cfg` from the shapes of a `state_dict`.

    Shapes do not tell the activation. The number of heads is one per 64 dimensions, as in CLIP.

    Raises:
        FdrdError: these are not the tensors of a CLIP with a vision transformer.
    """
    renamed = _renamed(tensors)

    def tower(kind: str) -> dict[str, Any]:
        hidden, width = renamed[f"{kind}_model.encoder.layers.0.mlp.fc1.weight"].shape
        layers = {k.split(".")[3] for k in renamed if k.startswith(f"{kind}_model.encoder.layers.")}
        return {"width": width, "layers": len(layers), "mlp_ratio": hidden / width}

    try:
        patch = renamed["vision_model.embeddings.patch_embedding.weight"].shape[-1]
        grid = len(renamed["vision_model.embeddings.position_embedding.weight"]) - 1
        vocabulary, width = renamed["text_model.embeddings.token_embedding.weight"].shape
        context = len(renamed["text_model.embeddings.position_embedding.weight"])
        vision = {"image_size": patch * round(grid**0.5), "patch_size": patch}
        text = {"context_length": context, "vocab_size": vocabulary, "heads": width // 64}
        return {
            "embed_dim": len(renamed["text_projection.weight"]),
            "quick_gelu": quick_gelu,
            "vision_cfg": {**vision, **tower("vision")},
            "text_cfg": {**text, **tower("text")},
        }
    except (KeyError, IndexError) as error:
        more = f" and {len(tensors) - 3} more" * (len(tensors) > 3)
        raise FdrdError(
            f"these are not the tensors of a CLIP with a vision transformer: no {error} among "
            f"{', '.join(sorted(tensors)[:3])}{more}"
        ) from error


def _obstacles(model_cfg: Mapping[str, Any], eos: int) -> Iterator[str]:
    """Yield everything that prevents a conversion, by its name in the configuration."""
    vision, text = model_cfg["vision_cfg"], model_cfg["text_cfg"]
    for part, cfg in (("model_cfg", model_cfg), ("vision_cfg", vision), ("text_cfg", text)):
        for key, value in sorted(cfg.items()):
            if key in _UNSUPPORTED:
                if value and not (key == "block_type" and value == "default"):
                    yield f"{_UNSUPPORTED[key]} ({part}.{key}: {value!r})"
            elif key not in _SUPPORTED:
                yield f"{part}.{key}, which is unknown"
        if (cfg.get("norm_kwargs") or {}).keys() - {"eps"}:
            yield f"a normalization with settings ({part}.norm_kwargs: {cfg['norm_kwargs']})"
    pooling = text.get("pool_type", "argmax")
    if not isinstance(vision.get("layers", 12), int):
        yield f"a ResNet as its vision tower (vision_cfg.layers: {vision['layers']})"
    if vision.get("pool_type", "tok") != "tok":
        yield f"pooled patches (vision_cfg.pool_type: {vision['pool_type']!r})"
    if pooling not in ("argmax", "eos"):
        yield f"text that is not pooled at EOS (text_cfg.pool_type: {pooling!r})"
    if pooling == "eos" and text.get("eos_id", 2) != eos:
        yield f"text that is pooled at token {text.get('eos_id', 2)}, which is not EOS ({eos})"
    if text.get("proj_type", "linear") != "linear":
        yield f"no linear text projection (text_cfg.proj_type: {text['proj_type']!r})"


def _config(model_cfg: Mapping[str, Any], bos: int, eos: int) -> CLIPConfig:
    vision, text = model_cfg["vision_cfg"], model_cfg["text_cfg"]

    def tower(cfg: Mapping[str, Any], width: int, heads: int) -> dict[str, Any]:
        return {
            "hidden_size": width,
            "intermediate_size": int(width * cfg.get("mlp_ratio", 4.0)),
            "num_hidden_layers": cfg.get("layers", 12),
            "num_attention_heads": heads,
            "hidden_act": "quick_gelu" if model_cfg.get("quick_gelu") else "gelu",
            "layer_norm_eps": (cfg.get("norm_kwargs") or {}).get("eps", 1e-5),
            "projection_dim": model_cfg["embed_dim"],
        }

    width = vision.get("width", 768)
    return CLIPConfig(
        text_config={
            **tower(text, text.get("width", 512), text.get("heads", 8)),
            "vocab_size": text.get("vocab_size", 49408),
            "max_position_embeddings": text.get("context_length", 77),
            "bos_token_id": bos,
            "eos_token_id": eos,
            "pad_token_id": eos,
        },
        vision_config={
            **tower(vision, width, width // vision.get("head_width", 64)),
            "image_size": _square(vision.get("image_size", 224)),
            "patch_size": _square(vision.get("patch_size", 16)),
        },
        projection_dim=model_cfg["embed_dim"],
    )


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under CLIPModel's names, without what only the loss needs."""
    found: dict[str, Tensor] = {}
    for key, value in tensors.items():
        name = key.removeprefix("text.")  # where a model with `custom_text` keeps its text tower
        for theirs, ours in _TENSORS:
            name = name.replace(theirs, ours)
        if ".in_proj_" in name:
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                found[name.replace("in_proj_", f"{letter}_proj.")] = part
        elif name.endswith("_projection.weight"):
            found[name] = value.T
        elif name != "logit_bias":
            found[name] = value.reshape(()) if name == "logit_scale" else value
    return found


def _square(size: Any) -> int:
    sides = set(size) if isinstance(size, list | tuple) else {size}
    if len(sides) != 1:
        raise FdrdError(f"CLIPModel needs square images and patches, not {size}")
    return int(sides.pop())


def tokenizer_of(source: str | None, revision: str = "main", *, context: int = CLIP_LIMIT) -> Any:
    """Load a fast tokenizer that truncates captions to `context` tokens.

    Args:
        source: a folder, a Hub id (with an optional @REVISION), or the BPE file that CLIP and open_clip ship,
            `bpe_simple_vocab_16e6.txt.gz`. CLIP's own tokenizer from the Hub by default.
        revision: used if the Hub id names none.
        context: number of tokens that the model reads.

    Raises:
        FdrdError: the tokenizer is not available.
    """
    if source is not None and source.endswith((".txt.gz", ".txt")):
        vocab, merges = _clip_vocabulary(Path(source))
        return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=context)
    name, _, at = (source or CLIP_TOKENIZER).partition("@")
    try:
        with nullcontext() if Path(name).is_dir() else hub_or_cache():
            return AutoTokenizer.from_pretrained(
                name, revision=at or revision, model_max_length=context
            )
    except (OSError, ValueError) as error:
        raise FdrdError(
            f"the tokenizer {source or CLIP_TOKENIZER} is not available "
            f"({first_line(error)}); put its files next to the model, or run "
            f"`fdrd export --to transformers` with --tokenizer: a folder, a Hub id, or the file "
            f"bpe_simple_vocab_16e6.txt.gz that open_clip and CLIP ship"
        ) from error


def _clip_vocabulary(path: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Read CLIP's BPE file and return token ids and merges (arXiv 2103.00020, section 2.4)."""
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
        lines = text.split("\n")[1 : 1 + _MERGES]  # the first line is a comment
        merges = [(first, second) for first, second in (line.split(" ") for line in lines if line)]
    except (OSError, ValueError, EOFError) as error:
        raise FdrdError(f"{path} is not a list of byte pairs ({error})") from error
    if len(merges) < _MERGES:
        raise FdrdError(f"{path} is not CLIP's list of {_MERGES:,} byte pairs")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())  # one printable letter for each byte
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: index for index, token in enumerate(tokens)}, merges
