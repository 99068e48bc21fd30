"""A trained method on the Hub: what is pushed comes back as the same method, and tells nothing of this machine."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import READER, WRITER, Hub
from huggingface_hub import HfApi, ModelCard, constants
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import baselines  # noqa: F401  # registers the methods
import benchmark
from benchmark import CLIPBackbone, load_method
from benchmark.checkpoint import read_header
from benchmark.reporting.publishing import Draft, Published, _verify, draft_method, publish
from benchmark.trained import find_checkpoint
from fdrd.commands import app
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError
from fdrd.hub import Options

Splits = dict[str, RetrievalDataset]
REPO = "org/fdrd-coop-shapes"
CAPTIONS = ["a big red circle on the left", "a photo of a cat"]


@pytest.fixture(scope="module")
def trained(
    tiny_clip: CLIPBackbone, tiny_dataset: Splits, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A checkpoint with two results of its training beside it, and one of another seed."""
    folder = tmp_path_factory.mktemp("runs")
    learn: dict[str, Any] = {
        "options": {"n_ctx": 4},
        "train": {"epochs": 1, "batch_size": 8},
        "results": folder,
        "backbone": tiny_clip,
    }
    benchmark.run("coop", tiny_dataset, seed=1, **learn)
    (other,) = folder.glob("*.safetensors")
    benchmark.run("coop", tiny_dataset, **learn)
    (checkpoint,) = set(folder.glob("*.safetensors")) - {other}
    benchmark.run("coop", tiny_dataset, split="validation", **learn)
    return checkpoint


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def push(checkpoint: Path, options: Options = Options()) -> tuple[Draft, Published]:  # noqa: B008
    draft = draft_method(checkpoint, REPO, options)
    return draft, publish(draft, options)


def content(hub: Hub, revision: str = "main") -> dict[str, bytes]:
    repository = hub.repository(REPO, "model")
    return {
        path: repository.content(file)
        for path, file in repository.resolve(revision).files.items()
        if path != ".gitattributes"
    }


@torch.no_grad()
def test_what_is_pushed_comes_back_as_the_same_method(
    hub: Hub, trained: Path, tiny_clip: CLIPBackbone
) -> None:
    _, done = push(trained)
    assert done.verified == len(content(hub))
    assert sorted(content(hub))[:2] == ["README.md", "model.safetensors"]
    here, there = (load_method(spec, backbone=tiny_clip) for spec in (trained, REPO))
    assert torch.equal(here.encode_text(CAPTIONS).pooled, there.encode_text(CAPTIONS).pooled)
    assert read_header(find_checkpoint(REPO)) == read_header(trained)


def test_the_card_has_the_results_of_this_training_as_a_model_index(
    hub: Hub, trained: Path
) -> None:
    push(trained)
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
            side = result["metrics"][direction]["strict"]
            key = (result["settings"]["split"], f"{direction}_recall_at_5")
            assert found[key] == side["recall"]["R@5"]
            assert found[key[0], f"{direction}_mrr"] == side["mrr"]
    assert len(found) == 2 * 2 * 4
    assert "| n\\_ctx | `4` |" in card.text
    assert read_header(trained).backbone_fingerprint in card.text


def test_a_second_push_changes_nothing(hub: Hub, trained: Path) -> None:
    _, first = push(trained)
    before = hub.count("PUT", "."), len(hub.repository(REPO, "model").resolve("main").files)
    _, second = push(trained)
    assert second.commit == first.commit
    assert (
        hub.count("PUT", "."),
        len(hub.repository(REPO, "model").resolve("main").files),
    ) == before


def test_what_was_written_on_the_card_by_hand_stays(hub: Hub, trained: Path) -> None:
    push(trained)
    edited = content(hub)["README.md"].decode()
    edited = edited.replace("library_name: fdrd", "library_name: fdrd\nlicense: mit", 1)
    edited = edited.replace("<!-- /fdrd:title -->", "<!-- /fdrd:title -->\n\nMade with care.", 1)
    edited = edited.replace("0.0", "9.9")  # results are not for a hand to change
    HfApi(token=WRITER).upload_file(
        path_or_fileobj=edited.encode(), path_in_repo="README.md", repo_id=REPO
    )
    push(trained)
    card = ModelCard(content(hub)["README.md"].decode())
    assert card.data.license == "mit"
    assert "Made with care." in card.text
    assert all(0 <= each.metric_value <= 1 for each in card.data.eval_results)


def test_no_folder_of_this_machine_is_told(
    hub: Hub,
    trained: Path,
    tmp_path: Path,
    make_clip: Callable[..., CLIPBackbone],
    tiny_dataset: Splits,
) -> None:
    secret = tmp_path / "secret-folder" / "my-clip"
    clip = make_clip()
    clip.name = str(secret)
    benchmark.run(
        "coop", tiny_dataset, backbone=clip, results=tmp_path / "runs",
        options={"n_ctx": 4}, train={"epochs": 1, "batch_size": 8},
    )  # fmt: skip
    (checkpoint,) = (tmp_path / "runs").glob("*.safetensors")
    assert b"secret-folder" in checkpoint.read_bytes()
    draft, _ = push(checkpoint)
    assert not draft.on_hub
    for data in content(hub).values():
        assert b"secret-folder" not in data
    assert read_header(find_checkpoint(REPO)).backbone == "my-clip"
    assert 'backbone="PATH"' in content(hub)["README.md"].decode()
    here, there = (load_file(path) for path in (checkpoint, find_checkpoint(REPO)))
    assert all(torch.equal(here[key], there[key]) for key in here)


def test_a_backbone_of_the_hub_is_the_base_model(
    hub: Hub,
    trained: Path,
    tmp_path: Path,
    make_clip: Callable[..., CLIPBackbone],
    tiny_dataset: Splits,
) -> None:
    clip = make_clip()
    clip.name = "openai/clip-vit-base-patch32@abc"
    benchmark.run(
        "coop", tiny_dataset, backbone=clip, results=tmp_path / "runs",
        options={"n_ctx": 4}, train={"epochs": 1, "batch_size": 8},
    )  # fmt: skip
    (checkpoint,) = (tmp_path / "runs").glob("*.safetensors")
    draft, _ = push(checkpoint)
    assert draft.on_hub
    card = ModelCard(content(hub)["README.md"].decode())
    assert card.data.base_model == "openai/clip-vit-base-patch32"
    assert f'load_method("{REPO}")' in card.text


def test_a_revision_and_a_tag_are_found_again(
    hub: Hub, trained: Path, tiny_clip: CLIPBackbone
) -> None:
    push(trained, Options(revision="next", tag="v1"))
    for revision in ("next", "v1"):
        load_method(f"{REPO}@{revision}", backbone=tiny_clip)
    with pytest.raises(FdrdError, match=r"no checkpoint .*@v2: no such file here"):
        find_checkpoint(f"{REPO}@v2")
    with pytest.raises(FdrdError, match="has a tag v1 already"):
        draft_method(trained, REPO, Options(tag="v1"))


def test_a_pull_request_leaves_main_as_it_is(hub: Hub, trained: Path) -> None:
    push(trained)
    before = content(hub)
    own = trained.read_bytes()  # a run on another split keeps the same tensors
    other = next(p for p in trained.parent.glob("*.safetensors") if p.read_bytes() != own)
    _, done = push(other, Options(pull_request=True))
    assert done.pull_request
    assert content(hub) == before
    assert content(hub, "refs/pr/1") != before


@pytest.mark.parametrize(
    ("options", "repo_id", "message"),
    [
        (Options(), "nobody", "name a user or an organisation"),
        (Options(tag="v1", pull_request=True), REPO, "merge the pull request first"),
    ],
)
def test_options_that_cannot_be_are_refused(
    hub: Hub, trained: Path, options: Options, repo_id: str, message: str
) -> None:
    with pytest.raises(FdrdError, match=message):
        draft_method(trained, repo_id, options)


def test_a_public_model_is_not_pushed_to_as_if_it_were_private(hub: Hub, trained: Path) -> None:
    push(trained)
    with pytest.raises(FdrdError, match="is public already"):
        draft_method(trained, REPO, Options(private=True))


def test_without_a_token_one_line_says_so(
    hub: Hub, trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(FdrdError, match="no Hub token on this machine"):
        draft_method(trained, REPO, Options())
    monkeypatch.setenv("HF_TOKEN", READER)
    with pytest.raises(FdrdError, match="may not write to org") as refused:
        push(trained)
    assert READER not in str(refused.value)


@pytest.mark.parametrize("path", ["README.md", "model.safetensors"])
def test_a_file_that_arrived_otherwise_is_found(hub: Hub, trained: Path, path: str) -> None:
    draft, done = push(trained)
    sent = draft.content | {path: draft.content[path][:-1] + b"x"}
    with pytest.raises(FdrdError, match=f"{path} arrived damaged"):
        _verify(HfApi(), REPO, done.commit, sent)


def test_a_failing_hub_is_asked_again(
    hub: Hub, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.fail("POST", "/commit/", 500)
    hub.fail("POST", "/api/repos/create", 429)
    _, done = push(trained)
    assert content(hub)["model.safetensors"]
    assert done.commit


def test_what_is_no_method_of_fdrd_is_refused(
    hub: Hub, tiny_clip: CLIPBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    api = HfApi(token=WRITER)
    api.create_repo("org/other")
    with pytest.raises(FdrdError, match=r"it has no model\.safetensors, so it is no method"):
        find_checkpoint("org/other")
    api.upload_file(
        path_or_fileobj=b"\x80\x04cos\nsystem\n",
        path_in_repo="model.safetensors",
        repo_id="org/other",
    )
    with pytest.raises(FdrdError, match="is no checkpoint of fdrd"):
        load_method("org/other", backbone=tiny_clip)
    whole = {
        "method": "coop", "options": {}, "backbone": "tiny", "backbone_fingerprint": "0" * 64,
        "train_fingerprint": "0" * 64, "train": {}, "seed": 0,
    }  # fmt: skip
    for header in (whole | {"method": ["coop"]}, whole | {"options": 3}, {"method": "coop"}, [], 1):
        save_file({"a": torch.ones(1)}, "bad.safetensors", {"fdrd": json.dumps(header)})
        with pytest.raises(FdrdError, match=r"bad\.safetensors is no checkpoint of fdrd"):
            load_method("bad.safetensors", backbone=tiny_clip)
    with pytest.raises(FdrdError, match=r"no checkpoint org/none: .*the Hub does not give it"):
        find_checkpoint("org/none")


def test_the_command_says_what_it_uploads_before_it_does(
    hub: Hub, trained: Path, tmp_path: Path
) -> None:
    def run(*words: object) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["push", str(trained), *map(str, words)])
        return done.exit_code, f"{done.output}\n{done.exception or ''}"

    code, said = run("--repo-id", REPO, "--dry-run")
    assert code == 0, said
    assert "a new public model repository" in said
    assert "model.safetensors, 0.00 MB" in said
    assert ("model", REPO) not in hub.repositories
    code, said = run("--repo-id", REPO, "--tag", "v1")
    assert code == 0, said
    assert f"fdrd bench --checkpoint {REPO}@v1" in said
    code, said = run("--repo-id", REPO, "--format", "parquet")
    assert code == 1
    assert "are for datasets" in said
    shutil.copy(trained, tmp_path / "alone.safetensors")
    draft = draft_method(tmp_path / "alone.safetensors", REPO, Options())
    assert sorted(draft.content) == ["README.md", "model.safetensors"]  # no result lies beside it
