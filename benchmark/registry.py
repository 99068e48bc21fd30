"""The `Method` protocol with the `TrainContext` of its training, and the registry of methods by name.

Decorate the function that builds a method to register it. Its keyword arguments are the options of the
method, except those that the run fills in: `backbone`, `train` (a `TrainConfig` whose default is the
method's own) and `seed`. Each is passed only to functions that have the parameter.

    @method("vpt")
    def vpt(backbone: Backbone, *, n_vis: int = 4, train: TrainConfig = TrainConfig(), seed=0):
        return PromptMethod(backbone, VisualTokens(backbone, n_vis, seed), train, seed)

The names of built-in methods are known without an import; a method is imported when it is first looked up.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, wraps
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar

from benchmark.code_digest import NoIdentityError, code_digest
from benchmark.declarations import Declaration, declaration
from benchmark.models.encoder_options import APART
from fdrd.errors import FdrdError
from fdrd.imports import load_plugin as import_plugin
from fdrd.options import Option, options_of, read_options, unknown
from fdrd.progress import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchmark.models.backbone import Features
    from benchmark.models.image_batches import AnyImages
    from benchmark.result import FitLog
    from fdrd.dataset import RetrievalDataset


log = logging.getLogger(__name__)

BUILT_IN = ("baselines", "dcar")
"""Packages with methods that need no `load_plugin`, listed in their `METHODS`."""


Observer = Callable[[str, int, float], None]
"""Called with the name of a curve, the step and the value of each point. It may raise to stop the training."""


@dataclass(frozen=True)
class SaveLocation:
    """Where an unfinished training is saved."""

    path: Path
    before: Callable[[], None] = lambda: None
    """called before each write, e.g. to flush what a resumed training needs"""


@dataclass(frozen=True)
class TrainContext:
    """What `Method.fit` and `learn` get from a run. Nothing of it changes a number.

    Attributes:
        progress: receives steps.
        observers: receive the points of all curves.
        saved: where the unfinished training is saved, so that it resumes; None saves nothing.
    """

    progress: Progress = silent
    observers: tuple[Observer, ...] = ()
    saved: SaveLocation | None = None


QUIET = TrainContext()
"""A training that reports nothing and is not saved."""


class Method(Protocol):
    """A retrieval method. Any class with these members works.

    An attribute `remarks` may hold caveats that tables print with the numbers: a tag for the method's name, and the
    sentence it stands for.
    """

    @property
    def trains(self) -> Literal["nothing", "statistics", "prompts", "backbone"]:
        """What `fit` changes; `statistics` are computed from training rows without gradient steps.

        A method that trains the backbone works on a copy.
        """

    @property
    def learner(self) -> nn.Module | None:
        """The module that `fit` trains and a checkpoint stores; None if `trains` is `nothing`."""

    def fit(
        self, train: RetrievalDataset, validation: RetrievalDataset, context: TrainContext = ...
    ) -> FitLog:
        """Train on pairs, and keep the best state on validation; hand the context on to `learn`."""

    def encode_image(self, images: AnyImages) -> Features:
        """Return features of B images."""

    def encode_text(self, captions: Sequence[str]) -> Features:
        """Return features of B captions, from the captions alone."""

    def similarity(self, images: Features, texts: Features) -> Tensor:
        """Return (I, C) scores. Everything that needs both an image and a caption happens here.

        A score must not depend on the other images and captions, because galleries are scored in blocks.
        """


Factory = TypeVar("Factory", bound=Callable[..., Method])

Ablations = Mapping[str, Mapping[str, Any]]
"""Options by the name of a variant, the full method included."""


@dataclass(frozen=True)
class Needs:
    """What a method needs of a backbone beyond pooled features.

    Attributes:
        capabilities: as in `Encoder.can`.
        unless: options with which it needs none of them.
        joint: one space for images and captions, which a method may make itself.
    """

    capabilities: frozenset[str] = frozenset()
    unless: Mapping[str, Any] = field(default_factory=dict)
    joint: bool = True

    @property
    def remedy(self) -> str:
        """The options with which it needs nothing, as the command line takes them."""
        return " ".join(f"-M {key}={value:g}" for key, value in self.unless.items())


Role = Literal["reference", "floor", ""]
"""`reference`: others are compared with it by default. `floor`: finds images by chance, so it is no competitor."""


class _Registered(NamedTuple):
    factory: Callable[..., Method]
    declaration: Declaration


_METHODS: dict[str, _Registered] = {}


def method(
    name: str,
    *,
    ablations: Ablations | None = None,
    options: Callable[..., Any] | None = None,
    needs: str | Needs = "",
    role: Role = "",
    trains: str = "",
) -> Callable[[Factory], Factory]:
    """Register the decorated factory under a name.

    Args:
        name: as in `--method`.
        ablations: variants that `--ablate` runs, with the options of each.
        options: dataclass of the options, for a factory that takes them as `**options`.
        needs: a capability of the backbone that the method needs, e.g. `backbone.PROMPTS`.
        role: what the method is to the others in tables and tests, see `Role`.
        trains: what the method trains, as `fdrd methods` says it, e.g. "context vectors".

    Raises:
        ValueError: another factory has the name.
    """
    arguments = {
        "ablations": ablations,
        "options": options,
        "needs": needs,
        "role": role,
        "trains": trains,
    }

    def location(factory: Callable[..., Method]) -> str:
        return f"{factory.__module__}.{factory.__qualname__}"

    def register(factory: Factory) -> Factory:
        module = built_in().get(name) if name not in _METHODS else None
        if module is not None and module != factory.__module__:
            importlib.import_module(module)
        owner = location(_METHODS[name].factory) if name in _METHODS else location(factory)
        if owner != location(factory):
            raise ValueError(f"two methods are called {name!r}: {owner} and {location(factory)}")
        home = inspect.getmodule(factory)
        declared = Declaration(
            arguments.get,
            lambda: options_of(factory),
            frozenset(inspect.signature(factory).parameters),
            factory.__module__,
            inspect.getdoc(factory) or "",
            (inspect.getdoc(home) or "") if home else "",
        )
        _METHODS[name] = _Registered(factory, declared)
        return factory

    return register


def _listed(attribute: str) -> dict[str, str]:
    packages = map(importlib.import_module, BUILT_IN)
    return {k: v for each in packages for k, v in getattr(each, attribute, {}).items()}


@cache
def other_names() -> dict[str, str]:
    """Return built-in methods by what others call them."""
    return _listed("OTHER")


@cache
def built_in() -> dict[str, str]:
    """Return the modules of the built-in methods by name, without importing torch."""
    return _listed("METHODS")


def chosen_methods(
    methods: Sequence[str], everything: bool = False, ablate: str | None = None
) -> list[str]:
    """Return the names that are chosen in one of these ways, without importing a method.

    Raises:
        FdrdError: none or several of these are given, or there is no such method.
    """
    if sum((bool(methods), everything, ablate is not None)) != 1:
        raise FdrdError(
            "give either `method` NAME, or `all`, or `ablate` NAME; `fdrd methods` lists the names"
        )
    known = method_names()
    names = [ablate] if ablate is not None else known if everything else list(methods)
    for name in names:
        if name not in known:
            raise FdrdError(unknown("method", name, known, "fdrd", other_names()))
    return names


def about(name: str) -> Declaration:
    """Return what is known of a method: of a built-in one from its source, so that torch is not imported."""
    chosen_methods([name])
    if name in _METHODS:
        return _METHODS[name].declaration
    return declaration(built_in()[name], name)


def _needs(name: str) -> Needs:
    needs = about(name).argument("needs") or ""
    return needs if isinstance(needs, Needs) else Needs(frozenset({needs} - {""}))


def load_plugin(module: str) -> None:
    """Import a module or a Python file that registers methods, as `--plugin` does.

    Raises:
        FdrdError: it cannot be imported, or one of its methods has a name that is taken.
    """
    try:
        import_plugin(module)
    except ValueError as error:
        raise FdrdError(f"`plugin` {module}: {error}") from error


def get_method(name: str) -> Callable[..., Method]:
    """Return the factory with this name."""
    chosen_methods([name])
    if name not in _METHODS:
        importlib.import_module(built_in()[name])
    return _METHODS[name].factory


def variants_of(name: str, options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the options of each variant of a method on top of the given ones, without duplicates.

    Raises:
        FdrdError: there is no such method, or it defines no variants.
    """
    ablations: Ablations | None = about(name).argument("ablations")
    if not ablations:
        having = ", ".join(each for each in method_names() if about(each).argument("ablations"))
        raise FdrdError(
            f"`ablate` {name}: it defines no variants; these methods do: {having or 'none'}"
        )
    variants: dict[str, dict[str, Any]] = {}
    for variant, changes in ablations.items():
        if (changed := {**options, **changes}) not in variants.values():
            variants[variant] = changed
    return variants


def method_names() -> list[str]:
    """Return all names, sorted."""
    return sorted(_METHODS.keys() | built_in().keys())


def role_of(name: str) -> Role:
    """Return the role of a method, without importing it; a method that is not known here has none."""
    role: Role = (about(name).argument("role") or "") if name in method_names() else ""
    return role


def method_options(name: str) -> dict[str, Option]:
    """Return the options of a method."""
    return about(name).options


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse options of a method that are unknown, wrong or out of range, and a method whose package is missing."""
    declared = about(name)
    values = read_options(declared.options, options, name)
    if make := declared.argument("options"):
        make(**values)
    needed = re.search(r"needs `(\w+)`", declared.summary)
    if needed and find_spec(needed[1]) is None:
        raise FdrdError(
            f"{name} needs {needed[1]}, which is not installed; run `pip install 'fdrd[{name}]'`"
        )


def complete_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options of a method: those given, and else the defaults."""
    return {key: options.get(key, option.default) for key, option in method_options(name).items()}


def takes(name: str, argument: str) -> bool:
    """Return whether a method takes `backbone`, `seed` or `train`."""
    return argument in about(name).parameters


def obstacle(name: str, options: Mapping[str, Any], can: frozenset[str]) -> str:
    """Return why a method does not work on a backbone with these capabilities; empty if it does."""
    needs = _needs(name)
    if not takes(name, "backbone"):
        return ""
    if needs.joint and APART in can:
        return "needs one space of images and captions"
    missing = sorted(needs.capabilities - can)
    chosen = complete_options(name, options)
    if not missing or (needs.unless and all(chosen[k] == v for k, v in needs.unless.items())):
        return ""
    return f"needs {' and '.join(missing)}" + (f" unless {needs.remedy}" if needs.unless else "")


def check_backbone(
    name: str, options: Mapping[str, Any], can: frozenset[str], backbone: str
) -> None:
    """Refuse a method that does not work on a backbone."""
    if not (reason := obstacle(name, options, can)):
        return
    working = [
        other + (f" ({with_options})" if with_options else "")
        for other in method_names()
        if (with_options := works_with(other, can)) is not None
    ]
    raise FdrdError(
        f"{name} {reason}, which the backbone {backbone} does not offer; these methods work on it: "
        f"{', '.join(working)}"
    )


def works_with(name: str, can: frozenset[str]) -> str | None:
    """Return the options with which a method works on a backbone, None if it does not work at all."""
    if not obstacle(name, {}, can):
        return ""
    needs = _needs(name)
    return None if needs.joint and APART in can else needs.remedy or None


def make_method(name: str, options: Mapping[str, Any], **arguments: Any) -> Method:
    """Return a method with these options and those of the run's arguments that it takes.

    Its `encode_text("a red bird")` is one caption, and `encode_image(image)` one image.
    """

    def of_one_or_many(encode: Callable[[Any], Features]) -> Callable[[Any], Features]:
        @wraps(encode)
        def called(items: Any) -> Features:
            from benchmark.models.image_batches import as_batch

            return encode(as_batch(items))

        return called

    taken = {argument: value for argument, value in arguments.items() if takes(name, argument)}
    made = get_method(name)(**options, **taken)
    for encode in ("encode_image", "encode_text"):
        with suppress(AttributeError):  # a class with slots
            setattr(made, encode, of_one_or_many(getattr(made, encode)))
    return made


def distribute(names: Sequence[str], options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the options of each of several methods, as given with `-M`.

    `depth` applies to every method that has the option. `maple.depth` applies to one and wins.

    Raises:
        FdrdError: no chosen method has the option, or a value has the wrong type.
    """
    chosen: dict[str, dict[str, Any]] = {name: {} for name in names}
    for option, value in sorted(options.items(), key=lambda item: "." in item[0]):
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


def source_digest(name: str) -> str | None:
    """Return the digest of a method's code and of what it refers to, see `benchmark.code_digest`.

    An edited method therefore runs again, even if a result with the same settings exists. None, with a warning,
    means that the method refers to a value without a stable content, so that its results must not be reused.
    """
    try:
        return code_digest(get_method(name))
    except NoIdentityError as error:
        _warn_once(
            f"{name}: results are not reused, because its code refers to {error}, whose content cannot be "
            f"compared; create it inside the method to reuse them"
        )
        return None


@cache
def _warn_once(text: str) -> None:
    log.warning(text)
