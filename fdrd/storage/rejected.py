"""The list of all that was not kept, and what is said where that is everything."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from fdrd.files.atomic import write_text
from fdrd.reasons import Rejection


def list_rejected(folder: Path, rejected: Sequence[Rejection]) -> Path:
    """Writes `rejected.jsonl` into a folder, a line for each."""
    file = folder / "rejected.jsonl"
    lines = (json.dumps(asdict(item), ensure_ascii=False) + "\n" for item in rejected)
    write_text(file, "".join(lines))
    return file


def nothing_kept(rejected: Sequence[Rejection]) -> str:
    """What a source that gives nothing is told: counts, and an example of each reason.

    >>> nothing_kept([Rejection("pets.json", "x_1", "image_missing", "x_1.jpg")])
    '1 records were read and none could be kept: 1 image_missing, the first pets.json x_1: x_1.jpg'
    """
    reasons = Counter(rejection.reason for rejection in rejected).most_common(3)
    examples = {rejection.reason: rejection for rejection in reversed(rejected)}
    said = "; ".join(
        f"{count} {reason}, the first "
        f"{' '.join(filter(None, (examples[reason].file, examples[reason].key)))}: "
        f"{examples[reason].detail}"
        for reason, count in reasons
    )
    return f"{len(rejected)} records were read and none could be kept: {said}"
