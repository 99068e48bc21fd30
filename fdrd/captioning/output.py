"""Write a captioned source: images with captions in the authors' JSON layout, ready for `fdrd build`.

`<out>/<domain>/captions[_split].json` has new captions and those of the source. `rejected_captions.jsonl` lists images
without a caption, with the reason. `<out>/captioning.json` describes the run. Images are hard links where possible.
Files of an earlier run that this run does not write are removed.
Equal answers give equal bytes.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from fdrd.captioning.uncaptioned import CaptionSource
from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_write, write_text
from fdrd.files.paths import resolve_inside
from fdrd.images.check import read_image
from fdrd.record import ImageRef, Record, id_in_domain
from fdrd.sources.domain_file import NAME as DOMAIN_FILE
from fdrd.storage.manifest import dump
from fdrd.storage.publish import link_or_copy

if TYPE_CHECKING:
    from fdrd.captioning.captioning_run import ImageState

SUMMARY = "captioning.json"
REJECTED = "rejected_captions.jsonl"
DAMAGE = ValueError, LookupError, TypeError, AttributeError, RecursionError
"""What reading the JSON of a damaged file raises."""


def check_out(out: Path, source: Path) -> None:
    """Raise `FdrdError` if `out` is inside the source, around it, or holds other files."""
    if out.resolve().is_relative_to(source.resolve()):
        raise FdrdError(f"{out} is inside the source {source}; choose another --out")
    if source.resolve().is_relative_to(out.resolve()):  # where files of earlier runs are removed
        raise FdrdError(f"the source {source} is inside {out}; choose another --out")
    if out.exists() and not out.is_dir():
        raise FdrdError(f"{out} is a file; --out takes a folder")
    names = [path.name for path in out.iterdir()] if out.is_dir() else []
    if SUMMARY not in names and any(not name.endswith(".partial") for name in names):
        raise FdrdError(f"{out} holds files but no {SUMMARY}; choose an empty or new --out")


def write_captions(
    out: Path,
    root: Path,
    source: CaptionSource,
    states: Sequence["ImageState"],
    made_by: Mapping[str, Any],
    summary: Mapping[str, Any],
) -> int:
    """Write the captioned source, and remove files of earlier runs that this run does not write.

    `made_by` names captioner and evaluator, and is stored with every new caption. Return the number of images removed.
    """
    if not (out / SUMMARY).is_file():
        write_text(out / SUMMARY, dump({}))  # a run that is killed now resumes
    entries: dict[Path, dict[str, Any]] = defaultdict(dict)
    rejected: dict[Path, list[str]] = defaultdict(list)
    images: set[Path] = set()

    def copy_image(record: Record) -> str:
        path = image_path(record.image, source.folders[record.domain])
        images.add(out / record.domain / path)
        _copy_image(root, record, out / record.domain / path)
        return path

    def put(record: Record, caption: str, **history: object) -> None:
        name = f"captions_{record.split}.json" if record.split else "captions.json"
        entry = _entry(record, copy_image(record), caption) | history
        entries[out / record.domain / name][id_in_domain(record)] = entry

    for record in source.captioned:
        put(record, record.caption)
    for state in states:
        record, problems = state.image.record, [list(problems) for problems in state.problems]
        if not state.reason:
            history = {"question": state.question, "rounds": len(problems), "problems": problems}
            score = {} if state.score is None else {"clip_score": round(state.score, 4)}
            put(record, state.caption, captioning={**made_by, **history, **score})
            continue
        path = image_path(record.image, source.folders[record.domain])
        rejected[out / record.domain / REJECTED].append(_rejection(state, path))
        if state.caption:
            copy_image(record)
    removed = _remove_images(out, images)
    texts = {file: dump(dict(sorted(captions.items()))) for file, captions in entries.items()}
    texts |= {file: "".join(lines) for file, lines in rejected.items()}
    for domain, folder in source.folders.items():
        settings = root / folder / DOMAIN_FILE
        if settings.is_file():
            texts[out / domain / DOMAIN_FILE] = settings.read_text(encoding="utf-8")
    for file, text in texts.items():
        write_text(file, text)
    settings_files = out.glob(f"*/{DOMAIN_FILE}")
    earlier = (file for file in settings_files if file.parent.name not in source.folders)
    for file in {*annotation_files(out), *earlier} - texts.keys():
        file.unlink()
    write_text(out / SUMMARY, dump(summary))
    return removed


def annotation_files(out: Path) -> list[Path]:
    """Return the files with captions and rejected drafts of a run, sorted."""
    return sorted([*out.glob("*/captions*.json"), *out.glob(f"*/{REJECTED}")])


def read_captions(file: Path) -> list[tuple[str, str]]:
    """Return path in the domain's folder and caption of each image in one of the `annotation_files`.

    Raise one of `DAMAGE` if the file is not what a run wrote.
    """
    text = file.read_text(encoding="utf-8")
    if file.name == REJECTED:
        lines = [json.loads(line) for line in text.splitlines()]
        found = [(line["image"], line["draft"]) for line in lines]
    else:
        found = [(each["file_path"], each["positive"]) for each in json.loads(text).values()]
    if not all(isinstance(part, str) for pair in found for part in pair):
        raise TypeError("a path or caption is no text")
    return found


def _remove_images(out: Path, kept: Set[Path]) -> int:
    """Remove images that the annotations of an earlier run name, except those to keep. Return their number."""
    images: set[Path] = set()
    for file in annotation_files(out):
        with suppress(*DAMAGE):
            images.update(file.parent / path for path, _ in read_captions(file))
    removed = 0
    for image in images - kept:
        with suppress(OSError, ValueError):
            resolve_inside(out, image.relative_to(out).as_posix())
            image.unlink()
            removed += 1
    return removed


def image_path(image: ImageRef, folder: str) -> str:
    """Return the path of an image in its domain's output folder; never at its top, which is another layout.

    >>> image_path(ImageRef("birds/wren/1.jpg"), "birds")
    'wren/1.jpg'
    """
    if image.member:  # of an archive or a table
        name = hashlib.sha256(f"{image.path}\n{image.member}".encode()).hexdigest()
        return f"images/{name[:16]}.jpg"  # whatever the format, which the bytes decide
    path = PurePosixPath(image.path)
    inside = path if folder == "." else path.relative_to(folder)
    return inside.as_posix() if len(inside.parts) > 1 else f"images/{inside}"


def _entry(record: Record, path: str, caption: str) -> dict[str, Any]:
    license = record.source.license
    optional = {
        "meta_category": record.meta_category,
        "group": record.group,
        "license": "" if license == "unknown" else license,
        "columns": record.extra,
    }
    return {
        "file_name": PurePosixPath(path).name,
        "file_path": path,
        "class_name": record.category,
        "positive": caption,
        "negative": [negative.caption for negative in record.negatives],
        **{field: value for field, value in optional.items() if value},
    }


def _rejection(state: "ImageState", path: str) -> str:
    """Return a line of `rejected_captions.jsonl`. It has no caption, so `fdrd build` takes the file for no table."""
    line = {
        "key": id_in_domain(state.image.record),
        "image": path,
        "subject": state.image.record.category,
        "reason": state.reason,
        "detail": state.detail,
        "draft": state.caption,
        "question": state.question,
        "problems": [list(problems) for problems in state.problems],
    }
    return json.dumps(line, ensure_ascii=False) + "\n"


def _copy_image(root: Path, record: Record, target: Path) -> None:
    """Link an image, or write its bytes if it is inside another file. Skip what is outside the root."""
    try:
        data = read_image(str(root), record.image) if record.image.member else b""
        image = resolve_inside(root, record.image.path)
    except (OSError, LookupError, ValueError):
        return  # image of a captioned pair, which was not checked: `fdrd build` reports it
    if record.image.member:
        with atomic_write(target) as file:
            file.write(data)
    elif not (target.exists() and target.samefile(image)):
        link_or_copy(image, target)
