"""Images with one line per pair in `metadata.jsonl`: the layout `image_folder` of `fdrd build`.

<out>/<domain>/metadata.jsonl
<out>/<domain>/images/<digest>.<extension>
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fdrd.dataset import RetrievalDataset
from fdrd.exports.formats import ExportedSplit, ExportSettings
from fdrd.exports.samples import as_line, dump, samples
from fdrd.progress import Progress

NOT_CARRIED = "File names are replaced by digests; the annotation file of each caption is left out."


def write_domain(
    folder: Path,
    domain: str,
    views: Sequence[RetrievalDataset],
    settings: ExportSettings,
    progress: Progress,
) -> list[ExportedSplit]:
    """Write the images and `metadata.jsonl` of a domain."""
    path = folder / "metadata.jsonl"
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        for view in views:
            for sample in samples(view, domain, progress):
                name = sample.save(folder / "images")
                for row in sample.rows:
                    file.write(dump(as_line(row, f"images/{name}", view.split)) + "\n")
    return [ExportedSplit.of(view, domain) for view in views]
