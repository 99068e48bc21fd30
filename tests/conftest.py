"""Fixtures: a CLIP and a dataset that are small enough to train in a test, and a local Hub.

torch and transformers are imported where a test needs them: the process that distributes the tests does not.
"""

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"  # before the Hub's client is imported: no test waits for it
os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: faster for tensors this small

import pytest
from file_server import server
from hub_server import Hub

__all__ = ["server"]

LONGEST = ("test_contract.py", "test_browser.py", "test_encoders_and_methods.py", "test_tuning.py")
"""Modules that start first, so that no worker is left alone with one at the end."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session")
def tiny_clip():
    from tests.tiny import tiny_backbone

    return tiny_backbone()


@pytest.fixture(scope="session")
def make_clip():
    from tests.tiny import tiny_backbone

    return tiny_backbone


@pytest.fixture(scope="session")
def clip_parts():
    """Return a function for the model, tokenizer and image processor of the tiny CLIP."""
    from tests.tiny import clip_model, image_processor, tokenizer

    return lambda seed=0: (clip_model(seed), tokenizer(), image_processor())


@pytest.fixture(scope="session")
def saved_clip(tmp_path_factory, clip_parts):
    """The folder of the tiny CLIP."""
    folder = tmp_path_factory.mktemp("clip")
    for part in clip_parts():
        part.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_dataset():
    from tests.tiny import drawn

    return {split: drawn(split) for split in ("train", "validation", "test")}


@pytest.fixture(scope="session")
def quick_dataset(tiny_dataset):
    """The training split of `tiny_dataset`, and few rows to validate and measure on."""
    few = {split: tiny_dataset[split].select(range(8)) for split in ("validation", "test")}
    return {**tiny_dataset, **few}


@pytest.fixture(scope="session")
def make_row():
    from tests.tiny import row

    return row


@pytest.fixture(scope="session")
def make_dataset():
    from tests.tiny import dataset

    return dataset


@pytest.fixture(scope="session")
def make_drawing():
    from tests.tiny import drawing

    return drawing


@pytest.fixture
def hub(monkeypatch):
    """Run a local Hub that this process and its children use; the user may write to `org`."""
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    with Hub() as running:
        for variable, setting in running.environment().items():
            monkeypatch.setenv(variable, setting)
        template = f"{running.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield running
        close_session()


@pytest.fixture
def registry(monkeypatch):
    """Registrations of a test end with it."""
    import benchmark

    for name in benchmark.method_names():
        benchmark.get_method(name)  # imports the built-in methods before the copy
    module = sys.modules["benchmark.registry"]  # `benchmark.method` is the decorator
    monkeypatch.setattr(module, "_METHODS", dict(module._METHODS))
