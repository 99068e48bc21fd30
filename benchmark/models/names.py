"""Names of backbones and devices, and what can be said against one without importing torch."""

from __future__ import annotations

import ctypes
import difflib
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from fdrd.connection import guard_client, hub_answers
from fdrd.errors import FdrdError
from fdrd.kinds import refuse_other

EMBEDDED = "embedded"
DEFAULT_BACKBONE = "openai/clip-vit-base-patch32@d15b5f29721ca72dac15f8526b284be910de18be"
"""Pinned to a revision with safetensors weights; the main branch has none."""
APART = "separate spaces"
"""In `Encoder.can` if images and captions have features of two spaces, which a method must join."""

PREFIXES = ("hf", "open_clip", "st", "features")
_PACKAGES = {"open_clip": ("open_clip", "open-clip"), "st": ("sentence_transformers", "st")}
"""Package and extra that a kind needs."""


def split_name(spec: str) -> tuple[str, str]:
    """Return the kind of a backbone and the rest of its name, which has no options.

    >>> split_name("st:clip-ViT-B-32"), split_name("org/name"), split_name("load.py:clip")
    (('st', 'clip-ViT-B-32'), ('hf', 'org/name'), ('function', 'load.py:clip'))
    """
    prefix, colon, rest = spec.partition(":")
    if spec == EMBEDDED:
        return EMBEDDED, ""
    if colon and prefix in PREFIXES:
        return prefix, rest
    return ("function" if colon else "hf"), spec


def check_package(spec: str, kind: str) -> None:
    """Refuse a backbone of a kind whose package is not installed."""
    package, extra = _PACKAGES.get(kind, ("", ""))
    if package and find_spec(package) is None:
        raise FdrdError(
            f"backbone {spec!r} needs {package}, which is not installed; run `pip install 'fdrd[{extra}]'`"
        )


def check_backbone_name(spec: str) -> None:
    """Refuse a backbone that cannot be loaded, as far as its name, its folder and the Hub say so."""
    kind, target = split_name(spec.partition("#")[0])
    check_package(spec, kind)
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
