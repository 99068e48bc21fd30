"""Tasks give the same results in one process, in several, or on Ray, and common arguments are sent once."""

import operator
import os
import signal
import sys
import time
from functools import partial

import pytest

from fdrd.build_config import BuildConfig
from fdrd.engines import TASKS_AHEAD, LocalEngine, open_engine
from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build
from tests.command import run_python
from tests.folders import digests


class Seven(int):
    """A seven that counts how often it was pickled."""

    pickled = 0

    def __reduce__(self):
        type(self).pickled += 1
        return int, (7,)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_task_order_and_can_be_tasks(workers):
    with LocalEngine(workers) as engine:
        engine.prepare(operator.sub)
        assert list(engine.run(operator.sub, range(20), 7)) == list(range(-7, 13))
        assert list(engine.run(operator.neg, range(3))) == [0, -1, -2]
        differences = engine.run(operator.sub, range(20), 7)
        assert list(engine.run(operator.mul, differences, 2)) == list(range(-14, 26, 2))


def test_common_arguments_are_pickled_once():
    with LocalEngine(2) as engine:
        assert list(engine.run(operator.add, range(20), Seven(7))) == list(range(7, 27))
    assert Seven.pickled == 1


def test_few_tasks_are_in_flight():
    drawn = []
    tasks = (drawn.append(number) or number for number in range(100))
    with LocalEngine(2) as engine:
        results = engine.run(operator.neg, tasks)
        assert next(results) == 0
        assert len(drawn) <= 2 * TASKS_AHEAD + 1
        results.close()


def test_a_run_goes_on_while_another_one_replaces_the_processes():
    with LocalEngine(4) as engine:
        first = engine.run(time.sleep, [0.05] * 3)
        next(first)
        assert list(engine.run(operator.neg, range(20))) == [-task for task in range(20)]
        assert list(first) == [None, None]


def test_no_replaced_process_outlives_the_engine():
    with LocalEngine(4) as engine:
        first = engine.run(operator.call, [os.getpid, partial(time.sleep, 0.5)])
        process = next(first)
        assert list(engine.run(operator.neg, range(4))) == [0, -1, -2, -3]
    assert not runs(process)


def test_an_error_in_a_task_reaches_the_caller_and_the_engine_stays_usable():
    with LocalEngine(2) as engine:
        with pytest.raises(ZeroDivisionError):
            list(engine.run(operator.truediv, range(4), 0))
        assert list(engine.run(operator.truediv, [8], 2)) == [4]


def test_a_killed_worker_is_a_clear_error():
    with LocalEngine(2) as engine, pytest.raises(FdrdError, match="a worker process was killed"):
        list(engine.run(os._exit, [9]))


def test_an_unknown_engine_and_one_without_its_package_are_errors(monkeypatch):
    with pytest.raises(FdrdError, match="local, ray"):
        open_engine("spark")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(FdrdError, match=r"fdrd\[ray\]"):
        open_engine("ray")


def test_a_script_without_a_main_guard_can_build(birds, tmp_path):
    script = tmp_path / "two_lines.py"
    script.write_text(f"import fdrd\nfdrd.build({str(birds)!r}, 'out', workers=2)\n")
    done = run_python(script, cwd=tmp_path)
    assert done.stderr == ""
    assert (tmp_path / "out" / "manifest.json").is_file()


def test_workers_end_when_the_building_process_was_killed():
    program = """
import os, signal, time
from functools import partial
from fdrd.engines import LocalEngine
from operator import call
with LocalEngine(2) as engine:
    found = engine.run(call, [os.getpid, os.getpid, *[partial(time.sleep, 2)] * 8])
    print(next(found), next(found), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = run_python("-c", program, check=False, timeout=60)
    workers = [int(each) for each in done.stdout.split()]
    assert done.returncode == -signal.SIGKILL
    assert workers
    deadline = time.monotonic() + 60
    while any(map(runs, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(runs, workers))


def runs(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_ray_yields_results_in_task_order_and_raises_errors():
    pytest.importorskip("ray")
    with open_engine("ray", 2) as engine:
        assert list(engine.run(operator.sub, range(20), 7)) == list(range(-7, 13))
        with pytest.raises(ZeroDivisionError):
            list(engine.run(operator.truediv, range(4), 0))
        # Without a remote traceback:
        with pytest.raises(FdrdError, match=r"^unknown engine 'spark'"):
            list(engine.run(open_engine, ["spark"]))
        assert list(engine.run(operator.neg, range(3))) == [0, -1, -2]


@pytest.mark.slow
def test_ray_writes_the_same_bytes(birds, tmp_path):
    pytest.importorskip("ray")
    config = BuildConfig(shard_bytes=800)
    build(birds, tmp_path / "local", config=config, workers=1)
    build(birds, tmp_path / "ray", config=config, workers=2, engine="ray")
    assert len(digests(tmp_path / "ray")) > 12
    assert digests(tmp_path / "ray") == digests(tmp_path / "local")
