"""`load_dataset("fdrd")` works in another process and folder that does not import fdrd."""

import errno
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from datasets import load_dataset

from fdrd.build_config import BuildConfig
from fdrd.commands.build import print_build
from fdrd.dataset import load_rows, load_view
from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build
from fdrd.storage import registration
from fdrd.storage.registration import register, registered_folder
from tests.command import run_python

SMALL = BuildConfig(shard_bytes=800)

READ = """
import hashlib, json, sys
from datasets import load_dataset

def contents(streaming, config):
    return {split: sorted(
        (row["id"], row["caption"], row["image"].size, len(row["negatives"]), row["category"]) for row in rows
    ) for split, rows in load_dataset("fdrd", config, streaming=streaming).items()}

found = [contents(*each) for each in json.loads(sys.argv[1])]
assert not any(name.split(".")[0] == "fdrd" for name in sys.modules), "not alone"
print(json.dumps(found))
"""


def test_another_project_loads_it_by_name_by_domain_and_streaming(birds, tmp_path, own_cache):
    built = build(birds, tmp_path / "out", config=SMALL, workers=1)
    (tmp_path / "elsewhere").mkdir()
    environment = {**os.environ, "HF_HOME": str(own_cache), "HF_HUB_OFFLINE": "1"}
    asked = json.dumps([(False, None), (True, None), (False, "raw")])  # streaming, configuration
    done = run_python("-c", READ, asked, cwd=tmp_path / "elsewhere", env=environment)
    found, streamed, of_domain = json.loads(done.stdout)
    assert {split: len(rows) for split, rows in found.items()} == {
        split: count.pairs for split, count in built.manifest.splits["raw"].items()
    }
    assert all(row[2] == [24, 16] for rows in found.values() for row in rows)
    assert streamed == of_domain == found


def test_a_new_build_replaces_the_old_registration(birds, tmp_path, own_cache, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the repository has a folder `fdrd`
    build(birds, tmp_path / "out", workers=1)
    metadata = birds / "metadata.jsonl"
    metadata.write_text(metadata.read_text().replace("A wren, once more.", "A wren, as new."))
    build(birds, tmp_path / "out", workers=1)
    assert any("A wren, as new." in rows["caption"] for rows in load_dataset("fdrd").values())
    root = own_cache / "datasets" / "fdrd"
    assert len(list(root.glob("*/*/*/*-train.arrow"))) == 2
    retired = [path for path in root.glob("*/*/*") if len(list(path.iterdir())) == 1]
    assert len(retired) == 2
    for path in retired:
        os.utime(path, (0, 0))
    metadata.write_text(metadata.read_text().replace("as new", "again"))
    build(birds, tmp_path / "out", workers=1)
    assert not any(path.exists() for path in retired)


def test_a_folder_whose_name_is_not_utf8_is_refused_before_the_build(birds, tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    with pytest.raises(FdrdError, match=r"caf\\udce9' is not UTF-8; choose another `out`"):
        build(birds, folder, config=SMALL, workers=1)
    assert not folder.exists()


def test_shards_are_linked_and_a_second_run_repairs_a_broken_registration_only(
    birds, tmp_path, own_cache
):
    build(birds, tmp_path / "out", workers=1)

    def links():
        root = own_cache / "datasets" / "fdrd"
        return {path: path.parent.stat().st_ino for path in root.glob("*/*/*/*.arrow")}

    written = links()
    shard = next((tmp_path / "out" / "data").rglob("test-*.arrow"))
    assert sum(path.samefile(shard) for path in written) == 2
    build(birds, tmp_path / "out", workers=1)
    assert links() == written
    next(iter(written)).unlink()
    build(birds, tmp_path / "out", workers=1)
    assert links().keys() == written.keys()


@pytest.mark.parametrize("format", ["arrow", "parquet"])
def test_a_registered_name_loads_without_asking_the_hub(birds, tmp_path, monkeypatch, format):
    config = BuildConfig(name="finches", shard_bytes=800, format=format)
    built = build(birds, tmp_path / "out", config=config, workers=1)
    asked = []

    def ask(*names, **_):
        asked.append(names)
        raise ValueError("not found")

    monkeypatch.setattr("datasets.load_dataset", ask)
    for domain in (None, "raw"):
        found, folder = load_view("finches", "test", domain), load_view(built.out, "test", domain)
        assert found.fingerprint == folder.fingerprint
        assert found.categories == folder.categories
    assert not asked
    assert set(load_rows("finches")) == set(built.manifest.splits["raw"])
    with pytest.raises(FdrdError, match="finches has no test of no-such-domain"):
        load_view("finches", "test", "no-such-domain")
    assert not asked


def test_a_name_belongs_to_the_first_folder_until_it_is_gone_or_renamed(birds, tmp_path, capsys):
    first = build(birds, tmp_path / "first", workers=1)
    assert first.name_owner is None
    assert build(birds, tmp_path / "first", workers=1).name_owner is None
    second = build(birds, tmp_path / "second", config=SMALL, workers=1)
    assert (second.name_owner, second.configs) == (first.out.resolve(), [])
    assert registered_folder("fdrd") == first.out.resolve()
    print_build(second, json=False)
    done = capsys.readouterr()
    assert re.search(f"belongs to {first.out}; .* {second.out}, .* --name", done.err)
    assert "Load it in any project" not in done.out

    build(birds, tmp_path / "first", config=BuildConfig(name="finches"), workers=1)
    assert registered_folder("fdrd") is None
    assert build(birds, tmp_path / "second", config=SMALL, workers=1).configs == ["raw", "default"]
    assert registered_folder("finches") == first.out.resolve()
    shutil.rmtree(second.out)
    assert registered_folder("fdrd") is None
    assert build(birds, tmp_path / "third", config=SMALL, workers=1).name_owner is None
    assert registered_folder("fdrd") == (tmp_path / "third").resolve()


def test_a_reader_finds_the_old_dataset_or_the_new(two_domains, tmp_path, monkeypatch):
    """All domains and one of them are loaded at each step, while two states replace each other."""
    out, states, found = tmp_path / "out", [], set()
    for kept in (two_domains / "birds/train/wren/02.png", two_domains / "pets/cat/1.png"):
        built = build(two_domains, out, workers=1)
        states.append((out.rename(tmp_path / f"state-{len(states)}"), built.manifest))
        kept.unlink()
        (tmp_path / "out.work/last.json").unlink()
    assert [state[1].records.kept for state in states] == [79, 78]
    monkeypatch.chdir(tmp_path)  # the repository has a folder `fdrd`
    rename = Path.rename

    def read_around(path, target):
        for step in (lambda: rename(path, target), lambda: None):
            for config in (None, "birds"):
                rows = load_dataset("fdrd", config)
                found.add((config, sum(split.num_rows for split in rows.values())))
            step()

    for turn in range(3):
        state, manifest = states[turn % 2]
        state.rename(out)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", read_around)
            assert register(out, manifest).configs == ["birds", "pets", "default"]
        out.rename(state)
    assert found == {("birds", 48), ("birds", 49), (None, 78), (None, 79)}


def test_a_cache_that_cannot_be_written_is_a_warning_after_a_complete_build(
    birds, tmp_path, own_cache, capsys
):
    own_cache.mkdir()
    (own_cache / "datasets").write_text("no folder")
    for done in (False, True):
        built = build(birds, tmp_path / "out", workers=1)
        assert built.nothing_to_do == done
        assert built.configs == []
        assert (tmp_path / "out/manifest.json").is_file()
        print_build(built, json=False)
        (warning,) = capsys.readouterr().err.splitlines()
        assert re.search("is complete, but was not registered .*datasets", warning)


def test_a_registration_that_fails_half_way_leaves_no_part_of_it(
    two_domains, tmp_path, own_cache, monkeypatch
):
    def full_in_the_second_domain(file, target):
        if "pets" in str(target):
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        shutil.copyfile(file, target)

    (stale := own_cache / "datasets/fdrd/birds/0.0.0/.killed").mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr(registration, "_link_as_arrow", full_in_the_second_domain)
        built = build(two_domains, tmp_path / "out", workers=1)
    assert "No space left" in built.not_registered[0]
    assert not list((own_cache / "datasets/fdrd").glob("*/*/*"))
    assert not stale.exists()
    assert build(two_domains, tmp_path / "out", workers=1).configs == ["birds", "pets", "default"]
