"""A build never waits for the Hub, and without a connection nothing waits for retries of the client."""

import threading

import pytest
from huggingface_hub import HfApi, constants

from fdrd import connection
from fdrd.dataset import load_view
from fdrd.errors import FdrdError
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


@pytest.fixture
def unreachable(monkeypatch):
    """Point at a Hub that refuses connections, and count requests that the client would repeat."""
    import datasets

    for module in (constants, datasets.config):
        monkeypatch.setattr(module, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    connection._answers.cache_clear()
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    yield slept
    connection._answers.cache_clear()


def test_an_unknown_dataset_or_backbone_is_an_error_at_once(unreachable):
    from benchmark.models.loading import load_backbone

    with pytest.raises(FdrdError, match=r"no dataset 'nope'.* the Hub cannot be reached"):
        load_view("nope", "test")
    with pytest.raises(FdrdError, match=r"no/such.*`backbone` a local folder"):
        load_backbone("no/such")
    assert unreachable == []
    assert not constants.HF_HUB_OFFLINE  # as before


def test_a_setting_of_datasets_alone_is_kept(unreachable, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)  # HF_DATASETS_OFFLINE=1
    with connection.hub_or_cache() as connected:
        assert not connected
    assert datasets.config.HF_HUB_OFFLINE


def test_the_hub_is_asked_if_it_answers(hub):
    connection._answers.cache_clear()
    with connection.hub_or_cache() as connected:
        assert connected
    connection._answers.cache_clear()
