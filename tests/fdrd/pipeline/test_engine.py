"""Tasks give the same results in one process or in several, and what they share travels once."""

import operator
import os

import pytest

from fdrd.errors import FdrdError
from fdrd.pipeline.engine import AHEAD, LocalEngine, open_engine


class Seven(int):
    """A seven that counts how often it was sent away."""

    sent = 0

    def __reduce__(self):
        type(self).sent += 1
        return int, (7,)


def results(function, tasks, workers, *common):
    with LocalEngine(workers) as engine:
        return list(engine.run(function, tasks, *common))


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_tasks_with_what_they_share(workers):
    with LocalEngine(workers) as engine:
        assert list(engine.run(operator.sub, range(20), 7)) == list(range(-7, 13))
        assert list(engine.run(operator.sub, range(3), 1)) == [-1, 0, 1]
        assert list(engine.run(operator.neg, range(3))) == [0, -1, -2]


def test_what_tasks_share_is_pickled_once_for_all_of_them():
    Seven.sent = 0
    assert results(operator.add, range(20), 2, Seven(7)) == list(range(7, 27))
    assert Seven.sent == 1


def test_tasks_are_asked_for_as_they_are_needed():
    asked = []
    tasks = (asked.append(number) or number for number in range(100))
    with LocalEngine(2) as engine:
        found = engine.run(operator.neg, tasks)
        assert next(found) == 0
        assert len(asked) <= 2 * AHEAD + 1
        found.close()


def test_an_error_of_a_task_reaches_the_caller_and_the_engine_goes_on():
    with LocalEngine(2) as engine:
        with pytest.raises(ZeroDivisionError):
            list(engine.run(operator.truediv, range(4), 0))
        assert list(engine.run(operator.truediv, [8], 2)) == [4]


def test_a_killed_worker_is_said_plainly():
    with LocalEngine(2) as engine, pytest.raises(FdrdError, match="a worker process was killed"):
        list(engine.run(os._exit, [9]))


def test_an_engine_that_is_not_known_names_those_that_are():
    with pytest.raises(FdrdError, match="local, ray"):
        open_engine("spark")
