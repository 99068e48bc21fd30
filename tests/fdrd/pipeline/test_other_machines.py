"""Workers on other machines: another working folder, and folders that they do not share."""

import contextlib
from pathlib import Path

import pytest

from fdrd.engines import LocalEngine
from fdrd.errors import FdrdError
from fdrd.pipeline import builder
from fdrd.pipeline.collect import run_check_task
from fdrd.pipeline.documents import make_counted
from fdrd.storage.shards import write_shard
from tests.folders import digests


class OtherMachine(LocalEngine):
    """Runs tasks in another working folder; `shares` says whether its files appear here."""

    shares = True

    def run(self, function, tasks, *common, **_):
        for task in tasks:
            with contextlib.chdir("/"):
                result = function(task, *common)
            if function is write_shard and not self.shares:
                Path(common[0], result.path).unlink()
            yield result


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
    ("step", "name"), [(make_counted, "rows.partial"), (write_shard, "rows/0.arrow")]
)
def test_a_machine_that_does_not_see_the_records_is_an_error(
    birds, tmp_path, monkeypatch, elsewhere, step, name
):
    def without_rows(function, tasks, *common, **_):
        for task in tasks:
            if function is step:
                Path(task.path if step is make_counted else task[1]).unlink()
            yield function(task, *common)

    monkeypatch.setattr(elsewhere, "run", without_rows)
    with pytest.raises(FdrdError, match=rf"does not see .*/{name}"):
        builder.build(birds, tmp_path / "out")


def test_a_machine_that_does_not_see_the_source_is_an_error(tmp_path):
    with pytest.raises(FdrdError, match=r"does not see .*nowhere"):
        run_check_task(([], []), str(tmp_path / "nowhere"), 100)
