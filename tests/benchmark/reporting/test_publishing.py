"""Push trained methods: they load again unchanged, and no local path is published."""

import json
import shutil

import pytest
import torch
from hub_server import WRITER
from huggingface_hub import HfApi, ModelCard, constants
from safetensors.torch import load_file

import benchmark
from benchmark import load_method
from benchmark.checkpoint import find_checkpoint, read_header
from fdrd.errors import FdrdError
from tests.command import run_fdrd

REPO = "org/fdrd-coop-shapes"
CAPTIONS = ["a big red circle on the left", "a photo of a cat"]


@pytest.fixture(scope="module")
def trained(run_tiny, tmp_path_factory):
    """A checkpoint with two results of its training beside it, and one of another seed."""
    folder = tmp_path_factory.mktemp("runs")
    run_tiny("coop", seed=1, results=folder)
    run_tiny("coop", split="validation", results=folder)
    path = folder / run_tiny("coop", results=folder).settings.file_name()
    return path.with_suffix(".safetensors")


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def train_with_backbone(make_clip, run_tiny, tmp_path):
    """Train on a backbone of a given name, and return the checkpoint."""

    def train(name):
        clip = make_clip()
        clip.name = name
        run_tiny("coop", backbone=clip, results=tmp_path / "runs")
        (checkpoint,) = (tmp_path / "runs").glob("*.safetensors")
        return checkpoint

    return train


def content(hub):
    repository = hub.repository(REPO, "model")
    files = repository.resolve("main").files.items()
    return {path: repository.content(file) for path, file in files if path != ".gitattributes"}


@torch.no_grad()
def test_a_pushed_method_loads_again_unchanged(hub, trained, tiny_clip):
    benchmark.push(trained, REPO)
    assert sorted(content(hub))[:2] == ["README.md", "model.safetensors"]
    here, there = (load_method(spec, backbone=tiny_clip) for spec in (trained, REPO))
    assert torch.equal(here.encode_text(CAPTIONS).pooled, there.encode_text(CAPTIONS).pooled)
    assert read_header(find_checkpoint(REPO)).tensors == read_header(trained).tensors


def test_the_card_holds_the_results_of_the_training_as_a_model_index(hub, trained):
    benchmark.push(trained, REPO)
    card = ModelCard(content(hub)["README.md"].decode())
    assert card.data.library_name == "fdrd"
    assert card.data.model_name == "fdrd-coop-shapes"
    found = {(e.dataset_split, e.metric_type): e.metric_value for e in card.data.eval_results}
    results = [
        json.loads(text) for path, text in content(hub).items() if path.startswith("results/")
    ]
    assert sorted(result["settings"]["split"] for result in results) == ["test", "validation"]
    assert {result["settings"]["seed"] for result in results} == {0}
    for result in results:
        for direction in ("image_to_text", "text_to_image"):
            side = result["metrics"]["by_direction"][direction]["values"]
            key = (result["settings"]["split"], f"{direction}_recall_at_5")
            assert found[key] == side["R@5"]
            assert found[key[0], f"{direction}_mrr"] == side["MRR"]
        assert (result["settings"]["split"], "r_sum") in found
    assert "| n\\_ctx | `4` |" in card.text
    assert read_header(trained).settings.backbone.fingerprint in card.text


def test_hand_edits_of_the_card_stay_except_for_results(hub, trained):
    """A push of what is there changes nothing."""
    first = benchmark.push(trained, REPO)
    before = hub.count("PUT", "/storage/"), hub.count("POST", "/commit/")
    assert benchmark.push(trained, REPO).commit == first.commit
    assert (hub.count("PUT", "/storage/"), hub.count("POST", "/commit/")) == before
    edited = content(hub)["README.md"].decode()
    edited = edited.replace("library_name: fdrd", "library_name: fdrd\nlicense: mit", 1)
    edited = edited.replace("<!-- /fdrd:title -->", "<!-- /fdrd:title -->\n\nMade with care.", 1)
    edited = edited.replace("0.0", "9.9")  # edited results do not stay
    file = {"path_or_fileobj": edited.encode(), "path_in_repo": "README.md"}
    HfApi(token=WRITER).upload_file(repo_id=REPO, **file)
    benchmark.push(trained, REPO)
    card = ModelCard(content(hub)["README.md"].decode())
    assert card.data.license == "mit"
    assert "Made with care." in card.text
    assert all(0 <= each.metric_value <= 6 for each in card.data.eval_results)


def test_no_local_path_is_published(hub, train_with_backbone, tmp_path):
    checkpoint = train_with_backbone(str(tmp_path / "secret-folder" / "my-clip"))
    assert b"secret-folder" in checkpoint.read_bytes()
    benchmark.push(checkpoint, REPO)
    for data in content(hub).values():
        assert b"secret-folder" not in data
    assert read_header(find_checkpoint(REPO)).settings.backbone.name == "my-clip"
    assert 'backbone="PATH"' in content(hub)["README.md"].decode()
    here, there = (load_file(path) for path in (checkpoint, find_checkpoint(REPO)))
    assert all(torch.equal(here[key], there[key]) for key in here)


def test_a_backbone_on_the_hub_is_the_base_model(hub, train_with_backbone):
    benchmark.push(train_with_backbone("openai/clip-vit-base-patch32@abc"), REPO)
    card = ModelCard(content(hub)["README.md"].decode())
    assert card.data.base_model == "openai/clip-vit-base-patch32"
    assert f'load_method("{REPO}")' in card.text


def test_a_method_loads_from_a_branch_and_a_tag(hub, trained, tiny_clip):
    benchmark.push(trained, REPO, revision="next", tag="v1")
    for revision in ("next", "v1"):
        load_method(f"{REPO}@{revision}", backbone=tiny_clip)
    with pytest.raises(FdrdError, match=r"no checkpoint .*@v2: no such file"):
        find_checkpoint(f"{REPO}@v2")


def test_files_that_are_not_checkpoints_are_rejected(hub, tiny_clip):
    api = HfApi(token=WRITER)
    api.create_repo("org/other")
    with pytest.raises(FdrdError, match=r"the repository has no model\.safetensors"):
        find_checkpoint("org/other")
    content = {"path_or_fileobj": b"\x80\x04cos\nsystem\n", "path_in_repo": "model.safetensors"}
    api.upload_file(repo_id="org/other", **content)
    with pytest.raises(FdrdError, match="is not a checkpoint of this version of fdrd"):
        load_method("org/other", backbone=tiny_clip)
    with pytest.raises(FdrdError, match=r"no checkpoint org/none: .*the Hub download failed"):
        find_checkpoint("org/none")


def test_the_command_prints_the_plan_before_the_push(hub, trained, tmp_path):
    def run(checkpoint, *words):
        code, printed, told = run_fdrd("push", checkpoint, "--repo-id", REPO, *words)
        return code, printed + told

    code, output = run(trained, "--dry-run")
    assert code == 0, output
    assert "a new public model repository" in output
    assert "upload: 4 files, 0.0 MB (README.md, model.safetensors, results/" in output
    assert ("model", REPO) not in hub.repositories
    code, output = run(trained, "--tag", "v1")
    assert code == 0, output
    assert f"fdrd bench --checkpoint {REPO}@v1" in output
    code, output = run(trained, "--format", "parquet")
    assert code == 2
    assert "are for datasets" in output
    alone = shutil.copy(trained, tmp_path / "alone.safetensors")
    output = run(alone, "--dry-run", "--json")[1]  # no result is beside it
    assert set(json.loads(output)["files"]) == {"README.md", "model.safetensors"}
