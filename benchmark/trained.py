"""A trained method from its checkpoint, by a path or from the Hub.

    from benchmark import load_method

    method = load_method("ORG/fdrd-dcar-caltech101")
    method.encode_text(["a black car on a brick driveway"]).pooled      # (1, d)

A checkpoint is tensors and JSON. It names a method that is known here and the backbone it was learned
on; it brings no code.
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmark.checkpoint import load_checkpoint, read_header
from benchmark.models.backbone import Backbone
from benchmark.models.loading import cached_backbone
from benchmark.registry import Method, make_method, method_options, takes
from fdrd.errors import FdrdError
from fdrd.options import read_options

WEIGHTS = "model.safetensors"
"""The checkpoint in a model repository, under the name that the Hub counts and inspects."""

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@.+)?")


def find_checkpoint(spec: str | Path) -> Path:
    """The file of a checkpoint: a path, a folder that holds `model.safetensors`, or ORG/NAME[@REVISION].

    Raises:
        FdrdError: there is none, or the Hub cannot be reached.
    """
    path, said = Path(spec).expanduser(), str(spec)
    if path.is_file():
        return path
    if path.is_dir():
        if (path / WEIGHTS).is_file():
            return path / WEIGHTS
        raise FdrdError(f"{path} holds no {WEIGHTS}; give the .safetensors file itself")
    if not _HUB_ID.fullmatch(said) or said.endswith(".safetensors"):
        raise FdrdError(
            f"no checkpoint {said}: give the .safetensors file that `fdrd bench` wrote beside a "
            f"result, or a model of the Hub, as ORG/NAME"
        )
    return _downloaded(said)


def _downloaded(spec: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    name, _, revision = spec.partition("@")
    try:
        return Path(hf_hub_download(name, WEIGHTS, revision=revision or None))
    except EntryNotFoundError as error:
        if isinstance(error, LocalEntryNotFoundError):
            why = "the Hub cannot be reached"
        else:
            why = f"it has no {WEIGHTS}, so it is no method that `fdrd push` put there"
        raise FdrdError(f"no checkpoint {spec}: no such file here, and {why}") from error
    except (OSError, ValueError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FdrdError(
            f"no checkpoint {spec}: no such file here, and the Hub does not give it ({first}); "
            f"check the name and the connection"
        ) from error


def load_method(
    checkpoint: str | Path,
    *,
    backbone: str | Backbone | None = None,
    device: str | None = None,
    cache: Path | None = None,
    allow_code: bool = False,
) -> Method:
    """The method that a checkpoint holds, ready to encode and score.

    Args:
        checkpoint: what `find_checkpoint` takes.
        backbone: what `load_backbone` takes, or a backbone; by default the one that it names.
        device: `cpu`, `cuda`.
        cache: of frozen features, else `default_cache()`.
        allow_code: `backbone` comes from the user, so it may name a function.

    Raises:
        FdrdError: there is no such checkpoint, its method is not known here (import the package
            that has it first), or it was learned on another backbone.
    """
    path = find_checkpoint(checkpoint)
    header = read_header(path)
    name = header.method
    given = read_options(method_options(name), header.options, name)
    tower = None
    if takes(name, "backbone"):
        tower = cached_backbone(
            backbone or header.backbone,
            cache=cache,
            device=device,
            allow_code=allow_code and backbone is not None,
        )
    method = make_method(name, given, backbone=tower, seed=header.seed or 0)
    if method.learner is None:
        raise FdrdError(f"{path} belongs to {name}, which learns nothing; give --method {name}")
    load_checkpoint(
        path, method.learner, tower.fingerprint if tower else header.backbone_fingerprint
    )
    return method


def untrained_method(name: str, backbone: Backbone | None) -> Method:
    """A method that needs no training, ready to encode and score.

    Raises:
        FdrdError: there is no such method, or it must learn first.
    """
    method = make_method(name, {}, backbone=backbone, seed=0)
    if method.trains != "nothing":
        raise FdrdError(
            f"{name} must learn first: train it with `fdrd bench --method {name}`, and give "
            f"--checkpoint with the .safetensors file that lies beside the result"
        )
    return method
