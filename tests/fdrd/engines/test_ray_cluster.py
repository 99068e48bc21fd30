"""A build on a Ray cluster writes the same bytes as any other build."""

import operator
import sys

import pytest

from fdrd.build_config import BuildConfig
from fdrd.engines import open_engine
from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build
from tests.folders import digests


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


def test_without_ray_the_error_names_the_extra_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(FdrdError, match=r"fdrd\[ray\]"):
        open_engine("ray")
