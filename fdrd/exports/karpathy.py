"""One JSON file in the format of Karpathy's splits, with the images in `images/`.

<out>/<domain>/annotations/dataset_<domain>.json
<out>/<domain>/images/<digest>.<extension>

An image also has `category`, `meta_category`, `group` and `license`, and a sentence `attributes`,
`negatives` and `record`. Readers of the format ignore keys that they do not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from fdrd.dataset import RetrievalDataset
from fdrd.exports.formats import ExportedSplit, ExportSettings
from fdrd.exports.samples import Row, caption_extras, samples, write_json
from fdrd.progress import Progress

NOT_CARRIED = (
    "File names are replaced by digests. Categories, attributes, hard negatives and record ids are extra "
    "keys, which other readers ignore."
)
_SPLITS = {"train": "train", "validation": "val", "test": "test"}


def write_domain(
    folder: Path,
    domain: str,
    views: Sequence[RetrievalDataset],
    settings: ExportSettings,
    progress: Progress,
) -> list[ExportedSplit]:
    """Write the images and the JSON file of a domain."""
    path = folder / "annotations" / f"dataset_{domain}.json"
    write_json(path, images=_images(folder, domain, views, progress), dataset=domain)
    return [ExportedSplit.of(view, domain) for view in views]


def _images(
    folder: Path, domain: str, views: Sequence[RetrievalDataset], progress: Progress
) -> Iterator[Row]:
    number, sentence_ids = count(), count()
    for view in views:
        for sample in samples(view, domain, progress):
            image = next(number)
            sentences = [
                {
                    "raw": caption,
                    "tokens": caption.lower().split(),
                    "imgid": image,
                    "sentid": next(sentence_ids),
                    **caption_extras(row),
                }
                for caption, row in zip(sample.captions, sample.rows, strict=True)
            ]
            first = sample.rows[0]
            yield {
                "filepath": "images",
                "filename": sample.save(folder / "images"),
                "imgid": image,
                "split": _SPLITS[view.split],
                "sentids": [sentence["sentid"] for sentence in sentences],
                "category": first["category"],
                "meta_category": first["meta_category"],
                "group": first["group"],
                "license": first["source"]["license"],
                "sentences": sentences,
            }
