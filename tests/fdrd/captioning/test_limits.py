"""The request rate, on a simulated clock."""

import threading

import pytest

from fdrd.captioning.limits import RequestRate


class Clock:
    """An event whose wait advances the time."""

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
    monkeypatch.setattr("fdrd.captioning.limits.time.monotonic", lambda: clock.now)
    return clock


def turns(rate, clock, number):
    return [clock.now for _ in range(number) if rate.wait(clock)]


def test_requests_are_a_pause_apart(clock):
    assert turns(RequestRate(0.5), clock, 4) == [100.0, 100.5, 101.0, 101.5]
    assert turns(RequestRate(), clock, 3) == [101.5] * 3


def test_a_hold_delays_the_next_request(clock):
    rate = RequestRate(0.5)
    rate.hold(3.0)
    rate.hold(1.0)  # a shorter hold changes nothing
    assert turns(rate, clock, 2) == [103.0, 103.5]


def test_a_stopped_run_sends_nothing(clock):
    rate = RequestRate(0.5)
    clock.stopped = True
    assert turns(rate, clock, 1) == []


def test_threads_share_the_rate():
    rate, stop, took = RequestRate(0.01), threading.Event(), []
    threads = [threading.Thread(target=lambda: took.append(rate.wait(stop))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert took == [True] * 5
