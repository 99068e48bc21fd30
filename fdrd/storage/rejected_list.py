"""Write the list of rejected records, and summarize it in an error message."""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import asdict

from fdrd.files.atomic import write_text
from fdrd.reasons import Rejection


def write_rejected(folder: Path, rejected: Sequence[Rejection]) -> Path:
    """Write `rejected.jsonl`, one line per rejection, and return its path."""
    file = folder / "rejected.jsonl"
    lines = (json.dumps(asdict(item), ensure_ascii=False) + "\n" for item in rejected)
    write_text(file, "".join(lines))
    return file


def nothing_kept(rejected: Sequence[Rejection]) -> str:
    """Return the message for a source without usable records: counts, and an example of each reason.

    >>> nothing_kept([Rejection("pets.json", "x_1", "image_missing", "x_1.jpg")])
    'all 1 records were rejected: 1 image_missing, e.g. pets.json x_1: x_1.jpg'
    >>> nothing_kept([Rejection("1.jpg", "", "caption_missing", "1.jpg: no caption")])
    'all 1 records were rejected: 1 caption_missing, e.g. 1.jpg: no caption'
    """
    reasons = Counter(rejection.reason for rejection in rejected).most_common(3)
    examples = {rejection.reason: rejection for rejection in reversed(rejected)}
    text = "; ".join(f"{count} {reason}, e.g. {examples[reason]}" for reason, count in reasons)
    outside = [each for each in rejected if each.reason == "path_outside"]
    return f"all {len(rejected)} records were rejected: {text}{_common_folder(outside)}"


def _common_folder(outside: Sequence[Rejection]) -> str:
    """Return how to build from annotations with absolute paths, if the images have a folder in common."""
    paths = [each.detail for each in outside if each.detail.startswith("/")]
    folder = posixpath.commonpath(map(posixpath.dirname, paths)) if paths else "/"
    if folder == "/":
        return ""
    return f". Images are read inside of the source only: copy {outside[0].file} into {folder} and build that folder"
