"""Load a backbone by name; `KINDS` says which names there are.

A function is code, so it is accepted from the command line (`allow_code`) and never from a manifest or a
checkpoint: a downloaded dataset must not decide what runs here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from pathlib import Path

from benchmark.models.backbone import ALL, LAYERS, Backbone
from benchmark.models.encoder_options import split_options
from benchmark.models.frozen_features import FrozenFeatures, default_cache
from benchmark.models.names import DEFAULT_BACKBONE, EMBEDDED, check_package, split_name
from benchmark.models.processes import chosen_device
from fdrd.connection import hub_or_cache
from fdrd.dataset import Name
from fdrd.errors import FdrdError, first_line
from fdrd.kinds import refuse_other
from fdrd.storage.registration import registered_folder


@dataclass(frozen=True)
class Kind:
    """A kind of backbone.

    Attributes:
        form: how it is named.
        loads: what is loaded.
        module: the module whose `load` does it.
        can: what it offers at most beyond pooled features; None if only loading shows it.
        extra: what to install, if it needs more than fdrd.
    """

    form: str
    loads: str
    module: str
    can: frozenset[str] | None = frozenset()
    extra: str = ""

    @property
    def abilities(self) -> str:
        """What it offers beyond pooled features, as text."""
        if self.can is None:
            return "depends on the model"
        return ", ".join(sorted(self.can)) or "nothing"


_PRETRAINED = "benchmark.models.encoders.pretrained"
KINDS = {
    "hf": Kind(
        "ORG/NAME, hf:ORG/NAME@REVISION or a folder",
        "a dual encoder of transformers, or an open_clip model that converts to CLIP",
        _PRETRAINED,
        None,
    ),
    EMBEDDED: Kind(EMBEDDED, "the small CLIP inside the package, for demos", _PRETRAINED, ALL),
    "open_clip": Kind(
        "open_clip:NAME/PRETRAINED",
        "any model of the package open_clip",
        "benchmark.models.encoders.open_clip_package",
        extra="fdrd[open-clip]",
    ),
    "st": Kind(
        "st:NAME",
        "a multimodal model of sentence-transformers",
        "benchmark.models.encoders.sentence",
        frozenset({LAYERS}),
        extra="fdrd[st]",
    ),
    "features": Kind(
        "features:FOLDER", "stored features of any system", "benchmark.models.encoders.stored", None
    ),
    "function": Kind(
        "package.module:function or file.py:function",
        "what the function returns",
        "benchmark.models.encoders.function",
        None,
    ),
}
"""Kinds of backbones by prefix."""


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
    refuse_function(spec, allow_code)
    named, options = split_options(spec)
    kind, target = split_name(named)
    if kind == EMBEDDED:
        target = str(files("benchmark.models") / "embedded")
        if not Path(target).is_dir():
            raise FdrdError(
                "this installation has no embedded backbone; name another with `backbone`"
            )
    if kind == "hf":  # a model may come with images
        refuse_other(Path(target).expanduser(), "a model", "model", "weights", "source")
    check_package(spec, kind)
    try:
        load: Callable[..., Backbone] = import_module(KINDS[kind].module).load
    except ImportError as error:  # a package that is installed and broken
        raise FdrdError(f"backbone {spec!r}: {first_line(error)}") from error
    with _access(kind, target):
        return load(target, name=spec, device=chosen_device(device), frozen=frozen, options=options)


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
        from benchmark.models.encoders.pretrained import can

        with _access(kind, target):
            return can(target)
    return KINDS[kind].can


def _access(kind: str, target: str) -> AbstractContextManager[bool | None]:
    """Return access to the Hub for a backbone that may be there."""
    local = kind not in ("hf", "open_clip", "st") or Path(target).expanduser().exists()
    return nullcontext() if local else hub_or_cache()


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


def default_backbone(data: Name) -> str:
    """Return the backbone that a dataset's manifest names, otherwise CLIP ViT-B/32."""
    folder = Path(data)
    if not folder.exists():
        folder = registered_folder(os.fspath(data)) or folder
    manifest = folder / "manifest.json"
    if manifest.is_file():
        named = json.loads(manifest.read_text(encoding="utf-8")).get("backbone")
        if named:
            return str(named)
    return DEFAULT_BACKBONE
