"""In a new process without a token: pushed datasets load from an empty cache, and datasets of the Hub are built."""

import hashlib
import json
import os
import re
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value
from hub_server import WRITER
from huggingface_hub import HfApi, snapshot_download

import fdrd
from fdrd.checks.validation import validate
from fdrd.errors import FdrdError
from fdrd.hub.source import local_source
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


def python(hub, folder, *arguments, **more):
    """Return what a new process without a token prints, in its own folder."""
    (folder / "elsewhere").mkdir(exist_ok=True)
    caches = {"HF_HOME": str(folder / "home"), "FDRD_CACHE": str(folder / "kept")}
    variables = {**hub.environment(None), **caches, "PYTHONPATH": str(ROOT), **more}
    environment = os.environ | variables
    return run_python(*arguments, env=environment, cwd=folder / "elsewhere").stdout


@pytest.mark.parametrize("format", ["parquet", pytest.param("arrow", marks=pytest.mark.slow)])
def test_a_new_process_loads_every_image_with_its_digest(two_domains, tmp_path, hub, format):
    built = build(two_domains, tmp_path / "out", workers=1)
    fdrd.push(built.out, "org/birds", have_rights=True, format=format)
    loaded = json.loads(python(hub, tmp_path, "-c", LOADER))
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
        python(hub, tmp_path, "-c", block)


@pytest.mark.slow
def test_a_parquet_dataset_builds_and_needs_no_network_the_second_time(tmp_path, hub, draw):
    (tmp_path / "repo/data").mkdir(parents=True)
    features = {"image": Image(), "caption": Value("string")}
    features["label"] = ClassLabel(names=["wren", "robin"])
    for split, rows in (("train", range(10)), ("test", range(10, 14))):
        Dataset.from_dict(
            {
                "image": [{"bytes": draw(row), "path": None} for row in rows],
                "caption": [f"Bird {row}." for row in rows],
                "label": [row % 2 for row in rows],
            },
            features=Features(features),
        ).to_parquet(tmp_path / f"repo/data/{split}-00000-of-00001.parquet")
    (tmp_path / "repo/README.md").write_text("---\nlicense: cc-by-4.0\n---\n# Birds\n")
    api, repo = HfApi(token=WRITER), {"repo_id": "org/birds", "repo_type": "dataset"}
    api.create_repo(**repo)
    commit = api.upload_folder(**repo, folder_path=tmp_path / "repo", commit_message="x").oid
    build = ("-m", "fdrd", "build", "--out", "out", "--json", "--source")
    manifest = json.loads(python(hub, tmp_path, *build, "hub:org/birds"))
    assert manifest["records"] == {"read": 14, "kept": 14, "rejected": 0}
    assert manifest["categories"] == ["robin", "wren"]
    (domain,) = manifest["domains"]
    assert (domain["name"], domain["reader"]) == ("birds", "saved_dataset")
    assert domain["homepage"] == "https://huggingface.co/datasets/org/birds"
    assert manifest["licenses"] == {"cc-by-4.0": 14}
    again = python(hub, tmp_path, *build, f"hub:org/birds@{commit}", HF_HUB_OFFLINE="1")
    assert json.loads(again)["nothing_to_do"]


def test_invalid_names_and_missing_datasets_are_reported(hub):
    assert local_source("some/folder") == Path("some/folder")
    with pytest.raises(FdrdError, match="write hub:ORG/NAME"):
        local_source("hub:birds")
    with pytest.raises(FdrdError, match="org/none does not exist on the Hub"):
        local_source("hub:org/none")
