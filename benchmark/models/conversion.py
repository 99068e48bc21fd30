"""Convert a checkpoint of another format to a folder that `--backbone` takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from benchmark.models.open_clip import CONFIG, WEIGHTS, OpenClipConfig, clip_parts, configuration_of
from benchmark.models.open_clip import read_config as read_open_clip_config
from benchmark.models.tensor_files import read_tensors, refuse_integers, writing_tensors
from benchmark.models.tokenizer import has_tokenizer, tokenizer_of
from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_folder
from fdrd.kinds import refuse_other

_FILES = (*WEIGHTS, "open_clip_pytorch_model.bin", "pytorch_model.bin")
_CLIP_MODEL = "vision_model.embeddings.class_embedding"
"""Name of a tensor that only a CLIPModel of `transformers` has."""


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
        if tokenizer is None and has_tokenizer(weights.parent):
            tokenizer = str(weights.parent)
        is_clip_model = _CLIP_MODEL in tensors
        beside = weights.with_name("config.json" if is_clip_model else CONFIG)
        chosen = config or (beside if beside.is_file() else None)
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
        return read_open_clip_config(config)
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
