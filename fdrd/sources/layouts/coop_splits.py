"""The splits of CoOp (arXiv 2109.01134, DATASETS.md): images of public datasets with categories, without captions.

`split_zhou_<Name>.json` maps train, val and test to lists of [path, number, category]. FGVCAircraft has
`images_variant_{train,val,test}.txt` instead, with lines `<image> <category>`. `fdrd caption` writes
captions for them, into a folder with the layout `released`.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath

from fdrd.reasons import Rejection
from fdrd.sources.layouts import released
from fdrd.sources.layouts.image_folder import METADATA
from fdrd.sources.reading.image_search import ImageIndex
from fdrd.sources.reading.lines import Line, Lines, each_file, each_line, load_json, read_lines
from fdrd.sources.reading.names import SPLIT_OF_WORD, clip_group, is_absolute
from fdrd.sources.reading.pairs import Pairs
from fdrd.sources.reading.source_folder import RejectedError, SourceFolder

ORDER = 1  # after the layouts with captions

_SPLITS = ("train", "val", "test")
_AIRCRAFT = [f"images_variant_{split}.txt" for split in _SPLITS]


def detect(folder: SourceFolder) -> str | None:
    files = used_files(folder)
    if not files or released.detect(folder) or set(METADATA) & set(folder.top):
        return None
    return f"{files[0]} gives CoOp's splits and categories; there are no captions yet"


def used_files(folder: SourceFolder) -> list[str]:
    found = [name for name in folder.top if PurePosixPath(name).match("split_zhou_*.json")]
    return found or [name for name in _AIRCRAFT if name in folder.top]


def read(folder: SourceFolder, require_images: bool = True) -> Pairs:
    """Yield a record without a caption for every image in the splits."""
    images = ImageIndex(folder, require_images, public=True)

    def pairs(line: Line) -> Pairs:
        name = line.fields.pop("image")
        if is_absolute(name):
            raise RejectedError("path_outside", name[:200])
        if not line.fields["category"].strip():
            detail = f"no field names it, and {name[:200]} is not in the folder of one"
            raise RejectedError("category_missing", detail)
        line.fields["group"] = clip_group(name)
        yield from images.pairs_of(line, name)

    def lines(file: str) -> Lines:
        return (_read_json if file.endswith(".json") else _read_aircraft)(folder, file)

    return each_line(each_file(used_files(folder), lines), pairs)


def _read_json(folder: SourceFolder, file: str) -> Lines:
    splits = load_json(folder.read(file))
    if not isinstance(splits, dict):
        kind = type(splits).__name__
        detail = f"a {kind} where an object of train, val and test was expected"
        raise RejectedError("unreadable_annotations", detail)
    for split, rows in splits.items():
        if not isinstance(rows, list) or split not in SPLIT_OF_WORD:
            detail = f"expected are lists under {', '.join(_SPLITS)}"
            yield Rejection(file, split[:200], "bad_field", detail)
            continue
        for index, row in enumerate(rows):
            line = Line(file, f"{split} {index}", {"split": split})
            match row:
                case [str(image), int(), str(category)]:
                    line.fields.update(image=image, category=category)
                    yield line
                case _:
                    yield line.reject("bad_field", "the row is not [path, number, category]")


def _read_aircraft(folder: SourceFolder, file: str) -> Lines:
    split = PurePosixPath(file).stem.rpartition("_")[2]

    def parsed(line: Line) -> Iterator[Line]:
        image, _, category = line.fields["text"].strip().partition(" ")
        if not category:
            raise RejectedError("category_missing", f"no category follows {image[:200]!r}")
        yield Line(file, line.key, {"image": image, "category": category, "split": split})

    return each_line(read_lines(folder, file), parsed)
