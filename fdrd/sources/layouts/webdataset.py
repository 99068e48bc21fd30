"""Tar archives of samples, as img2dataset and webdataset write them: `key.jpg` with `key.txt` or `key.json`.

Consecutive members with the same key are a sample. Its caption is the text, else a field of the JSON object,
whose other fields are those of `reading.pairs`. `fdrd export` writes `rows` instead, an object for each
caption. Its category is a field, the class in `key.cls` (a name, or a number if `classnames.txt` lists
names), else the folder in the key. Archives are directly in the folder or in split folders, and are read in
place. A member that is a link, a device, or has a name that leaves the archive is a rejection.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, Any

from fdrd.images.containers import tar_member
from fdrd.reasons import Rejection
from fdrd.record import ImageRef, Record, Split
from fdrd.sources.reading.columns import known_fields
from fdrd.sources.reading.lines import Line, RepeatedKeyError, load_json
from fdrd.sources.reading.names import (
    SPLIT_OF_WORD,
    is_absolute,
    is_image,
    leaves_root,
    split_in_name,
)
from fdrd.sources.reading.options import SourceOptions
from fdrd.sources.reading.pairs import pairs
from fdrd.sources.reading.source_folder import SourceFolder

_MAX_TEXT = 2**24  # bytes of a text or JSON member
_TEXTS = ("txt", "json", "cls")
_ROWS = "rows"
_OF_EXPORT = ("domain", "source")  # columns of `fdrd export` that a build determines


def detect(folder: SourceFolder) -> str | None:
    """Return why the folder holds archives of samples, or None."""
    for file in _archives(folder):
        if folder.start(file, 512)[257:262] == b"ustar":
            return f"{file} is a tar archive"
    return None


def near_miss(folder: SourceFolder) -> str | None:
    """Return the first archive that cannot be read in place, or None."""
    for name in folder.top:
        if name.lower().endswith((".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")):
            return f"{name} is compressed; decompress it: images in archives are read in place"
        if name.lower().endswith(".tar"):
            return f"{name} does not start like a tar archive"
    return None


def used_files(folder: SourceFolder) -> list[str]:
    """Return the archives, and the files that img2dataset writes next to them."""
    beside = [path for path in folder.top if path.endswith(("_stats.json", "classnames.txt"))]
    return [*_archives(folder), *beside]


def read(folder: SourceFolder, require_images: bool = True) -> Iterator[Record | Rejection]:
    """Yield the pairs of every archive, in the order of its members."""
    classes = folder.start("classnames.txt", _MAX_TEXT).decode("utf-8", "replace").splitlines()
    for file in _archives(folder):
        parent, _, name = file.rpartition("/")
        split = SPLIT_OF_WORD.get(parent.lower(), "") or split_in_name(PurePosixPath(name).stem)
        opened = folder.open(file)
        if isinstance(opened, Rejection):
            yield opened
            continue
        with opened:
            for sample in _samples(file, opened):
                if isinstance(sample, Rejection):
                    yield sample
                else:
                    yield from _pairs_of(folder, sample, file, split, classes)


@dataclass(slots=True)
class _Sample:
    """The members with the same key."""

    key: str
    image: ImageRef | None = None
    texts: dict[str, bytes] = field(default_factory=dict)


def _samples(file: str, opened: IO[bytes]) -> Iterator[_Sample | Rejection]:
    sample: _Sample | None = None
    name = ""
    try:
        # Not "r:*": a compressed archive could expand to any size.
        with tarfile.open(fileobj=opened, mode="r:") as archive:
            for info in archive:
                archive.members = []  # type: ignore[attr-defined]  # tarfile keeps every header
                name = info.name
                if info.isdir() or PurePosixPath(name).name.startswith("__"):
                    continue  # webdataset's own entries, e.g. `__index__`
                if refusal := _refusal(info):
                    yield Rejection(file, name[:200], *refusal)
                    continue
                key, kind = _key(name)
                if sample is None or sample.key != key:
                    if sample:
                        yield sample
                    sample = _Sample(key)
                if flaw := _add(sample, file, archive, info, kind):
                    yield Rejection(file, name[:200], *flaw)
            opened.seek(archive.offset)
            if not _ends(opened):
                raise ValueError("it has no end mark, or bytes behind it, so members may be lost")
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        if sample:
            yield sample
        after = f"after {name}" if name else ""
        yield Rejection(file, after[:200], "unreadable_annotations", f"not a whole tar: {error}")
        return
    if sample:
        yield sample
    elif not name:
        yield Rejection(file, "", "unreadable_annotations", "the archive holds no member")


def _ends(rest: IO[bytes]) -> bool:
    """Return whether only zeros follow, at least one block: tarfile stops silently at a broken header."""
    blocks = 0
    while block := rest.read(2**20):
        if block.strip(b"\0"):
            return False
        blocks += 1
    return blocks > 0


def _refusal(info: tarfile.TarInfo) -> tuple[str, str] | None:
    """Return reason and detail of a member that is not read, or None."""
    leaves = [is_absolute(path) or leaves_root(path) for path in (info.name, info.linkname)]
    if leaves[0] or (leaves[1] and (info.issym() or info.islnk())):
        target = f" -> {info.linkname}" if info.linkname else ""
        return "path_outside", f"{info.name}{target}"[:400]
    if not info.isreg() or info.issparse():
        return "not_a_file", f"{info.name} is not a regular file"[:400]
    return None


def _add(
    sample: _Sample, file: str, archive: tarfile.TarFile, info: tarfile.TarInfo, kind: str
) -> tuple[str, str] | None:
    """Add a member to its sample, or return reason and detail of one that the sample has or that is too long."""
    if is_image(info.name):
        if sample.image:
            return "duplicate_id", f"{sample.key} has an image already"[:400]
        sample.image = ImageRef(file, tar_member(info.offset_data, info.size, info.name))
    elif kind in sample.texts:
        return "duplicate_id", "the sample has it already"
    elif kind in _TEXTS:
        if info.size > _MAX_TEXT:
            return "unreadable_annotations", f"over {_MAX_TEXT} bytes of text"
        text = archive.extractfile(info)
        sample.texts[kind] = text.read() if text else b""
    return None


def _pairs_of(
    folder: SourceFolder, sample: _Sample, file: str, split: Split, classes: list[str]
) -> Iterator[Record | Rejection]:
    line = Line(file, sample.key[:200], {})
    if sample.image is None:
        found = ", ".join(sample.texts) or "nothing that is read"
        yield line.reject("image_missing", f"the sample has {found} and no image")
        return
    try:
        fields = _fields(folder, sample, classes)
    except RepeatedKeyError as error:
        yield line.reject("bad_field", str(error))
        return
    except ValueError as error:
        yield line.reject("unreadable_annotations", f"{sample.key}: {error}"[:400])
        return
    name = f"{file}#{sample.key}"
    for row in fields.pop(_ROWS, None) or [fields]:
        line = Line(file, line.key, row)
        yield from pairs(folder.options, line, sample.image, sample.key, split, name)


def _fields(folder: SourceFolder, sample: _Sample, classes: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if "json" in sample.texts:
        value = load_json(sample.texts["json"])
        if not isinstance(value, dict):
            raise ValueError(f"the JSON is a {type(value).__name__}, not an object")
        if _is_export(value):
            return {_ROWS: [_exported(row, folder.options) for row in value[_ROWS]]}
        fields = known_fields(value, folder.options)
        fields.pop("image", None)
        fields.pop("id", None)  # img2dataset restarts the count in every archive
    texts = {
        kind: sample.texts[kind].decode("utf-8-sig")
        for kind in ("txt", "cls")
        if kind in sample.texts
    }
    if texts.get("txt", "").strip():
        fields["caption"] = texts["txt"]
    name = texts.get("cls", "").strip()
    if name and not fields.get("category"):
        number = int(name) if name.isascii() and name.isdigit() and len(name) < 9 else -1
        fields["category"] = classes[number] if 0 <= number < len(classes) else name
    return fields


def _is_export(value: dict[str, Any]) -> bool:
    """Return whether the JSON is that of `fdrd export`, with a row for each caption."""
    rows = value.get(_ROWS)
    return (
        value.keys() == {_ROWS}
        and isinstance(rows, list)
        and bool(rows)
        and all(isinstance(row, dict) and "caption" in row for row in rows)
    )


def _exported(row: dict[str, Any], options: SourceOptions) -> dict[str, Any]:
    """Return the fields of a row of `fdrd export`; its id starts with its domain."""
    source, domain = row.get("source"), row.get("domain")
    fields = known_fields({name: row[name] for name in row if name not in _OF_EXPORT}, options)
    if isinstance(source, dict):
        fields.setdefault("license", source.get("license"))
    if isinstance(row.get("id"), str) and isinstance(domain, str):
        fields["id"] = row["id"].removeprefix(f"{domain}/")
    return fields


def _key(name: str) -> tuple[str, str]:
    """Split the name of a member into key and extension, at the first dot of its last part.

    >>> _key("wren/0001.seg.png"), _key("a.b/0001.txt")
    (('wren/0001', 'seg.png'), ('a.b/0001', 'txt'))
    """
    folder, slash, last = name.rpartition("/")
    stem, _, kind = last.partition(".")
    return f"{folder}{slash}{stem}", kind.lower()


def _archives(folder: SourceFolder) -> list[str]:
    """Return the tar files in the folder and in split folders."""
    return [
        path
        for path in folder.files
        if path.lower().endswith(".tar")
        and path not in folder.archives
        and not folder.in_archive(path)
        and (
            "/" not in path
            or (path.count("/") == 1 and path.split("/")[0].lower() in SPLIT_OF_WORD)
        )
    ]
