"""Without a connection, nothing waits for the retries of the Hub's client."""

import pytest
from huggingface_hub import constants

from fdrd import connection
from fdrd.dataset import load_view
from fdrd.errors import FdrdError


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


def test_an_unknown_dataset_is_an_error_at_once(unreachable):
    with pytest.raises(FdrdError, match=r"no dataset 'nope'.* the Hub cannot be reached"):
        load_view("nope", "test")
    assert unreachable == []
    assert not constants.HF_HUB_OFFLINE  # as before


def test_a_setting_of_datasets_alone_is_kept(unreachable, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)  # HF_DATASETS_OFFLINE=1
    with connection.hub_or_cache() as connected:
        assert not connected
    assert datasets.config.HF_HUB_OFFLINE


def test_an_unknown_backbone_is_an_error_at_once(unreachable):
    from benchmark.models.loading import load_backbone

    with pytest.raises(FdrdError, match=r"no/such.*`backbone` a local folder"):
        load_backbone("no/such")
    assert unreachable == []


def test_the_hub_is_asked_if_it_answers(hub):
    connection._answers.cache_clear()
    with connection.hub_or_cache() as connected:
        assert connected
    connection._answers.cache_clear()
