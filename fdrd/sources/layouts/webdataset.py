"""Tar archives of samples, as img2dataset and webdataset write them: `key.jpg` with `key.txt` or `key.json`.

Consecutive members with the same key are a sample. Its caption is the text, else a field of the JSON object,
whose other fields are those of `reading.pairs`. `fdrd export` writes `rows` instead, an object for each
caption. Its category is a field, the class in `key.cls` (a name, or a number if `classnames.txt` lists
names), else the folder in the key. Archives are directly in the folder or in split folders, and are read in
place. A member that is a link, a device, or has a name that leaves the archive is a rejection.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, Any

from fdrd.images.containers import tar_member
from fdrd.reasons import Rejection
from fdrd.record import ImageRef, Split
from fdrd.sources.reading import names
from fdrd.sources.reading.columns import SourceOptions, known_fields
from fdrd.sources.reading.lines import Line, decode, each_file, each_line, load_json
from fdrd.sources.reading.pairs import Pairs, pairs
from fdrd.sources.reading.source_folder import RejectedError, SourceFolder

_MAX_TEXT = 2**24  # bytes of a text or JSON member
_TEXTS = ("txt", "json", "cls")
_ROWS = "rows"
_OF_EXPORT = ("domain", "source")  # columns of `fdrd export` that a build determines


def detect(folder: SourceFolder) -> str | None:
    for file in _archives(folder):
        if folder.start(file, 512)[257:262] == b"ustar":
            return f"{file} is a tar archive"
    return None


def near_miss(folder: SourceFolder) -> str | None:
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


def read(folder: SourceFolder, require_images: bool = True) -> Pairs:
    """Yield the pairs of every archive, in the order of its members."""
    classes = folder.start("classnames.txt", _MAX_TEXT).decode("utf-8", "replace").splitlines()

    def read_archive(file: str) -> Pairs:
        parent, _, name = file.rpartition("/")
        split = names.SPLIT_OF_WORD.get(parent.lower(), "")
        split = split or names.split_in_name(PurePosixPath(name).stem)
        with folder.open(file) as opened:
            samples = _samples(file, opened)
            yield from each_line(samples, lambda each: _pairs_of(folder, each, split, classes))

    return each_file(_archives(folder), read_archive)


@dataclass(frozen=True, slots=True)
class _Sample(Line):
    """The members with the same key; `fields` are the bytes of texts by extension."""

    name: str
    images: list[ImageRef] = field(default_factory=list)


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
                try:
                    _check_kind(info)
                    key, kind = _key(name)
                    if sample is None or sample.name != key:
                        if sample:
                            yield sample
                        sample = _Sample(file, key[:200], {}, key)
                    _add(sample, archive, info, kind)
                except RejectedError as error:
                    yield Rejection(file, name[:200], *error.args)
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


def _check_kind(info: tarfile.TarInfo) -> None:
    """Raise `RejectedError` for a member that is not read."""
    is_link = info.issym() or info.islnk()
    if names.is_outside(info.name) or (is_link and names.is_outside(info.linkname)):
        target = f" -> {info.linkname}" if info.linkname else ""
        raise RejectedError("path_outside", f"{info.name}{target}"[:400])
    if not info.isreg() or info.issparse():
        raise RejectedError("not_a_file", f"{info.name} is not a regular file"[:400])


def _add(sample: _Sample, archive: tarfile.TarFile, info: tarfile.TarInfo, kind: str) -> None:
    """Add a member to its sample. Raise `RejectedError` for one that the sample has or that is too long."""
    if names.is_image(info.name):
        if sample.images:
            raise RejectedError("duplicate_id", f"{sample.name} has an image already"[:400])
        member = tar_member(info.offset_data, info.size, info.name)
        sample.images.append(ImageRef(sample.file, member))
    elif kind in sample.fields:
        raise RejectedError("duplicate_id", "the sample has it already")
    elif kind in _TEXTS:
        if info.size > _MAX_TEXT:
            raise RejectedError("unreadable_annotations", f"over {_MAX_TEXT} bytes of text")
        text = archive.extractfile(info)
        sample.fields[kind] = text.read() if text else b""


def _pairs_of(folder: SourceFolder, sample: _Sample, split: Split, classes: list[str]) -> Pairs:
    if not sample.images:
        found = ", ".join(sample.fields) or "nothing that is read"
        raise RejectedError("image_missing", f"the sample has {found} and no image")
    fields = _fields(folder, sample.fields, classes)
    name = f"{sample.file}#{sample.name}"
    for row in fields.pop(_ROWS, None) or [fields]:
        line = Line(sample.file, sample.key, row)
        yield from pairs(folder.options, line, sample.images[0], sample.name, split, name)


def _fields(folder: SourceFolder, texts: dict[str, bytes], classes: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if "json" in texts:
        value = load_json(texts["json"])
        if not isinstance(value, dict):
            detail = f"the JSON is a {type(value).__name__}, not an object"
            raise RejectedError("unreadable_annotations", detail)
        if _is_export(value):
            return {_ROWS: [_exported(row, folder.options) for row in value[_ROWS]]}
        # img2dataset restarts the count of `id` in every archive.
        known = known_fields(value, folder.options)
        fields = {name: known[name] for name in known if name not in ("image", "id")}
    caption, name = (decode(texts.get(kind, b"")) for kind in ("txt", "cls"))
    if caption.strip():
        fields["caption"] = caption
    if (name := name.strip()) and not fields.get("category"):
        index = int(name) if name.isascii() and name.isdigit() and len(name) < 9 else -1
        fields["category"] = classes[index] if 0 <= index < len(classes) else name
    return fields


def _is_export(value: dict[str, Any]) -> bool:
    """Return whether the JSON is that of `fdrd export`, with a row for each caption."""
    rows = value.get(_ROWS)
    if value.keys() != {_ROWS} or not isinstance(rows, list) or not rows:
        return False
    return all(isinstance(row, dict) and "caption" in row for row in rows)


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
    files = [path for path in folder.upper_files("") if path.lower().endswith(".tar")]
    files = [path for path in files if path not in folder.archives and not folder.in_archive(path)]
    return [
        path
        for path in files
        if "/" not in path or path.split("/")[0].lower() in names.SPLIT_OF_WORD
    ]
