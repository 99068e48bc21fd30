"""Building again sees every change of a source, repairs what `validate` reports, and reads no unchanged shard."""

import json
import os

import pytest

import fdrd
from fdrd.build_config import BuildConfig
from fdrd.pipeline import builder
from fdrd.pipeline.builder import build
from fdrd.storage import resume
from fdrd.storage.resume import fingerprint_source
from tests.folders import digests
from tests.tampering import OF_ROWS, edit_manifest, shard_of

SMALL = BuildConfig(shard_bytes=2000)


@pytest.fixture
def out(birds, tmp_path):
    return build(birds, tmp_path / "out", config=SMALL, workers=1).out


def again(out):
    return build(out.parent / "raw", out, config=SMALL, workers=1)


def flip_bit(path):
    """Flip a bit, keeping size and time of modification."""
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def decay(out):
    """Flip a bit as a failing disk does: no number of the file changes."""
    flip_bit(shard_of(out))
    path = out.with_name("out.work") / "states.json"
    states = json.loads(path.read_text())
    name = shard_of(out).relative_to(out).as_posix()
    states["files"][name][1:] = resume._numbers(shard_of(out))
    path.write_text(json.dumps(states))


DAMAGES = {
    "a flipped bit": lambda out: flip_bit(shard_of(out)),
    "a flipped bit of a failing disk": decay,
    "a missing shard": lambda out: shard_of(out).unlink(),
    "an edited row with a new digest": OF_ROWS["label negative"],
    "an edited count": lambda out: edit_manifest(
        out, lambda found: found["records"].update(kept=7)
    ),
    "a damaged list of rejected records": lambda out: (out / "rejected.jsonl").write_text("{}\n"),
    "a damaged croissant.json": lambda out: (out / "croissant.json").write_text("{"),
    "digests of croissant.json": lambda out: (out / "croissant.json").write_text(
        (out / "croissant.json").read_text().replace('"sha256": "', '"sha256": "0', 1)
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_building_again_repairs_what_validate_reports(out, damage):
    wanted = digests(out)
    DAMAGES[damage](out)
    assert fdrd.validate(out)
    assert not again(out).nothing_to_do
    assert fdrd.validate(out) == []
    assert digests(out) == wanted


def test_an_unchanged_dataset_is_not_hashed(out, monkeypatch):
    monkeypatch.setattr(resume, "sha256_of", lambda path: pytest.fail(f"{path} was hashed"))
    assert again(out).nothing_to_do


@pytest.mark.parametrize(
    "change",
    [
        lambda out: os.link(shard_of(out), out.parent / "link"),
        lambda out: (out.with_name("out.work") / "states.json").unlink(),  # as fdrd 0.1 left it
    ],
)
def test_a_dataset_of_unknown_states_is_hashed_once(out, monkeypatch, change):
    change(out)
    assert again(out).nothing_to_do
    monkeypatch.setattr(resume, "sha256_of", lambda path: pytest.fail(f"{path} was hashed"))
    assert again(out).nothing_to_do


def test_shards_are_reused_after_a_kill_before_publishing(out, birds, monkeypatch):
    with (birds / "metadata.jsonl").open("a") as file:
        file.write('{"file_name": "test/robin/05.png", "caption": "One more."}\n')

    def killed(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(builder.publish, "publish_stage", killed)
        with pytest.raises(KeyboardInterrupt):
            again(out)
    assert again(out).shards_written == 0
    assert fdrd.validate(out) == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"files": {"manifest.json": []}}', '{"files": 7}']
)
def test_damaged_states_cost_only_time(out, text):
    (out.with_name("out.work") / "states.json").write_text(text)
    assert again(out).nothing_to_do


@pytest.fixture
def source(tmp_path):
    for name in ("a/one", "a/two", "b/c/three", ".hidden"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, ns=(0, 10))
    return tmp_path


def resized(root):
    (root / "a/one").write_text("longer than before")
    os.utime(root / "a/one", ns=(0, 10))


CHANGES = {
    "added": lambda root: (root / "b/new").write_text(""),
    "removed": lambda root: (root / "a/two").unlink(),
    "renamed": lambda root: (root / "a/two").rename(root / "a/2"),
    "moved to another folder": lambda root: (root / "a/one").rename(root / "b/one"),
    "moved up": lambda root: (root / "a/one").rename(root / "one"),
    "folder renamed": lambda root: (root / "b/c").rename(root / "b/d"),
    "resized": resized,
    "touched": lambda root: os.utime(root / "b/c/three", ns=(0, 11)),
    "hidden file touched": lambda root: os.utime(root / ".hidden", ns=(0, 11)),
    "broken link added": lambda root: (root / "link").symlink_to("nowhere"),
    "two files exchanged": lambda root: [
        (root / one).rename(root / other)
        for one, other in (("a/one", "a/x"), ("b/c/three", "a/one"), ("a/x", "b/c/three"))
    ],
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_gives_another_fingerprint(source, change):
    before = fingerprint_source(source)
    assert fingerprint_source(source) == before
    CHANGES[change](source)
    assert fingerprint_source(source) != before


def test_the_number_of_files_and_only_they_count(source):
    before = fingerprint_source(source)
    assert before.files == 4
    (source / "empty").mkdir()
    assert fingerprint_source(source) == before
