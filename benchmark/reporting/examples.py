"""Images that the best method of a comparison ranks far better, or far worse, than every other method."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.rank_metrics import Floats
from benchmark.registry import role_of
from benchmark.reporting.comparison import Comparison, Row
from benchmark.result import numbers
from benchmark.settings import Settings
from fdrd.dataset import Indices, RetrievalDataset, load_view
from fdrd.errors import FdrdError

EACH = 3
"""Examples of gains, and of losses."""

SIDE = 128
"""Maximum width and height of an image on a page, in pixels."""


@dataclass(frozen=True)
class Example:
    """An image with one of its captions, and their ranks under each method.

    Attributes:
        image: a JPEG as a data URI.
        caption: caption of the image's first row.
        ranks: ranks in both directions by row label, means over seeds.
    """

    image: str
    caption: str
    ranks: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Examples:
    """Where the method with the highest MRR gains most over the best of all others, and where it loses most."""

    label: str
    won: list[Example]
    lost: list[Example]


def examples(comparison: Comparison) -> Examples | None:
    """Return examples; None for a single method, or if the measured dataset is not on this machine."""
    rows = [row for row in comparison.rows if role_of(row.method) != "floor"]
    dataset = _measured_dataset(comparison.settings) if len(rows) > 1 else None
    if dataset is None:
        return None
    subject = max(rows, key=lambda row: row.mrr("mean"))
    image_of_row = numbers(rows[0].results[0].queries.image_of_row)
    others = [_gains(row, image_of_row) for row in rows if row is not subject]
    margin = _gains(subject, image_of_row) - np.max(others, axis=0)
    order = np.argsort(-margin, kind="stable")

    def example(image: int) -> Example:
        first = int(np.flatnonzero(image_of_row == image)[0])
        ranks = {
            row.label: (
                float(row.mean_ranks("image_to_text")[image]),
                float(row.mean_ranks("text_to_image")[first]),
            )
            for row in comparison.rows
        }
        (pixels,) = dataset.images([image])
        small = pixels.convert("RGB")
        small.thumbnail((SIDE, SIDE))
        file = io.BytesIO()
        small.save(file, "JPEG", quality=80)
        uri = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
        return Example(uri, dataset.captions[dataset.pairs[first, 1]], ranks)

    return Examples(
        subject.label,
        won=[example(int(n)) for n in order[:EACH] if margin[n] > 0],
        lost=[example(int(n)) for n in order[::-1][:EACH] if margin[n] < 0],
    )


def _measured_dataset(settings: Settings) -> RetrievalDataset | None:
    """Return the measured split if an unchanged copy is in a local folder; never from the Hub."""
    if not (Path(settings.data.name) / "manifest.json").is_file():
        return None
    try:
        found = load_view(settings.data.name, settings.split, settings.domain)
    except FdrdError:
        return None
    return found if found.fingerprint == settings.data.fingerprint else None


def _gains(row: Row, image_of_row: Indices) -> Floats:
    """Return (I,) the mean of each image's reciprocal rank as a query and that of its captions."""
    by_image, by_row = row.reciprocals()
    captions = np.bincount(image_of_row, weights=by_row) / np.bincount(image_of_row)
    gains: Floats = (by_image + captions) / 2
    return gains
