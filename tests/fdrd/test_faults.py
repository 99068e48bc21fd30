"""Jobs that write files meet a kill or an error at random file events, and the next run finishes.

FDRD_POINTS sets the number of points of each job.
"""

import contextlib
import errno
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import traceback

import pytest

import benchmark
import fdrd
from benchmark.models.encoders.stored import write_features
from fdrd.build_config import BuildConfig
from fdrd.errors import FdrdError
from fdrd.fetching.fetching_run import FetchOptions, fetch_set
from fdrd.pipeline import builder, collect
from fdrd.pipeline.builder import build
from fdrd.sources.reading.source_folder import SourceFolder
from tests.fdrd.fetching.made_sets import archive
from tests.fdrd.fetching.test_fetch import one_file
from tests.folders import digests
from tests.running import run_method

POINTS = int(os.environ.get("FDRD_POINTS", "3"))
FAULTS = ("kill", errno.EIO, errno.ENOSPC, errno.EACCES)
CALLS = "rename remove mkdir rmdir link listdir scandir truncate"
EVENTS = {"open", "sqlite3.connect", *(f"os.{call}" for call in CALLS.split())}
SMALL = BuildConfig(shard_bytes=800)
DONE, REFUSED = 0, 2


def run_build(folder, *_):
    build(folder.parent / "raw", folder / "out", config=SMALL, workers=1)


def run_captioning(folder, *_):
    text = {"text": "A small brown {category} sits on a mossy post."}
    source, cache = folder.parent / "uncaptioned", folder / "answers.sqlite"
    fdrd.caption(source, folder / "out", captioner="template", options=text, cache=cache)


def run_training(folder, backbone, splits):
    train = {"epochs": 2, "batch_size": 8}
    run_method("coop", splits, backbone=backbone, train=train, results=folder / "out")


def run_experiment(folder, backbone, splits):
    rows = [{"method": "coop", "train": {"epochs": 1}}, "zero_shot"]
    content = {"data": "birds", "backbones": ["tiny"], "methods": rows}
    plan = benchmark.to_experiment({**content, "results": str(folder / "out")})
    benchmark.run_experiment(plan, data={"birds": splits}, backbones={"tiny": backbone})


def run_export(folder, *_):
    fdrd.export(folder.parent / "dataset", folder / "out", to="coco")


def run_features(folder, backbone, splits):
    write_features(backbone, splits.values(), folder / "out")


def run_fetch(folder, chosen):
    fetch_set(chosen, folder / "out", FetchOptions(downloads=folder / "downloads"))


def written(folder):
    """Return what a job wrote: digests of files, without the times in results."""
    found = {name: each for name, each in digests(folder / "out").items() if ".partial" not in name}
    for path in (folder / "out").glob("*.json"):
        value = json.loads(path.read_bytes())
        if "settings" in value:
            for part in (value, *(value["fit"] or {"epochs": []})["epochs"]):
                part.pop("seconds")
            found[path.name] = {**value, "peak_megabytes": None}
    return found


JOBS = {
    **{"build": run_build, "captioning": run_captioning, "training": run_training},
    **{"experiment": run_experiment, "export": run_export, "features": run_features},
    "fetch": run_fetch,
}
ONCE = ("export", "features", "fetch")
"""Jobs that take a new or empty folder."""


def in_child(job, arguments, fault, moment):
    """Run a job in a child that meets a fault at a file event; return exit code, number of events and error."""
    context = multiprocessing.get_context("fork")  # fast: everything is imported already
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=meet, args=(job, arguments, fault, moment, send))
    process.start()
    send.close()
    try:
        count, error = receive.recv()
    except EOFError:
        count, error = 0, ""
    process.join()
    return process.exitcode, count, error


def meet(job, arguments, fault, moment, send):
    count, root = 0, str(arguments[0].parent)

    def hook(event, values):
        nonlocal count
        names = [each for each in values[:2] if isinstance(each, str | bytes | os.PathLike)]
        if event in EVENTS and any(root in os.fsdecode(name) for name in names):
            count += 1
            if count == moment and fault == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif count == moment:
                raise OSError(fault, os.strerror(fault), os.fsdecode(names[0]))

    sys.addaudithook(hook)
    try:
        job(*arguments)
    except (FdrdError, OSError) as error:  # the command line prints both in one line
        send.send((count, str(error)))
        os._exit(REFUSED)
    except BaseException:
        send.send((count, traceback.format_exc()))
        os._exit(1)
    send.send((count, ""))
    os._exit(DONE)


@pytest.fixture
def uncaptioned(birds, tmp_path):
    """An image folder without captions."""
    shutil.copytree(birds, tmp_path / "uncaptioned")
    (tmp_path / "uncaptioned/metadata.jsonl").unlink()


@pytest.mark.slow
@pytest.mark.parametrize("name", JOBS)
def test_the_next_run_finishes_what_a_fault_interrupted(
    name, birds, uncaptioned, tmp_path, make_clip, tiny_dataset, server
):
    job, warm, reference = JOBS[name], tmp_path / "warm", tmp_path / "reference"
    more = (make_clip(), tiny_dataset) if name in ("training", "experiment", "features") else ()
    if name == "export":
        build(birds, tmp_path / "dataset", config=SMALL, workers=1)
    if name == "fetch":
        content = archive("a.tar", {f"{each}.txt": b"A wren." for each in range(40)})
        server.files["a.tar"] = content
        more = (one_file(f"{server.url}/a.tar", content),)
    warm.mkdir()
    reference.mkdir()
    job(warm, *more)  # imports in this process what each child would import
    _, events, _ = in_child(job, (reference, *more), None, 0)
    wanted, rng, wrong = written(reference), random.Random(POINTS), []
    assert wanted
    for number in range(POINTS):
        folder = tmp_path / f"{name}{number}"
        folder.mkdir()
        fault, moment = FAULTS[number % len(FAULTS)], rng.randint(1, events)
        code, _, error = in_child(job, (folder, *more), fault, moment)
        one_line = code != REFUSED or len(error.splitlines()) == 1
        if code not in (DONE, REFUSED, -signal.SIGKILL) or not one_line:
            wrong.append((fault, moment, error))
        if name in ONCE and (folder / "out").is_dir() and written(folder) == wanted:
            continue  # complete, so a second run is refused
        again, _, error = in_child(job, (folder, *more), None, 0)
        if again != DONE or written(folder) != wanted:
            wrong.append((fault, moment, "the next run differs", error))
        shutil.rmtree(folder)
    assert wrong == []


def test_a_folder_that_cannot_be_listed_is_not_left_out(birds, tmp_path, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("train/wren"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        _ = SourceFolder(birds).files
    with pytest.raises(FdrdError, match=r"train/wren: Permission denied"):
        build(birds, tmp_path / "out", config=SMALL, workers=1)


CHANGES = {
    "shortened": lambda file: file.write_bytes(file.read_bytes()[:40]),
    "removed": lambda file: file.unlink(),
    "replaced": lambda file: file.write_bytes(file.with_name("02.png").read_bytes()),
    "a pipe": lambda file: (file.unlink(), os.mkfifo(file)),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "a link out": lambda file: (file.unlink(), file.symlink_to("/etc/passwd")),
}


@pytest.mark.parametrize(
    ("change", "moment"),
    [*((change, "collect") for change in CHANGES), ("replaced", "stage"), ("removed", "stage")],
)
def test_a_source_that_changes_while_it_is_read_is_noticed(
    birds, tmp_path, monkeypatch, change, moment
):
    module = {"collect": collect, "stage": builder}[moment]
    name = {"collect": "run_check_task", "stage": "stage_shards"}[moment]
    function, changed = getattr(module, name), []

    def changing(*arguments, **more):
        if not changed:
            changed.append(CHANGES[change](birds / "train/wren/04.png"))
        return function(*arguments, **more)

    monkeypatch.setattr(module, name, changing)
    with contextlib.suppress(FdrdError):
        build(birds, tmp_path / "out", config=SMALL, workers=1)
        assert moment == "collect"
    monkeypatch.undo()
    again = build(birds, tmp_path / "out", config=SMALL, workers=1)
    build(birds, tmp_path / "reference", config=SMALL, workers=1)
    assert digests(tmp_path / "out") == digests(tmp_path / "reference")
    assert again.manifest.records.rejected == (change != "replaced")


def test_a_file_that_changed_only_while_it_was_read_is_read_again(
    birds, tmp_path, monkeypatch, small_shards
):
    image = birds / "train/wren/04.png"
    before, times = image.read_bytes(), image.stat()
    check = collect.run_check_task

    def changing(*arguments):
        image.write_bytes(before + b"x")
        return check(*arguments)

    monkeypatch.setattr(collect, "run_check_task", changing)
    build(birds, tmp_path / "out", config=SMALL, workers=1)
    monkeypatch.undo()
    image.write_bytes(before)
    os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
    build(birds, tmp_path / "out", config=SMALL, workers=1)
    assert digests(tmp_path / "out") == small_shards
