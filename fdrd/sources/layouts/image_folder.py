"""The `datasets` convention: [split/][category/]image.jpg with captions in metadata.jsonl, metadata.csv or image.txt.

A line of metadata.jsonl is an object, metadata.csv has a header. `file_name` is relative to the folder of
the metadata file; the other fields are those of `reading.pairs`. An image without metadata takes the lines
of the text file with its name as captions.
"""

from collections import Counter
from pathlib import PurePosixPath
from posixpath import normpath
from typing import Any

from msgspec.structs import replace

from fdrd.reasons import Rejection
from fdrd.record import Record
from fdrd.sources.reading.columns import known_fields
from fdrd.sources.reading.image_search import ImageIndex
from fdrd.sources.reading.lines import MAX_LINE, Line, decode, each_file, each_line, load_json
from fdrd.sources.reading.names import SPLIT_OF_WORD, is_image
from fdrd.sources.reading.pairs import Pairs, pairs
from fdrd.sources.reading.source_folder import RejectedError, SourceFolder
from fdrd.sources.reading.tables import read_table

ORDER = 4  # any folder of images

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")


def detect(folder: SourceFolder) -> str | None:
    if folder.options.category and (path := next(filter(is_image, folder.top), "")):
        return f"{path} is an image of the category {folder.options.category}"
    for path in folder.files:
        *folders, name = path.split("/")
        if folders and folders[0].lower() in SPLIT_OF_WORD:
            del folders[0]
        if name in METADATA and not folders:
            return f"{path} describes images"
        if is_image(path) and len(folders) == 1:
            return f"images are in folders, such as {path}"
        for suffix in (".txt", ".json"):
            text = PurePosixPath(path).with_suffix(suffix).as_posix()
            if is_image(path) and not folders and text in folder:
                return f"{text} describes {path}"
    return None


def near_miss(folder: SourceFolder) -> str | None:
    path = next(filter(is_image, folder.files), None)
    if path is None:
        return None
    if "/" not in path:
        return (
            f"{path} has neither a metadata.jsonl nor a text file with captions next to it; `fdrd caption` writes "
            "captions if the images are in class folders, such as tench/1.jpg, or if domain.toml names their category"
        )
    return f"{path} is deeper than [split/]category/image.jpg"


def used_files(folder: SourceFolder) -> list[str]:
    metadata = [path for path in folder.files if _is_metadata(path)]
    texts = [path for path in folder.files if path.endswith((".txt", ".json"))]
    stems = {path.rpartition(".")[0] for path in folder.images} if texts else ()
    return [*metadata, *(path for path in texts if path.rpartition(".")[0] in stems)]


def read(folder: SourceFolder, require_images: bool = True) -> Pairs:
    """Yield the pairs of metadata files, then those of text files, then images without a caption."""
    described = {path for path in folder.files if _is_metadata(path)}
    captions_of: Counter[str] = Counter()
    for path in sorted(described):
        yield from _read_metadata(folder, path, require_images, captions_of)
    texts = set(folder.files) - described
    for path in sorted(folder.images - captions_of.keys()):
        yield from _read_text(folder, path, texts)
    if not described:
        used = {*used_files(folder)}
        detail = "not in the authors' layout, and no metadata.jsonl or metadata.csv next to it"
        for path in sorted(path for path in folder.top if path.endswith(".json")):
            if path not in used and not path.endswith("_stats.json"):  # img2dataset's statistics
                yield Rejection(path, "", "unreadable_annotations", detail)


def _is_metadata(path: str) -> bool:
    return path.rpartition("/")[2] in METADATA


def _read_metadata(
    folder: SourceFolder, file: str, require_images: bool, captions_of: Counter[str]
) -> Pairs:
    index = ImageIndex(folder)

    def pairs_of(line: Line) -> Pairs:
        name = line.fields.get("image")
        try:
            path = index.find(name, file)
        except RejectedError as error:
            if require_images or error.args[0] != "image_missing":
                raise
            path = normpath(f"{file.rpartition('/')[0] or '.'}/{name}")
        for found in pairs(folder.options, line, folder.image(path), path):
            if isinstance(found, Record):
                if found.caption:
                    captions_of[path] += 1
                count = captions_of[path]  # numbered from the second caption on
                id_ = found.id or (path if count < 2 else f"{path}#{count}")
                found = replace(found, id=id_, rules=(*index.rules(str(name)), *found.rules))
            yield found

    return each_line(read_table(folder, file), pairs_of)


def _read_text(folder: SourceFolder, path: str, texts: set[str]) -> Pairs:
    image, text = folder.image(path), PurePosixPath(path).with_suffix(".txt").as_posix()
    beside, fields = _beside(folder, path, texts)
    if text not in texts:
        return pairs(folder.options, Line(beside, "", fields), image, path, name=path)
    fields.pop("caption", None)

    def read_captions(file: str) -> Pairs:
        with folder.open_text(file) as opened:
            raw = opened.read(MAX_LINE + 1)
        if len(raw) > MAX_LINE:
            raise RejectedError("unreadable_annotations", f"over {MAX_LINE} bytes of captions")
        captions = [caption for caption in decode(raw).splitlines() if caption.strip()]
        for rank, caption in enumerate(captions or [""], 1):
            line = Line(file, f"line {rank}", {**fields, "caption": caption})
            name = path if rank == 1 else f"{path}#{rank}"
            yield from pairs(folder.options, line, image, path, name=name)

    return each_file([text], read_captions)


def _beside(folder: SourceFolder, path: str, texts: set[str]) -> tuple[str, dict[str, Any]]:
    """Return the JSON object beside an image, as img2dataset writes it: its file and fields; else the image."""
    file = f"{path.rpartition('.')[0]}.json"
    try:
        value = load_json(folder.start(file, MAX_LINE)) if file in texts else None
    except RejectedError:
        value = None
    if not isinstance(value, dict):
        return path, {}
    fields = known_fields(value, folder.options)
    return file, {name: field for name, field in fields.items() if name not in ("image", "id")}
