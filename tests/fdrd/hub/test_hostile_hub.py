"""Corrupted, redirected and traversing answers of a Hub: one line each, and nothing outside of the caches."""

import json
import shutil
from dataclasses import replace

import pytest
from datasets import Dataset, Features, Image, Value
from hub_server import WRITER, Reply
from huggingface_hub import HfApi

import fdrd
from benchmark.checkpoint import load_method, save_checkpoint
from benchmark.models.loading import load_backbone, token_counter
from benchmark.settings import Named
from fdrd.errors import FdrdError
from fdrd.hub.source import local_source
from fdrd.pipeline.builder import build
from tests.folders import caches_in
from tests.running import made_settings

EVIL = ("../../../../../evil", "/evil", "a\\..\\..\\evil", "data/../../evil", "evil\0")


def body(content, kind="application/json"):
    return lambda reply: Reply(200, content, (("Content-Type", kind),))


def headers(**changed):
    """Return a change of headers; an underscore stands for a hyphen."""
    named = {name.replace("_", "-"): value for name, value in changed.items()}
    return lambda reply: replace(reply, headers=(*({**dict(reply.headers), **named}).items(),))


def half(reply):
    headers = tuple(each for each in reply.headers if each[0] != "Content-Length")
    return Reply(reply.status, reply.body[: len(reply.body) // 2], headers)


def redirect(to):
    return lambda reply: Reply(302, b"", (("Location", to),))


def traversing(name):
    """Rename all files of a JSON answer."""

    def change(value):
        if isinstance(value, list):
            return [change(each) for each in value]
        if not isinstance(value, dict):
            return value
        names = {key: name for key in ("path", "rfilename") if key in value}
        return {key: change(each) for key, each in value.items()} | names

    def answer(reply):
        try:
            return replace(reply, body=json.dumps(change(json.loads(reply.body))).encode())
        except ValueError:
            return reply

    return answer


ANSWERS = {
    "HTML": body(b"<!doctype html><title>Log in</title>", "text/html"),
    "not UTF-8": body(b'{"sha": "\xff\xfe"}'),
    "nothing": body(b""),
    "a list": body(b"[]"),
    "a number": body(b"7"),
    "null": body(b"null"),
    "deep": body(b"[" * 100_000),
    "other types": body(b'{"sha": [], "siblings": 7, "cardData": "x", "id": {}, "tags": 1}'),
    "half": half,
    "garbage": lambda reply: replace(reply, body=bytes(255 - each for each in reply.body)),
    "huge length": headers(Content_Length=str(10**15)),
    "huge size": headers(X_Linked_Size=str(10**15)),
    "wrong size": headers(X_Linked_Size="1"),
    "no etag": headers(ETag="", X_Linked_Etag=""),
    "etag leads out": headers(ETag='"../../../../../evil"', X_Linked_Etag='"../../../../../evil"'),
    "commit leads out": headers(X_Repo_Commit="../../../../../evil"),
    "to a file": redirect("file:///etc/passwd"),
    "to itself": redirect("?"),
    "to nowhere": redirect("http://127.0.0.1:9/x"),
    "teapot": lambda reply: Reply(418, b"\x1b[2J<b>short</b>\nand stout"),
    **{f"name {name!r}": traversing(name) for name in EVIL},
}


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    """Return a folder with a built dataset, files of a Hub dataset, and a checkpoint."""
    folder = tmp_path_factory.mktemp("things")
    with caches_in(folder):
        fdrd.sample(folder / "raw", 6, 24, size=32, workers=1)
        built = build(folder / "raw", folder / "set", workers=1).out
    images = sorted((folder / "raw").rglob("*.jpg"))
    assert images
    rows = {"image": list(map(str, images)), "caption": [each.name for each in images]}
    features = Features({"image": Image(), "caption": Value("string")})
    (folder / "repo/data").mkdir(parents=True)
    Dataset.from_dict(rows, features=features).to_parquet(folder / "repo/data/train-0.parquet")
    (folder / "repo/README.md").write_text("---\nlicense: mit\n---\n# Birds\n")
    return built, folder


@pytest.fixture
def served(hub, things, tmp_path, monkeypatch, clip_parts):
    """Serve the dataset, a checkpoint and a backbone; caches are in `tmp_path / "home"`."""
    import torch
    from huggingface_hub import constants

    home = tmp_path / "root/home"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 2)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", home / "datasets")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("datasets.config.HF_ENDPOINT", hub.url)
    monkeypatch.setenv("FDRD_CACHE", str(home / "fdrd"))
    monkeypatch.setattr("time.sleep", lambda _: None)
    api = HfApi(token=WRITER)
    model = tmp_path / "root/model"
    for part in clip_parts():
        part.save_pretrained(model)
    settings = made_settings("coop", Named("org/clip", "f" * 64))
    save_checkpoint(model.parent / "weights/model.safetensors", torch.nn.Linear(1, 1), settings)
    for name, kind, folder in (
        ("org/birds", "dataset", things[1] / "repo"),
        ("org/clip", "model", model),
        ("org/weights", "model", model.parent / "weights"),
    ):
        api.create_repo(name, repo_type=kind)
        api.upload_folder(repo_id=name, folder_path=folder, repo_type=kind)
    return hub


OPERATIONS = {
    "build": lambda _: local_source("hub:org/birds"),
    "load": lambda _: fdrd.load("org/birds"),
    "push": lambda built: fdrd.push(built, "org/birds", have_rights=True),
    "checkpoint": lambda _: load_method("org/weights"),
    "backbone": lambda _: load_backbone("org/clip"),
    "tokens": lambda _: token_counter("org/clip"),
}


def attempt(operation, built):
    """Return an error that is not one short line."""
    try:
        operation(built)
    except FdrdError as error:
        text = str(error)
        return text if len(text.splitlines()) != 1 or len(text) > 1500 else ""
    except Exception as error:
        return repr(error)
    return ""


def outside(folder):
    """Return the files that are in no cache."""
    return {path for path in folder.rglob("*") if "home" not in path.relative_to(folder).parts}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_ends_in_one_line_and_writes_into_caches_only(name, served, things, tmp_path):
    wrong = []
    assert attempt(OPERATIONS[name], things[0]) == ""
    for place in ("/api/", "/resolve/", "/storage/"):
        for kind, answer in ANSWERS.items():
            shutil.rmtree(tmp_path / "root/home", ignore_errors=True)
            before = outside(tmp_path)
            served.heal()
            for method in ("GET", "HEAD", "POST"):
                served.fail(method, place, answer, times=10**6)
            problem = attempt(OPERATIONS[name], things[0])
            if problem or outside(tmp_path) != before:
                wrong.append((place, kind, problem))
    assert wrong == []


@pytest.mark.parametrize("header", ["ETag", "X_Repo_Commit"])
def test_a_header_that_leads_out_of_the_cache_is_refused(header, served, tmp_path):
    before = outside(tmp_path)
    served.fail("HEAD", "/resolve/", headers(**{header: '"../../../../../evil"'}), times=10**6)
    with pytest.raises(FdrdError, match="leads out of the cache"):
        load_method("org/clip@main")
    assert outside(tmp_path) == before


def test_hostile_answers_to_a_push(served, things):
    for name in ("HTML", "other types", "teapot", "name '/evil'"):
        served.heal()
        served.fail("GET", "/api/", ANSWERS[name], times=10**6)
        assert attempt(OPERATIONS["push"], things[0]) == ""
