"""Image-to-text and text-to-image retrieval tasks for mteb.

<out>/<domain>/tasks.py                        run it, or import TASKS from it
<out>/<domain>/index.json                      name, license and splits
<out>/<domain>/<split>.jsonl                   a line per distinct image, with its captions
<out>/<domain>/images/<digest>.<extension>

A query's relevant documents are its pairs, as in `fdrd bench` with strict relevance.
"""

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from fdrd.exports.writing import DomainExport, Row, Sample, samples, write_json, write_lines

NOT_CARRIED = (
    "mteb ranks captions and images only: categories, attributes, hard negatives, natural pairs, groups and "
    "extra columns are left out."
)


def write_domain(export: DomainExport) -> None:
    """Write the task file of a domain and the data that it loads."""
    folder, domain = export.folder, export.domain
    for view in export.views:
        found = samples(view, domain, export.progress)
        write_lines(folder / f"{view.split}.jsonl", _lines(folder, found))
    splits = [view.split for view in export.views]
    write_json(
        folder / "index.json",
        name="".join(part[:1].upper() + part[1:] for part in re.split(r"[\W_]+", domain)) or "Fdrd",
        splits=["test"] if "test" in splits else splits,
        revision=export.views[-1].fingerprint,
    )
    template = files("fdrd.exports") / "mteb_tasks.py.txt"
    (folder / "tasks.py").write_text(template.read_text("utf-8"), "utf-8")


def _lines(folder: Path, found: Iterator[Sample]) -> Iterator[Row]:
    for sample in found:
        image = f"images/{sample.save(folder / 'images')}"
        yield {"image": image, "captions": [row["caption"] for row in sample.rows]}
