"""Folders for `load_dataset("imagefolder")` of datasets, and for torchvision's `ImageFolder`.

<out>/<domain>/<split>/metadata.jsonl                              a line per pair
<out>/<domain>/<split>/<category>/<digest>.<extension>             without a category, in the split folder
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fdrd.dataset import RetrievalDataset
from fdrd.exports.formats import ExportedSplit, ExportSettings
from fdrd.exports.samples import as_line, dump, folder_name, samples
from fdrd.progress import Progress

NOT_CARRIED = (
    "File names are replaced by digests; the annotation file of each caption is left out. "
    "torchvision's ImageFolder reads categories only."
)


def write_domain(
    folder: Path,
    domain: str,
    views: Sequence[RetrievalDataset],
    settings: ExportSettings,
    progress: Progress,
) -> list[ExportedSplit]:
    """Write a folder for each split of a domain."""
    for view in views:
        target = folder / view.split
        target.mkdir()
        path = target / "metadata.jsonl"
        with path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            for sample in samples(view, domain, progress):
                category = folder_name(sample.rows[0]["category"])
                name = sample.save(target / category)
                for row in sample.rows:
                    line = as_line(row, f"{category}/{name}" if category else name, view.split)
                    file.write(dump(line) + "\n")
    return [ExportedSplit.of(view, domain) for view in views]
