"""Folders for `load_dataset("imagefolder")` of datasets, and for torchvision's `ImageFolder`.

<out>/<domain>/<split>/metadata.jsonl                              a line per pair
<out>/<domain>/<split>/<category>/<digest>.<extension>             without a category, in the split folder
"""

from collections.abc import Iterator
from pathlib import Path

from fdrd.exports.writing import DomainExport, Row, Sample, as_line, samples, write_lines
from fdrd.files.paths import category_folder

NOT_CARRIED = (
    "File names are replaced by digests; the annotation file of each caption is left out. "
    "torchvision's ImageFolder reads categories only."
)


def write_domain(export: DomainExport) -> None:
    """Write a folder for each split of a domain."""
    for view in export.views:
        target = export.folder / view.split
        target.mkdir()
        images = samples(view, export.domain, export.progress)
        write_lines(target / "metadata.jsonl", _lines(target, images))


def _lines(target: Path, images: Iterator[Sample]) -> Iterator[Row]:
    for sample in images:
        category = category_folder(sample.rows[0]["category"])
        name = sample.save(target / category)
        for row in sample.rows:
            yield as_line(row, f"{category}/{name}" if category else name, sample.split)
