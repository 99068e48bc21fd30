"""Small raw sources, drawn for each test."""

import json
import shutil

import pytest

from tests.scenes import image_bytes


@pytest.fixture
def draw():
    return image_bytes


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file of the source `raw`: bytes, text, or any value as JSON."""

    def write(path, content):
        file = tmp_path / "raw" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            file.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return file

    return write


@pytest.fixture
def birds(write, tmp_path):
    """Return an image folder of two categories with 20 train and 4 test pairs each.

    One image has two captions.
    """
    lines = []
    for number in range(48):
        split = "test" if number % 6 == 5 else "train"
        category = ("wren", "robin")[number % 2]
        path = f"{split}/{category}/{number:02d}.png"
        write(path, image_bytes(number))
        caption = f"A small {category} sits on branch {number} in the green shade."
        lines.append(json.dumps({"file_name": path, "caption": caption, "license": "CC0-1.0"}))
    lines.append(json.dumps({"file_name": "train/wren/00.png", "caption": "A wren, once more."}))
    write("metadata.jsonl", "\n".join(lines) + "\n")
    return tmp_path / "raw"


@pytest.fixture
def two_domains(birds, tmp_path):
    """Return birds with given splits, and 30 pets without; both have a category `wren`."""
    root = tmp_path / "many"
    shutil.copytree(birds, root / "birds")
    for number in range(30):
        image = root / "pets" / ("wren", "cat")[number % 2] / f"{number}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(image_bytes(100 + number))
        image.with_suffix(".txt").write_text(f"A {image.parent.name} number {number}.")
    return root


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Give each test its own cache, and keep it offline."""
    import datasets

    cache = tmp_path / "cache"
    monkeypatch.setenv("HF_HOME", str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("FDRD_CACHE", str(cache / "fdrd"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "datasets")
    monkeypatch.setattr("fdrd.storage.registration._READING", 0)  # no other process reads
    return cache
