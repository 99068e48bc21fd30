"""Image-to-text and text-to-image retrieval tasks for mteb.

<out>/<domain>/tasks.py                        run it, or import TASKS from it
<out>/<domain>/index.json                      name, license and splits
<out>/<domain>/<split>.jsonl                   a line per distinct image, with its captions
<out>/<domain>/images/<digest>.<extension>

A query's relevant documents are its pairs, as in `fdrd bench` with strict relevance.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from fdrd.dataset import RetrievalDataset
from fdrd.exports.formats import ExportedSplit, ExportSettings
from fdrd.exports.samples import dump, samples, write_json
from fdrd.progress import Progress

NOT_CARRIED = "mteb ranks captions and images only: categories, attributes, hard negatives and groups are left out."


def write_domain(
    folder: Path,
    domain: str,
    views: Sequence[RetrievalDataset],
    settings: ExportSettings,
    progress: Progress,
) -> list[ExportedSplit]:
    """Write the task file of a domain and the data that it loads."""
    for view in views:
        path = folder / f"{view.split}.jsonl"
        with path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            for sample in samples(view, domain, progress):
                image = f"images/{sample.save(folder / 'images')}"
                captions = [row["caption"] for row in sample.rows]
                file.write(dump({"image": image, "captions": captions}) + "\n")
    splits = [view.split for view in views]
    write_json(
        folder / "index.json",
        name="".join(part[:1].upper() + part[1:] for part in re.split(r"[\W_]+", domain)) or "Fdrd",
        splits=["test"] if "test" in splits else splits,
        revision=views[-1].fingerprint,
    )
    template = files("fdrd.exports") / "mteb_tasks.py.txt"
    (folder / "tasks.py").write_text(template.read_text("utf-8"), "utf-8")
    return [ExportedSplit.of(view, domain) for view in views]
