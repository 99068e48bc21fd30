"""Datasets that were tampered with at random: each command gives a right result or one line, and writes nowhere else.

FDRD_POINTS sets the number of datasets, FDRD_SEED the seed:
`FDRD_POINTS=100 pytest -n0 -m slow tests/fdrd/test_tampered_datasets.py`.
"""

import json
import multiprocessing
import os
import random
import shutil
import traceback

import pyarrow as pa
import pytest
from fuzz.driver import parts

from fdrd.files.atomic import sha256_of
from tests.folders import caches_in, digests
from tests.tampering import COMMANDS, build_small, read_table, recompute, run, write_table

POINTS = int(os.environ.get("FDRD_POINTS", "6"))
SEED = int(os.environ.get("FDRD_SEED", "0"))
MINUTES = 3
PLAIN = (None, "", "x", "../../../escaped", "/escaped", "a\0b", "\ud800", "a" * 70_000)
PLAIN += (-1, -7, 0, 1, 99, 2**31 - 1)
VALUES = (*PLAIN, b"", b"<svg/>", [], {}, True, 1.5)
LEAVES = (*PLAIN, 2**63, 2**200, 1e308, float("inf"), float("nan"), [], {}, [[]], "0" * 64)


def files(folder):
    """Return all files that have bytes."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size]


def flip_bits(folder, rng):
    path = rng.choice(files(folder))
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 8, 200))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return path.name


def flip_bits_and_recompute(folder, rng):
    path = rng.choice(sorted((folder / "data").rglob("*.*")))
    data = bytearray(path.read_bytes())
    begin = rng.choice((0, 0, max(0, len(data) - 4000)))
    end = min(len(data), begin + rng.choice((400, 4000, len(data))))
    for _ in range(rng.choice((1, 1, 8, 200))):
        data[rng.randrange(begin, end)] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    recompute(folder)
    return path.name


def truncate(folder, rng):
    path = rng.choice(files(folder))
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])
    if rng.random() < 0.5 and path.parent.parent.name == "data":
        recompute(folder)
    return path.name


def edit(value, rng, values):
    container, key = rng.choice(list(parts(value)))
    container[key] = rng.choice(values)
    return key


def edit_row(folder, rng):
    """Replace any value of a row, if the type of its column has such a value; all digests fit."""
    path = rng.choice(sorted((folder / "data").rglob("*.*")))
    table = read_table(path)
    while True:
        rows = table.to_pylist()
        where = edit(rows, rng, VALUES)
        try:
            changed = pa.Table.from_pylist(rows, schema=table.schema)
        except (pa.ArrowException, TypeError, ValueError, AttributeError, OverflowError):
            continue
        write_table(path, changed)
        recompute(folder)
        return f"{path.name} {where}"


def edit_manifest(folder, rng):
    path = folder / rng.choice(("manifest.json", "manifest.json", "croissant.json"))
    value = json.loads(path.read_text())
    where = edit(value, rng, LEAVES)
    path.write_text(json.dumps(value))
    return f"{path.name} {where}"


TAMPERINGS = (flip_bits, flip_bits_and_recompute, truncate, edit_row, edit_row, edit_manifest)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    found = {}
    for form in ("arrow", "parquet"):
        folder = tmp_path_factory.mktemp(form)
        with caches_in(folder):
            found[form] = build_small(folder, form)
    return found


def check(command, data, out, saved_clip):
    """Return what is wrong with the outcome of a command, or an empty text."""
    code, printed, told = run(command, data, out, saved_clip)
    if code == 0 and command.startswith(("validate", "stats")):
        listed = json.loads((data / "manifest.json").read_bytes())["shards"]
        if command == "stats":
            pairs = sum(each["pairs"] for each in json.loads(printed))
            return "" if pairs == sum(each["rows"] for each in listed) else f"{pairs} pairs"
        right = all(sha256_of(data / each["path"]) == each["sha256"] for each in listed)
        return "" if right else "not found"
    if code == 0 or (code == 1 and command.startswith("validate") and printed):
        return ""
    lines = [line for line in told.splitlines() if line.startswith("fdrd:")]
    one_line = code == 2 and len(lines) == 1 and len(lines[0]) < 2000
    return "" if one_line else f"exit {code}: {told[-2000:]}"


def in_child(send, *arguments):
    try:
        send.send(check(*arguments))
    except BaseException:
        send.send(traceback.format_exc())
    os._exit(0)


def outcome(*arguments):
    """Check a command in a child, which may crash or hang."""
    context = multiprocessing.get_context("fork")  # fast: everything is imported already
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=in_child, args=(send, *arguments))
    process.start()
    send.close()
    try:
        found = receive.recv() if receive.poll(MINUTES * 60) else "no end"
    except EOFError:
        found = "crash"
    process.kill()
    process.join()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("point", range(POINTS))
def test_a_tampered_dataset_gives_a_right_result_or_one_line(
    point, whole, saved_clip, tmp_path, hub
):
    rng = random.Random(f"{SEED} {point}")
    form = rng.choice(("arrow", "arrow", "parquet"))
    data = shutil.copytree(whole[form], tmp_path / "a" / "b" / "c" / "data")
    tampering = TAMPERINGS[point % len(TAMPERINGS)]
    where = tampering(data, rng)
    before, wrong = digests(data / "data"), []
    for number, command in enumerate(COMMANDS):
        if found := outcome(command, data, tmp_path / "a" / "b" / f"out{number}", saved_clip):
            wrong.append(f"{tampering.__name__} {form} {where}: {command}: {found}")
    assert digests(data / "data") == before
    assert not list(tmp_path.rglob("escaped*"))
    assert not wrong, "\n".join(wrong)
