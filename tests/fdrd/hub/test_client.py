"""A build says that the Hub has its name, and never waits for the answer."""

import threading

import pytest
from huggingface_hub import HfApi, constants

from fdrd.hub.client import start_name_check


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Answer for `HfApi.repo_exists`, which waits until the event is set; return the event and the names."""
    ready, names = threading.Event(), []

    def repo_exists(self, name, repo_type):
        ready.wait(30)
        names.append(name)
        return name == "food101"

    monkeypatch.setattr(HfApi, "repo_exists", repo_exists)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield ready, names
    ready.set()


def answers():
    for thread in threading.enumerate():
        if thread.daemon and "ask" in thread.name:
            thread.join(30)


def test_a_name_on_the_hub_is_found_without_waiting(asked):
    ready, names = asked
    found = {name: start_name_check(name) for name in ("food101", "my-birds", "fdrd")}
    assert not any(known() for known in found.values())  # nobody has answered yet
    ready.set()
    answers()
    assert {name: known() for name, known in found.items()} == {
        "food101": True,
        "my-birds": False,
        "fdrd": False,
    }
    assert sorted(names) == ["food101", "my-birds"]


def test_without_a_connection_only_the_local_cache_is_read(asked, monkeypatch, tmp_path):
    ready, names = asked
    ready.set()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (tmp_path / "datasets--cifar10").mkdir()
    found = [start_name_check(name) for name in ("cifar10", "food101")]
    answers()
    assert ([known() for known in found], names) == ([True, False], [])
