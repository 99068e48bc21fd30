"""Progress of a long command: bars on a terminal, lines in a log."""

import io
import re

from rich.console import Console

from fdrd.commands import bench, console

CALLS = [
    ("decoding images", 3, 3),
    ("coop seed 0: train | epoch 1 of 2, loss 1.500", 1, 4),
    ("coop seed 0: train | epoch 1 of 2, loss 1.250", 2, 4),
    ("coop seed 0: epoch 1 of 2 | validating", 0, 2),
    ("coop seed 0: epoch 1 of 2 | loss 1.375, validation MRR 0.250", 2, 2),
    ("coop seed 0: rank", 0, 1),
    ("coop seed 0: rank", 1, 1),
    ("coop seed 0: finished | coop, seed 0: MRR 25.0, 4 steps, 3 s", 1, 1),
    ("coop seed 1: train | epoch 2 of 2, loss 1.000, validation MRR 0.250", 3, 4),
]


def shown(monkeypatch, terminal):
    written = io.StringIO()
    shown_on = Console(file=written, force_terminal=terminal, width=120, color_system=None)
    monkeypatch.setattr(console, "err", shown_on)
    with console.show_progress("") as progress:
        for call in CALLS:
            progress(*call)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written.getvalue())


def test_a_log_has_one_line_per_run_and_per_stage_of_other_work(monkeypatch):
    assert shown(monkeypatch, terminal=False).splitlines() == [
        "decoding images: 3",
        "coop, seed 0: MRR 25.0, 4 steps, 3 s",
    ]


def test_verbose_shows_the_stages_of_a_run(monkeypatch):
    monkeypatch.setattr(console.shown, "tracebacks", True)
    lines = shown(monkeypatch, terminal=False).splitlines()
    assert lines[1:3] == [
        "coop seed 0: epoch 1 of 2: 2  loss 1.375, validation MRR 0.250",
        "coop seed 0: rank",
    ]


def test_a_terminal_shows_one_bar_with_a_changing_note_and_none_of_a_finished_run(monkeypatch):
    lines = shown(monkeypatch, terminal=True).splitlines()
    assert "coop, seed 0: MRR 25.0, 4 steps, 3 s" in [line.strip() for line in lines]
    bar = [line for line in lines if line.startswith("coop seed 1: train")][-1]
    assert "3/4" in bar
    assert "epoch 2 of 2, loss 1.000, validation MRR 0.250" in bar
    assert not any(line.startswith("coop seed 0") for line in lines[-2:])
    assert "validating" not in lines[-1]


def test_the_line_of_a_finished_run_says_how_long_the_others_may_take(monkeypatch):
    clock, seen = iter([0.0, 10.0, 16.0]), []
    monkeypatch.setattr(bench.time, "monotonic", lambda: next(clock))
    progress = bench.with_time_left(lambda stage, _done, _total: seen.append(stage), 2)
    for stage in ("coop seed 0: rank", "coop seed 0: finished | MRR 1", "vpt: finished | MRR 2"):
        progress(stage, 1, 1)
    assert seen == [
        "coop seed 0: rank",
        "coop seed 0: finished | MRR 1 (1 of 2, about 10 s left)",
        "vpt: finished | MRR 2",
    ]
