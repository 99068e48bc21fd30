"""Tasks give the same results in one process or in several, and what they share travels once."""

import operator

import pytest

from fdrd.engine import run_tasks


class Seven(int):
    """A seven that counts how often it was sent away."""

    sent = 0

    def __reduce__(self):
        type(self).sent += 1
        return int, (7,)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_tasks_with_what_they_share(workers):
    assert list(run_tasks(operator.sub, range(20), workers, 7)) == list(range(-7, 13))
    assert list(run_tasks(operator.neg, range(3), workers)) == [0, -1, -2]


def test_what_tasks_share_is_pickled_once_for_all_of_them():
    Seven.sent = 0
    assert list(run_tasks(operator.add, range(20), 2, Seven(7))) == list(range(7, 27))
    assert Seven.sent == 1
