"""Repositories of the test Hub: commits, branches, tags, pull requests, large files, and what is refused.

`hub_server` adds HTTP.
"""

from __future__ import annotations

import fnmatch
import hashlib
from dataclasses import dataclass, field
from pathlib import PurePosixPath

REGULAR_LIMIT = 10 * 2**20  # bytes above which a file must use LFS
DATE = "2026-01-01T00:00:00.000Z"
GIT_ATTRIBUTES = "".join(  # the relevant part of what the Hub puts into a new repository
    f"{pattern} filter=lfs diff=lfs merge=lfs -text\n"
    for pattern in (
        *("*.arrow", "*.bin", "*.gz", "*.npy", "*.npz", "*.parquet", "*.pt", "*.safetensors"),
        *("*.tar", "*.zip", "*.jpg", "*.jpeg", "*.png", "*.webp"),
    )
).encode()


class RefusedError(Exception):
    """A refused request."""

    def __init__(self, status, message, code=""):
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


@dataclass(frozen=True)
class File:
    """A file of a commit: the bytes of a regular file, or the digest of an LFS file."""

    content: bytes = b""
    size: int = 0
    sha256: str = ""

    @property
    def oid(self):
        """The git object id of the file, or of its LFS pointer."""
        content = self.content
        if self.sha256:
            content = (
                f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\n"
                f"size {self.size}\n"
            ).encode()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str
    files: dict[str, File]


@dataclass
class Repository:
    """A repository; `refs` maps full names, e.g. `refs/heads/main`, to commits."""

    kind: str
    name: str
    private: bool = False
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    """Uploaded LFS files by sha256, committed or not."""

    def __post_init__(self):
        files = {".gitattributes": File(GIT_ATTRIBUTES, len(GIT_ATTRIBUTES))}
        self.refs["refs/heads/main"] = self._keep("", files)

    def resolve(self, revision):
        """Return the commit of a branch, tag, full ref, or oid."""
        for name in (revision, f"refs/heads/{revision}", f"refs/tags/{revision}"):
            if name in self.refs:
                return self.commits[self.refs[name]]
        if revision in self.commits:
            return self.commits[revision]
        raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def file(self, revision, path):
        files = self.resolve(revision).files
        if path not in files:
            raise RefusedError(404, "Entry not found", "EntryNotFound")
        return files[path]

    def content(self, file):
        return self.large[file.sha256] if file.sha256 else file.content

    def history(self, revision):
        oid = self.resolve(revision).oid
        while oid:
            yield self.commits[oid]
            oid = self.commits[oid].parent

    def is_large(self, path, size, sample):
        """Return whether a file must use LFS: by size, `.gitattributes`, or binary content."""
        attributes = self.resolve("main").files.get(".gitattributes", File()).content.decode()
        patterns = [line.split()[0] for line in attributes.splitlines() if "filter=lfs" in line]
        name = PurePosixPath(path).name
        matches = any(
            fnmatch.fnmatch(name, each) or fnmatch.fnmatch(path, each) for each in patterns
        )
        return size > REGULAR_LIMIT or matches or b"\0" in sample

    def put_large(self, sha256, size, content):
        """Store an uploaded LFS file if it has the announced size and digest."""
        if len(content) != size:
            raise RefusedError(400, f"{len(content)} bytes came, {size} were announced")
        if hashlib.sha256(content).hexdigest() != sha256:
            raise RefusedError(400, "BadDigest: the bytes do not have the announced sha256")
        self.large[sha256] = content

    def verify_large(self, sha256, size):
        if len(self.large.get(sha256, b"")) != size:
            raise RefusedError(404, f"no object {sha256} of {size} bytes was uploaded")

    def commit(self, ref, parent, changes):
        """Move `ref` to a new commit if `parent` is its head or None; None deletes a file."""
        if ref not in self.refs:
            raise RefusedError(404, f"Invalid rev id: {ref}", "RevisionNotFound")
        head = self.commits[self.refs[ref]]
        if parent not in (None, head.oid):
            raise RefusedError(412, "A commit has happened since. Please refresh and try again.")
        files = dict(head.files)
        for path, file in changes:
            _check_path(path)
            if file:
                self._check(path, file)
                files[path] = file
            elif files.pop(path, None) is None:
                raise RefusedError(404, f"no file {path}", "EntryNotFound")
        self.refs[ref] = self._keep(head.oid, files)
        return self.refs[ref]

    def propose(self, base):
        """Open a pull request; return its number."""
        number = 1 + sum(ref.startswith("refs/pr/") for ref in self.refs)
        self.refs[f"refs/pr/{number}"] = self.refs[base]
        return number

    def _check(self, path, file):
        if file.sha256:
            self.verify_large(file.sha256, file.size)
        elif len(file.content) > REGULAR_LIMIT:
            raise RefusedError(400, f"{path}: files above {REGULAR_LIMIT} bytes must be LFS files")

    def _keep(self, parent, files):
        content = repr((len(self.commits), parent, [(p, f.oid) for p, f in sorted(files.items())]))
        oid = hashlib.sha1(content.encode()).hexdigest()
        self.commits[oid] = Commit(oid, parent, files)
        return oid


def _check_path(path):
    parts = path.rstrip("/").split("/")
    if not path or any(part in ("", ".", "..", ".git") for part in parts):
        raise RefusedError(400, f"invalid path {path!r}")
