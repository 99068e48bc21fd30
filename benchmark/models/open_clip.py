"""open_clip's models as a `CLIPModel`: the same two towers, under other names.

What `CLIPModel` cannot express is refused by name: a tower that was converted in part would give
features that are wrong and look right. The names are those of open_clip's model configurations
(`open_clip_config.json`, https://github.com/mlfoundations/open_clip).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL.Image import Resampling
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

from fdrd.errors import FdrdError

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "model.safetensors")
"""What open_clip calls its files."""


@dataclass(frozen=True)
class OpenClipConfig:
    """What `open_clip_config.json` says of a model and of its images."""

    model: dict[str, Any]
    preprocess: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> dict[str, Any]:
        """The part of the text tower."""
        tower: dict[str, Any] = self.model["text_cfg"]
        return tower


_EITHER = {
    "ls_init_value": "layer scale",
    "block_type": "blocks of its own kind",
    "qk_norm": "normalised queries and keys",
    "scaled_cosine_attn": "cosine attention",
    "scale_heads": "scaled attention heads",
    "scale_attn_inner": "a normalisation inside attention",
    "scale_attn": "a normalisation after attention",
    "scale_fc": "a normalisation inside its MLPs",
    "act_kwargs": "an activation with settings",
}
_VISION = {
    **_EITHER,
    "timm_model_name": "a vision tower of timm",
    "attentional_pool": "attentional pooling",
    "no_ln_pre": "no normalisation before the vision layers",
}
_TEXT = {
    **_EITHER,
    "hf_model_name": "a text tower of another family",
    "embed_cls": "a class token behind the caption",
    "no_causal_mask": "a text tower that is not causal",
    "proj_bias": "a text projection with a bias",
    "tokenizer_kwargs": "a tokenizer with settings",
    "tokenizer_mode": "a tokenizer with a mode",
}
_EXPRESSED = {
    "model_cfg": {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text"},
    "vision_cfg": {"image_size", "layers", "width", "head_width", "mlp_ratio", "patch_size"},
    "text_cfg": {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "eos_id"},
}
"""What becomes part of the CLIPModel's configuration."""

_NO_MATTER = {
    *("init_logit_scale", "init_logit_bias", "nonscalar_logit_scale"),  # the loss, not the towers
    *("patch_dropout", "output_tokens"),  # training; another form of output
    *("pos_embed_type", "pad_id", "hf_tokenizer_name"),  # stored as a tensor; never read; a file
    *("norm_kwargs", "pool_type", "proj_type", "final_ln_after_pool"),  # looked at one by one
    *("attn_pooler_queries", "attn_pooler_heads"),  # of what is refused
    *("timm_model_pretrained", "timm_pool", "timm_proj", "timm_proj_bias"),
    *("timm_drop", "timm_drop_path", "hf_model_pretrained", "hf_proj_type", "hf_pooler_type"),
}


def read_config(path: Path) -> OpenClipConfig:
    """A configuration: `open_clip_config.json`, or one of open_clip's `model_configs`.

    Raises:
        FdrdError: the file is missing or something else.
    """
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FdrdError(f"{path} is no configuration of open_clip ({error})") from error
    model = said.get("model_cfg", said) if isinstance(said, dict) else {}
    missing = [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in model]
    if missing:
        raise FdrdError(f"{path} is no configuration of open_clip: it lacks {', '.join(missing)}")
    return OpenClipConfig(model, said.get("preprocess_cfg") or {})


def clip_parts(
    config: OpenClipConfig, tensors: Mapping[str, Tensor], tokenizer: Any, *, name: str
) -> tuple[CLIPModel, Any, Any]:
    """(CLIPModel, tokenizer, image_processor) of an open_clip model.

    Raises:
        FdrdError: `CLIPModel` or its image processor cannot express it.
    """
    bos, *_, eos = tokenizer("a")["input_ids"]
    model = clip_model(config.model, tensors, bos=bos, eos=eos, name=name)
    return model, tokenizer, image_processor(config)


def clip_model(
    model_cfg: Mapping[str, Any], tensors: Mapping[str, Tensor], *, bos: int, eos: int, name: str
) -> CLIPModel:
    """The CLIPModel that computes what an open_clip model of this configuration computes.

    Args:
        model_cfg: `model_cfg` of `open_clip_config.json`.
        tensors: the model's `state_dict`.
        bos: id of the token that the tokenizer begins with.
        eos: id of the token that it ends with, where the text tower pools.
        name: what to call it in an error.

    Raises:
        FdrdError: `CLIPModel` cannot express it, or the tensors do not fit.
    """
    reasons = list(_obstacles(model_cfg, eos))
    if reasons:
        raise FdrdError(f"{name} is no CLIPModel: it has {'; '.join(reasons)}")
    model = CLIPModel(_config(model_cfg, bos, eos)).eval()
    own = model.state_dict()
    given = _renamed(tensors)
    missing, unknown = sorted(own.keys() - given), sorted(given.keys() - own)
    other = sorted(key for key in own.keys() & given if own[key].shape != given[key].shape)
    for what, keys in (("lacks", missing), ("has besides", unknown)):
        if keys:
            raise FdrdError(f"{name} is no CLIPModel of its configuration: it {what} {_few(keys)}")
    if other:
        shapes = f"{tuple(given[other[0]].shape)} instead of {tuple(own[other[0]].shape)}"
        raise FdrdError(f"{name} does not fit its configuration: {other[0]} is {shapes}")
    model.load_state_dict(given)
    return model


def image_processor(config: OpenClipConfig) -> Any:
    """open_clip's preprocessing for evaluation, as an image processor.

    Raises:
        FdrdError: it resizes in a way that CLIP's image processor does not know.
    """
    said = config.preprocess
    size = _square(said.get("size") or config.model["vision_cfg"].get("image_size", 224))
    mode = said.get("resize_mode") or "shortest"
    if mode not in ("shortest", "squash"):
        raise FdrdError(f"images are resized by {mode!r}, which CLIPImageProcessor does not know")
    filters = {"bicubic": Resampling.BICUBIC, "bilinear": Resampling.BILINEAR}
    interpolation = said.get("interpolation") or "bicubic"
    if interpolation not in filters:
        raise FdrdError(
            f"images are resized with {interpolation!r}; known are {', '.join(filters)}"
        )
    form = {"height": size, "width": size}
    given = {"image_mean": said.get("mean"), "image_std": said.get("std")}
    return CLIPImageProcessorPil(
        size={"shortest_edge": size} if mode == "shortest" else form,
        crop_size=form,
        do_center_crop=mode == "shortest",
        resample=filters[interpolation],
        do_convert_rgb=True,
        **{key: list(value) for key, value in given.items() if value},
    )


def configuration_of(tensors: Mapping[str, Tensor], *, quick_gelu: bool) -> dict[str, Any]:
    """The `model_cfg` of a `state_dict` that comes without one.

    Shapes tell all but the activation and the number of heads, of which CLIP's models have one for
    each 64 dimensions.

    Raises:
        FdrdError: these are not the tensors of a CLIP with a vision transformer.
    """
    text = _bare(tensors)
    try:
        convolution, grid = tensors["visual.conv1.weight"], tensors["visual.positional_embedding"]
        patch, side = convolution.shape[-1], round((len(grid) - 1) ** 0.5)
        hidden = [
            tower["transformer.resblocks.0.mlp.c_fc.weight"] for tower in (text, _visual(text))
        ]
        return {
            "embed_dim": text["text_projection"].shape[1],
            "quick_gelu": quick_gelu,
            "vision_cfg": {
                "image_size": patch * side,
                "patch_size": patch,
                "width": convolution.shape[0],
                "layers": _layers(_visual(text)),
                "mlp_ratio": hidden[1].shape[0] / hidden[1].shape[1],
            },
            "text_cfg": {
                "context_length": text["positional_embedding"].shape[0],
                "vocab_size": text["token_embedding.weight"].shape[0],
                "width": text["token_embedding.weight"].shape[1],
                "heads": text["token_embedding.weight"].shape[1] // 64,
                "layers": _layers(text),
                "mlp_ratio": hidden[0].shape[0] / hidden[0].shape[1],
            },
        }
    except (KeyError, IndexError) as error:
        raise FdrdError(
            f"these are not the tensors of a CLIP with a vision transformer: there is no {error}, "
            f"but {_few(sorted(tensors))}"
        ) from error


def _obstacles(model_cfg: Mapping[str, Any], eos: int) -> Iterator[str]:
    """What stands against a conversion, each by the name that the configuration has for it."""
    known = _EXPRESSED["model_cfg"] | _NO_MATTER
    yield from (f"{key}, which is not known here" for key in sorted(model_cfg.keys() - known))
    for part, refused in (("vision_cfg", _VISION), ("text_cfg", _TEXT)):
        cfg = model_cfg[part]
        for key, value in sorted(cfg.items()):
            if key in refused:
                if value and not (key == "block_type" and value == "default"):
                    yield f"{refused[key]} ({part}.{key}: {value!r})"
            elif key not in _EXPRESSED[part] | _NO_MATTER:
                yield f"{part}.{key}, which is not known here"
        if (cfg.get("norm_kwargs") or {}).keys() - {"eps"}:
            yield f"a normalisation with settings ({part}.norm_kwargs: {cfg['norm_kwargs']})"
    vision, text = model_cfg["vision_cfg"], model_cfg["text_cfg"]
    if not isinstance(vision.get("layers", 12), int):
        yield f"a ResNet as its vision tower (vision_cfg.layers: {vision['layers']})"
    if vision.get("pool_type", "tok") != "tok":
        yield f"pooled patches (vision_cfg.pool_type: {vision['pool_type']!r})"
    if text.get("pool_type", "argmax") not in ("argmax", "eos"):
        yield f"text that is not pooled at EOS (text_cfg.pool_type: {text['pool_type']!r})"
    if text.get("pool_type") == "eos" and text.get("eos_id", 2) != eos:
        yield f"text that is pooled at token {text.get('eos_id', 2)}, which is not EOS ({eos})"
    if text.get("proj_type", "linear") != "linear":
        yield f"no linear text projection (text_cfg.proj_type: {text['proj_type']!r})"


def _config(model_cfg: Mapping[str, Any], bos: int, eos: int) -> CLIPConfig:
    vision, text = model_cfg["vision_cfg"], model_cfg["text_cfg"]
    width = {"vision": vision.get("width", 768), "text": text.get("width", 512)}

    def tower(cfg: Mapping[str, Any], kind: str, heads: int) -> dict[str, Any]:
        return {
            "hidden_size": width[kind],
            "intermediate_size": int(width[kind] * cfg.get("mlp_ratio", 4.0)),
            "num_hidden_layers": cfg.get("layers", 12),
            "num_attention_heads": heads,
            "hidden_act": "quick_gelu" if model_cfg.get("quick_gelu") else "gelu",
            "layer_norm_eps": (cfg.get("norm_kwargs") or {}).get("eps", 1e-5),
            "projection_dim": model_cfg["embed_dim"],
        }

    return CLIPConfig(
        text_config={
            **tower(text, "text", text.get("heads", 8)),
            "vocab_size": text.get("vocab_size", 49408),
            "max_position_embeddings": text.get("context_length", 77),
            "bos_token_id": bos,
            "eos_token_id": eos,
            "pad_token_id": eos,
        },
        vision_config={
            **tower(vision, "vision", width["vision"] // vision.get("head_width", 64)),
            "image_size": _square(vision.get("image_size", 224)),
            "patch_size": _square(vision.get("patch_size", 16)),
        },
        projection_dim=model_cfg["embed_dim"],
    )


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under CLIPModel's names, float32; what only the loss needs is left out."""
    text = _bare(tensors)
    found: dict[str, Tensor] = {}
    for kind, of in (("text_model", text), ("vision_model", _visual(text))):
        for key, value in of.items():
            if not key.startswith("transformer.resblocks."):
                continue
            _, _, number, part = key.split(".", 3)
            layer = f"{kind}.encoder.layers.{number}"
            if part.startswith("attn.in_proj_"):
                for name, each in zip("qkv", value.chunk(3), strict=True):
                    found[f"{layer}.self_attn.{name}_proj.{part.removeprefix('attn.in_proj_')}"] = (
                        each
                    )
            else:
                for theirs, ours in _LAYER.items():
                    part = part.replace(theirs, ours)
                found[f"{layer}.{part}"] = value
    for key, value in text.items():
        if key in _PROJECTIONS:
            found[_PROJECTIONS[key]] = value.T
        elif key == "logit_bias" or key.startswith(("transformer.res", "visual.transformer.res")):
            continue  # the former is a constant, which changes no rank; the latter are done
        else:
            found[_SINGLE.get(key, key)] = value.reshape(()) if key == "logit_scale" else value
    return {key: value.float().contiguous() for key, value in found.items()}


_LAYER = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_PROJECTIONS = {
    "text_projection": "text_projection.weight",
    "visual.proj": "visual_projection.weight",
}
_SINGLE = {
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
}


def _bare(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names as in a plain CLIP: a model with `custom_text` keeps its text tower under `text.`."""
    return {key.removeprefix("text."): value for key, value in tensors.items()}


def _visual(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        key.removeprefix("visual."): value
        for key, value in tensors.items()
        if key.startswith("visual.")
    }


def _layers(tensors: Mapping[str, Tensor]) -> int:
    return sum(
        key.startswith("transformer.resblocks.") and key.endswith(".ln_1.weight") for key in tensors
    )


def _square(size: Any) -> int:
    sides = set(size) if isinstance(size, list | tuple) else {size}
    if len(sides) != 1:
        raise FdrdError(f"images or patches of {size} are not square, which CLIPModel asks for")
    return int(sides.pop())


def _few(names: list[str]) -> str:
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")
