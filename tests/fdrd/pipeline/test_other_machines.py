"""Workers on other machines: another working folder, and folders that they do not share."""

import contextlib
from pathlib import Path

import pytest

from fdrd.engines import LocalEngine
from fdrd.errors import FdrdError
from fdrd.pipeline import builder
from fdrd.pipeline.collect import CheckTask, run_check_task
from fdrd.storage.shards import RowsTask, ShardTask
from tests.folders import digests


class OtherMachine(LocalEngine):
    """Runs tasks in another working folder; `shares` says whether its files appear here."""

    shares = True

    def run(self, function, tasks, *common):
        for task in tasks:
            with contextlib.chdir("/"):
                result = function(task, *common)
            if isinstance(task, ShardTask) and not self.shares:
                Path(task.folder, task.path).unlink()
            yield result

    def submit(self, function, task):
        (result,) = self.run(function, [task])
        return lambda: result


@pytest.fixture
def elsewhere(monkeypatch):
    """Return the engine that builds of this test use."""
    engine = OtherMachine(1)
    monkeypatch.setattr(builder, "open_engine", lambda *_: engine)
    return engine


def test_relative_paths_mean_the_same_files_on_a_worker(birds, tmp_path, monkeypatch, elsewhere):
    builder.build(birds, tmp_path / "absolute")
    monkeypatch.chdir(tmp_path)
    builder.build("raw", "relative")
    assert digests("relative") == digests("absolute")
    (tmp_path / "raw" / "train/wren/00.png").touch()
    again = builder.build("raw", "relative")  # counts the shards of the first build
    assert (again.shards_written, again.nothing_to_do) == (0, False)
    assert digests("relative") == digests("absolute")


def test_a_shard_that_is_on_another_machine_only_is_an_error(birds, tmp_path, elsewhere):
    elsewhere.shares = False
    with pytest.raises(FdrdError, match=r"\.arrow was written by another machine and is not here"):
        builder.build(birds, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("task_type", "name"), [(RowsTask, "rows.partial"), (ShardTask, "rows/0.arrow")]
)
def test_a_machine_that_does_not_see_the_records_is_an_error(
    birds, tmp_path, monkeypatch, elsewhere, task_type, name
):
    def without_rows(function, tasks, *common):
        for task in tasks:
            if isinstance(task, task_type):
                Path(task.records.path if task_type is RowsTask else task.rows).unlink()
            yield function(task, *common)

    monkeypatch.setattr(elsewhere, "run", without_rows)
    with pytest.raises(FdrdError, match=rf"does not see .*/{name}"):
        builder.build(birds, tmp_path / "out")


def test_a_machine_that_does_not_see_the_source_is_an_error(tmp_path):
    with pytest.raises(FdrdError, match=r"does not see .*nowhere"):
        run_check_task(CheckTask(str(tmp_path / "nowhere"), 100))
