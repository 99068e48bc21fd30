"""A dataset that FiftyOne loads with `Dataset.from_dir(dataset_type=fiftyone.types.FiftyOneDataset)`.

<out>/<domain>/metadata.json, samples.json
<out>/<domain>/data/<digest>.<extension>

Without a version in `metadata.json`, FiftyOne reads plain JSON samples (its `LegacyFiftyOneDatasetImporter`).
A sample is a distinct image: the tag is its split, `ground_truth` its category.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from fdrd.dataset import RetrievalDataset
from fdrd.exports.formats import ExportedSplit, ExportSettings
from fdrd.exports.samples import Row, samples, write_json
from fdrd.progress import Progress

NOT_CARRIED = (
    "File names are replaced by digests. Attributes and hard negatives are fields of a sample, which "
    "FiftyOne shows as text."
)


def write_domain(
    folder: Path,
    domain: str,
    views: Sequence[RetrievalDataset],
    settings: ExportSettings,
    progress: Progress,
) -> list[ExportedSplit]:
    """Write the samples of a domain."""
    write_json(folder / "samples.json", samples=_samples(folder, domain, views, progress))
    write_json(folder / "metadata.json", name=domain, media_type="image", info={})
    return [ExportedSplit.of(view, domain) for view in views]


def _samples(
    folder: Path, domain: str, views: Sequence[RetrievalDataset], progress: Progress
) -> Iterator[Row]:
    for view in views:
        for sample in samples(view, domain, progress):
            first, category = sample.rows[0], sample.rows[0]["category"]
            label = {"_cls": "Classification", "label": category, "tags": []} if category else None
            yield {
                "filepath": f"data/{sample.save(folder / 'data')}",
                "tags": [view.split],
                "ground_truth": label,
                "captions": [row["caption"] for row in sample.rows],
                "record_ids": [row["id"] for row in sample.rows],
                "attributes": [row["attributes"] for row in sample.rows],
                "hard_negatives": [row["negatives"] for row in sample.rows],
                "meta_category": first["meta_category"],
                "group": first["group"],
                "license": first["source"]["license"],
            }
