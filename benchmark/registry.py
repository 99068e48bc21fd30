"""Methods: what they must be able to do, and how they are found by name.

A method is registered by decorating the function that makes it. Keyword arguments of the function
are its options, but for those that the run fills in: `backbone` (where it is asked for), `train` (a
`TrainConfig`, whose default is the method's own) and `seed`.

    @method("vpt")
    def vpt(backbone: Backbone, *, n_vis: int = 4, train: TrainConfig = TrainConfig(), seed=0):
        return PromptMethod(backbone, VisualTokens(backbone, n_vis, seed), train, seed)
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from torch import Tensor, nn

from benchmark.models.backbone import Features
from benchmark.models.image_batches import AnyImages
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError
from fdrd.options import Option, options_of, read_options, unknown
from fdrd.plugins import load_plugin as load_plugin
from fdrd.progress import Progress


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to."""

    loss: float
    validation_mrr: float
    seconds: float


@dataclass(frozen=True)
class FitLog:
    """The course of a training; `best_epoch` (counted from 1) is the one that was kept."""

    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0


class Method(Protocol):
    """A way to score images with captions; any class with these names will do."""

    @property
    def trains(self) -> Literal["nothing", "statistics", "prompts", "backbone"]:
        """What `fit` changes; `statistics` of the training rows are kept without any training.

        A method that trains the backbone works on a copy of it.
        """

    @property
    def learner(self) -> nn.Module | None:
        """What `fit` learns and a checkpoint holds; None where `trains` is `nothing`."""

    def fit(
        self, train: RetrievalDataset, validation: RetrievalDataset, progress: Progress = ...
    ) -> FitLog:
        """Learn from pairs; keep the best epoch on validation."""

    def encode_image(self, images: AnyImages) -> Features:
        """Features of B images."""

    def encode_text(self, captions: Sequence[str]) -> Features:
        """Features of B captions, from the captions alone."""

    def similarity(self, images: Features, texts: Features) -> Tensor:
        """(I, C) scores; whatever needs both sides happens here."""


Factory = TypeVar("Factory", bound=Callable[..., Method])

Ablations = Mapping[str, Mapping[str, Any]]
"""Options of a method by the name of the variant, the whole method among them."""

_METHODS: dict[str, Callable[..., Method]] = {}
_ABLATIONS: dict[str, Ablations] = {}
_OPTIONS: dict[str, Callable[..., Any]] = {}


def method(
    name: str, ablations: Ablations | None = None, options: Callable[..., Any] | None = None
) -> Callable[[Factory], Factory]:
    """Register the decorated factory under a name.

    Args:
        name: as in `--method`.
        ablations: variants that `--ablate` runs, each with the options that make it.
        options: dataclass of the options, for a factory that takes them as `**options`.

    Raises:
        ValueError: another factory has the name.
    """

    def register(factory: Factory) -> Factory:
        owner = _METHODS.get(name)
        if owner is not None and _place(owner) != _place(factory):
            raise ValueError(
                f"two methods are called {name!r}: {_place(owner)} and {_place(factory)}"
            )
        _METHODS[name] = factory
        _ABLATIONS[name] = ablations or {}
        _OPTIONS[name] = options or factory
        return factory

    return register


def get_method(name: str) -> Callable[..., Method]:
    """The factory of that name.

    Raises:
        FdrdError: there is none.
    """
    if name not in _METHODS:
        raise FdrdError(unknown("method", name, _METHODS, "fdrd"))
    return _METHODS[name]


def variants_of(name: str, given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Options of each variant of a method, over those that are given; of equal ones the first.

    Raises:
        FdrdError: there is no such method, or it names no variants.
    """
    get_method(name)
    if not _ABLATIONS[name]:
        having = ", ".join(sorted(known for known, found in _ABLATIONS.items() if found))
        raise FdrdError(f"--ablate {name}: it names no variants; these do: {having or 'none'}")
    found: dict[str, dict[str, Any]] = {}
    for variant, own in _ABLATIONS[name].items():
        if (options := {**given, **own}) not in found.values():
            found[variant] = options
    return found


def method_names() -> list[str]:
    """All registered names, sorted."""
    return sorted(_METHODS)


def method_options(name: str) -> dict[str, Option]:
    """The options of a method, for `fdrd methods` and for checking."""
    get_method(name)
    return options_of(_OPTIONS[name])


def summary(name: str) -> str:
    """The first line of a method's docstring."""
    return (inspect.getdoc(get_method(name)) or "").partition("\n")[0]


def takes(name: str, argument: str) -> bool:
    """Whether a method asks for `backbone`, `seed` or `train`."""
    return argument in inspect.signature(get_method(name)).parameters


def make_method(name: str, options: Mapping[str, Any], **arguments: Any) -> Method:
    """A method with these options, given those arguments of the run that it asks for."""
    asked = {argument: value for argument, value in arguments.items() if takes(name, argument)}
    return get_method(name)(**options, **asked)


def distribute(names: Sequence[str], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Options for each of several methods, as `-M` hands them out.

    `depth` goes to every method that has the option, `maple.depth` to one and wins.

    Raises:
        FdrdError: no chosen method has the option, or a value does not fit.
    """
    chosen: dict[str, dict[str, Any]] = {name: {} for name in names}
    for option, value in sorted(given.items(), key=lambda item: "." in item[0]):
        owner, dot, bare = option.rpartition(".")
        if dot and owner not in chosen:
            raise FdrdError(f"-M {option}: {owner} is not among the methods {', '.join(names)}")
        takers = [owner] if dot else [name for name in names if option in method_options(name)]
        if not takers:
            every = {option: "" for name in names for option in method_options(name)}
            raise FdrdError(unknown("option", option, every, ", ".join(names)))
        for name in takers:
            chosen[name].update(read_options(method_options(name), {bare: value}, name))
    return chosen


def source_digest(name: str) -> str:
    """Digest of the file that defines a method and of what it imports from its own package.

    So an edited method runs again, although a result of the same settings is there.
    """
    factory = get_method(name)
    home = sys.modules[factory.__module__]
    package = factory.__module__.partition(".")[0]
    named = {factory.__module__}
    named |= {getattr(value, "__module__", None) or "" for value in vars(home).values()}
    digest = hashlib.sha256()
    for module in sorted(named):
        path = getattr(sys.modules.get(module), "__file__", None)
        if path and module.partition(".")[0] == package:
            digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def _place(factory: Callable[..., Method]) -> str:
    return f"{factory.__module__}.{factory.__qualname__}"
