"""What the pages share: routes, templates, links, lists, and the forms that the browser sends.

A page is a function of context and request, registered for its path; a form also brings its fields.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from msgspec import structs
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from fdrd.reasons import REASONS, REVIEW_REASONS
from fdrd.record import Attribute
from fdrd.text.attributes import TYPES
from fdrd.text.markup import visible
from fdrd.viewer.facets import (
    MOST_CHOSEN,
    ORDERS,
    SHOWN,
    State,
    parse_state,
    query_url,
    whole_number,
)
from fdrd.viewer.index import content_key

Page = Callable[[Any, Request], Response]  # Any: the context
Form = Callable[[Any, Request, list[tuple[str, str]]], Response]

Values = dict[str, Any]  # of a template

ROUTES: dict[str, tuple[str, Callable[..., Any]]] = {}  # HTTP method and handler by path
_LISTED = 24  # items on a page of a list
_FORM_BYTES = 65536
_TOKEN = re.compile(r"\s+|\w+|[^\w\s]")
_MOST_TOKENS = 2000  # tokens above which two texts are not compared word by word


def page(path: str) -> Callable[[Page], Page]:
    """Register the page of a path."""

    def register(handler: Page) -> Page:
        ROUTES[path] = "GET", handler
        return handler

    return register


def form(path: str, most: int = _FORM_BYTES) -> Callable[[Form], Form]:
    """Register what a form is sent to. It may take long, and other requests are answered meanwhile.

    A form of over `most` bytes is refused.
    """

    def register(handler: Form) -> Form:
        async def receive(context: object, request: Request) -> Response:
            body = b""
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise HTTPException(413, "The form is too large.")
            fields = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
            return await run_in_threadpool(handler, context, request, fields)

        ROUTES[path] = "POST", receive
        return handler

    return register


def state_of(request: Request) -> State:
    """Return what the URL selects.

    Raises:
        HTTPException: it has too many filters.
    """
    state = parse_state(request.query_params.multi_items())
    if (count := sum(map(len, state.chosen.values()))) > MOST_CHOSEN:
        raise HTTPException(400, f"The address has {count:,} filters, of at most {MOST_CHOSEN}.")
    return state


def integer_of(request: Request, name: str, default: int, most: int) -> int:
    """Return a whole number of the URL, `most` if it is larger."""
    value = whole_number(request.query_params.get(name, ""), most)
    return default if value is None else value


def choice_of(request: Request, name: str, choices: Iterable[str], default: str) -> str:
    """Return a value of the URL that is one of the choices."""
    value = request.query_params.get(name, "")
    return value if value in choices else default


def listed(request: Request, items: Sequence[Any]) -> tuple[Sequence[Any], dict[str, Any]]:
    """Return the items on the page of a list that is asked for, and what a template shows of the list."""
    pages = max(1, -(-len(items) // _LISTED))
    current = max(1, integer_of(request, "page", 1, pages))
    some = items[(current - 1) * _LISTED : current * _LISTED]
    return some, {"page": current, "pages": pages, "total": len(items)}


def link(path: str, **values: object) -> str:
    """Return a URL with a query."""
    return query_url(path, [(k, str(v)) for k, v in values.items() if v not in ("", None)])


def local(path: str) -> str:
    """Return a path of this server, whatever the form says.

    >>> local("/?q=a"), local("//evil.example"), local("https://evil.example")
    ('/?q=a', '/review', '/review')
    """
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/review"


def with_values(back: str, **values: str) -> str:
    """Return a URL with some values set, and the record and messages of the last page removed.

    >>> with_values("/review?queue=random&saved=drop&id=a", saved="accept", id="")
    '/review?queue=random&saved=accept'
    """
    path, _, query = back.partition("?")
    pairs = [(k, v) for k, v in parse_qsl(query) if k not in ("id", "after", "saved", "problem")]
    known = dict(pairs)
    return query_url(path, pairs + [(k, v) for k, v in values.items() if v and k not in known])


class Part(NamedTuple):
    """A part of a text, and what it is: an attribute type, `changed`, or nothing."""

    text: str
    kind: str


def attribute_parts(caption: str, attributes: Iterable[Mapping[str, Any]]) -> list[Part]:
    """Split a caption at its attribute spans.

    >>> attribute_parts("A red cat.", [{"type": "color", "start": 2, "end": 5}])
    [Part(text='A ', kind=''), Part(text='red', kind='color'), Part(text=' cat.', kind='')]
    """
    parts, done = [], 0
    for span in sorted(attributes, key=lambda span: int(span["start"])):
        start, end = span["start"], span["end"]
        if done <= start < end <= len(caption):
            parts += [Part(caption[done:start], ""), Part(caption[start:end], span["type"])]
            done = end
    return [part for part in (*parts, Part(caption[done:], "")) if part.text]


def changed_parts(caption: str, negative: str) -> list[Part]:
    """Split a negative into what it shares with the caption, and what it changes.

    >>> changed_parts("A red cat.", "A red dog.")
    [Part(text='A red ', kind=''), Part(text='dog', kind='changed'), Part(text='.', kind='')]
    """
    old, new = _TOKEN.findall(caption), _TOKEN.findall(negative)
    if max(len(old), len(new)) > _MOST_TOKENS:
        return [Part(negative, "")]
    blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    parts = (
        Part("".join(new[start:end]), "" if kind == "equal" else "changed")
        for kind, _, _, start, end in blocks
    )
    return [part for part in parts if part.text]


def spans_json(spans: Iterable[Attribute]) -> str:
    """Return attribute spans as a decision has them."""
    return json.dumps([{"type": s.type, "start": s.start, "end": s.end} for s in spans])


def _retyped(spans: Iterable[Attribute], changed: Attribute, type_: str) -> str:
    return spans_json(structs.replace(s, type=type_) if s == changed else s for s in spans)


class _Exact(Markup):
    """A value of a form, which must come back as it is."""


def _shown(value: object) -> object:
    """Return text without characters that could reorder or hide the text around it."""
    return visible(value) if isinstance(value, str) and not isinstance(value, _Exact) else value


@lru_cache(1)
def templates() -> Environment:
    """Return the templates, which escape every value."""
    environment = Environment(
        loader=PackageLoader("fdrd.viewer"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"commas": lambda number: f"{number:,}", "exact": _Exact.escape}
    environment.globals |= {
        "link": link,
        "attribute_parts": attribute_parts,
        "changed_parts": changed_parts,
        "content_key": content_key,
        "SHOWN": SHOWN,
        "without": lambda spans, removed: spans_json(s for s in spans if s != removed),
        "retyped": _retyped,
        "spans_json": spans_json,
        "ORDERS": ORDERS,
        "REASONS": REASONS | REVIEW_REASONS,
        "TYPES": TYPES,
    }
    return environment
