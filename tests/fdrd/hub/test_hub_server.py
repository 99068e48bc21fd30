"""The Hub's server serves the real client, and refuses what the Hub refuses: each check, and that it can fail."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable

import httpx2
import pytest
from hub_server import READER, WRITER, Hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, HfFileSystem
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

SHARD = bytes(range(256)) * 40


@pytest.fixture
def api(hub: Hub) -> HfApi:
    api = HfApi(token=WRITER)
    api.create_repo("org/data", repo_type="dataset")
    return api


def add(path: str, content: bytes) -> CommitOperationAdd:
    return CommitOperationAdd(path, content)


def send(api: HfApi, *operations: object, **more: object) -> object:
    return api.create_commit(
        "org/data", operations, commit_message="x", repo_type="dataset", **more
    )


def status(call: Callable[[], object]) -> int:
    with pytest.raises(HfHubHTTPError) as refused:
        call()
    return refused.value.response.status_code


def post(hub: Hub, path: str, body: object, token: str = WRITER) -> httpx2.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx2.post(hub.url + path, content=content, headers=headers, trust_env=False)


def commit_lines(*changes: dict[str, object], **header: object) -> bytes:
    lines = [{"key": "header", "value": {"summary": "x", **header}}, *changes]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def put(hub: Hub, announced: bytes, sent: bytes, size: int | None = None) -> httpx2.Response:
    """Asks for the place of `announced` and sends `sent` there."""
    entry = {"oid": hashlib.sha256(announced).hexdigest(), "size": size or len(announced)}
    batch = post(hub, "/datasets/org/data.git/info/lfs/objects/batch", {"objects": [entry]}).json()
    address = batch["objects"][0]["actions"]["upload"]["href"]
    return httpx2.put(address, content=sent, trust_env=False)


def test_what_was_committed_is_what_is_read(api, hub):
    info = send(api, add("a.txt", b"text\n"), add("data/x.arrow", SHARD))
    assert hub.count("PUT", "/storage/") == 1
    files = {f.path: f for f in api.list_repo_tree("org/data", recursive=True, repo_type="dataset")}
    assert set(files) == {".gitattributes", "a.txt", "data", "data/x.arrow"}
    assert files["data/x.arrow"].lfs.sha256 == hashlib.sha256(SHARD).hexdigest()
    assert files["a.txt"].blob_id == hashlib.sha1(b"blob 5\0text\n").hexdigest()
    assert api.dataset_info("org/data").sha == info.oid
    system = HfFileSystem(token=WRITER, skip_instance_cache=True)
    assert system.read_bytes("datasets/org/data/data/x.arrow") == SHARD
    with system.open("datasets/org/data/data/x.arrow", block_size=1000) as file:
        file.seek(5000)
        assert file.read(300) == SHARD[5000:5300]
    assert any(request.status == 206 for request in hub.requests)


def test_a_download_is_cached_under_the_digest_of_its_content(api, tmp_path):
    send(api, add("data/x.arrow", SHARD))
    path = api.hf_hub_download("org/data", "data/x.arrow", repo_type="dataset", cache_dir=tmp_path)
    with open(path, "rb") as file:  # noqa: PTH123 - as any reader does
        assert file.read() == SHARD
    (blob,) = tmp_path.glob("*/blobs/*")
    assert blob.name == hashlib.sha256(SHARD).hexdigest()


def test_models_live_beside_datasets_of_the_same_name(api):
    api.create_repo("org/data", repo_type="model")
    api.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id="org/data")
    assert "config.json" in api.list_repo_files("org/data")
    assert "config.json" not in api.list_repo_files("org/data", repo_type="dataset")


def test_branches_tags_and_history(api):
    first = send(api, add("a.txt", b"1")).oid
    api.create_tag("org/data", tag="v1", repo_type="dataset")
    api.create_branch("org/data", branch="next", repo_type="dataset")
    send(api, add("a.txt", b"2"), revision="next")
    at = {name: api.dataset_info("org/data", revision=name).sha for name in ("main", "v1", "next")}
    assert at["main"] == at["v1"] == first != at["next"]
    refs = api.list_repo_refs("org/data", repo_type="dataset")
    assert [ref.name for ref in refs.tags] == ["v1"]
    titles = [commit.title for commit in api.list_repo_commits("org/data", repo_type="dataset")]
    assert titles == ["x", "initial commit"]
    again = lambda: api.create_tag("org/data", tag="v1", repo_type="dataset")  # noqa: E731
    assert status(again) == 409


def test_a_pull_request_changes_nothing_until_it_is_merged(api, hub):
    reader = HfApi(token=READER)
    before = api.dataset_info("org/data").sha
    info = send(reader, add("a.txt", b"1"), create_pr=True)
    assert info.pr_url.endswith("/datasets/org/data/discussions/1")
    assert api.dataset_info("org/data").sha == before
    assert api.file_exists("org/data", "a.txt", repo_type="dataset", revision="refs/pr/1")
    merge = lambda who: who.merge_pull_request("org/data", 1, repo_type="dataset")  # noqa: E731
    assert status(lambda: merge(reader)) == 403
    merge(api)
    assert api.file_exists("org/data", "a.txt", repo_type="dataset")
    assert api.get_discussion_details("org/data", 1, repo_type="dataset").status == "merged"


def test_long_listings_come_in_pages(api, hub):
    send(api, *(add(f"n/{number:02}.txt", b"%d" % number) for number in range(23)))
    hub.page_size = 5
    listed = list(api.list_repo_tree("org/data", "n", repo_type="dataset"))
    assert len({file.path for file in listed}) == len(listed) == 23
    assert hub.count("GET", "/tree/") == 5


def test_only_those_with_rights_write(api, hub):
    stranger, reader = HfApi(token=False), HfApi(token=READER)
    assert status(lambda: stranger.create_repo("org/other", repo_type="dataset")) == 401
    assert status(lambda: reader.create_repo("org/other", repo_type="dataset")) == 403
    assert status(lambda: send(stranger, add("a.txt", b"1"))) == 401
    assert status(lambda: send(reader, add("a.txt", b"1"))) == 403
    assert status(lambda: reader.create_tag("org/data", tag="v", repo_type="dataset")) == 403
    assert status(lambda: reader.delete_repo("org/data", repo_type="dataset")) == 403
    assert (
        post(hub, "/api/datasets/org/data/commit/main", commit_lines(), READER).status_code == 403
    )
    assert post(hub, "/api/datasets/org/data/commit/main", commit_lines(), "").status_code == 401
    batch = "/datasets/org/data.git/info/lfs/objects/batch"
    assert post(hub, batch, {"objects": []}, "").status_code == 401
    assert len(hub.repository("org/data").commits) == 1


def test_a_wrong_token_is_refused_even_for_reading(api):
    assert status(lambda: HfApi(token="hf_wrong").dataset_info("org/data")) == 401


def test_a_private_repository_does_not_exist_for_others(api):
    api.create_repo("org/secret", repo_type="dataset", private=True)
    assert api.dataset_info("org/secret").private
    for token in (False, READER):
        with pytest.raises(RepositoryNotFoundError):
            HfApi(token=token).dataset_info("org/secret")


def test_a_commit_on_another_parent_is_refused(api, hub):
    before = api.dataset_info("org/data").sha
    send(api, add("a.txt", b"1"), parent_commit=before)
    assert status(lambda: send(api, add("a.txt", b"2"), parent_commit=before)) == 412
    assert hub.repository("org/data").file("main", "a.txt").content == b"1"


def test_bytes_of_another_digest_or_size_are_refused(api, hub):
    assert put(hub, b"announced", b"replaced!").status_code == 400
    assert put(hub, b"announced", b"short").status_code == 400
    assert put(hub, b"announced", b"announced", size=5).status_code == 400
    assert not hub.repository("org/data").large
    assert put(hub, b"announced", b"announced").status_code == 200


def test_nobody_stores_without_a_signed_address(api, hub):
    oid = hashlib.sha256(b"x").hexdigest()
    address = f"{hub.storage}/storage/dataset/org/data/{oid}/1"
    assert httpx2.put(address, content=b"x", trust_env=False).status_code == 403
    assert httpx2.put(f"{address}?signature=0", content=b"x", trust_env=False).status_code == 403


def test_a_token_that_follows_a_redirect_to_the_store_is_noticed(api, hub):
    send(api, add("x.arrow", SHARD))
    headers = {"Authorization": f"Bearer {WRITER}"}
    address = f"{hub.url}/datasets/org/data/resolve/main/x.arrow"
    place = httpx2.get(address, headers=headers, trust_env=False).headers["Location"]
    assert httpx2.get(place, trust_env=False).content == SHARD
    assert httpx2.get(place, headers=headers, trust_env=False).status_code == 400


def test_verify_and_commit_refuse_objects_that_never_came(api, hub):
    oid = hashlib.sha256(SHARD).hexdigest()
    verify, commit = "/datasets/org/data.git/info/lfs/verify", "/api/datasets/org/data/commit/main"
    assert post(hub, verify, {"oid": oid, "size": len(SHARD)}).status_code == 404
    large = {"path": "x.arrow", "algo": "sha256", "oid": oid, "size": len(SHARD)}
    line = {"key": "lfsFile", "value": large}
    assert post(hub, commit, commit_lines(line)).status_code == 400
    put(hub, SHARD, SHARD)
    assert post(hub, verify, {"oid": oid, "size": 1}).status_code == 422
    wrong = {"key": "lfsFile", "value": {**large, "size": 1}}
    assert post(hub, commit, commit_lines(wrong)).status_code == 400
    assert post(hub, commit, commit_lines(line)).status_code == 200


@pytest.mark.parametrize("path", ["../x", "a/../x", "/x", "", "a//b", ".git/config"])
def test_paths_that_leave_the_repository_are_refused(api, hub, path):
    line = {"key": "file", "value": {"path": path, "encoding": "base64",
                                     "content": base64.b64encode(b"1").decode()}}  # fmt: skip
    assert post(hub, "/api/datasets/org/data/commit/main", commit_lines(line)).status_code == 400


def test_a_commit_is_whole_or_not_at_all(api, hub):
    with pytest.raises(EntryNotFoundError):
        send(api, add("a.txt", b"1"), CommitOperationDelete("not-there.txt"))
    assert not api.file_exists("org/data", "a.txt", repo_type="dataset")
    with pytest.raises(RevisionNotFoundError):
        send(api, add("a.txt", b"1"), revision="no-such-branch")


def test_large_regular_files_and_broken_metadata_are_refused(api, hub):
    line = {"key": "file", "value": {"path": "a.txt", "encoding": "base64",
                                     "content": base64.b64encode(bytes(11 << 20)).decode()}}  # fmt: skip
    assert post(hub, "/api/datasets/org/data/commit/main", commit_lines(line)).status_code == 400
    with pytest.raises(ValueError, match="Invalid metadata"):
        send(api, add("README.md", b"---\na: [\n---\n"))


def test_it_falls_ill_as_asked(api, hub):
    hub.fail("GET", "/api/whoami", 429, retry_after=7)
    reply = httpx2.get(f"{hub.url}/api/whoami-v2", trust_env=False)
    assert (reply.status_code, reply.headers["Retry-After"]) == (429, "7")
    hub.fail("GET", "/api/whoami", "cut", after=1)
    headers = {"Authorization": f"Bearer {WRITER}"}
    ask = lambda: httpx2.get(f"{hub.url}/api/whoami-v2", headers=headers, trust_env=False)  # noqa: E731
    assert ask().json()["name"] == "writer"
    with pytest.raises(httpx2.RemoteProtocolError):
        ask()
    assert ask().status_code == 200
    hub.fail("POST", "/commit/", "lose")
    with pytest.raises(httpx2.RemoteProtocolError):
        send(api, add("a.txt", b"1"))
    assert api.file_exists("org/data", "a.txt", repo_type="dataset")
    hub.fail("POST", "/commit/", "drop")
    with pytest.raises(httpx2.HTTPError):
        send(api, add("b.txt", b"1"))
    assert not api.file_exists("org/data", "b.txt", repo_type="dataset")
