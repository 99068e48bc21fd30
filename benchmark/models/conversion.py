"""A checkpoint of another format becomes a folder that `--backbone` takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import AutoImageProcessor, CLIPConfig, CLIPImageProcessorPil, CLIPModel

from benchmark.models.open_clip import CONFIG, WEIGHTS, OpenClipConfig, clip_parts, configuration_of
from benchmark.models.open_clip import read_config as read_open_clip_config
from benchmark.models.tensor_files import read_tensors
from benchmark.models.tokenizer import has_tokenizer, tokenizer_of
from fdrd.errors import FdrdError
from fdrd.files.atomic import new_folder

_OURS = "vision_model.embeddings.class_embedding"
"""A tensor that only a CLIPModel of `transformers` has under this name."""


def convert(
    source: Path,
    out: Path,
    *,
    config: Path | None = None,
    quick_gelu: bool | None = None,
    tokenizer: str | None = None,
) -> Path:
    """Write a CLIPModel with its tokenizer and image processor: safetensors and JSON, no pickle.

    Args:
        source: a `.pt`, `.pth`, `.bin` or `.safetensors` file with tensors of open_clip, OpenAI or
            `transformers`, or a folder of one.
        out: a new or empty folder.
        config: description of the model: open_clip's, or `config.json` of `transformers`; by default
            the one beside the weights. Without one, open_clip's sizes are read off the shapes.
        quick_gelu: whether the towers use it, where no configuration says so; shapes cannot tell.
        tokenizer: what `tokenizer_of` takes; by default that beside the weights.

    Raises:
        FdrdError: the file holds more than tensors, or what `CLIPModel` cannot express.
    """
    weights = _weights_in(source) if source.is_dir() else source
    with new_folder(out) as folder:  # refused first: reading takes time
        tensors = read_tensors(weights)
        if tokenizer is None and has_tokenizer(weights.parent):
            tokenizer = str(weights.parent)
        make = _of_transformers if _OURS in tensors else _of_open_clip
        for part in make(weights, tensors, config, quick_gelu, tokenizer):
            part.save_pretrained(folder)
    return out


def _of_open_clip(
    weights: Path,
    tensors: Mapping[str, Tensor],
    config: Path | None,
    quick_gelu: bool | None,
    tokenizer: str | None,
) -> tuple[CLIPModel, Any, Any]:
    chosen = _described(weights, config, CONFIG, quick_gelu)
    if chosen is not None:
        said = read_open_clip_config(chosen)
    elif quick_gelu is not None:
        said = OpenClipConfig(configuration_of(tensors, quick_gelu=quick_gelu))
    else:
        raise FdrdError(
            f"{weights} does not say which activation its towers use, and another one gives "
            f"wrong features; give --activation quick_gelu for OpenAI's models and those "
            f"fine-tuned from them, gelu for most others, or --config with open_clip's "
            f"description of the model"
        )
    coding = tokenizer_of(tokenizer, context=said.text.get("context_length", 77))
    return clip_parts(said, tensors, coding, name=str(weights))


def _of_transformers(
    weights: Path,
    tensors: Mapping[str, Tensor],
    config: Path | None,
    quick_gelu: bool | None,
    tokenizer: str | None,
) -> tuple[CLIPModel, Any, Any]:
    """A CLIPModel that was saved as a pickle, as `pytorch_model.bin`."""
    chosen = _described(weights, config, "config.json", quick_gelu)
    if chosen is None:
        raise FdrdError(f"{weights} is a CLIPModel without its config.json; give it as --config")
    try:
        said = CLIPConfig.from_dict(json.loads(chosen.read_text(encoding="utf-8")))
        model = CLIPModel(said).eval()
        # What older versions wrote among the weights are the numbers 0, 1, 2, ...
        numbers = ("position_ids",)
        model.load_state_dict({k: v for k, v in tensors.items() if not k.endswith(numbers)})
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise FdrdError(
            f"{weights} is no CLIPModel of {chosen} ({' '.join(str(error).split())[:300]})"
        ) from error
    if weights.with_name("preprocessor_config.json").is_file():
        processor = AutoImageProcessor.from_pretrained(weights.parent, backend="pil")
    else:
        side = said.vision_config.image_size
        form = {"height": side, "width": side}
        processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=form)
    context = said.text_config.max_position_embeddings
    return model, tokenizer_of(tokenizer, context=context), processor


def _described(
    weights: Path, config: Path | None, name: str, quick_gelu: bool | None
) -> Path | None:
    """The description of the model: the one that is given, or that of this name beside the weights."""
    beside = weights.with_name(name)
    chosen = config or (beside if beside.is_file() else None)
    if chosen is not None and quick_gelu is not None:
        raise FdrdError(f"{chosen} says what the activation is; leave out --activation")
    return chosen


def _weights_in(folder: Path) -> Path:
    names = (*WEIGHTS, "open_clip_pytorch_model.bin", "pytorch_model.bin")
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FdrdError(f"{folder} holds none of {', '.join(names)}; give the file itself")
