"""The captioned source: pictures and the authors' layout of JSON beside them, ready for `fdrd build`.

`<out>/<domain>/captions[_split].json` holds the captions that were kept and those that the source had;
`rejected_captions.jsonl` beside it every picture that got none, with the reason; `<out>/captioning.json` says how the
captions were made, and counts. Pictures are hard links where the file system has them. Equal answers give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from fdrd.captioning.pictures import Found
from fdrd.captioning.rounds import Outcome
from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_write, write_text
from fdrd.files.safe_open import resolve_inside
from fdrd.images.check import read_image
from fdrd.record import Record, Split
from fdrd.sources.domain_file import NAME as DOMAIN_FILE
from fdrd.storage.manifest import dump
from fdrd.storage.publish import link_or_copy

SUMMARY = "captioning.json"
REJECTED = "rejected_captions.jsonl"
EXTENSION_INSIDE = ".jpg"
"""Of a picture that had no file; what it is in truth, its bytes say."""


def check_out(out: Path, source: Path) -> None:
    """Raises `FdrdError` if `out` holds something else, or is or lies in the source."""
    if out.resolve().is_relative_to(source.resolve()):
        raise FdrdError(f"{out} lies inside the source {source}; choose an --out outside of it")
    if out.exists() and not out.is_dir():
        raise FdrdError(f"{out} is a file; --out takes a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / SUMMARY).is_file():
        raise FdrdError(f"{out} holds files but no {SUMMARY}; choose an empty or new --out")


def write_captions(
    out: Path,
    source: Path,
    outcomes: Sequence[Outcome],
    found: Found,
    made_by: Mapping[str, Any],
    summary: Mapping[str, Any],
) -> None:
    """Writes the captioned source; what an earlier run wrote there and this one does not is removed.

    Args:
        out: the folder.
        source: where the pictures lie.
        outcomes: of the pictures that had no caption.
        found: what the source holds, the pairs that it has among it.
        made_by: what stands beside every caption: captioner, evaluator.
        summary: what stands in `captioning.json`.
    """
    entries: dict[tuple[str, Split], dict[str, Any]] = defaultdict(dict)
    rejected: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in found.given:
        place = place_of(record, found.folders[record.domain])
        entries[record.domain, record.split][_key(record)] = _entry(record, place, record.caption)
        _bring(source, record, out / record.domain / place)
    for outcome in outcomes:
        record = outcome.picture.record
        place = place_of(record, found.folders[record.domain])
        if outcome.caption:
            _bring(source, record, out / record.domain / place)
        if outcome.reason:
            rejected[record.domain].append(_rejection(outcome, place))
            continue
        made = {
            **made_by,
            "question": outcome.question,
            "rounds": len(outcome.problems),
            "problems": [list(problems) for problems in outcome.problems],
        }
        if outcome.score is not None:
            made["clip_score"] = round(outcome.score, 4)
        entry = _entry(record, place, outcome.caption) | {"captioning": made}
        entries[record.domain, record.split][_key(record)] = entry
    wanted = {out / SUMMARY}
    for (domain, split), of in entries.items():
        file = out / domain / (f"captions_{split}.json" if split else "captions.json")
        write_text(file, dump(dict(sorted(of.items()))))
        wanted.add(file)
    for domain, lines in rejected.items():
        file = out / domain / REJECTED
        write_text(file, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        wanted.add(file)
    for domain, folder in found.folders.items():
        about = source / folder / DOMAIN_FILE
        if about.is_file():
            write_text(out / domain / DOMAIN_FILE, about.read_text(encoding="utf-8"))
    _remove_others(out, wanted)
    write_text(out / SUMMARY, dump(dict(summary)))


def place_of(record: Record, folder: str) -> str:
    """Where a record's picture lies in its domain's folder; never at the top of it, which is another layout.

    >>> from fdrd.record import ImageRef, Source
    >>> place_of(Record("d/1", ImageRef("birds/wren/1.jpg"), "", "wren", Source("")), "birds")
    'wren/1.jpg'
    """
    if record.image.member:  # of an archive, or a row of a table: known by what it is called there
        name = hashlib.sha256(f"{record.image.path}\n{record.image.member}".encode()).hexdigest()
        return f"images/{name[:16]}{EXTENSION_INSIDE}"
    path = PurePosixPath(record.image.path)
    inside = path if folder == "." else path.relative_to(folder)
    return inside.as_posix() if len(inside.parts) > 1 else f"images/{inside}"


def _entry(record: Record, path: str, caption: str) -> dict[str, Any]:
    further = {"meta_category": record.meta_category, "group": record.group}
    if record.source.license != "unknown":
        further["license"] = record.source.license
    return {
        "file_name": PurePosixPath(path).name,
        "file_path": path,
        "class_name": record.category,
        "positive": caption,
        "negative": [negative.caption for negative in record.negatives],
        **{field: value for field, value in further.items() if value},
    }


def _rejection(outcome: Outcome, place: str) -> dict[str, Any]:
    """A line of what was rejected, in words that no reader takes for the columns of a table of captions."""
    record = outcome.picture.record
    return {
        "key": _key(record),
        "picture": place,
        "subject": record.category,
        "reason": outcome.reason,
        "detail": outcome.detail,
        "draft": outcome.caption,
        "question": outcome.question,
        "problems": [list(problems) for problems in outcome.problems],
    }


def _key(record: Record) -> str:
    return record.id.removeprefix(f"{record.domain}/")


def _bring(source: Path, record: Record, target: Path) -> None:
    """A second name for a picture, or its bytes where it lies inside of a file; nothing that leaves the source."""
    try:
        if record.image.member:
            with atomic_write(target) as file:
                file.write(read_image(str(source), record.image))
            return
        picture = resolve_inside(source, record.image.path)
    except (OSError, LookupError, ValueError):
        return  # of a given pair, whose picture nobody looked at: the build says what is wrong with it
    if not (target.exists() and target.samefile(picture)):
        link_or_copy(picture, target)


def _remove_others(out: Path, wanted: set[Path]) -> None:
    ours = [*out.glob("*/captions*.json"), *out.glob(f"*/{REJECTED}")]
    for file in ours:
        if file not in wanted:
            file.unlink()


def count_reasons(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many pictures were rejected, by reason, the most frequent first."""
    found = Counter(outcome.reason for outcome in outcomes if outcome.reason)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
