"""Say what a path is, so that a command that takes something else can name the one that takes this.

Only names and the beginnings of a few files are read, whatever the size of the folder. A damaged file has no
kind, and whoever opens it says what is wrong with it.
"""

import mimetypes
import os
import shlex
from itertools import islice
from pathlib import Path

from fdrd.errors import FdrdError

_START = 4096  # bytes of a file that are read
_ENTRIES = 200  # entries of a folder that are looked at
_FOLDERS = 20  # subfolders that are looked at, on each of
_DEPTH = 3  # levels

KINDS: dict[str, tuple[str, str]] = {
    "dataset": ("a built dataset", "`fdrd stats {}`, `fdrd view {}` and `fdrd bench {}` take it"),
    "results": ("a folder of results", "`fdrd report {}` and `fdrd compare {}` take it"),
    "result": ("a result file", "`fdrd compare {}` takes it"),
    "checkpoint": (
        "a trained method",
        "give it as `--checkpoint {}` to `fdrd bench` or `fdrd search`",
    ),
    "model": ("a model", "give it as `--backbone {}` to `fdrd bench` or `fdrd search`"),
    "weights": (
        "the weights of a model",
        "`fdrd export {} FOLDER --to transformers` makes a backbone of them",
    ),
    "features": ("a folder of features", "give it as `--backbone features:{}` to `fdrd bench`"),
    "captions": ("the output of `fdrd caption`", "`fdrd build {}` makes a dataset of it"),
    "export": (
        "an export for another tool",
        "give the dataset that it was exported from, or build it again",
    ),
    "webdataset": ("an export for clip_benchmark", "`fdrd build {}` makes a dataset of it"),
    "experiment": ("an experiment file", "`fdrd run {}` takes it"),
    "image": ("an image", "`fdrd search DATASET --image {}` searches with it"),
    "source": ("a raw source", "`fdrd build {}` makes a dataset of it"),
}
"""What a path can be, as a noun phrase, and what takes it; `{}` stands for the path."""
SOURCES = ("source", "captions", "webdataset")  # kinds that `fdrd build` reads

_MARKERS = {  # files that a folder has if it is of the kind
    "captions": ("captioning.json",),
    "features": ("images.npy", "texts.npy"),
}
_DOMAIN_MARKERS = (  # files that a folder or one of its subfolders has
    ("export", ("samples.json", "metadata.json")),
    ("export", ("tasks.json", "labeling.xml")),
    ("export", ("index.json", "images")),
    ("webdataset", ("dataset_type.txt",)),
)
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".parquet")


def kind_of(path: Path) -> str:
    """Return a key of `KINDS`; empty if the path does not exist or its kind is unknown."""
    try:
        return _kind_of_folder(path) if path.is_dir() else _kind_of_file(path)
    except OSError:  # e.g. without the right to read it
        return ""


def refuse_other(path: str | Path, wanted: str, *kinds: str) -> None:
    """Raise `FdrdError` with advice if a path clearly is of another kind than `wanted`, a noun phrase for `kinds`."""
    kind = kind_of(Path(path))
    if kind and kind not in kinds:
        phrase, advice = KINDS[kind]
        advice = advice.replace("{}", shlex.quote(str(path)))
        raise FdrdError(f"{path} is {phrase}, not {wanted}; {advice}")


def is_image_name(name: str) -> bool:
    """Return whether a name has the extension of an image.

    >>> is_image_name("a.JPG"), is_image_name("a.txt"), is_image_name("a small bird")
    (True, False, False)
    """
    kind, packed = mimetypes.guess_type(f"./{name}", strict=False)  # never a URL
    return not packed and (kind or "").startswith("image/")


def _kind_of_file(path: Path) -> str:
    name = path.name.lower()
    if not path.is_file():
        return ""
    if is_image_name(name):
        return "image"
    if name.endswith(".safetensors"):
        start = _start_of(path)
        if b'"fdrd"' in start:
            return "checkpoint"
        return "weights" if start[8:9] == b"{" else ""
    if name.endswith(".json"):
        return "result" if _is_result(path) else ""
    if name.endswith(".toml"):
        return "experiment" if name != "domain.toml" else ""
    return "source" if name.endswith(_ARCHIVES) else ""


def _kind_of_folder(folder: Path) -> str:
    if b'"schema_version"' in _start_of(folder / "manifest.json"):
        return "dataset"
    for kind, names in _MARKERS.items():
        if all((folder / name).is_file() for name in names):
            return kind
    kind = _kind_of_file(folder / "model.safetensors")
    if kind == "checkpoint":
        return kind
    if kind and (folder / "config.json").is_file():
        return "model"
    entries = _entries(folder)
    tables = [name for name in sorted(entries) if name.lower().endswith(".json")]
    if any(_is_result(folder / name) for name in tables[:_FOLDERS]):
        return "results"
    subfolders = _subfolders(folder, sorted(entries))
    for kind, names in _DOMAIN_MARKERS:
        for part in (folder, *subfolders):
            if all((part / name).exists() for name in names):
                return kind
    if any((each / "manifest.json").is_file() for each in subfolders):
        return ""  # e.g. the folder of a project
    return "source" if _holds_images(folder, _DEPTH) else ""


def _is_result(path: Path) -> bool:
    start = _start_of(path)
    return b'"schema_version"' in start and b'"settings"' in start


def _holds_images(folder: Path, depth: int) -> bool:
    entries = _entries(folder)
    if any(is_image_name(name) or name.lower().endswith(_ARCHIVES) for name in entries):
        return True
    return depth > 0 and any(
        _holds_images(each, depth - 1) for each in _subfolders(folder, entries)
    )


def _subfolders(folder: Path, entries: list[str]) -> list[Path]:
    paths = (folder / name for name in entries if not name.startswith("."))
    return list(
        islice((path for path in paths if path.is_dir() and not path.is_symlink()), _FOLDERS)
    )


def _entries(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in islice(entries, _ENTRIES)]


def _start_of(path: Path) -> bytes:
    """Return the first bytes of a regular file; none if there is no such file."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(_START)
