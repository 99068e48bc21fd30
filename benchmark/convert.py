"""A checkpoint of another format becomes a folder that `--backbone` takes."""

from __future__ import annotations

from pathlib import Path

from benchmark.open_clip import CONFIG, WEIGHTS, OpenClipConfig, clip_parts, configuration_of
from benchmark.open_clip import read_config as read_open_clip_config
from benchmark.tensors import read_tensors
from benchmark.tokenizing import has_tokenizer, tokenizer_of
from fdrd.atomic import new_folder
from fdrd.error import FdrdError


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
        source: a `.pt`, `.pth`, `.bin` or `.safetensors` file of open_clip or OpenAI's tensors, or
            open_clip's folder of such.
        out: a new or empty folder.
        config: open_clip's description of the model; by default `open_clip_config.json` beside the
            weights, else it is read off the shapes.
        quick_gelu: whether the towers use it, where no configuration says so; shapes cannot tell.
        tokenizer: what `tokenizer_of` takes; by default that beside the weights.

    Raises:
        FdrdError: the file holds more than tensors, or what `CLIPModel` cannot express.
    """
    weights = _weights_in(source) if source.is_dir() else source
    beside = weights.with_name(CONFIG)
    chosen = config or (beside if beside.is_file() else None)
    if chosen is not None and quick_gelu is not None:
        raise FdrdError(f"{chosen} says what the activation is; leave out --activation")
    said = read_open_clip_config(chosen) if chosen else None
    tensors = read_tensors(weights)
    if said is None:
        if quick_gelu is None:
            raise FdrdError(
                f"{weights} does not say which activation its towers use, and another one gives "
                f"wrong features; give --activation quick_gelu for OpenAI's models and those "
                f"fine-tuned from them, gelu for most others, or --config with open_clip's "
                f"description of the model"
            )
        said = OpenClipConfig(configuration_of(tensors, quick_gelu=quick_gelu))
    if tokenizer is None and has_tokenizer(weights.parent):
        tokenizer = str(weights.parent)
    coding = tokenizer_of(tokenizer, context=said.text.get("context_length", 77))
    parts = clip_parts(said, tensors, coding, name=str(source))
    with new_folder(out) as folder:
        for part in parts:
            part.save_pretrained(folder)
    return out


def _weights_in(folder: Path) -> Path:
    names = (*WEIGHTS, "open_clip_pytorch_model.bin", "pytorch_model.bin")
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FdrdError(f"{folder} holds none of {', '.join(names)}; give the file itself")
