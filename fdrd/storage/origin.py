"""Which source a dataset was built from, so that a build replaces no dataset of another source unasked.

Two sources are the same if their resolved paths are equal, or if they have the same files: equal relative paths and
sizes. So a source may change, or move, or be copied; only a source that moved and changed is another one.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec

from fdrd.errors import FdrdError
from fdrd.files.atomic import write_text
from fdrd.storage.manifest import dump
from fdrd.storage.publish import work_folder

DEFAULT_NAME = "fdrd"
DEFAULT_OUT = Path("data") / DEFAULT_NAME
_ENDINGS = r"\.(zip|parquet|tgz|tar(\.\w+)?)$"  # of sources that are files


class Origin(msgspec.Struct, frozen=True):
    """The source of a build.

    Attributes:
        path: resolved path of the folder or file.
        files: digest of the relative paths and sizes of its files (`fdrd.storage.resume.SourceFingerprint`).
    """

    path: str
    files: str

    @property
    def name(self) -> str:
        """A name for the dataset of this source, from the name of its folder or file."""
        stem = re.sub(_ENDINGS, "", Path(self.path).name.lower())
        return re.sub(r"[^a-z0-9._-]+", "-", stem).strip("._-") or "dataset"


def write_origin(out: Path, origin: Origin) -> None:
    """Remember the source of a dataset that is about to be published."""
    write_text(_note(out), dump(origin))


def recorded_origin(out: Path) -> Origin | None:
    """Return the source of a dataset; None if the work folder is gone or damaged."""
    try:
        return msgspec.convert(
            json.loads(_note(out).read_bytes()), Origin
        )  # msgspec reads no lone surrogates
    except (OSError, ValueError, RecursionError):
        return None


def holds_other(out: Path, origin: Origin) -> bool:
    """Return whether a folder holds a finished dataset that is not known to be of this source."""
    if not (out / "manifest.json").is_file():
        return False
    recorded = recorded_origin(out)
    return not recorded or (recorded.path != origin.path and recorded.files != origin.files)


def check_same_source(out: Path, origin: Origin) -> None:
    """Raise `FdrdError` if a folder holds a finished dataset that is not known to be of this source."""
    if holds_other(out, origin):
        raise FdrdError(
            f"{out} is a dataset {_described(out)}; give another `out`, or `replace` to replace it"
        )


def choose_default(origin: Origin, replace: bool = False) -> tuple[Path, str]:
    """Return folder and name of a build that names no folder: the defaults, or both after the source.

    Raises:
        FdrdError: both folders are taken.
    """
    if replace or not holds_other(DEFAULT_OUT, origin):
        return DEFAULT_OUT, DEFAULT_NAME
    out = DEFAULT_OUT.with_name(origin.name)
    is_dataset = (out / "manifest.json").is_file()
    is_free = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    if holds_other(out, origin) or not (is_dataset or is_free):
        raise FdrdError(
            f"{DEFAULT_OUT} is a dataset {_described(DEFAULT_OUT)}, and {out} exists, too; give another `out`"
        )
    return out, origin.name


def _described(out: Path) -> str:
    recorded = recorded_origin(out)
    return f"of {recorded.path}" if recorded else f"whose source {work_folder(out)} does not tell"


def _note(out: Path) -> Path:
    return work_folder(out) / "source.json"
