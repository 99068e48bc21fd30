"""Load a backbone by name.

| `spec` | what is loaded |
|---|---|
| `openai/clip-vit-base-patch32`, `ORG/NAME@REVISION` | a CLIPModel or open_clip model from the Hub |
| `path/to/folder` | a CLIPModel saved there, or an open_clip model |
| `package.module:function`, `path/to/file.py:function` | (CLIPModel, tokenizer, image_processor) |
| `embedded` | the small CLIP inside the package |

Weights are read from safetensors only, and no code of a repository is run. An open_clip model (one with
`open_clip_config.json`) is converted to a CLIPModel. A function is code, so it is accepted from the command line
(`allow_code`) and never from a manifest or a checkpoint: a downloaded dataset must not decide what runs here.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

from benchmark.models import open_clip
from benchmark.models.backbone import Backbone
from benchmark.models.clip import CLIPBackbone
from benchmark.models.frozen_features import FrozenFeatures, default_cache
from benchmark.models.processes import default_device
from benchmark.models.tensor_files import read_tensors
from benchmark.models.tokenizer import FILES as TOKENIZER_FILES
from benchmark.models.tokenizer import tokenizer_of
from fdrd.errors import FdrdError, first_line

EMBEDDED = "embedded"
DEFAULT_BACKBONE = "openai/clip-vit-base-patch32@d15b5f29721ca72dac15f8526b284be910de18be"
"""Pinned to a revision with safetensors weights; the main branch has none."""


def load_backbone(
    spec: str,
    *,
    allow_code: bool = False,
    device: str | None = None,
    frozen: FrozenFeatures | None = None,
) -> CLIPBackbone:
    """Return the backbone that a user, a manifest or a checkpoint names.

    Args:
        spec: see the table above.
        allow_code: the name comes from the user, so it may be a function.
        device: by default `cuda` if available, otherwise `cpu`.
        frozen: cache for features of unprompted towers.

    Raises:
        FdrdError: there is no such backbone, it is not a CLIP, or the download failed.
    """
    target, colon, function = spec.rpartition(":")
    if colon:
        if not allow_code:
            raise FdrdError(
                f"backbone {spec!r} is a function, which only the command line may name; "
                f"give --backbone {spec} if you trust it"
            )
        parts = _call(target, function, spec)
    elif spec == EMBEDDED:
        parts = _embedded()
    elif spec.startswith((".", "/", "~")) or Path(spec).is_dir():
        parts = _folder(Path(spec).expanduser(), spec)
    else:
        parts = _hub(spec)
    model, tokenizer, image_processor = parts
    return CLIPBackbone(
        model,
        tokenizer,
        image_processor,
        name=spec,
        frozen=frozen,
        device=device or default_device(),
    )


def cached_backbone(
    backbone: str | Backbone,
    *,
    cache: Path | None = None,
    device: str | None = None,
    allow_code: bool = False,
) -> Backbone:
    """Load a backbone with features cached in `cache` or `default_cache()`; return a backbone as is."""
    if not isinstance(backbone, str):
        return backbone
    frozen = FrozenFeatures(cache or default_cache())
    return load_backbone(backbone, allow_code=allow_code, device=device, frozen=frozen)


def default_backbone(data: str | Path) -> str:
    """Return the backbone that a dataset's manifest names, otherwise CLIP ViT-B/32."""
    manifest = Path(data) / "manifest.json"
    if manifest.is_file():
        named = json.loads(manifest.read_text(encoding="utf-8")).get("backbone")
        if named:
            return str(named)
    return DEFAULT_BACKBONE


def _hub(spec: str) -> tuple[Any, Any, Any]:
    name, _, revision = spec.partition("@")
    try:
        return _pretrained(name, revision or "main")
    except (OSError, ValueError) as error:
        raise FdrdError(
            f"backbone {spec!r}: not a local folder, and downloading it from the Hub failed "
            f"({first_line(error)}); check the name and the connection, or give --backbone "
            f"a local folder, a function that loads a CLIPModel, or `{EMBEDDED}`"
        ) from error


def _folder(folder: Path, spec: str) -> tuple[Any, Any, Any]:
    if not any((folder / config).is_file() for config in ("config.json", open_clip.CONFIG)):
        raise FdrdError(
            f"backbone {spec!r}: {folder} has no config.json; give a folder that "
            f"CLIPModel.save_pretrained and its processor wrote, or one with {open_clip.CONFIG}"
        )
    try:
        return _pretrained(str(folder), "main")
    except (OSError, ValueError) as error:
        raise FdrdError(
            f"backbone {spec!r}: {first_line(error)}; the folder needs model.safetensors, a "
            f"tokenizer and a preprocessor_config.json; `fdrd convert` converts a .bin file"
        ) from error


def _embedded() -> tuple[Any, Any, Any]:
    folder = Path(str(files("benchmark.models") / "embedded"))
    if not folder.is_dir():
        raise FdrdError("this installation has no embedded backbone; name another with --backbone")
    return _folder(folder, EMBEDDED)


def _pretrained(name: str, revision: str) -> tuple[Any, Any, Any]:
    try:
        return (
            CLIPModel.from_pretrained(
                name, revision=revision, use_safetensors=True, dtype=torch.float32
            ),
            AutoTokenizer.from_pretrained(name, revision=revision),
            AutoImageProcessor.from_pretrained(name, revision=revision, backend="pil"),
        )
    except (OSError, ValueError):
        config = _file(name, revision, open_clip.CONFIG)
        if config is None:
            raise
        return _open_clip(name, revision, config)


def _open_clip(name: str, revision: str, config: Path) -> tuple[Any, Any, Any]:
    """Return a converted open_clip model."""
    found = (_file(name, revision, weights) for weights in open_clip.WEIGHTS)
    weights = next((path for path in found if path is not None), None)
    if weights is None:
        raise FdrdError(
            f"{name} has {open_clip.CONFIG} but no {open_clip.WEIGHTS[0]}; if its weights are a "
            f".bin or .pt file, `fdrd convert` writes a folder that --backbone takes"
        )
    cfg = open_clip.read_config(config)
    own = any(_file(name, revision, file) for file in TOKENIZER_FILES)
    tokenizer = tokenizer_of(name if own else None, revision, context=cfg.context)
    return open_clip.clip_parts(cfg, read_tensors(weights), tokenizer, name=name)


def _file(name: str, revision: str, file: str) -> Path | None:
    """Return a file of a folder or Hub repository, or None if it is missing or unreachable."""
    if Path(name).is_dir():
        return Path(name) / file if (Path(name) / file).is_file() else None
    try:
        return Path(hf_hub_download(name, file, revision=revision))
    except (OSError, ValueError):
        return None


def _call(target: str, function: str, spec: str) -> tuple[Any, Any, Any]:
    try:
        module = (
            _module_of_file(Path(target))
            if target.endswith(".py")
            else (importlib.import_module(target))
        )
    except (ImportError, OSError) as error:
        raise FdrdError(f"backbone {spec!r}: {target} cannot be imported ({error})") from error
    load = getattr(module, function, None)
    if not callable(load):
        raise FdrdError(f"backbone {spec!r}: {target} has no function {function!r}")
    loaded = load()
    if not (isinstance(loaded, tuple) and len(loaded) == 3 and isinstance(loaded[0], CLIPModel)):
        raise FdrdError(
            f"backbone {spec!r}: {function} must return (CLIPModel, tokenizer, image_processor), "
            f"not {_kinds(loaded)}"
        )
    return loaded


def _module_of_file(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError("no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError("not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _kinds(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(type(each).__name__ for each in value)})"
    return type(value).__name__
