"""A push against the Hub's protocol on localhost, with the real client: what arrives, what is kept, what is refused."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from hub_repository import File
from hub_server import READER, WRITER, Hub, Ill
from huggingface_hub import HfApi
from typer.testing import CliRunner

from fdrd.commands import app
from fdrd.errors import FdrdError
from fdrd.hub import Options, Plan, Pushed, carry_out, client, prepare
from fdrd.pipeline.builder import build

REPO = "org/birds"
RIGHTS = Options(rights=True)  # one of the birds has no licence


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of three shards; tests that change it copy it."""
    folder = tmp_path_factory.mktemp("push")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FDRD_CACHE", str(folder / "cache"))
        patch.setattr("datasets.config.HF_DATASETS_CACHE", folder / "datasets")
        return build(_source(folder / "raw"), folder / "out", workers=1).out


def _source(root: Path, categories: tuple[str, ...] = ("wren", "robin"), images: int = 24) -> Path:
    from PIL import Image

    for number in range(images):
        split = ("train", "test", "validation")[max(0, number % 6 - 3)]
        category = categories[number % len(categories)]
        file = root / split / category / f"{number:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((48, 48), number + 8).save(file)
        file.with_suffix(".txt").write_text(f"A small {category} sits on branch {number}.\n")
    return root


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody waits; what would have been waited for."""
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


def push(folder: Path, options: Options = RIGHTS, repo_id: str = REPO) -> tuple[Plan, Pushed]:
    plan = prepare(folder, repo_id, options)
    return plan, carry_out(plan, folder, options)


def content(hub: Hub, revision: str = "main") -> dict[str, bytes]:
    repository = hub.repository(REPO)
    files = repository.resolve(revision).files
    return {path: repository.content(file) for path, file in files.items()}


def run(*words: str) -> tuple[int, str]:
    """Exit code and all output of the command line."""
    done = CliRunner().invoke(app, ["push", *words])
    return done.exit_code, f"{done.output}\n{done.exception or ''}"


def test_what_arrives_are_the_files_of_the_build(built, hub):
    plan, pushed = push(built)
    assert plan.head is None
    there = content(hub)
    files = {p.relative_to(built).as_posix() for p in built.rglob("*") if p.is_file()}
    assert set(there) == files | {".gitattributes"}
    rewritten = {"README.md", "croissant.json", ".gitattributes"}
    for path in set(there) - rewritten:
        assert there[path] == (built / path).read_bytes()
    assert pushed.verified == len(files)
    assert json.loads(there["croissant.json"])["url"] == f"{hub.url}/datasets/{REPO}"
    assert f'load_dataset("{REPO}")' in there["README.md"].decode()
    titles = [commit.title for commit in hub.repository(REPO).history("main")]
    assert len(titles) == 2  # one commit, on top of the repository's own


def test_a_second_push_sends_nothing(built, hub):
    _, first = push(built)
    before = hub.count("PUT", "/storage/"), hub.count("POST", "/commit/")
    plan, second = push(built)
    assert plan.is_done
    assert (hub.count("PUT", "/storage/"), hub.count("POST", "/commit/")) == before
    assert second.commit == first.commit


def test_a_push_that_was_cut_goes_on_and_no_reader_saw_half_of_it(built, hub, no_waits):
    hub.fail("PUT", "/storage/", "drop", after=3, times=100)
    with pytest.raises(FdrdError, match=r"no connection to http.*the same command goes on"):
        push(built)
    kept = len(hub.repository(REPO).large)
    assert kept == 3
    assert set(content(hub)) == {".gitattributes"}
    hub.heal()
    before = hub.count("PUT", "/storage/")
    push(built)
    total = len(hub.repository(REPO).large)
    assert hub.count("PUT", "/storage/") - before == total - kept
    assert (built / "manifest.json").read_bytes() == content(hub)["manifest.json"]


ILLS: list[Ill] = [429, 500, "drop", "lose", "cut"]
STEPS = [
    ("GET", "/api/datasets/org/birds"),
    ("POST", "/api/repos/create"),
    ("POST", "/preupload/"),
    ("POST", "/objects/batch"),
    ("PUT", "/storage/"),
    ("POST", "/lfs/verify"),
    ("POST", "/commit/"),
    ("GET", "/tree/"),
]


@pytest.mark.parametrize(
    ("method", "path", "ill"),
    [
        pytest.param(
            *step,
            ill,
            marks=() if number % len(ILLS) == at or step[1] == "/commit/" else pytest.mark.slow,
        )
        for number, step in enumerate(STEPS)
        for at, ill in enumerate(ILLS)
    ],
)
def test_a_hub_that_is_ill_for_a_moment_is_survived(built, hub, no_waits, method, path, ill):
    hub.fail(method, path, ill)
    push(built)
    assert (built / "manifest.json").read_bytes() == content(hub)["manifest.json"]
    assert len(list(hub.repository(REPO).history("main"))) == 2


def test_the_hub_says_how_long_to_wait(built, hub, no_waits):
    hub.fail("POST", "/commit/", 429, retry_after=37)
    push(built)
    assert 37 in no_waits


def test_a_lost_answer_to_a_pull_request_opens_no_second_one(built, hub, no_waits):
    push(built)
    hub.repository(REPO).commit(
        "refs/heads/main", None, "x", "", "org", [("delete", "rejected.jsonl", None)]
    )
    hub.fail("POST", "/commit/", "lose")
    _, pushed = push(built, Options(pull_request=True, rights=True))
    assert list(hub.repository(REPO).proposals) == [1]
    assert pushed.pull_request == f"{hub.url}/datasets/{REPO}/discussions/1"


@pytest.mark.parametrize("token", [WRITER, READER])
def test_a_pull_request_leaves_main_alone_and_needs_no_right_to_write(
    built, hub, monkeypatch, token
):
    HfApi().create_repo(REPO, repo_type="dataset")
    monkeypatch.setenv("HF_TOKEN", token)
    _, pushed = push(built, Options(pull_request=True, rights=True))
    assert set(content(hub)) == {".gitattributes"}
    assert "manifest.json" in content(hub, "refs/pr/1")
    assert pushed.pull_request.endswith("/discussions/1")


def test_branches_and_tags(built, hub):
    options = Options(revision="next", tag="v1", private=True, rights=True)
    push(built, options)
    assert set(content(hub)) == {".gitattributes"}
    assert content(hub, "next") == content(hub, "v1")
    assert hub.repository(REPO).private
    with pytest.raises(FdrdError, match="has a tag v1 already"):
        prepare(built, REPO, Options(revision="next", tag="v1", rights=True))


def test_a_new_build_replaces_the_old_one_and_what_others_made_stays(built, hub, tmp_path):
    push(built)
    api = HfApi()
    for path in ("data/notes.txt", "LICENSE", "data/raw/train-more.arrow"):
        api.upload_file(
            path_or_fileobj=b"by hand", path_in_repo=path, repo_id=REPO, repo_type="dataset"
        )
    other = build(_source(tmp_path / "garden", ("dove", "rook"), 30), tmp_path / "out", workers=1)
    plan, _ = push(other.out)
    there = set(content(hub))
    assert {"data/notes.txt", "LICENSE", "data/raw/train-more.arrow"} <= there
    shards = {path for path in there if re.fullmatch(r"data/.*-of-.*\.arrow", path)}
    assert shards == {shard["path"] for shard in other.manifest["shards"]}
    old = [f"raw/{split}-00000-of-00001" for split in ("test", "train", "validation")]
    files = [*(f"data/{name}.arrow" for name in old), *(f"digests/{name}.txt" for name in old)]
    assert list(plan.deleted) == files
    assert set(plan.foreign) == {"data/notes.txt", "LICENSE", "data/raw/train-more.arrow"}


def test_a_repository_that_fdrd_did_not_make_loses_nothing(built, hub):
    api = HfApi()
    api.create_repo(REPO, repo_type="dataset")
    theirs = "data/x/train-00000-of-00001.parquet"
    api.upload_file(
        path_or_fileobj=b"theirs", path_in_repo=theirs, repo_id=REPO, repo_type="dataset"
    )
    push(built)
    assert content(hub)[theirs] == b"theirs"


def test_hand_edits_of_the_card_stay_and_its_figures_follow_the_build(built, hub, tmp_path):
    push(built)
    card = content(hub)["README.md"].decode()
    edited = card.replace("# out\n", "# Birds of my garden\n").replace(
        "# fdrd\n", "# Birds of my garden\n"
    )
    edited = edited.replace("pretty_name: fdrd", "pretty_name: Birds").replace(
        "- clip\n", "- clip\n- birds\n"
    )
    edited = edited.replace("## Cite\n", "## Thanks\n\nTo the birds.\n\n## Cite\n")
    edited = re.sub(
        r"(<!-- fdrd:splits -->).*?(<!-- /fdrd:splits -->)",
        r"\1\nnonsense\n\2",
        edited,
        flags=re.DOTALL,
    )
    assert edited.count("Birds of my garden") == 1
    HfApi().upload_file(
        path_or_fileobj=edited.encode(), path_in_repo="README.md", repo_id=REPO, repo_type="dataset"
    )
    other = build(_source(tmp_path / "garden", images=30), tmp_path / "out", workers=1)
    push(other.out)
    found = content(hub)["README.md"].decode()
    assert "# Birds of my garden\n" in found
    assert "## Thanks\n\nTo the birds.\n" in found
    assert "pretty_name: Birds\n" in found
    assert found.count("\n- birds\n") == 1
    assert "nonsense" not in found
    assert "data/garden/train-" in found
    assert "data/raw/train-" not in found
    assert "30 image-caption pairs" in found
    assert prepare(other.out, REPO, RIGHTS).is_done


def test_a_card_whose_metadata_were_broken_by_hand_is_a_clear_line(built, hub):
    push(built)
    broken = File(b"---\na: [\n---\nmine\n", 15)
    hub.repository(REPO).commit(
        "refs/heads/main", None, "x", "", "w", [("put", "README.md", broken)]
    )
    with pytest.raises(FdrdError, match=r"README\.md of org/birds: the metadata .* are no YAML"):
        prepare(built, REPO, RIGHTS)


def test_an_edit_that_comes_in_between_is_kept(built, hub):
    push(built)
    HfApi().upload_file(
        path_or_fileobj=b"{}", path_in_repo="croissant.json", repo_id=REPO, repo_type="dataset"
    )
    plan = prepare(built, REPO, RIGHTS)
    card = content(hub)["README.md"].decode() + "\nA late word.\n"
    HfApi().upload_file(
        path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id=REPO, repo_type="dataset"
    )
    carry_out(plan, built, RIGHTS)
    there = content(hub)
    assert there["README.md"].decode().endswith("\nA late word.\n")
    assert there["croissant.json"] != b"{}"


def test_what_arrived_damaged_is_noticed(built, hub, monkeypatch):
    plan = prepare(built, REPO, RIGHTS)
    real = HfApi.create_commit

    def damage(api, repo_id, operations, **more):
        keep = [each for each in operations if each.path_in_repo != "manifest.json"]
        return real(api, repo_id, keep, **more)

    monkeypatch.setattr(HfApi, "create_commit", damage)
    with pytest.raises(FdrdError, match=r"1 files arrived damaged, the first manifest\.json"):
        carry_out(plan, built, RIGHTS)


def test_a_file_of_the_same_size_and_other_bytes_is_replaced(built, hub):
    push(built)
    there = content(hub)
    large = next(path for path in there if path.endswith(".arrow"))
    for path in (large, "manifest.json"):
        other = bytes(reversed(there[path]))
        HfApi().upload_file(
            path_or_fileobj=other, path_in_repo=path, repo_id=REPO, repo_type="dataset"
        )
    plan, _ = push(built)
    assert [file.path for file in plan.changed] == ["manifest.json", large]
    assert content(hub) == there


def test_a_shard_that_is_not_what_was_built_is_not_pushed(built, hub, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(built, copy)
    shard = next(copy.rglob("*.arrow"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(FdrdError, match=r"its bytes are not those that were built"):
        prepare(copy, REPO, RIGHTS)


def test_a_dry_run_says_what_it_would_do_and_does_nothing(built, hub, monkeypatch):
    code, said = run(str(built), "--repo-id", REPO, "--dry-run", "--i-have-the-rights")
    assert code == 0
    assert "a new public dataset repository" in said
    assert re.search(r"upload: \d+ files, \d+\.\d MB", said)
    assert not hub.repositories
    assert not any(request.method in ("PUT", "DELETE") for request in hub.requests)
    monkeypatch.setenv("HF_TOKEN", "")
    assert run(str(built), "--repo-id", REPO, "--dry-run", "--i-have-the-rights")[0] == 0


def test_the_command_says_what_it_does_before_and_after(built, hub):
    code, said = run(
        str(built), "--repo-id", REPO, "--private", "--tag", "v1", "--i-have-the-rights"
    )
    assert code == 0
    assert said.index("a new private dataset") < said.index("files checked by digest")
    assert f'load_dataset("{REPO}")' in said
    assert "Tag v1 names commit" in said
    code, said = run(str(built), "--repo-id", REPO, "--i-have-the-rights")
    assert "Nothing to do" in said
    assert WRITER not in said
    told = json.loads(
        CliRunner()
        .invoke(app, ["push", str(built), "--repo-id", REPO, "--i-have-the-rights", "--json"])
        .stdout
    )
    assert told["upload"] == []
    assert told["pushed"]["verified"] == len(told["unchanged"])


@pytest.mark.parametrize(
    ("token", "remedy"),
    [
        ("", r"there is no Hub token on this machine; run `hf auth login`"),
        ("hf_wrongsecret", r"the Hub does not accept the token"),
        (READER, r"this token may not write to org; .* propose the change with --pr"),
    ],
)
def test_a_token_that_will_not_do_is_one_clear_line(built, hub, monkeypatch, token, remedy):
    HfApi().create_repo(REPO, repo_type="dataset")
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(FdrdError, match=remedy) as error:
        push(built)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


def test_without_a_network_there_is_one_clear_line(built, hub, no_waits, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(FdrdError, match=r"no connection to http://127\.0\.0\.1:9 "):
        prepare(built, REPO, RIGHTS)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FdrdError, match="HF_HUB_OFFLINE is set"):
        prepare(built, REPO, RIGHTS)


def test_rows_of_unknown_licence_need_a_word(built, hub):
    with pytest.raises(
        FdrdError, match=r"24 of 24 rows have no known licence.*--i-have-the-rights"
    ):
        prepare(built, REPO, Options())
    assert not hub.requests


@pytest.mark.parametrize(
    ("options", "repo_id", "message"),
    [
        (RIGHTS, "birds", "name a user or an organisation"),
        (Options(pull_request=True, tag="v1", rights=True), REPO, "merge the pull request first"),
        (Options(private=True, rights=True), "org/public", "is public already"),
        (Options(revision="refs/pr/7", rights=True), "org/public", "no such branch, tag or pull"),
    ],
)
def test_what_cannot_be_meant_is_refused(built, hub, options, repo_id, message):
    HfApi().create_repo("org/public", repo_type="dataset")
    with pytest.raises(FdrdError, match=message):
        prepare(built, repo_id, options)


def test_an_upload_that_fails_for_a_reason_of_its_own_is_one_line():
    with (
        pytest.raises(
            FdrdError, match=r"the upload failed \(CAS is full\); what is uploaded stays"
        ),
        client.clear_errors(REPO),
    ):
        raise RuntimeError("CAS is full")


def test_a_token_in_a_message_of_the_hub_is_blanked(monkeypatch):
    with pytest.raises(FdrdError, match=r"hf_\*\*\*") as error, client.clear_errors(REPO):
        raise ConnectionError(f"Authorization: Bearer {WRITER}")
    assert WRITER not in str(error.value)


def test_digests_on_the_hub_are_those_of_the_manifest(built, hub):
    push(built)
    shards = json.loads((built / "manifest.json").read_text())["shards"]
    for shard in shards:
        assert hashlib.sha256(content(hub)[shard["path"]]).hexdigest() == shard["sha256"]
