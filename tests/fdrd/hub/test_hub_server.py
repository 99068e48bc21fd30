"""The test Hub refuses what the Hub refuses. Otherwise a faulty push could pass its tests."""

import base64
import hashlib
import json

import httpx2
import pytest
from hub_server import READER, WRITER
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError

SHARD = bytes(range(256)) * 40
COMMIT = "/api/datasets/org/data/commit/main"
BATCH = "/datasets/org/data.git/info/lfs/objects/batch"


@pytest.fixture
def api(hub):
    api = HfApi(token=WRITER)
    api.create_repo("org/data", repo_type="dataset")
    return api


def add(path, content):
    return CommitOperationAdd(path, content)


def send(api, *operations, **more):
    return api.create_commit(
        "org/data", operations, commit_message="x", repo_type="dataset", **more
    )


def status(call):
    with pytest.raises(HfHubHTTPError) as refused:
        call()
    return refused.value.response.status_code


def post(hub, path, body):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {WRITER}"}
    return httpx2.post(hub.url + path, content=content, headers=headers, trust_env=False)


def commit_line(key, **value):
    lines = [{"key": "header", "value": {"summary": "x"}}, {"key": key, "value": value}]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def put(hub, announced, sent, size=None):
    """Request an upload of `announced`, and upload `sent`."""
    entry = {"oid": hashlib.sha256(announced).hexdigest(), "size": size or len(announced)}
    batch = post(hub, BATCH, {"objects": [entry]}).json()
    address = batch["objects"][0]["actions"]["upload"]["href"]
    return httpx2.put(address, content=sent, trust_env=False)


def test_long_listings_are_paginated(api, hub):
    send(api, *(add(f"n/{number:02}.txt", b"%d" % number) for number in range(23)))
    hub.page_size = 5
    listed = list(api.list_repo_tree("org/data", "n", repo_type="dataset"))
    assert len({file.path for file in listed}) == len(listed) == 23
    assert hub.count("GET", "/tree/") == 5


def test_only_users_with_write_access_can_write(api, hub):
    stranger, reader = HfApi(token=False), HfApi(token=READER)
    assert status(lambda: stranger.create_repo("org/other", repo_type="dataset")) == 401
    assert status(lambda: reader.create_repo("org/other", repo_type="dataset")) == 403
    assert status(lambda: send(stranger, add("a.txt", b"1"))) == 401
    assert status(lambda: send(reader, add("a.txt", b"1"))) == 403
    assert status(lambda: reader.create_tag("org/data", tag="v", repo_type="dataset")) == 403
    assert status(lambda: HfApi(token="hf_wrong").dataset_info("org/data")) == 401
    api.create_repo("org/secret", repo_type="dataset", private=True)
    for token in (False, READER):
        with pytest.raises(RepositoryNotFoundError):
            HfApi(token=token).dataset_info("org/secret")


def test_a_commit_on_another_parent_is_refused(api, hub):
    before = api.dataset_info("org/data").sha
    send(api, add("a.txt", b"1"), parent_commit=before)
    assert status(lambda: send(api, add("a.txt", b"2"), parent_commit=before)) == 412
    assert hub.repository("org/data").file("main", "a.txt").content == b"1"


def test_a_commit_applies_completely_or_not_at_all(api):
    with pytest.raises(EntryNotFoundError):
        send(api, add("a.txt", b"1"), CommitOperationDelete("not-there.txt"))
    assert not api.file_exists("org/data", "a.txt", repo_type="dataset")


def test_uploads_with_another_digest_or_size_are_refused(api, hub):
    assert put(hub, b"announced", b"replaced!").status_code == 400
    assert put(hub, b"announced", b"short").status_code == 400
    assert put(hub, b"announced", b"announced", size=5).status_code == 400
    assert not hub.repository("org/data").large
    assert put(hub, b"announced", b"announced").status_code == 200


def test_the_storage_needs_a_signed_url_and_no_token(api, hub):
    send(api, add("x.arrow", SHARD))
    headers = {"Authorization": f"Bearer {WRITER}"}
    address = f"{hub.url}/datasets/org/data/resolve/main/x.arrow"
    place = httpx2.get(address, headers=headers, trust_env=False).headers["Location"]
    assert httpx2.get(place, trust_env=False).content == SHARD
    assert httpx2.get(place, headers=headers, trust_env=False).status_code == 400
    unsigned = place.partition("?")[0]
    for address in (unsigned, f"{unsigned}?signature=0"):
        assert httpx2.put(address, content=SHARD, trust_env=False).status_code == 403


def test_files_that_were_never_uploaded_are_refused(api, hub):
    oid, verify = hashlib.sha256(SHARD).hexdigest(), "/datasets/org/data.git/info/lfs/verify"
    line = commit_line("lfsFile", path="x.arrow", algo="sha256", oid=oid, size=len(SHARD))
    assert post(hub, verify, {"oid": oid, "size": len(SHARD)}).status_code == 404
    assert post(hub, COMMIT, line).status_code == 400
    put(hub, SHARD, SHARD)
    assert post(hub, verify, {"oid": oid, "size": 1}).status_code == 422
    assert post(hub, COMMIT, line).status_code == 200


@pytest.mark.parametrize("path", ["../x", "a/../x", "/x", "", "a//b", ".git/config"])
def test_paths_outside_the_repository_are_refused(api, hub, path):
    content = base64.b64encode(b"1").decode()
    line = commit_line("file", path=path, encoding="base64", content=content)
    assert post(hub, COMMIT, line).status_code == 400


def test_large_regular_files_and_broken_metadata_are_refused(api, hub):
    content = base64.b64encode(bytes(11 << 20)).decode()
    line = commit_line("file", path="a.txt", encoding="base64", content=content)
    assert post(hub, COMMIT, line).status_code == 400
    with pytest.raises(ValueError, match="Invalid metadata"):
        send(api, add("README.md", b"---\na: [\n---\n"))


def test_outages_happen_where_they_are_injected(api, hub):
    hub.fail("POST", "/commit/", "lose")
    with pytest.raises(httpx2.RemoteProtocolError):
        send(api, add("a.txt", b"1"))
    assert api.file_exists("org/data", "a.txt", repo_type="dataset")
    hub.fail("POST", "/commit/", "drop")
    with pytest.raises(httpx2.HTTPError):
        send(api, add("b.txt", b"1"))
    assert not api.file_exists("org/data", "b.txt", repo_type="dataset")
