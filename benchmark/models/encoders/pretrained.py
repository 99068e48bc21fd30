"""Models of `transformers`: a folder that `save_pretrained` wrote, or a repository of the Hub.

CLIP, MetaCLIP 2, SigLIP and SigLIP 2 take prompts. Every other dual encoder of `transformers` is a plain encoder.
Weights are read from safetensors only, every tensor must fit, and no code of a repository is run.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, enable_progress_bars
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoTokenizer

# Before 5.18, the name in `transformers` itself needs torchvision.
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from transformers.models.auto.modeling_auto import MODEL_MAPPING
from transformers.utils import logging as transformers_logging

from benchmark.models import conversion
from benchmark.models.backbone import ALL, TOKENS, Encoder, EncoderSetup
from benchmark.models.clip import CLIPBackbone
from benchmark.models.image_batches import AnyImages, decoded
from benchmark.models.plain_encoder import PlainEncoder
from benchmark.models.promptable import fingerprint, token_counts
from benchmark.models.siglip import SiglipBackbone
from benchmark.models.tensor_files import read_tensors, refuse_integers
from fdrd.errors import FdrdError, first_line

log = logging.getLogger(__name__)

PROMPTABLE: dict[str, type[CLIPBackbone] | type[SiglipBackbone]] = {
    "clip": CLIPBackbone,
    "metaclip_2": CLIPBackbone,
    "siglip": SiglipBackbone,
    "siglip2": SiglipBackbone,
}
"""Architectures that take prompts, by `model_type`."""


def can(target: str) -> frozenset[str]:
    """Return what a model offers beyond pooled features, from its configuration alone."""
    name, _, revision = target.partition("@")
    kind = str(_config(name, revision or "main").get("model_type", "clip"))
    if kind not in PROMPTABLE:
        return frozenset()
    return ALL - {TOKENS} if kind == "siglip2" else ALL


def load(target: str, **setup: Unpack[EncoderSetup]) -> Encoder:
    """Return the model of a folder or of the Hub.

    Raises:
        FdrdError: the model is missing, damaged or of an unknown architecture, or has no such option.
    """
    name = setup["name"]
    folder = Path(target).expanduser()
    if folder.is_dir() or target.startswith((".", "/", "~")):
        location, revision = str(folder), "main"
        if not any((folder / config).is_file() for config in ("config.json", conversion.CONFIG)):
            raise FdrdError(
                f"backbone {name!r}: {folder} has no config.json; give a folder that "
                f"save_pretrained wrote, or one with {conversion.CONFIG}"
            )
        advice = (
            "the folder needs model.safetensors, a tokenizer and a preprocessor_config.json; "
            "`fdrd export --to transformers` converts a .bin file"
        )
    else:
        location, _, revision = target.partition("@")
        advice = (
            "not a local folder, and downloading it from the Hub failed; check the name and the "
            "connection, or give `backbone` a local folder, a function, or `embedded`"
        )
    try:
        with _no_bar():
            parts = _parts(location, revision or "main", name)
    except FdrdError:
        raise
    except Exception as error:  # the files of a stranger make `transformers` raise anything
        raise FdrdError(f"backbone {name!r}: {first_line(error).rstrip('.')}; {advice}") from error
    return encoder(*parts, **setup)


@contextmanager
def _no_bar() -> Iterator[None]:
    """Load weights without the progress bar of transformers; that of a download stays."""
    shown, downloads = (
        transformers_logging.is_progress_bar_enabled(),
        not are_progress_bars_disabled(),
    )
    transformers_logging.disable_progress_bar()
    if downloads:
        enable_progress_bars()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def encoder(
    model: Any, tokenizer: Any, image_processor: Any, **setup: Unpack[EncoderSetup]
) -> Encoder:
    """Return the encoder around a model of `transformers`, promptable if its architecture is."""
    limit = getattr(_text_config(model), "max_position_embeddings", 0)
    if tokenizer.model_max_length + 2 < limit:  # RoBERTa reserves two positions
        log.warning(
            "%s reads %d tokens, but its tokenizer stops at %d; set model_max_length in "
            "tokenizer_config.json to %d to use the whole context",
            *(setup["name"], limit, tokenizer.model_max_length, limit),
        )
    make = PROMPTABLE.get(model.config.model_type, _plain)
    return make(model, tokenizer, image_processor, **setup)


def _parts(location: str, revision: str, name: str) -> tuple[Any, Any, Any]:
    """Return (model, tokenizer, image processor)."""
    config = _config(location, revision)
    if not config and (described := _file(location, revision, conversion.CONFIG)) is not None:
        return _converted(location, revision, described)
    if config:
        _refuse_unknown(config, name)
    model, report = AutoModel.from_pretrained(
        location,
        revision=revision,
        use_safetensors=True,
        dtype=torch.float32,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # refused below, by name
    )
    _refuse_damaged(report, model.config.model_type, name)
    refuse_integers(_stored_types(location, revision), model, f"backbone {name!r}")
    return (
        model,
        AutoTokenizer.from_pretrained(location, revision=revision),
        AutoImageProcessor.from_pretrained(location, revision=revision, backend="pil"),
    )


def _refuse_unknown(config: dict[str, Any], name: str) -> None:
    kind = str(config.get("model_type", ""))
    try:
        known = MODEL_MAPPING[type(AutoConfig.for_model(kind))]
    except (KeyError, ValueError):
        known = None
    if all(hasattr(known, function) for function in ("get_image_features", "get_text_features")):
        return
    remedy = "give a dual encoder such as CLIP or SigLIP"
    if "auto_map" in config:
        remedy = (
            "it needs code of its repository, which fdrd does not run; if you trust that code, load "
            "the model in a function of your own: `backbone` file.py:function"
        )
    raise FdrdError(
        f"backbone {name!r}: model_type {kind!r} is not a dual encoder of transformers; {remedy}"
    )


def _refuse_damaged(report: dict[str, Any], kind: str, name: str) -> None:
    """Refuse a model of which some tensors would be random or ignored."""
    wrong = {key[0] for key in report["mismatched_keys"]}
    problems = [
        f"{found}: {', '.join(sorted(keys)[:3])}{f' and {len(keys) - 3} more' * (len(keys) > 3)}"
        for found, keys in (
            ("missing", set(report["missing_keys"]) - wrong),
            ("unknown", {k for k in report["unexpected_keys"] if not k.endswith("position_ids")}),
            ("of another shape", wrong),
        )
        if keys
    ]
    if problems:
        raise FdrdError(
            f"backbone {name!r}: its tensors do not fit a {kind} model ({'; '.join(problems)}), so parts "
            f"of it would be random or ignored; the files are damaged or config.json names another "
            f"architecture. Save the model again with save_pretrained, or load it in a function of "
            f"your own: `backbone` file.py:function"
        )


def _plain(
    model: Any, tokenizer: Any, image_processor: Any, **setup: Unpack[EncoderSetup]
) -> PlainEncoder:
    setup["options"].only(setup["name"], "precision")
    device = setup["device"]
    model = model.to(device).eval().requires_grad_(False)
    limit = getattr(_text_config(model), "max_position_embeddings", tokenizer.model_max_length)
    context = int(min(tokenizer.model_max_length, limit))
    settings = sorted(image_processor.to_dict())

    def pooled(out: Any) -> Tensor:
        features: Tensor = getattr(out, "pooler_output", out)
        return features[:, 0] if features.dim() == 3 else features

    def encode_images(images: AnyImages) -> Tensor:
        pixels = image_processor(images=decoded(images), return_tensors="pt")
        return pooled(model.get_image_features(**pixels.to(device)))

    def encode_texts(captions: Sequence[str]) -> Tensor:
        coded = tokenizer(
            list(captions), padding=True, truncation=True, max_length=context, return_tensors="pt"
        )
        return pooled(model.get_text_features(**coded.to(device)))

    with torch.no_grad():
        dim = encode_texts(["a"]).shape[1]
    return PlainEncoder(
        encode_images,
        encode_texts,
        fingerprint=fingerprint(model, tokenizer, image_processor, settings),
        dim=dim,
        logit_scale=_scale(model),
        context=context,
        count_tokens=partial(token_counts, tokenizer),
        **setup,
    )


def _scale(model: Any) -> float:
    """Return the factor of the cosines in the model's own loss; 100 if it has none."""
    if hasattr(model, "temperature"):  # ALIGN divides by it
        return 1 / float(model.temperature.detach())
    scale = getattr(model, "logit_scale", None)
    return 100.0 if scale is None else float(scale.detach().float().exp())


def _text_config(model: Any) -> Any:
    return getattr(model.config, "text_config", None)


def _converted(location: str, revision: str, described: Path) -> tuple[Any, Any, Any]:
    """Return an open_clip model as a CLIPModel."""
    found = (_file(location, revision, weights) for weights in conversion.WEIGHTS)
    weights = next((path for path in found if path is not None), None)
    if weights is None:
        raise FdrdError(
            f"{location} has {conversion.CONFIG} but no {conversion.WEIGHTS[0]}; if its weights are a "
            f".bin or .pt file, `fdrd export --to transformers` writes a folder that `backbone` takes"
        )
    config = conversion.read_config(described)
    has_tokenizer = any(_file(location, revision, file) for file in conversion.TOKENIZER_FILES)
    tokenizer = conversion.tokenizer_of(
        location if has_tokenizer else None, revision, context=config.context
    )
    return conversion.clip_parts(config, read_tensors(weights), tokenizer, name=location)


def _config(location: str, revision: str) -> dict[str, Any]:
    """Return `config.json`, or nothing if there is none."""
    path = _file(location, revision, "config.json")
    if path is None:
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("not an object")
        return found
    except (OSError, ValueError, RecursionError) as error:
        raise FdrdError(
            f"{path} is not a model's configuration ({first_line(error)}); save the model again with "
            f"save_pretrained"
        ) from error


def _stored_types(location: str, revision: str) -> dict[str, str]:
    """Return the type of each tensor in the safetensors files, by name."""
    files = ["model.safetensors"]
    if index := _file(location, revision, "model.safetensors.index.json"):
        files = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    found: dict[str, str] = {}
    for path in filter(None, (_file(location, revision, file) for file in files)):
        with safe_open(path, "pt") as tensors:
            found |= {key: tensors.get_slice(key).get_dtype() for key in tensors.keys()}  # noqa: SIM118
    return found


def _file(location: str, revision: str, file: str) -> Path | None:
    """Return a file of a folder or Hub repository, or None if it is missing or unreachable."""
    folder = Path(location).expanduser()
    if folder.is_dir():
        return folder / file if (folder / file).is_file() else None
    try:
        return Path(hf_hub_download(location, file, revision=revision))
    except FdrdError:
        raise
    except Exception:  # whatever the client raises: there is no file
        return None
