"""Build from datasets on the Hub, with the real client and a Hub on localhost."""

import json
import os
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value
from hub_server import WRITER
from huggingface_hub import HfApi

from fdrd.errors import FdrdError
from fdrd.hub.source import local_source
from tests.command import run_python

ROOT = Path(__file__).parents[3]
FEATURES = Features(
    {"image": Image(), "caption": Value("string"), "label": ClassLabel(names=["wren", "robin"])}
)


def upload(folder):
    api = HfApi(token=WRITER)
    api.create_repo("org/birds", repo_type="dataset")
    return api.upload_folder(
        repo_id="org/birds", folder_path=folder, repo_type="dataset", commit_message="x"
    ).oid


def build(hub, tmp_path, source, **more):
    caches = {"HF_HOME": str(tmp_path / "home"), "FDRD_CACHE": str(tmp_path / "kept")}
    environment = {**os.environ, **hub.environment(None), **caches, "PYTHONPATH": str(ROOT), **more}
    command = ("-m", "fdrd", "build", "--source", source, "--out", "out", "--json")
    return json.loads(run_python(*command, env=environment, cwd=tmp_path).stdout)


@pytest.mark.slow
def test_a_parquet_dataset_builds_and_needs_no_network_the_second_time(tmp_path, hub, draw):
    (tmp_path / "repo/data").mkdir(parents=True)
    for split, rows in (("train", range(10)), ("test", range(10, 14))):
        Dataset.from_dict(
            {
                "image": [{"bytes": draw(row), "path": None} for row in rows],
                "caption": [f"Bird {row}." for row in rows],
                "label": [row % 2 for row in rows],
            },
            features=FEATURES,
        ).to_parquet(tmp_path / f"repo/data/{split}-00000-of-00001.parquet")
    (tmp_path / "repo/README.md").write_text("---\nlicense: cc-by-4.0\n---\n# Birds\n")
    commit = upload(tmp_path / "repo")
    manifest = build(hub, tmp_path, "hub:org/birds")
    assert manifest["records"] == {"read": 14, "kept": 14, "rejected": 0}
    assert manifest["categories"] == ["robin", "wren"]
    (domain,) = manifest["domains"]
    assert (domain["name"], domain["reader"]) == ("birds", "saved_dataset")
    assert domain["homepage"] == "https://huggingface.co/datasets/org/birds"
    assert manifest["licenses"] == {"cc-by-4.0": 14}
    again = build(hub, tmp_path, f"hub:org/birds@{commit}", HF_HUB_OFFLINE="1")
    assert again["nothing_to_do"]


def test_invalid_names_and_missing_datasets_are_reported(hub):
    assert local_source("some/folder") == Path("some/folder")
    with pytest.raises(FdrdError, match="write hub:ORG/NAME"):
        local_source("hub:birds")
    with pytest.raises(FdrdError, match="org/none does not exist on the Hub"):
        local_source("hub:org/none")
