"""The pace of requests, by a clock that the test turns."""

import threading

import pytest

from fdrd.captioning.pace import Pace


class Clock:
    """An event whose waiting moves the time."""

    def __init__(self):
        self.now = 100.0
        self.stopped = False

    def is_set(self):
        return self.stopped

    def wait(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("fdrd.captioning.pace.time.monotonic", lambda: clock.now)
    return clock


def turns(pace, clock, number):
    return [clock.now for _ in range(number) if pace.wait(clock)]


def test_turns_are_a_pause_apart(clock):
    assert turns(Pace(0.5), clock, 4) == [100.0, 100.5, 101.0, 101.5]
    assert turns(Pace(), clock, 3) == [101.5] * 3


def test_nobody_comes_before_the_time_that_was_asked_for(clock):
    pace = Pace(0.5)
    pace.hold(3.0)
    pace.hold(1.0)  # a shorter one takes nothing back
    assert turns(pace, clock, 2) == [103.0, 103.5]


def test_a_run_that_is_stopped_has_no_turn(clock):
    pace = Pace(0.5)
    clock.stopped = True
    assert turns(pace, clock, 1) == []


def test_threads_share_the_pace():
    pace, stop, took = Pace(0.01), threading.Event(), []
    threads = [threading.Thread(target=lambda: took.append(pace.wait(stop))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert took == [True] * 5
