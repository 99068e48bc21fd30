"""Push datasets with the real client to a Hub on localhost: what arrives, what is kept, what is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from hub_server import READER, WRITER, File
from huggingface_hub import HfApi
from typer.testing import CliRunner

import fdrd
from fdrd.commands import app
from fdrd.errors import FdrdError
from fdrd.hub.client import readable_errors
from fdrd.hub.dataset_repository import dataset_publication
from fdrd.hub.publisher import PushOptions, execute, prepare
from fdrd.pipeline.builder import build

REPO = "org/birds"


@pytest.fixture
def built(built_birds):
    """The folder of a dataset of three shards, in which one row has no known license."""
    return built_birds.out


@pytest.fixture
def other(birds, tmp_path):
    """The folder of another dataset, whose domain is `garden`."""
    (birds / "train/robin/01.png").unlink()
    return build(birds.rename(tmp_path / "garden"), tmp_path / "out", workers=1).out


@pytest.fixture
def no_waits(monkeypatch):
    """Replace all waits, and return the seconds they would have taken."""
    waited = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


def plan_of(folder, repo_id=REPO, **options):
    return prepare(dataset_publication(folder, repo_id, True), PushOptions(**options))


def push(folder, **options):
    plan = plan_of(folder, **options)
    return plan, execute(plan)


def upload(path, content):
    HfApi().upload_file(
        path_or_fileobj=content, path_in_repo=path, repo_id=REPO, repo_type="dataset"
    )


def content(hub, revision="main"):
    repository = hub.repository(REPO)
    files = repository.resolve(revision).files
    return {path: repository.content(file) for path, file in files.items()}


def run(folder, *words):
    command = ["push", str(folder), "--repo-id", REPO, "--i-have-the-rights", *words]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    return done


def test_the_repository_holds_the_files_of_the_build(built, hub):
    result = fdrd.push(built, REPO, have_rights=True, format="arrow")
    remote = content(hub)
    files = {p.relative_to(built).as_posix() for p in built.rglob("*") if p.is_file()}
    assert set(remote) == files | {".gitattributes"}
    for path in files - {"README.md", "croissant.json"}:
        assert remote[path] == (built / path).read_bytes()
    assert json.loads(remote["croissant.json"])["url"] == result.url == f"{hub.url}/datasets/{REPO}"
    assert f'load_dataset("{REPO}")' in remote["README.md"].decode()
    assert len(hub.repository(REPO).commits) == 2  # ours, on top of the initial one


def test_a_second_push_sends_nothing(built, hub):
    _, first = push(built)
    before = hub.count("PUT", "/storage/"), hub.count("POST", "/commit/")
    plan, second = push(built)
    assert plan.is_done
    assert (hub.count("PUT", "/storage/"), hub.count("POST", "/commit/")) == before
    assert second.commit == first.commit


def test_a_repository_that_fdrd_did_not_create_loses_nothing(built, hub):
    HfApi().create_repo(REPO, repo_type="dataset")
    theirs = "data/x/train-00000-of-00001.parquet"
    upload(theirs, b"theirs")
    push(built)
    assert content(hub)[theirs] == b"theirs"


def test_an_interrupted_push_resumes_and_readers_never_see_half_of_it(built, hub, no_waits):
    hub.fail("PUT", "/storage/", "drop", after=2, times=100)
    with pytest.raises(FdrdError, match=r"no connection to http.*to resume"):
        push(built)
    kept = len(hub.repository(REPO).large)
    assert kept == 2
    assert set(content(hub)) == {".gitattributes"}
    hub.heal()
    before = hub.count("PUT", "/storage/")
    push(built)
    assert hub.count("PUT", "/storage/") - before == len(hub.repository(REPO).large) - kept
    assert (built / "manifest.json").read_bytes() == content(hub)["manifest.json"]


@pytest.mark.parametrize(
    ("method", "path", "outage"),
    [
        ("GET", "/api/datasets/org/birds", 429),
        ("POST", "/api/repos/create", 500),
        ("POST", "/commit/", "drop"),
        ("POST", "/commit/", 500),
        ("GET", "/tree/", "drop"),
    ],
)
def test_a_push_that_met_an_outage_is_finished_by_the_next(
    built, hub, no_waits, method, path, outage
):
    if path == "/tree/":
        HfApi().create_repo(REPO, repo_type="dataset")
    hub.fail(method, path, outage, times=10)
    with pytest.raises(FdrdError, match="run the same command again to resume"):
        push(built)
    hub.heal()
    sent = hub.count("PUT", "/storage/")
    push(built)
    assert (built / "manifest.json").read_bytes() == content(hub)["manifest.json"]
    assert len(hub.repository(REPO).commits) == 2
    if path == "/commit/":
        assert hub.count("PUT", "/storage/") == sent  # nothing is uploaded twice


def test_a_pull_request_needs_no_write_access_and_leaves_main_unchanged(built, hub, monkeypatch):
    HfApi().create_repo(REPO, repo_type="dataset")
    monkeypatch.setenv("HF_TOKEN", READER)
    _, result = push(built, pull_request=True)
    assert set(content(hub)) == {".gitattributes"}
    assert "manifest.json" in content(hub, "refs/pr/1")
    assert result.pull_request.endswith("/discussions/1")


def test_branches_and_tags_are_created(built, hub):
    push(built, revision="next", tag="v1", private=True)
    assert set(content(hub)) == {".gitattributes"}
    assert content(hub, "next") == content(hub, "v1")
    assert hub.repository(REPO).private
    with pytest.raises(FdrdError, match="already has a tag v1"):
        plan_of(built, revision="next", tag="v1")


def test_a_new_build_replaces_the_old_one_and_foreign_files_stay(built, hub, other):
    push(built)
    theirs = {"data/notes.txt", "LICENSE", "data/raw/train-more.arrow"}
    for path in theirs:
        upload(path, b"by hand")
    plan, _ = push(other)
    remote = set(content(hub))
    assert theirs <= remote
    shards = {path for path in remote if re.fullmatch(r"data/.*-of-.*\.arrow", path)}
    assert shards == {path.relative_to(other).as_posix() for path in other.rglob("*.arrow")}
    old = {f"data/raw/{split}-00000-of-00001.arrow" for split in ("test", "train", "validation")}
    assert old <= set(plan.delete)
    assert set(plan.foreign) == theirs


def test_hand_edits_of_the_card_stay_and_generated_sections_are_updated(built, hub, other):
    push(built)
    edited = content(hub)["README.md"].decode()
    for old, new in (
        ("# fdrd\n", "# Birds of my garden\n"),
        ("pretty_name: fdrd", "pretty_name: Birds"),
        ("- clip\n", "- clip\n- birds\n"),
        ("## Cite\n", "## Thanks\n\nTo the birds.\n\n## Cite\n"),
    ):
        assert edited.count(old) == 1
        edited = edited.replace(old, new)
    section = r"(<!-- fdrd:splits -->).*?(<!-- /fdrd:splits -->)"
    upload("README.md", re.sub(section, r"\1\nnonsense\n\2", edited, flags=re.DOTALL).encode())
    push(other)
    card = content(hub)["README.md"].decode()
    assert "# Birds of my garden\n" in card
    assert "## Thanks\n\nTo the birds.\n" in card
    assert "pretty_name: Birds\n" in card
    assert card.count("\n- birds\n") == 1
    assert "nonsense" not in card
    assert "data/garden/train-" in card
    assert "data/raw/train-" not in card
    assert "48 image-caption pairs" in card
    assert plan_of(other).is_done


def test_broken_metadata_of_a_card_is_reported_in_one_line(built, hub):
    push(built)
    broken = File(b"---\na: [\n---\nmine\n", 15)
    hub.repository(REPO).commit("refs/heads/main", None, [("README.md", broken)])
    with pytest.raises(FdrdError, match=r"README\.md of org/birds: invalid YAML metadata"):
        plan_of(built)


def test_an_edit_during_the_push_stops_it_and_is_kept(built, hub):
    push(built)
    upload("croissant.json", b"{}")
    plan = plan_of(built)
    upload("README.md", content(hub)["README.md"] + b"\nA late word.\n")
    with pytest.raises(FdrdError, match=r"org/birds changed during the push.*again"):
        execute(plan)
    push(built)
    assert content(hub)["README.md"].decode().endswith("\nA late word.\n")
    assert content(hub)["croissant.json"] != b"{}"


def test_a_file_of_the_same_size_with_other_bytes_is_replaced(built, hub):
    push(built)
    remote = content(hub)
    large = next(path for path in remote if path.endswith(".arrow"))
    for path in (large, "manifest.json"):
        upload(path, bytes(reversed(remote[path])))
    plan, _ = push(built)
    assert set(plan.replace) == {"manifest.json", large}
    assert content(hub) == remote


def test_a_damaged_shard_is_not_pushed(built, hub, tmp_path):
    copy = Path(shutil.copytree(built, tmp_path / "copy"))
    shard = next(copy.rglob("*.arrow"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(FdrdError, match="its bytes differ from the manifest"):
        plan_of(copy)
    with pytest.raises(FdrdError, match="its bytes differ from the manifest"):
        fdrd.push(copy, REPO)  # as Parquet, which is converted first


def test_a_dry_run_shows_the_plan_and_changes_nothing(built, hub, monkeypatch):
    output = run(built, "--dry-run").output
    assert "a new public dataset repository" in output
    assert re.search(r"upload: \d+ files, \d+\.\d MB", output)
    assert not hub.repositories
    assert not any(request.method in ("PUT", "DELETE") for request in hub.requests)
    monkeypatch.setenv("HF_TOKEN", "")
    run(built, "--dry-run")  # needs no token


def test_the_command_prints_the_plan_before_and_the_result_after(built, hub):
    output = run(built, "--private", "--tag", "v1").output
    assert output.index("a new private dataset") < output.index("files in commit")
    assert f'load_dataset("{REPO}", revision="v1")' in output
    assert re.search("Tagged commit [0-9a-f]{12} as v1", output)
    output = run(built).output
    assert "Nothing to do" in output
    assert WRITER not in output
    printed = json.loads(run(built, "--json").stdout)
    assert printed["upload"] == []
    assert sorted(printed["unchanged"]) == sorted(printed["files"])
    assert printed["pushed"]["commit"] == printed["head"]


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("", r"no Hub token found; run `hf auth login`"),
        ("hf_wrongsecret", r"the Hub rejected the token"),
        (READER, r"this token cannot write to org; .* open a pull request with `pull_request`"),
    ],
)
def test_an_unsuitable_token_is_reported_in_one_line_without_the_token(
    built, hub, monkeypatch, token, message
):
    HfApi().create_repo(REPO, repo_type="dataset")
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(FdrdError, match=message) as error:
        push(built)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


def test_a_missing_network_is_reported_in_one_line(built, hub, no_waits, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(FdrdError, match=r"no connection to http://127\.0\.0\.1:9 "):
        plan_of(built)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FdrdError, match="HF_HUB_OFFLINE is set"):
        plan_of(built)


def test_rows_of_unknown_license_need_a_confirmation(built, hub):
    message = r"1 of 49 rows have no known license.*`have_rights`"
    with pytest.raises(FdrdError, match=message):
        fdrd.push(built, REPO)
    told = CliRunner().invoke(app, ["push", str(built), "--repo-id", REPO]).exception
    assert "publish them with --i-have-the-rights" in str(told)
    assert not hub.requests


@pytest.mark.parametrize(
    ("options", "repo_id", "message"),
    [
        ({}, "birds", "include a user or organization"),
        ({"pull_request": True, "tag": "v1"}, REPO, "merge the pull request first"),
        ({"pull_request": True, "revision": "next"}, REPO, "remove `revision`"),
        ({"private": True}, "org/public", "is public already"),
        ({"revision": "refs/pr/7"}, "org/public", "no such branch, tag, or pull request"),
    ],
)
def test_contradictory_options_are_rejected(built, hub, options, repo_id, message):
    HfApi().create_repo("org/public", repo_type="dataset")
    with pytest.raises(FdrdError, match=message):
        plan_of(built, repo_id, **options)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("CAS is full"), r"the upload failed \(CAS is full\); uploaded files are"),
        (ConnectionError(f"Authorization: Bearer {WRITER}"), r"Bearer hf_\*\*\*\)"),
    ],
)
def test_errors_of_the_client_become_one_line_without_the_token(error, message):
    with pytest.raises(FdrdError, match=message) as raised, readable_errors(REPO):
        raise error
    assert WRITER not in str(raised.value)
