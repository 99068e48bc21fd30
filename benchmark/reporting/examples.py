"""Images that a method finds far better, or far worse, than every other method of a comparison does."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmark.evaluation.metrics import DIRECTIONS
from benchmark.evaluation.score_blocks import Floats
from benchmark.reporting.comparison import Comparison, Row
from benchmark.result import BenchResult, Settings
from fdrd.dataset import Indices, RetrievalDataset, load
from fdrd.errors import FdrdError

PREFERRED = "dcar"
"""The method that examples are about where it is one of the rows; else that with the highest MRR."""

FLOOR = "random"
"""No rival: what it finds it found by luck."""

SIDE = 128
"""Greatest width and height of a picture on a page, in pixels."""


@dataclass(frozen=True)
class Example:
    """An image with one of its captions, and the ranks that each method gives the two.

    Attributes:
        picture: a JPEG as a data URI, where the dataset is at hand.
        caption: of the image's first row.
        ranks: by row of the comparison, in both directions; means over seeds.
    """

    picture: str
    caption: str
    ranks: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Examples:
    """Of one method: where it gains most over the best of all others, and where it loses most."""

    label: str
    won: list[Example]
    lost: list[Example]


def examples(comparison: Comparison, each: int = 3) -> Examples | None:
    """Nothing where there are no two methods, or where the dataset is not on this machine as measured."""
    rows = [row for row in comparison.rows if row.results[0].settings.method != FLOOR]
    dataset = measured_dataset(comparison.settings) if len(rows) > 1 else None
    if dataset is None:
        return None
    subject = _subject(rows)
    image_of_row = _numbers(rows[0].results[0].queries.image_of_row)
    gain = _gains(subject, image_of_row)
    rivals = [_gains(row, image_of_row) for row in rows if row is not subject]
    margin = gain - np.max(rivals, axis=0)
    order = np.argsort(-margin, kind="stable")
    chosen = (
        [n for n in order[:each] if margin[n] > 0],
        [n for n in order[::-1][:each] if margin[n] < 0],
    )
    return Examples(
        subject.label,
        *(
            [_example(dataset, comparison.rows, int(n), image_of_row) for n in part]
            for part in chosen
        ),
    )


def measured_dataset(settings: Settings) -> RetrievalDataset | None:
    """The split that was measured, if it lies in a folder here and is what it was; never from the Hub."""
    if not (Path(settings.data.name) / "manifest.json").is_file():
        return None
    try:
        found = load(settings.data.name, settings.split, settings.domain)
    except FdrdError:
        return None
    return found if found.fingerprint == settings.data.fingerprint else None


def _subject(rows: Sequence[Row]) -> Row:
    preferred = [row for row in rows if row.results[0].settings.method == PREFERRED]
    if len(preferred) == 1:
        return preferred[0]
    return max(rows, key=lambda row: float(np.mean([_mrr(result) for result in row.results])))


def _mrr(result: BenchResult) -> float:
    metrics = result.metrics
    return metrics.image_to_text.strict.mrr + metrics.text_to_image.strict.mrr


def _gains(row: Row, image_of_row: Indices) -> Floats:
    """(I,) reciprocal rank of each image's query and of those of its captions, their mean."""
    by_image, by_row = (
        np.mean([1 / _numbers(result.ranks[d].strict) for result in row.results], axis=0)
        for d in DIRECTIONS
    )
    captions = np.bincount(image_of_row, weights=by_row) / np.bincount(image_of_row)
    gains: Floats = (by_image + captions) / 2
    return gains


def _example(
    dataset: RetrievalDataset, rows: Sequence[Row], image: int, image_of_row: Indices
) -> Example:
    first = int(np.flatnonzero(image_of_row == image)[0])
    places = dict(zip(DIRECTIONS, (image, first), strict=True))
    ranks = {
        row.label: tuple(
            float(np.mean([_numbers(result.ranks[d].strict)[place] for result in row.results]))
            for d, place in places.items()
        )
        for row in rows
    }
    (picture,) = dataset.images([image])
    caption = dataset.captions[dataset.pairs[first, 1]]
    return Example(_data_uri(picture), caption, {name: (a, b) for name, (a, b) in ranks.items()})


def _data_uri(picture: Image.Image) -> str:
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _numbers(text: str) -> Indices:
    return np.array(text.split(), dtype=np.int64)
