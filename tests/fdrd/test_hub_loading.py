"""What was pushed is what `datasets` loads: in a fresh process, from an empty cache, without a token."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hub_server import Hub
from huggingface_hub import snapshot_download

from fdrd.builder import build
from fdrd.dataset import load
from fdrd.hub import Options, carry_out, prepare
from fdrd.reformat import in_format
from fdrd.validate import validate

ROOT = Path(__file__).parent.parent.parent
LOADER = """
import hashlib, io, json
from datasets import Image, load_dataset

def said(rows):
    rows = rows.cast_column("image", Image(decode=False))
    return {row["id"]: [row["caption"], hashlib.sha256(row["image"]["bytes"]).hexdigest(), row["category"]]
            for row in rows}

whole = load_dataset("org/birds")
stream = load_dataset("org/birds", "raw", streaming=True)
print(json.dumps({
    "whole": {split: said(rows) for split, rows in whole.items()},
    "stream": {split: said(rows) for split, rows in stream.items()},
    "names": whole["test"].features["category"].names,
    "size": list(whole["test"][0]["image"].size),
}))
"""


def environment(hub: Hub, tmp_path: Path, token: str | None) -> dict[str, str]:
    return {
        **os.environ,
        **hub.environment(token),
        "HF_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(ROOT),
    }


@pytest.mark.parametrize("format", ["arrow", pytest.param("parquet", marks=pytest.mark.slow)])
def test_a_fresh_process_loads_every_image_with_its_digest(birds, tmp_path, hub, format):
    built = build(birds, tmp_path / "out", workers=1)
    folder = in_format(built.out, format)
    options = Options(rights=True)
    carry_out(prepare(folder, "org/birds", options), folder, options)
    done = subprocess.run(
        [sys.executable, "-c", LOADER], env=environment(hub, tmp_path, None), cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["whole"] == told["stream"]
    assert {split: len(rows) for split, rows in told["whole"].items()} == {
        split: count["pairs"] for split, count in built.manifest["splits"]["raw"].items()
    }
    files = {path.relative_to(birds).as_posix(): path for path in birds.rglob("*.png")}
    for rows in told["whole"].values():
        for key, (_, digest, category) in rows.items():
            file = next(path for name, path in files.items() if name in key)
            import hashlib

            assert hashlib.sha256(file.read_bytes()).hexdigest() == digest
            assert file.parent.name == told["names"][category]
    assert told["size"] == [24, 16]
    copy = snapshot_download("org/birds", repo_type="dataset", local_dir=tmp_path / "copy")
    assert not list(validate(Path(copy)))
    assert load(copy, "test").fingerprint == load(built.out, "test").fingerprint
    if format == "parquet":
        assert any(request.status == 206 for request in hub.requests)  # a stream reads ranges


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_a_push_that_is_killed_goes_on_without_sending_twice(birds, tmp_path, hub, ending):
    built = build(birds, tmp_path / "out", workers=1)
    command = [sys.executable, "-m", "cli", "push", str(built.out), "--repo-id", "org/birds"]
    command.append("--i-have-the-rights")
    env = environment(hub, tmp_path, "hf_writersecret")
    hub.fail("PUT", "/storage/", 500, after=2, times=1000)  # it goes no further than this
    first = subprocess.Popen(command, env=env, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while hub.count("PUT", "/storage/") < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    first.send_signal(ending)
    said = first.communicate()[1]
    if ending == signal.SIGINT:
        assert first.returncode == 130
        assert "the same command goes on from there" in said
        assert "Traceback" not in said
    assert list(hub.repository("org/birds").resolve("main").files) == [".gitattributes"]
    hub.heal()
    kept = set(hub.repository("org/birds").large)
    assert len(kept) == 2
    hub.requests.clear()
    done = subprocess.run(
        command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    sent = [request.path.split("/")[-2] for request in hub.requests if request.method == "PUT"]
    assert len(sent) == len(set(sent))
    assert not kept & set(sent)
