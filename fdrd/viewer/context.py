"""What all pages share: the open dataset, the runs, the review, and how a template is filled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse

from fdrd.errors import FdrdError
from fdrd.progress import Progress, silent
from fdrd.reasons import REASONS, REVIEW_REASONS
from fdrd.storage.resume import recorded_origin
from fdrd.text.controls import visible
from fdrd.viewer.decision_log import Review, decisions_path, review_folder
from fdrd.viewer.drafts import Drafts
from fdrd.viewer.embedding_map import inside, plane
from fdrd.viewer.facets import (
    MOST_CHOSEN,
    SHOWN,
    Indices,
    Reviewed,
    Selection,
    State,
    parse_state,
    query_url,
    select,
)
from fdrd.viewer.highlight import attribute_parts, changed_parts
from fdrd.viewer.index import Index, content_key, open_index
from fdrd.viewer.library import Library
from fdrd.viewer.meaning import Meaning

if TYPE_CHECKING:
    from fdrd.viewer.results import Runs

REVIEWER = "fdrd_reviewer"
"""Cookie with the name of the reviewer."""
_LISTED = 24
"""Items on a page of a list."""
UNSEEN = "not reviewed"
_SELECTIONS = 64
"""Selections that are kept, with their counts: pages of one selection need not count again."""


@dataclass(slots=True)
class Context:
    """The state of a server."""

    library: Library
    review: Review | None = None
    """Where decisions go; without it nothing can be written."""
    readable: tuple[Review, ...] = ()
    """Reviews of the dataset, for the facet of verified records."""
    reviewer: str = "reviewer"
    """Name of the reviewer where the browser gives none."""
    runs: Runs | None = None
    source: Path | None = None
    """The raw source, for images that were rejected."""
    drafts: Drafts | None = None
    """Captions by `fdrd caption`, for images that have none."""
    before: Index | None = None
    """An earlier build, to compare with."""
    source_name: str = "RAW"
    """The source as a command names it."""
    meaning: Meaning = field(default_factory=Meaning)
    _selections: dict[Any, Selection] = field(default_factory=dict)
    _points: tuple[str, Indices] = ("", np.zeros((0, 2), np.int32))
    _reviewed: tuple[Any, Reviewed] = (None, {})

    def selection(self, index: Index, state: State, all_of: str = "") -> Selection:
        """Return what a state selects.

        Raises:
            WaitingError: a search by meaning waits for features.
            FdrdError: its method cannot be loaded.
        """
        version = tuple(each.version for each in self.readable)
        key = (index, version, state.key, all_of)
        found = self._selections.get(key)
        if found is None:
            rows, scores = None, None
            if state.by_meaning:
                scores = self.meaning.scores(
                    index, state.similar, state.q, "" if state.q else state.like
                )
            elif state.q:
                rows = index.search(state.q)
            if state.area:
                here = np.flatnonzero(inside(self.points(index), state.area)).astype(np.int32)
                rows = here if rows is None else np.intersect1d(rows, here)
            found = select(index.columns, state, rows, self.reviewed(index), all_of, scores)
            if len(self._selections) >= _SELECTIONS:
                self._selections.clear()
            self._selections[key] = found
        return found

    def points(self, index: Index) -> Indices:
        """Return (N, 2) coordinates of the rows on the map; -1 for rows without an image.

        Raises:
            WaitingError: features are being computed.
            FdrdError: the backbone cannot be loaded.
        """
        if self._points[0] != index.version:
            vectors, of_row = self.meaning.image_vectors(index)
            points = np.append(plane(vectors), [[-1, -1]], axis=0).astype(np.int32)
            self._points = index.version, points[of_row]
        return self._points[1]

    def reviewed(self, index: Index) -> Reviewed:
        """Return the rows by what reviewers said of them: status and tags; nothing without a review."""
        if not self.readable:
            return {}
        key = (index, tuple(each.version for each in self.readable))
        if self._reviewed[0] != key:
            status, tags = self.status(), defaultdict[str, set[str]](set)
            for review in self.readable:
                for tag, ids in review.tags().items():
                    tags[tag] |= ids
            rows = index.rows_of({*status, *chain.from_iterable(tags.values())})
            groups: dict[str, set[str]] = {"verified": set(), "dropped": set()}
            for record_id, label in status.items():
                groups[label].add(record_id)
            seen = {label: _rows(rows, ids) for label, ids in groups.items()}
            others = np.ones(index.columns.size, bool)
            others[np.concatenate([*seen.values()])] = False
            seen[UNSEEN] = np.flatnonzero(others).astype(np.int32)
            tagged = {tag: _rows(rows, ids) for tag, ids in tags.items()}
            most_first = sorted(tagged, key=lambda tag: (-len(tagged[tag]), tag))
            found = {"verified": seen, "tag": {tag: tagged[tag] for tag in most_first}}
            self._reviewed = key, found
        return self._reviewed[1]

    def reviewer_of(self, request: Request) -> str:
        """Return the name of the reviewer who asks."""
        return request.cookies.get(REVIEWER) or self.reviewer

    def status(self) -> dict[str, str]:
        """Return `verified` or `dropped` by the id of each record with a verdict."""
        found: dict[str, str] = {}
        for review in self.readable:
            found |= review.status()
        return found

    def page(
        self, request: Request, template: str, status: int = 200, **values: Any
    ) -> HTMLResponse:
        """Fill a template."""
        text = (
            _templates()
            .get_template(template)
            .render(context=self, path=request.url.path, name=self.library.folder.name, **values)
        )
        # The name of a file may not be text.
        return HTMLResponse(text.encode("utf-8", "backslashreplace"), status)


def open_context(
    folder: Path,
    *,
    results: Sequence[Path] = (),
    review: str | None = None,
    reviewer: str = "reviewer",
    source: Path | None = None,
    drafts: Sequence[Path] = (),
    before: Path | None = None,
    progress: Progress = silent,
) -> Context:
    """Open a dataset with its reviews and results.

    Raises:
        FdrdError: there is no dataset, a result is broken, or the review has no usable name.
    """
    own = Review(decisions_path(folder, review)) if review else None
    others = sorted(review_folder(folder).glob("*/decisions.jsonl"))
    readable = [Review(path) for path in others if own is None or path != own.path]
    readable += [own] if own else []
    for each in readable:
        each.decisions()  # a broken file is reported now
    runs = None
    if results:
        from fdrd.viewer.results import Runs

        runs = Runs(results)
    if source is not None and not source.is_dir():
        raise FdrdError(f"--source {source}: not a folder")
    library = Library(folder, progress)
    origin = recorded_origin(folder)
    # A note next to a dataset may name any folder, so it is shown, not read.
    name = quote(str(source or (origin.path if origin else "RAW")))
    earlier = open_index(before, progress) if before else None
    written = Drafts(source, drafts) if source and drafts else None
    return Context(
        library, own, tuple(readable), reviewer, runs, source, written, earlier, name, Meaning(runs)
    )


def state_of(request: Request) -> State:
    """Return what the URL selects.

    Raises:
        HTTPException: it has too many filters.
    """
    state = parse_state(request.query_params.multi_items())
    if (count := sum(map(len, state.chosen.values()))) > MOST_CHOSEN:
        raise HTTPException(400, f"The address has {count:,} filters, of at most {MOST_CHOSEN}.")
    return state


def page_of(request: Request, items: Sequence[Any]) -> tuple[int, int, Sequence[Any]]:
    """Return the page that is asked for, the number of pages, and its items."""
    text = request.query_params.get("page", "1")
    pages = max(1, -(-len(items) // _LISTED))
    page = min(
        max(1, int(text)) if text.isascii() and text.isdecimal() and len(text) < 9 else 1, pages
    )
    return page, pages, items[(page - 1) * _LISTED : page * _LISTED]


def link(path: str, **values: object) -> str:
    """Return a URL with a query."""
    pairs = [(name, str(value)) for name, value in values.items() if value not in ("", None)]
    return query_url(path, pairs)


def _rows(rows: Mapping[str, int], ids: Set[str]) -> Indices:
    return np.array(sorted(rows[each] for each in ids if each in rows), np.int32)


class _Exact(Markup):
    """A value of a form, which must come back as it is."""


def _shown(value: object) -> object:
    """Return text without characters that could reorder or hide the text around it."""
    return visible(value) if isinstance(value, str) and not isinstance(value, _Exact) else value


@lru_cache(1)
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("fdrd.viewer"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["commas"] = lambda number: f"{number:,}"
    environment.filters["exact"] = _Exact.escape
    environment.globals |= {
        "link": link,
        "attribute_parts": attribute_parts,
        "changed_parts": changed_parts,
        "content_key": content_key,
        "SHOWN": SHOWN,
        "REASONS": REASONS | REVIEW_REASONS,
    }
    return environment
