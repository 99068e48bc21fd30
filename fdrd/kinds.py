"""Say what a path is, so that a command that takes something else can name the one that takes this.

Only names and the beginnings of a few files are read, whatever the size of the folder. A damaged file has no
kind, and whoever opens it says what is wrong with it.
"""

from __future__ import annotations

import mimetypes
import os
import shlex
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from fdrd.errors import FdrdError

_START = 4096  # bytes of a file that are read
_ENTRIES = 200  # entries of a folder that are looked at
_FOLDERS = 20  # subfolders that are looked at, on each of
_DEPTH = 3  # levels


class Kind(NamedTuple):
    """What a path can be, as a noun phrase, and what takes it; `{}` stands for the path."""

    what: str
    advice: str


KINDS: dict[str, Kind] = {
    "dataset": Kind(
        "a built dataset", "`fdrd stats {}`, `fdrd view {}` and `fdrd bench {}` take it"
    ),
    "results": Kind("a folder of results", "`fdrd report {}` and `fdrd compare {}` take it"),
    "result": Kind("a result file", "`fdrd compare {}` takes it"),
    "checkpoint": Kind(
        "a trained method", "give it as `--checkpoint {}` to `fdrd bench` or `fdrd search`"
    ),
    "model": Kind("a model", "give it as `--backbone {}` to `fdrd bench` or `fdrd search`"),
    "weights": Kind(
        "the weights of a model",
        "`fdrd export {} FOLDER --to transformers` makes a backbone of them",
    ),
    "features": Kind("a folder of features", "give it as `--backbone features:{}` to `fdrd bench`"),
    "captions": Kind("the output of `fdrd caption`", "`fdrd build {}` makes a dataset of it"),
    "export": Kind(
        "an export for another tool",
        "give the dataset that it was exported from, or build it again",
    ),
    "webdataset": Kind("an export for clip_benchmark", "`fdrd build {}` makes a dataset of it"),
    "experiment": Kind("an experiment file", "`fdrd run {}` takes it"),
    "image": Kind("an image", "`fdrd search DATASET --image {}` searches with it"),
    "source": Kind("a raw source", "`fdrd build {}` makes a dataset of it"),
}
SOURCES = ("source", "captions", "webdataset")
"""Kinds that `fdrd build` reads."""

_MARKERS = {  # files that a folder has if it is of the kind
    "captions": ("captioning.json",),
    "features": ("images.npy", "texts.npy"),
}
_DOMAIN_MARKERS = {  # files that a folder or one of its subfolders has
    "export": (
        ("samples.json", "metadata.json"),
        ("tasks.json", "labeling.xml"),
        ("index.json", "images"),
    ),
    "webdataset": (("dataset_type.txt",),),
}
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".parquet")


def kind_of(path: Path) -> str:
    """Return a key of `KINDS`; empty if the path does not exist or its kind is unknown."""
    try:
        return _kind_of_folder(path) if path.is_dir() else _kind_of_file(path)
    except OSError:  # e.g. without the right to read it
        return ""


def refuse_other(path: str | Path, wanted: str, *kinds: str) -> None:
    """Raise if a path is clearly of another kind than those that pass. One that does not exist passes.

    `wanted` is a noun phrase, e.g. "a dataset".

    Raises:
        FdrdError: the path is of another kind; the message says which, and what takes it.
    """
    kind = kind_of(Path(path))
    if kind and kind not in kinds:
        what, advice = KINDS[kind]
        advice = advice.replace("{}", shlex.quote(str(path)))
        raise FdrdError(f"{path} is {what}, not {wanted}; {advice}")


def _kind_of_file(path: Path) -> str:
    name = path.name.lower()
    if is_image_name(name):
        return "image" if path.is_file() else ""
    if name.endswith(".safetensors"):
        start = _start_of(path)
        if b'"fdrd"' in start:
            return "checkpoint"
        return "weights" if start[8:9] == b"{" else ""
    if name.endswith(".json"):
        return "result" if _is_result(path) else ""
    if not path.is_file():
        return ""
    if name.endswith(".toml"):
        return "experiment" if name != "domain.toml" else ""
    return "source" if name.endswith(_ARCHIVES) else ""


def _kind_of_folder(folder: Path) -> str:
    if b'"schema_version"' in _start_of(folder / "manifest.json"):
        return "dataset"
    for kind, names in _MARKERS.items():
        if all((folder / name).is_file() for name in names):
            return kind
    weights = folder / "model.safetensors"
    if (kind := _kind_of_file(weights)) == "checkpoint":
        return kind
    if kind and (folder / "config.json").is_file():
        return "model"
    entries = sorted(_entries(folder))
    tables = [name for name in entries if name.lower().endswith(".json")]
    if any(_is_result(folder / name) for name in tables[:_FOLDERS]):
        return "results"
    for kind, alternatives in _DOMAIN_MARKERS.items():
        for part in (folder, *_subfolders(folder, entries)):
            if any(all((part / name).exists() for name in names) for names in alternatives):
                return kind
    if any((each / "manifest.json").is_file() for each in _subfolders(folder, entries)):
        return ""  # e.g. the folder of a project
    return "source" if _holds_images(folder, entries, _DEPTH) else ""


def is_image_name(name: str) -> bool:
    """Return whether a name has the extension of an image.

    >>> is_image_name("a.JPG"), is_image_name("a.txt"), is_image_name("a small bird")
    (True, False, False)
    """
    kind, packed = mimetypes.guess_type(f"./{name}", strict=False)  # never a URL
    return not packed and (kind or "").startswith("image/")


def _is_result(path: Path) -> bool:
    start = _start_of(path)
    return b'"schema_version"' in start and b'"settings"' in start


def _holds_images(folder: Path, entries: list[str], depth: int) -> bool:
    if any(is_image_name(name) or name.lower().endswith(_ARCHIVES) for name in entries):
        return True
    return depth > 0 and any(
        _holds_images(each, list(_entries(each)), depth - 1)
        for each in _subfolders(folder, entries)
    )


def _subfolders(folder: Path, entries: list[str]) -> Iterator[Path]:
    paths = (folder / name for name in entries if not name.startswith("."))
    return islice((path for path in paths if path.is_dir() and not path.is_symlink()), _FOLDERS)


def _entries(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as found:
        yield from (entry.name for entry in islice(found, _ENTRIES))


def _start_of(path: Path) -> bytes:
    """Return the first bytes of a regular file; none if there is no such file."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(_START)
