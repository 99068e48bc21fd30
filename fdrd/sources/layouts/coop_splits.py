"""The splits of CoOp (arXiv 2109.01134, DATASETS.md): images of public datasets with categories, without captions.

`split_zhou_<Name>.json` maps train, val and test to lists of [path, number, category]. FGVCAircraft has
`images_variant_{train,val,test}.txt` instead, with lines `<image> <category>`. `fdrd caption` writes
captions for them, into a folder with the layout `released`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath

from fdrd.reasons import Rejection
from fdrd.record import Record
from fdrd.sources.layouts import released
from fdrd.sources.layouts.image_folder import METADATA
from fdrd.sources.reading.lines import Line, load_json, read_lines
from fdrd.sources.reading.names import SPLIT_OF_WORD, clip_group, is_absolute, leaves_root
from fdrd.sources.reading.pairs import pairs
from fdrd.sources.reading.source_folder import SourceFolder

ORDER = 1  # after the layouts with captions

_SPLITS = ("train", "val", "test")
_AIRCRAFT = [f"images_variant_{split}.txt" for split in _SPLITS]


def detect(folder: SourceFolder) -> str | None:
    """Return why the folder holds CoOp's splits and no captions, or None."""
    files = _files(folder)
    if not files or released.detect(folder) or set(METADATA) & set(folder.top):
        return None
    return f"{files[0]} gives CoOp's splits and categories; there are no captions yet"


def near_miss(folder: SourceFolder) -> str | None:
    """Return None: a folder has the split files or it does not."""
    return None


def used_files(folder: SourceFolder) -> list[str]:
    """Return the split files."""
    return _files(folder)


def read(folder: SourceFolder, require_images: bool = True) -> Iterator[Record | Rejection]:
    """Yield a record without a caption for every image in the splits."""
    images: dict[str, list[str]] = defaultdict(list)
    for path in folder.files:
        if path in folder.images:
            images[PurePosixPath(path).name].append(path)
            images[PurePosixPath(path).stem].append(path)
    for file in _files(folder):
        lines = _read_json if file.endswith(".json") else _read_aircraft
        for line in lines(folder, file):
            if isinstance(line, Rejection):
                yield line
            else:
                yield from _record(folder, line, images, require_images)


def _record(
    folder: SourceFolder, line: Line, images: dict[str, list[str]], require_images: bool
) -> Iterator[Record | Rejection]:
    name = line.fields.pop("image")
    if is_absolute(name) or leaves_root(name):
        yield line.reject("path_outside", name[:200])
        return
    found = [
        path
        for path in images.get(PurePosixPath(name).name, [])
        if f"/{path}".endswith(f"/{name}") or f"/{path.rpartition('.')[0]}".endswith(f"/{name}")
    ]
    if not line.fields["category"].strip():
        detail = f"no field names it, and {name[:200]} is not in the folder of one"
        yield line.reject("category_missing", detail)
    elif len(found) > 1:
        detail = f"{name!r} could be {', '.join(sorted(found)[:3])}"
        yield line.reject("image_ambiguous", detail[:400])
    elif found or not require_images:
        path = found[0] if found else name
        line.fields["group"] = clip_group(path)
        yield from pairs(folder.options, line, folder.image(path), name=path)
    else:
        yield line.reject("image_missing", f"no image is called {name[:200]!r}")


def _read_json(folder: SourceFolder, file: str) -> Iterator[Line | Rejection]:
    raw = folder.read(file)
    if isinstance(raw, Rejection):
        yield raw
        return
    try:
        splits = load_json(raw)
    except ValueError as error:
        yield Rejection(file, "", "unreadable_annotations", f"not JSON: {error}")
        return
    if not isinstance(splits, dict):
        detail = f"a {type(splits).__name__} where an object of train, val and test was expected"
        yield Rejection(file, "", "unreadable_annotations", detail)
        return
    for split, rows in splits.items():
        if not isinstance(rows, list) or split not in SPLIT_OF_WORD:
            detail = f"expected are lists under {', '.join(_SPLITS)}"
            yield Rejection(file, split[:200], "bad_field", detail)
            continue
        for number, row in enumerate(rows):
            line = Line(file, f"{split} {number}", {})
            match row:
                case [str(image), int(), str(category)]:
                    line.fields.update(image=image, category=category, split=split)
                    yield line
                case _:
                    yield line.reject("bad_field", "the row is not [path, number, category]")


def _read_aircraft(folder: SourceFolder, file: str) -> Iterator[Line | Rejection]:
    split = PurePosixPath(file).stem.rpartition("_")[2]
    for line in read_lines(folder, file):
        if isinstance(line, Rejection):
            yield line
            continue
        image, _, category = line.fields["text"].strip().partition(" ")
        if category:
            yield Line(file, line.key, {"image": image, "category": category, "split": split})
        else:
            yield line.reject("category_missing", f"no category follows {image[:200]!r}")


def _files(folder: SourceFolder) -> list[str]:
    found = [name for name in folder.top if PurePosixPath(name).match("split_zhou_*.json")]
    return found or [name for name in _AIRCRAFT if name in folder.top]
