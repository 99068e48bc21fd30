"""SugarCrepe and SugarCrepe++: files of captions with a wrong caption each, next to the images of COCO.

A row has `filename`, `caption`, `negative_caption`, and in SugarCrepe++ a second true caption, `caption2`. The name of
a file says what its negatives change, e.g. `swap_att`, and becomes their attribute type. Rows that share an image and
a caption become one record with all their negatives. All records belong to the test split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from fdrd.reasons import Rejection
from fdrd.record import Record
from fdrd.sources.reading.image_search import ImageIndex
from fdrd.sources.reading.json_stream import element_line, stream_elements
from fdrd.sources.reading.lines import Line
from fdrd.sources.reading.pairs import pairs
from fdrd.sources.reading.source_folder import SourceFolder


def detect(folder: SourceFolder) -> str | None:
    """Return why the folder holds files of SugarCrepe, or None."""
    for file in used_files(folder):
        return f'{file} has rows with "filename", "caption" and "negative_caption"'
    return None


def near_miss(folder: SourceFolder) -> str | None:
    """Return None: other layouts tell what a JSON file lacks."""
    return None


def used_files(folder: SourceFolder) -> list[str]:
    """Return the files with negative captions."""
    return folder.json_with((b'"filename"', b'"caption"', b'"negative_caption"'))


def read(folder: SourceFolder, require_images: bool = True) -> Iterator[Record | Rejection]:
    """Yield a record for each true caption of an image."""
    index = ImageIndex(folder, require_images)
    lines: dict[tuple[str, str], Line] = {}  # by image and caption, over all files
    for file in used_files(folder):
        for element in stream_elements(folder, file, ()):
            row = element if isinstance(element, Rejection) else element_line(file, element)
            rejected = row if isinstance(row, Rejection) else _collect(row, index, lines)
            if rejected:
                yield rejected
    counts: Counter[str] = Counter()
    for (path, _), line in lines.items():
        counts[path] += 1
        id_ = path if counts[path] == 1 else f"{path}#{counts[path]}"
        folders = path if folder.options.category_from else ""  # its folders are not categories
        yield from pairs(folder.options, line, folder.image(path), folders, "test", id_)


def _collect(row: Line, index: ImageIndex, lines: dict[tuple[str, str], Line]) -> Rejection | None:
    """Add a row to the line of each of its true captions; return why it cannot be read, or None."""
    path = index.find(row.fields.get("filename"), row.file)
    if isinstance(path, tuple):
        return row.reject(*path)
    captions: list[str] = []
    for caption in (row.fields.get("caption"), row.fields.get("caption2") or ""):
        if not isinstance(caption, str):
            return row.reject("bad_field", f'"caption" is a {type(caption).__name__}')
        if caption or not captions:  # SugarCrepe has no second caption
            captions.append(caption)
    kind = PurePosixPath(row.file).stem
    negative: dict[str, Any] = {
        "caption": row.fields.get("negative_caption"), "kind": "attribute", "attribute_type": kind,
    }  # fmt: skip
    for caption in captions:
        line = lines.setdefault(
            (path, caption), Line(row.file, row.key, {"caption": caption, "negatives": []})
        )
        line.fields["negatives"].append(negative)
    return None
