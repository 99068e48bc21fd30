"""Parse options given as text, e.g. `-M depth=3`, by the annotations of a function or dataclass."""

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from fdrd.errors import FdrdError

F = TypeVar("F", bound=Callable[..., Any])

ALIASES = {"lr": "learning_rate"}
"""Other names of options. Result files keep the name that an option has."""
MOST_CHARACTERS = 4000  # of an option or a name in results and checkpoints
MOST_SEED = 2**53  # largest seed: every reader of JSON keeps it
MOST_SEEDS = 10_000  # largest number of seeds of a run or an experiment
RESERVED = frozenset({"train", "seed"})  # arguments of a factory that the benchmark run provides


@dataclass(frozen=True)
class Option:
    """One option of a method or of the training: `-M name=value`, its annotated type, and one line of the docstring."""

    name: str
    type: Any
    default: Any
    doc: str

    @property
    def values(self) -> str:
        """Return the accepted values as text.

        >>> Option("loss", Literal["symmetric", "image_to_text"], "symmetric", "").values
        'symmetric | image_to_text'
        """
        if get_origin(self.type) is Literal:
            return " | ".join(map(str, get_args(self.type)))
        return str(getattr(self.type, "__name__", self.type))


def options_of(factory: Callable[..., Any]) -> dict[str, Option]:
    """Return the keyword arguments of a factory or dataclass that a user may set."""
    hints = get_type_hints(factory.__init__ if inspect.isclass(factory) else factory)
    lines = documented(inspect.getdoc(factory) or "")
    return {
        name: Option(name, hints[name], parameter.default, lines.get(name, ""))
        for name, parameter in inspect.signature(factory).parameters.items()
        if parameter.default is not parameter.empty and name not in RESERVED
    }


def shows_keywords(keywords: type, owner: type) -> Callable[[F], F]:
    """Let `inspect.signature`, and so help and TAB of a notebook, show each keyword of the `**settings` of a function.

    `keywords` is their `TypedDict`, and `owner` the dataclass that has their defaults.
    """
    defaults = {
        each.name: each.default if each.default_factory is MISSING else each.default_factory()
        for each in fields(owner)
    }

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        *named, _ = signature.parameters.values()
        for name, hint in keywords.__annotations__.items():
            text, default = getattr(hint, "__forward_arg__", hint), defaults.get(name)
            kind = inspect.Parameter.KEYWORD_ONLY
            named.append(inspect.Parameter(name, kind, default=default, annotation=text))
        function.__signature__ = signature.replace(parameters=named)  # type: ignore[attr-defined]
        return function

    return decorate


def read_options(
    options: Mapping[str, Option], assigned: Mapping[str, Any], whose: str
) -> dict[str, Any]:
    """Convert options to their types; raise `FdrdError` if one is unknown, repeated, of another type, or too long."""
    values = {}
    for alias, value in assigned.items():
        name = alias if alias in options else ALIASES.get(alias, alias)
        if name not in options:
            raise FdrdError(unknown("option", alias, options, whose))
        if name in values:
            raise FdrdError(f"{whose}: {name} is given twice; remove one")
        values[name] = _value(options[name], value, whose)
        if isinstance(values[name], str) and len(values[name]) > MOST_CHARACTERS:
            raise FdrdError(f"{whose}: {name} is longer than {MOST_CHARACTERS:,} characters")
    return values


def split_assignments(texts: Iterable[str], flag: str) -> dict[str, str]:
    """Parse `name=value` texts, as given after `-M` or `-T`.

    Raise `FdrdError` if a text has no `=`, or a name is repeated.

    >>> split_assignments(["depth=3", "coop.n_ctx=4"], "-M")
    {'depth': '3', 'coop.n_ctx': '4'}
    """
    assigned: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise FdrdError(f"{flag} {text}: write {flag} name=value")
        if name in assigned:
            raise FdrdError(f"{flag} {name}: given twice; remove one")
        assigned[name] = value
    return assigned


def _value(option: Option, value: Any, whose: str) -> Any:
    """Convert the value of an option from text or from Python.

    >>> _value(Option("depth", int, 1, ""), "3", "maple")
    3
    >>> _value(Option("on", bool, True, ""), "no", "maple")
    False
    """
    import msgspec  # only where there are options, not for `--help`

    words = {"yes": True, "no": False} if option.type is bool else {}
    try:
        converted = msgspec.convert(words.get(str(value).lower(), value), option.type, strict=False)
        if converted == converted:  # not NaN
            return converted
    except msgspec.ValidationError:
        pass
    text = str(value)[:200]  # of a checkpoint, too
    problem = f"{whose}: {option.name}={text if text.isprintable() else ascii(text)}"
    if get_origin(option.type) is Literal:
        raise FdrdError(f"{problem}: choose from {option.values}")
    article = "an" if option.values[0] in "aeiou" else "a"
    raise FdrdError(f"{problem}: not {article} {option.values}")


def closest(name: str, known: Iterable[str], meant: Mapping[str, str] | None = None) -> str:
    """Return the known name that was probably meant; empty if none is close. `meant` has known names by other names."""
    names = sorted(known)
    other = (meant or {}).get(name.lower().replace("-", "_"))
    close = [other] if other in names else difflib.get_close_matches(name, names, n=1)
    return close[0] if close else ""


def unknown(
    kind: str, name: str, known: Iterable[str], whose: str, meant: Mapping[str, str] | None = None
) -> str:
    """Return an error message with the known names and the closest one, see `closest`.

    >>> unknown("option", "n_ctxt", ["n_ctx"], "coop")
    "coop has no option 'n_ctxt'; did you mean 'n_ctx'? it has n_ctx"
    """
    names = sorted(known)
    close = closest(name, names, meant)
    hint = f"did you mean {close!r}? " if close else ""
    listed = f"it has {', '.join(names)}" if names else "it has none"
    return f"{whose} has no {kind} {name!r}; {hint}{listed}"


def documented(doc: str) -> dict[str, str]:
    r"""Return the text of each argument in a Google-style docstring, on one line.

    >>> documented("Does.\n\nArgs:\n    depth: how many\n        layers.\n    n: number.\n")
    {'depth': 'how many layers.', 'n': 'number.'}
    """
    section = re.search(r"^(?:Args|Attributes):\n((?:    .*\n?|\n(?=    ))*)", doc, re.MULTILINE)
    joined = re.sub(r"\s*\n {5,}", " ", section[1] if section else "")
    return dict(re.findall(r"^ {4}(\w+): (.*)", joined, re.MULTILINE))
