"""Pushed datasets load with `datasets` in a new process, from an empty cache, without a token."""

import hashlib
import json
import os
import re
from pathlib import Path

import pytest
from huggingface_hub import snapshot_download

import fdrd
from fdrd.checks.validation import validate
from fdrd.pipeline.builder import build
from tests.command import run_python

ROOT = Path(__file__).parents[3]
LOADER = """
import hashlib, json
from datasets import Image, get_dataset_config_names, load_dataset

def contents(rows):
    rows = rows.cast_column("image", Image(decode=False))
    return {row["id"]: [row["caption"], hashlib.sha256(row["image"]["bytes"]).hexdigest(), row["category"]]
            for row in rows}

whole = load_dataset("org/birds")
print(json.dumps({
    "whole": {split: contents(rows) for split, rows in whole.items()},
    "streams": {
        name: {split: contents(rows) for split, rows in load_dataset("org/birds", name, streaming=True).items()}
        for name in get_dataset_config_names("org/birds")
    },
    "names": whole["test"].features["category"].names,
    "size": list(whole["test"][0]["image"].size),
}))
"""


def python(code, hub, tmp_path):
    """Return what a new process without a token prints, in its own folder."""
    (tmp_path / "elsewhere").mkdir(exist_ok=True)
    variables = {"HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    environment = {**os.environ, **hub.environment(None), **variables}
    return run_python("-c", code, env=environment, cwd=tmp_path / "elsewhere").stdout


@pytest.mark.parametrize("format", ["parquet", pytest.param("arrow", marks=pytest.mark.slow)])
def test_a_new_process_loads_every_image_with_its_digest(two_domains, tmp_path, hub, format):
    built = build(two_domains, tmp_path / "out", workers=1)
    fdrd.push(built.out, "org/birds", have_rights=True, format=format)
    loaded = json.loads(python(LOADER, hub, tmp_path))
    whole, streams = loaded["whole"], loaded["streams"]
    assert streams.pop("default") == whole
    assert streams.keys() == {"birds", "pets"}
    for split, rows in whole.items():
        assert rows == {**streams["birds"][split], **streams["pets"][split]}
    for domain, splits in built.manifest.splits.items():
        assert {split: len(rows) for split, rows in streams[domain].items()} == {
            split: count.pairs for split, count in splits.items()
        }
    of_file = {
        hashlib.sha256(path.read_bytes()).hexdigest(): path for path in two_domains.rglob("*.png")
    }
    seen = set()
    for rows in whole.values():
        for key, (_, digest, category) in rows.items():
            file = of_file[digest]
            seen.add(digest)
            assert key.startswith(f"{file.relative_to(two_domains).parts[0]}/")
            name = loaded["names"][category].removeprefix(f"{key.split('/')[0]}: ")
            assert name == file.parent.name
    assert seen == of_file.keys()
    assert loaded["size"] == [24, 16]
    copy = snapshot_download("org/birds", repo_type="dataset", local_dir=tmp_path / "copy")
    assert not list(validate(Path(copy)))
    assert fdrd.load(copy).view("test").fingerprint == fdrd.load(built.out).view("test").fingerprint
    if format == "parquet":
        assert any(request.status == 206 for request in hub.requests)  # a stream reads ranges


@pytest.mark.slow
def test_the_code_of_the_card_runs(birds, tmp_path, hub):
    folder = build(birds, tmp_path / "out", workers=1).out
    fdrd.push(folder, "org/birds", have_rights=True)
    card = hub.repository("org/birds").file("main", "README.md").content.decode()
    blocks = re.findall(r"^```python\n(.*?)^```", card, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        python(block, hub, tmp_path)
