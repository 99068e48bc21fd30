"""The test Hub refuses what the Hub refuses. Otherwise a faulty push could pass its tests."""

import httpx2
import pytest
from hub_server import READER, WRITER
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError


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


def test_outages_happen_where_they_are_injected(api, hub):
    hub.fail("POST", "/commit/", "lose")
    with pytest.raises(httpx2.RemoteProtocolError):
        send(api, add("a.txt", b"1"))
    assert api.file_exists("org/data", "a.txt", repo_type="dataset")
    hub.fail("POST", "/commit/", "drop")
    with pytest.raises(httpx2.HTTPError):
        send(api, add("b.txt", b"1"))
    assert not api.file_exists("org/data", "b.txt", repo_type="dataset")
