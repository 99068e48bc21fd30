"""Name, check and load backbones, and check devices; `KINDS` says which names there are.

Importing this module imports no torch.

A function is code, so it is accepted from the command line (`allow_code`) and never from a manifest or a
checkpoint: a downloaded dataset must not decide what runs here. A device that is certainly not here is refused first.
"""

from __future__ import annotations

import ctypes
import difflib
import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.models.encoder_options import ALL, LAYERS, split_options
from fdrd.connection import guard_client, hub_answers, hub_or_cache
from fdrd.errors import FdrdError, first_line
from fdrd.kinds import refuse_other

if TYPE_CHECKING:
    from benchmark.models.backbone import Backbone
    from benchmark.models.frozen_features import FrozenFeatures
    from fdrd.dataset import Name
    from fdrd.text.tokens import TokenCounter

EMBEDDED = "embedded"
DEFAULT_BACKBONE = "openai/clip-vit-base-patch32@d15b5f29721ca72dac15f8526b284be910de18be"
"""Pinned to a revision with safetensors weights; the main branch has none."""


@dataclass(frozen=True)
class Kind:
    """A kind of backbone: how it is named, what is loaded, and the file in `encoders` whose `load` does it."""

    form: str
    loads: str
    module: str
    can: frozenset[str] | None = frozenset()
    """what it offers at most beyond pooled features; None if only loading shows it"""
    package: str = ""
    """package that it needs and fdrd does not"""
    extra: str = ""
    """what to install for it"""

    @property
    def abilities(self) -> str:
        """What it offers beyond pooled features, as text."""
        if self.can is None:
            return "depends on the model"
        return ", ".join(sorted(self.can)) or "nothing"


KINDS = {
    "hf": Kind(
        "ORG/NAME, hf:ORG/NAME@REVISION or a folder",
        "a dual encoder of transformers, or an open_clip model that converts to CLIP",
        "pretrained",
        None,
    ),
    EMBEDDED: Kind(EMBEDDED, "the small CLIP inside the package, for demos", "pretrained", ALL),
    "open_clip": Kind(
        "open_clip:NAME/PRETRAINED",
        "any model of the package open_clip",
        "open_clip_package",
        package="open_clip",
        extra="fdrd[open-clip]",
    ),
    "st": Kind(
        "st:NAME",
        "a multimodal model of sentence-transformers",
        "sentence",
        frozenset({LAYERS}),
        package="sentence_transformers",
        extra="fdrd[st]",
    ),
    "features": Kind("features:FOLDER", "stored features of any system", "stored", None),
    "function": Kind(
        "package.module:function or file.py:function", "what the function returns", "function", None
    ),
}
"""Kinds of backbones by prefix."""


def split_name(spec: str) -> tuple[str, str]:
    """Return the kind of a backbone and the rest of its name, which has no options.

    >>> split_name("st:clip-ViT-B-32"), split_name("org/name"), split_name("load.py:clip")
    (('st', 'clip-ViT-B-32'), ('hf', 'org/name'), ('function', 'load.py:clip'))
    """
    prefix, colon, rest = spec.partition(":")
    if spec == EMBEDDED:
        return EMBEDDED, ""
    if colon and prefix in ("hf", "open_clip", "st", "features"):
        return prefix, rest
    return ("function" if colon else "hf"), spec


def load_backbone(
    spec: str,
    *,
    allow_code: bool = False,
    device: str | None = None,
    frozen: FrozenFeatures | None = None,
) -> Backbone:
    """Return the backbone that a user, a manifest or a checkpoint names.

    Its `can` says whether it takes prompts; one that does not is only an `Encoder`.

    Args:
        spec: a form of `KINDS`, with options after `#` (see `EncoderOptions`).
        allow_code: the name comes from the user, so it may be a function.
        device: device of torch; by default `cuda` if available, otherwise `cpu`.
        frozen: cache for features of unprompted towers.

    Raises:
        FdrdError: there is no such backbone, it is damaged, or the download failed.
    """
    from benchmark.models.processes import chosen_device

    refuse_function(spec, allow_code)
    name, options = split_options(spec)
    kind, target = split_name(name)
    if kind == EMBEDDED:
        target = _embedded()
        if not Path(target).is_dir():
            raise FdrdError(
                "this installation has no embedded backbone; name another with `backbone`"
            )
    if kind == "hf":  # a model may come with images
        refuse_other(Path(target).expanduser(), "a model", "model", "weights", "source")
    _check_package(spec, kind)
    try:
        load: Callable[..., Backbone] = _module(kind).load
    except ImportError as error:  # a package that is installed and broken
        raise FdrdError(f"backbone {spec!r}: {first_line(error)}") from error
    with _access(kind, target):
        return load(target, name=spec, device=chosen_device(device), frozen=frozen, options=options)


def _embedded() -> str:
    return str(files("benchmark.models") / "embedded")


def _check_package(spec: str, kind: str) -> None:
    """Refuse a backbone of a kind whose package is not installed."""
    package, extra = KINDS[kind].package, KINDS[kind].extra
    if package and find_spec(package) is None:
        raise FdrdError(
            f"backbone {spec!r} needs {package}, which is not installed; run `pip install '{extra}'`"
        )


def _access(kind: str, target: str) -> AbstractContextManager[bool | None]:
    """Return access to the Hub for a backbone that may be there."""
    local = kind not in ("hf", "open_clip", "st") or Path(target).expanduser().exists()
    return nullcontext() if local else hub_or_cache()


def refuse_function(spec: str, allow_code: bool) -> None:
    """Refuse a backbone that is a function, unless the user typed its name."""
    if split_name(split_options(spec)[0])[0] == "function" and not allow_code:
        raise FdrdError(
            f"backbone {spec!r} is a function, which only the command line may name; "
            f"give `backbone` {spec} if you trust it"
        )


def capabilities(spec: str) -> frozenset[str] | None:
    """Return what a backbone offers beyond pooled features, without loading its weights.

    None means that only loading shows it, as for a function.
    """
    kind, target = split_name(split_options(spec)[0])
    if kind == "hf":
        with _access(kind, target):
            found: frozenset[str] = _module(kind).can(target)
            return found
    return KINDS[kind].can


def _module(kind: str) -> Any:
    return import_module(f"benchmark.models.encoders.{KINDS[kind].module}")


def cached_backbone(
    backbone: str | Backbone,
    *,
    cache: Path | None = None,
    device: str | None = None,
    allow_code: bool = False,
) -> Backbone:
    """Load a backbone with features cached in `cache` or `default_cache()`; return a backbone as is."""
    from benchmark.models.frozen_features import FrozenFeatures, default_cache

    if not isinstance(backbone, str):
        return backbone
    frozen = FrozenFeatures(cache or default_cache())
    return load_backbone(backbone, allow_code=allow_code, device=device, frozen=frozen)


def default_backbone(data: Name) -> str:
    """Return the backbone that a dataset's manifest names, otherwise CLIP ViT-B/32."""
    from fdrd.storage.registration import registered_folder

    folder = Path(data)
    if not folder.exists():
        folder = registered_folder(os.fspath(data)) or folder
    manifest = folder / "manifest.json"
    if manifest.is_file():
        named = json.loads(manifest.read_text(encoding="utf-8")).get("backbone")
        if named:
            return str(named)
    return DEFAULT_BACKBONE


def check_backbone_name(spec: str) -> None:
    """Refuse a backbone that cannot be loaded, as far as its name, its folder and the Hub say so."""
    kind, target = split_name(spec.partition("#")[0])
    _check_package(spec, kind)
    path = Path(target.partition(":")[0]).expanduser()
    is_path = target.startswith((".", "/", "~")) or path.suffix == ".py" or kind == "features"
    if is_path and not path.exists():
        raise FdrdError(f"backbone {spec!r}: {path} does not exist")
    if kind == "hf" and path.exists():
        refuse_other(path, "a model", "model", "weights", "source")
    elif kind == "hf" and "/" not in target:
        meant = difflib.get_close_matches(target, [EMBEDDED], n=1)
        hint = f"did you mean {EMBEDDED!r}? " if meant else ""
        raise FdrdError(
            f"no backbone {spec!r}; {hint}give `embedded`, a folder, ORG/NAME of the Hub or file.py:function"
        )
    elif kind == "hf":
        _check_repository(spec, target)


def _check_repository(spec: str, target: str) -> None:
    from huggingface_hub import constants, hf_hub_download

    guard_client()
    name, _, revision = target.partition("@")
    cached = constants.HF_HUB_OFFLINE or not hub_answers()
    reasons = []
    for file in ("config.json", "open_clip_config.json"):
        try:
            hf_hub_download(name, file, revision=revision or "main", local_files_only=cached)
            return
        except (OSError, ValueError) as error:  # those of the Hub's client are of these types
            reasons.append(type(error).__name__)
    raise FdrdError(
        f"backbone {spec!r}: not a local folder, and downloading it from the Hub failed ({reasons[0]}); check the "
        "name and the connection, or give `backbone` a local folder, a function, or `embedded`"
    )


DEVICES = ("cpu", "cuda", "mps", "xpu", "hpu", "xla", "mtia", "npu")
"""Kinds of devices that torch may have."""


def check_device(name: str | None) -> None:
    """Refuse a device that is certainly not here. Torch decides on the others."""
    if name is not None and (reason := _device_obstacle(name)):
        raise FdrdError(
            f"`device` {name}: not available here ({reason}); leave it out, or give cpu"
        )


def _device_obstacle(name: str) -> str:
    """Return why a device is certainly not here; empty if it may be."""
    kind = re.fullmatch(r"([a-z]+)(:\d+)?", name)
    if kind is None or kind[1] not in DEVICES:
        return f"write one of {', '.join(DEVICES)}, e.g. cuda:1"
    if kind[1] == "mps" and sys.platform != "darwin":
        return "mps needs a Mac"
    if kind[1] == "cuda":
        try:
            torch = version("torch")
        except PackageNotFoundError:
            return ""
        if "+cpu" in torch or sys.platform == "darwin":
            return f"torch {torch} has no CUDA"
        if sys.platform == "linux" and "+rocm" not in torch and not _loads("libcuda.so.1"):
            return "no driver of an NVIDIA GPU"
    return ""


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def token_counter(backbone: str) -> TokenCounter:
    """Return the counter of a backbone that `--backbone` names, without loading the model.

    Raises:
        FdrdError: the tokenizer is not available or not readable, or the name is not that of a folder or a
            Hub id.
    """
    from huggingface_hub import hf_hub_download
    from tokenizers import Tokenizer

    from fdrd.text.tokens import CLIP_LIMIT, counter_of

    name, _, revision = backbone.partition("#")[0].removeprefix("hf:").partition("@")
    folder = Path(_embedded() if backbone == EMBEDDED else backbone).expanduser()
    try:
        with nullcontext() if folder.is_dir() else hub_or_cache():
            tokenizer, config = (
                str(folder / file)
                if folder.is_dir()
                else hf_hub_download(name, file, revision=revision or None)
                for file in ("tokenizer.json", "config.json")
            )
        text = json.loads(Path(config).read_text(encoding="utf-8")).get("text_config", {})
        limit = int(text.get("max_position_embeddings", CLIP_LIMIT))
        return counter_of(Tokenizer.from_file(tokenizer), backbone, limit)
    except Exception as error:  # tokenizers raises a bare Exception for a bad file
        raise FdrdError(
            f"the tokenizer of {backbone} is not available ({first_line(error)})"
        ) from error
