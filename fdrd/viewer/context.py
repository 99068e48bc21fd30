"""What all pages share: the open dataset, the runs, the review, and what was computed for the present state of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from itertools import chain
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from starlette.requests import Request
from starlette.responses import HTMLResponse

from fdrd.errors import FdrdError
from fdrd.progress import Progress, silent
from fdrd.storage.resume import recorded_origin
from fdrd.viewer.facets import Indices, Reviewed, Selection, State, select
from fdrd.viewer.index import Index, Library, open_index
from fdrd.viewer.meaning import Meaning, inside, plane
from fdrd.viewer.pages import templates
from fdrd.viewer.rejections import Drafts
from fdrd.viewer.review import Review, decisions_path, review_folder

if TYPE_CHECKING:
    from fdrd.viewer.results import Runs

T = TypeVar("T")

REVIEWER = "fdrd_reviewer"  # cookie with the name of the reviewer
UNSEEN = "not reviewed"
_SELECTIONS = 64
"""Selections that are kept, with their counts: pages of one selection need not count again."""


class Context:
    """The state of a server: the open dataset with its reviews and results.

    Args:
        folder: folder of the dataset.
        results: result files, or folders of them.
        review: name of the review where decisions go; without it nothing can be written.
        reviewer: name of the reviewer where the browser gives none.
        source: the raw source, for images that were rejected.
        drafts: outputs of `fdrd caption`, for images that have no caption.
        before: an earlier build, to compare with.
        progress: receives the rows that are indexed.

    Raises:
        FdrdError: there is no dataset, a result is broken, or the review has no usable name.
    """

    def __init__(
        self,
        folder: Path,
        *,
        results: Sequence[Path] = (),
        review: str | None = None,
        reviewer: str = "reviewer",
        source: Path | None = None,
        drafts: Sequence[Path] = (),
        before: Path | None = None,
        progress: Progress = silent,
    ):
        written = decisions_path(folder, review) if review else None
        paths = sorted({*review_folder(folder).glob("*/decisions.jsonl")} - {written})
        # The last one counts in the facet of verified records.
        self.readable = tuple(map(Review, [*paths, *([written] if written else [])]))
        for each in self.readable:
            each.decisions()  # a broken file is reported now
        self.review, self.reviewer = self.readable[-1] if written else None, reviewer
        self.runs: Runs | None = None
        if results:
            from fdrd.viewer.results import Runs

            self.runs = Runs(results)
        self.meaning = Meaning(self.runs.searchable() if self.runs else {})
        if source is not None and not source.is_dir():
            raise FdrdError(f"--source {source}: not a folder")
        self.library = Library(folder, progress)
        self.source, origin = source, recorded_origin(folder)
        self.drafts = Drafts(source, drafts) if source and drafts else None
        self.before = open_index(before, progress) if before else None
        # A note next to a dataset may name any folder, so it is shown, not read.
        self.source_name = quote(str(source or (origin.path if origin else "RAW")))
        self._selections: dict[Any, Selection] = {}
        self._computed: dict[str, tuple[object, Any]] = {}

    def once(self, name: str, version: object, compute: Callable[[], T]) -> T:
        """Return what a function computes, which is kept until another version is asked for."""
        known, value = self._computed.get(name, (None, None))
        if known != version:
            value = compute()
            self._computed[name] = version, value
        found: T = value
        return found

    def selection(self, index: Index, state: State, all_of: str = "") -> Selection:
        """Return what a state selects."""
        key = (index, self._versions(), state.key, all_of)
        found = self._selections.get(key)
        if found is None:
            rows, scores = None, None
            if state.by_meaning:
                like = "" if state.q else state.like
                scores = self.meaning.scores(index, state.similar, state.q, like)
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
        """Return (N, 2) coordinates of the rows on the map; -1 for rows without an image."""

        def compute() -> Indices:
            vectors, of_row = self.meaning.image_vectors(index)
            points: Indices = np.append(plane(vectors), [[-1, -1]], axis=0).astype(np.int32)[of_row]
            return points

        return self.once("points", index.version, compute)

    def reviewed(self, index: Index) -> Reviewed:
        """Return the rows by what reviewers said of them: status and tags; nothing without a review."""
        if not self.readable:
            return {}
        return self.once("reviewed", (index, self._versions()), lambda: self._reviewed(index))

    def _versions(self) -> tuple[object, ...]:
        return tuple(review.version for review in self.readable)

    def _reviewed(self, index: Index) -> Reviewed:
        groups: dict[str, set[str]] = {"verified": set(), "dropped": set()}
        status: dict[str, str] = {}
        tags = defaultdict[str, set[str]](set)
        for review in self.readable:
            status |= review.status()
            for tag, ids in review.tags().items():
                tags[tag] |= ids
        for record_id, label in status.items():
            groups[label].add(record_id)
        rows = index.rows_of({*status, *chain.from_iterable(tags.values())})
        seen = {label: _rows(rows, ids) for label, ids in groups.items()}
        others = np.ones(index.columns.size, bool)
        others[np.concatenate([*seen.values()])] = False
        seen[UNSEEN] = np.flatnonzero(others).astype(np.int32)
        tagged = {tag: _rows(rows, ids) for tag, ids in tags.items()}
        most_first = sorted(tagged, key=lambda tag: (-len(tagged[tag]), tag))
        return {"verified": seen, "tag": {tag: tagged[tag] for tag in most_first}}

    def reviewer_of(self, request: Request) -> str:
        """Return the name of the reviewer who asks."""
        return request.cookies.get(REVIEWER) or self.reviewer

    def page(
        self, request: Request, template: str, status: int = 200, **values: Any
    ) -> HTMLResponse:
        """Fill a template; the messages of the last page are in the URL."""
        messages = {name: request.query_params.get(name, "") for name in ("saved", "problem")}
        shared = {"context": self, "path": request.url.path, "name": self.library.folder.name}
        text = templates().get_template(template).render(messages | shared | values)
        # The name of a file may not be text.
        return HTMLResponse(text.encode("utf-8", "backslashreplace"), status)


def _rows(rows: Mapping[str, int], ids: Set[str]) -> Indices:
    return np.array(sorted(rows[each] for each in ids if each in rows), np.int32)
