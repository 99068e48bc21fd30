"""The Hub's protocol on localhost, for the real `huggingface_hub` client and the real loader of `datasets`.

    with Hub() as hub:
        subprocess.run([...], env={**os.environ, **hub.environment()})

It serves models and datasets: create, preupload, LFS (batch, upload), commits of NDJSON, trees, branches, tags, pull
requests, and files with ranges and ETags. Large files are served by another host name, as on the Hub. There is no Xet
storage, so clients must set `HF_HUB_DISABLE_XET`. `Hub.fail` injects outages.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

WRITER, READER = "hf_writersecret", "hf_readersecret"  # tokens
NAMESPACES = {WRITER: ("writer", "org"), READER: ("reader",)}
DATE = "2026-01-01T00:00:00.000Z"
LARGE = {".arrow", ".bin", ".npy", ".parquet", ".safetensors", ".jpg", ".png", ".webp"}

Outage = int | Literal["drop"] | Callable[["Reply"], "Reply"]
"""A status, a connection that ends in the request, or a function that replaces the response."""


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
            version = "version https://git-lfs.github.com/spec/v1"
            content = f"{version}\noid sha256:{self.sha256}\nsize {self.size}\n".encode()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True)
class Commit:
    oid: str
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
        self._keep("refs/heads/main", "", {".gitattributes": File()})

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

    def commit(self, ref, parent, changes):
        """Move `ref` to a new commit if `parent` is its head or None; None deletes a file."""
        head = self.resolve(ref)
        if parent not in (None, head.oid):
            raise RefusedError(412, "A commit has happened since. Please refresh and try again.")
        files = dict(head.files)
        for path, file in changes:
            if file is None:
                del files[path]
            elif file.sha256 and file.sha256 not in self.large:
                raise RefusedError(400, f"{path} was not uploaded")
            else:
                files[path] = file
        return self._keep(ref, head.oid, files)

    def _keep(self, ref, parent, files):
        content = repr((len(self.commits), parent, [(p, f.oid) for p, f in sorted(files.items())]))
        oid = hashlib.sha1(content.encode()).hexdigest()
        self.commits[oid] = Commit(oid, files)
        self.refs[ref] = oid
        return oid


@dataclass(frozen=True)
class Request:
    """A received request, for tests."""

    method: str
    path: str
    status: int


@dataclass
class Fault:
    method: str
    path: str
    outage: Outage
    after: int
    times: int


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


def _json(value, status=200, *headers):
    body = json.dumps(value).encode()
    return Reply(status, body, (("Content-Type", "application/json"), *headers))


class Hub:
    """A running server with one user who can write to `org`, and one who cannot."""

    def __init__(self):
        self.repositories = {}
        self.requests = []
        self.lock = threading.RLock()
        self._faults = []
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.storage = f"http://localhost:{self.port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def environment(self, token=WRITER):
        """Return the variables that make a process use this server as the Hub."""
        local = "127.0.0.1,localhost"
        return {
            **{"HF_ENDPOINT": self.url, "HF_TOKEN": token or "", "HF_HUB_OFFLINE": "0"},
            **{"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"},
            **{"NO_PROXY": local, "no_proxy": local},
        }

    def fail(self, method, path, outage, *, after=0, times=1):
        """Fail the next `times` requests with a matching path, after `after` successful ones."""
        self._faults.append(Fault(method, path, outage, after, times))

    def heal(self):
        self._faults.clear()

    def repository(self, name, kind="dataset"):
        return self.repositories[kind, name]

    def count(self, method, path):
        """Return the number of answered requests with a matching path."""
        return sum(
            request.method == method and re.search(path, request.path) is not None
            for request in self.requests
        )

    def fault(self, method, path):
        with self.lock:
            for fault in self._faults:
                if fault.method == method and re.search(fault.path, path) and fault.times:
                    if fault.after:
                        fault.after -= 1
                        return None
                    fault.times -= 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    """One connection. `ROUTES` maps each path to a method, which gets the groups of the pattern."""

    hub: Hub
    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, *_):
        """Log nothing; `Hub.requests` is the log."""

    def do_GET(self):
        self._serve()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def _serve(self):
        split = urlsplit(self.path)
        path, self.query = split.path, parse_qs(split.query)
        fault = self.hub.fault(self.command, path)
        outage = fault and fault.outage
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length // 2 if outage == "drop" else length)
        if outage == "drop":
            self.hub.requests.append(Request(self.command, path, 0))
            self.close_connection = True
            return
        try:
            if isinstance(outage, int):
                reply = _json({"error": "injected"}, outage)
            else:
                with self.hub.lock:
                    reply = self._route(path)
        except RefusedError as error:
            headers = (("X-Error-Message", error.message), ("X-Error-Code", error.code))
            reply = _json({"error": error.message}, error.status, *(h for h in headers if h[1]))
        if callable(outage):
            reply = outage(reply)
        self.hub.requests.append(Request(self.command, path, reply.status))
        self._answer(reply)

    def _route(self, path):
        for method, pattern, answer in ROUTES:
            found = re.fullmatch(pattern, path) if method == self.command else None
            if found:
                return answer(self, *(unquote(group or "") for group in found.groups()))
        raise RefusedError(404, f"no such page: {self.command} {path}")

    def _answer(self, reply):
        self.send_response(reply.status)
        self.send_header("X-Request-Id", f"request-{len(self.hub.requests)}")
        headers = dict(reply.headers)
        headers.setdefault("Content-Length", str(len(reply.body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)
        if int(headers["Content-Length"]) > len(reply.body):
            self.close_connection = True

    def _token(self):
        token = self.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        if token and token not in NAMESPACES:
            raise RefusedError(401, "Invalid credentials in Authorization header")
        return token

    def _may_write(self, namespace):
        if namespace not in NAMESPACES.get(self._token(), ()):
            raise RefusedError(403, f"You don't have the rights to write to {namespace!r}")

    def _repository(self, kind, name, *, write=False):
        token = self._token()
        found = self.hub.repositories.get((kind.strip("/").rstrip("s") or "model", name))
        if found is None:
            raise RefusedError(404 if token else 401, "Repository not found", "RepoNotFound")
        if write:
            self._may_write(name.split("/")[0])
        return found

    def _sent(self):
        return json.loads(self.body or b"{}")

    def validate_yaml(self):
        return _json({"errors": [], "warnings": []})

    def create(self):
        sent = self._sent()
        namespace = sent["organization"]
        self._may_write(namespace)
        kind, name = sent.get("type") or "model", f"{namespace}/{sent['name']}"
        url = f"{self.hub.url}/{'' if kind == 'model' else kind + 's/'}{name}"
        if (kind, name) in self.hub.repositories:
            return _json({"error": "You already created this repo", "url": url}, 409)
        private = sent.get("visibility") == "private" or bool(sent.get("private"))
        self.hub.repositories[kind, name] = Repository(kind, name, private)
        return _json({"url": url, "name": name})

    def info(self, kind, name, revision):
        repository = self._repository(kind, name)
        commit = repository.resolve(revision or "main")
        siblings = [
            {"rfilename": path, "size": file.size, "blobId": file.oid}
            | ({"lfs": _large(file)} if file.sha256 else {})
            for path, file in sorted(commit.files.items())
        ]
        about = {"_id": commit.oid[:24], "id": name, "author": name.split("/")[0]}
        about |= {"sha": commit.oid, "createdAt": DATE, "lastModified": DATE, "downloads": 0}
        about |= {"private": repository.private, "gated": False, "disabled": False, "tags": []}
        data = _card_data(commit.files.get("README.md", File()).content.decode())
        return _json({**about, "likes": 0, "cardData": data, "siblings": siblings})

    def tree(self, kind, name, revision, folder):
        commit = self._repository(kind, name).resolve(revision)
        folder = folder.strip("/")
        recursive = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries = list(_entries(commit.files, folder, recursive))
        if folder and not entries:
            raise RefusedError(404, f"{folder} does not exist on {revision}", "EntryNotFound")
        return _json(entries)

    def refs(self, kind, name):
        found = {"heads": [], "tags": [], "pr": []}
        for ref, oid in self._repository(kind, name).refs.items():
            _, space, short = ref.split("/", 2)
            found[space].append({"name": short, "ref": ref, "targetCommit": oid})
        return _json({"branches": found["heads"], "tags": found["tags"], "converts": []})

    def new_branch(self, kind, name, branch):
        repository = self._repository(kind, name, write=True)
        start = repository.resolve(self._sent().get("startingPoint") or "main")
        return self._new_ref(repository, f"refs/heads/{branch}", start.oid)

    def new_tag(self, kind, name, revision):
        repository = self._repository(kind, name, write=True)
        start = repository.resolve(revision)
        return self._new_ref(repository, f"refs/tags/{self._sent()['tag']}", start.oid)

    def _new_ref(self, repository, ref, oid):
        if ref in repository.refs:
            raise RefusedError(409, f"Reference already exists: {ref}")
        repository.refs[ref] = oid
        return _json({})

    def preupload(self, kind, name, revision):
        repository = self._repository(kind, name, write="create_pr" not in self.query)
        files = repository.resolve(revision).files
        told = []
        for sent in self._sent()["files"]:
            path, known = sent["path"], files.get(sent["path"])
            mode = "lfs" if PurePosixPath(path).suffix in LARGE else "regular"
            told.append({"path": path, "uploadMode": mode, "shouldIgnore": False})
            if known:
                told[-1]["oid"] = known.sha256 or known.oid
        return _json({"files": told})

    def lfs_batch(self, kind, name):
        repository = self._repository(kind, name)
        objects = []
        for sent in self._sent()["objects"]:
            oid, size = str(sent["oid"]), int(sent["size"])
            objects.append({"oid": oid, "size": size})
            if oid not in repository.large:
                href = f"{self.hub.storage}/storage/{repository.kind}/{name}/{oid}"
                objects[-1]["actions"] = {"upload": {"href": href}}
        return _json({"transfer": "basic", "objects": objects})

    def store(self, kind, name, sha256):
        self.hub.repositories[kind, name].large[sha256] = self.body
        return Reply()

    def commit(self, kind, name, revision):
        proposing = "create_pr" in self.query
        repository = self._repository(kind, name, write=not proposing)
        header = {}
        changes = []
        for line in self.body.splitlines():
            sent = json.loads(line)
            key, value = sent["key"], sent["value"]
            if key == "header":
                header = value
            elif key == "file":
                content = base64.b64decode(value["content"])
                changes.append((value["path"], File(content, len(content))))
            elif key == "lfsFile":
                changes.append((value["path"], File(b"", value["size"], value["oid"])))
            elif key == "deletedFile":
                changes.append((value["path"], None))
            else:
                raise RefusedError(400, f"unknown key {key!r}")
        ref = revision if revision.startswith("refs/") else f"refs/heads/{revision}"
        prefix = f"{self.hub.url}/{'' if kind == 'model' else kind + '/'}{name}"
        reply = {"success": True, "hookOutput": ""}
        if proposing:
            number = 1 + sum(each.startswith("refs/pr/") for each in repository.refs)
            repository.refs[f"refs/pr/{number}"] = repository.refs[ref]
            ref = f"refs/pr/{number}"
            reply["pullRequestUrl"] = f"{prefix}/discussions/{number}"
        oid = repository.commit(ref, header.get("parentCommit"), changes)
        return _json({**reply, "commitOid": oid, "commitUrl": f"{prefix}/commit/{oid}"})

    def file(self, kind, name, revision, path):
        repository = self._repository(kind or "model", name)
        oid = repository.resolve(revision).oid
        try:
            file = repository.file(revision, path)
        except RefusedError as error:
            headers = {"X-Error-Code": error.code, "X-Error-Message": error.message}
            headers["X-Repo-Commit"] = oid
            return _json({"error": error.message}, 404, *headers.items())
        if not file.sha256:
            return self._content(file.content, file.oid, ("X-Repo-Commit", oid))
        address = f"{self.hub.storage}/storage/{repository.kind}/{name}/{file.sha256}"
        headers = {"Location": address, "X-Repo-Commit": oid, "X-Linked-Size": str(file.size)}
        headers |= dict.fromkeys(("X-Linked-Etag", "ETag"), f'"{file.sha256}"')
        return Reply(302, b"", tuple(headers.items()))

    def stored(self, kind, name, sha256):
        if self.headers.get("Authorization"):
            raise RefusedError(400, "a token was sent to the store, which is another host")
        return self._content(self.hub.repositories[kind, name].large[sha256], sha256)

    def _content(self, content, etag, *headers):
        """Return the content, or the requested range."""
        kind = ("Content-Type", "application/octet-stream")
        headers = (*headers, ("ETag", f'"{etag}"'), ("Accept-Ranges", "bytes"), kind)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "").replace(" ", ""))
        if not asked:
            return Reply(200, content, headers)
        first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
        place = ("Content-Range", f"bytes {first}-{last}/{len(content)}")
        return Reply(206, content[first : last + 1], (*headers, place))


def _large(file):
    return {"oid": file.sha256, "sha256": file.sha256, "size": file.size, "pointerSize": 134}


def _entries(files, folder, recursive):
    """Yield the files and folders of a folder in the format of `/tree`."""
    prefix = f"{folder}/" if folder else ""
    folders = set()
    for path, file in sorted(files.items()):
        if not path.startswith(prefix):
            continue
        parts = path[len(prefix) :].split("/")
        for depth in range(1, len(parts) if recursive else min(len(parts), 2)):
            inner = prefix + "/".join(parts[:depth])
            if inner not in folders:
                folders.add(inner)
                oid = hashlib.sha1(f"tree {inner}".encode()).hexdigest()
                yield {"type": "directory", "path": inner, "oid": oid, "size": 0}
        if recursive or len(parts) == 1:
            entry = {"type": "file", "path": path, "oid": file.oid, "size": file.size}
            yield {**entry, "lfs": _large(file)} if file.sha256 else entry


def _card_data(card):
    import yaml

    found = re.match(r"---\r?\n(.*?)\r?\n---", card, re.DOTALL)
    try:
        return yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError:
        return None


_REPO = "/api/(models|datasets)/([^/]+/[^/]+)"
_GIT = r"/(datasets/|)([^/]+/[^/]+)\.git/info/lfs"
_STORED = "/storage/(model|dataset)/([^/]+/[^/]+)/([0-9a-f]{64})"
_RESOLVED = "/(?:(datasets)/)?([^/]+/[^/]+)/(?:resolve|raw)/([^/]+)/(.+)"

ROUTES = [
    ("POST", "/api/validate-yaml", _Handler.validate_yaml),
    ("POST", "/api/repos/create", _Handler.create),
    ("GET", f"{_REPO}(?:/revision/([^/]+))?", _Handler.info),
    ("GET", f"{_REPO}/tree/([^/]+)(/.*)?", _Handler.tree),
    ("GET", f"{_REPO}/refs", _Handler.refs),
    ("POST", f"{_REPO}/branch/([^/]+)", _Handler.new_branch),
    ("POST", f"{_REPO}/tag/([^/]+)", _Handler.new_tag),
    ("POST", f"{_REPO}/preupload/([^/]+)", _Handler.preupload),
    ("POST", f"{_REPO}/commit/([^/]+)", _Handler.commit),
    ("POST", f"{_GIT}/objects/batch", _Handler.lfs_batch),
    ("PUT", _STORED, _Handler.store),
    ("GET", _STORED, _Handler.stored),
    ("HEAD", _STORED, _Handler.stored),
    ("GET", _RESOLVED, _Handler.file),
    ("HEAD", _RESOLVED, _Handler.file),
]
