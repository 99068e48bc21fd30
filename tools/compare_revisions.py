"""Prove that two revisions build the same bytes and rank alike: build and bench with both, then compare.

    python tools/compare_revisions.py bc8b1c5 HEAD --source path/to/caltech101

Each revision runs from its own checkout with the packages of this environment. Outputs are kept in `--work` by
commit, so that a rerun repeats only what is new. Exit code 1 means that something differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

METHODS = ("zero_shot", "coop", "maple", "dcar", "clip_adapter")
SAMPLE = ("--categories", "24", "--pairs", "720", "--seed", "7")


def run(checkout: Path, home: Path, *arguments: str) -> str:
    """Return what the command line of a checkout prints; its caches are in `home`."""
    environment = os.environ | {
        "PYTHONPATH": str(checkout),
        "FDRD_CACHE": str(home / "cache"),
        "HF_HOME": str(home / "hf"),
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, "-m", "fdrd", *arguments]
    done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nexit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def commit_of(revision: str) -> str:
    """Return the full hash of a revision."""
    command = ["git", "rev-parse", "--verify", f"{revision}^{{commit}}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def checked_out(commit: str, work: Path) -> Path:
    """Return a folder that holds the files of a commit."""
    folder = work / commit[:12] / "checkout"
    if not folder.is_dir():
        folder.mkdir(parents=True)
        archive = subprocess.run(["git", "archive", commit], check=True, capture_output=True)
        subprocess.run(["tar", "-x", "-C", str(folder)], check=True, input=archive.stdout)
    return folder


def prepare(commit: str, work: Path, source: Path | None) -> Path:
    """Build both datasets and benchmark every method with one revision, and return the folder of its outputs."""
    checkout = checked_out(commit, work)
    home = checkout.parent
    with FileLock(home / "lock"):
        if not (home / "drawn.done").exists():
            for name in ("cache", "hf", "drawn", "runs", "raw"):
                shutil.rmtree(home / name, ignore_errors=True)
            run(checkout, home, "sample", "raw", *SAMPLE)
            run(checkout, home, *"build --source raw --out drawn --backbone embedded".split())
            for method in METHODS:
                budget = () if method == "zero_shot" else ("-T", "epochs=1")
                run(checkout, home, "bench", "--method", method, "--data", "drawn", *budget)
            (home / "drawn.done").touch()
        if source and not (home / "photographs.done").exists():
            shutil.rmtree(home / "photographs", ignore_errors=True)
            run(checkout, home, "build", "--source", str(source), "--out", "photographs")
            (home / "photographs.done").touch()
    return home


def digests(dataset: Path) -> dict[str, str]:
    """Return the SHA-256 of every shard and of the list of rejected records."""
    files = [*dataset.rglob("*.arrow"), *dataset.rglob("*.parquet"), dataset / "rejected.jsonl"]
    return {
        str(file.relative_to(dataset)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def ranks(home: Path) -> dict[str, object]:
    """Return the ranks of every query by method."""
    results = [json.loads(file.read_text()) for file in (home / "runs").glob("*.json")]
    return {result["settings"]["method"]: result["ranks"] for result in results}


def differences(name: str, before: dict[str, object], after: dict[str, object]) -> int:
    """Print what differs between two tables and return how many entries do."""
    changed = [key for key in sorted(before | after) if before.get(key) != after.get(key)]
    print(f"{name}: {len(before) - len(changed)} of {len(before)} equal", *changed[:20])
    return len(changed)


def main() -> None:
    """Compare two revisions."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("before", help="a revision of git")
    add("after", help="a revision of git")
    add("--source", type=Path, help="a raw source to build in addition to the drawn one")
    add("--work", type=Path, default=Path("/tmp/fdrd-revisions"))
    options = parser.parse_args()
    source = options.source.resolve() if options.source else None
    revisions = (options.before, options.after)
    old, new = (prepare(commit_of(each), options.work, source) for each in revisions)
    changed = differences("ranks of every query", ranks(old), ranks(new))
    for name in ("drawn", "photographs") if source else ("drawn",):
        changed += differences(f"files of {name}", digests(old / name), digests(new / name))
    sys.exit(1 if changed else 0)


if __name__ == "__main__":
    main()
