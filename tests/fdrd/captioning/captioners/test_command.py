"""`fdrd caption` as a user meets it: in a process of its own, stopped and killed as it comes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from fdrd.captioning import AnswerCache


def command(folder: Path, *arguments: object) -> list[str]:
    return [sys.executable, "-m", "fdrd", *map(str, arguments)]


def environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "hf"),
        "FDRD_CACHE": str(folder / "cache"),
    }


def fdrd(folder: Path, *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(folder, *arguments),
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )


def ask(chat, *further: object) -> tuple[object, ...]:
    return (
        *(
            "caption",
            "--source",
            "raw",
            "--captioner",
            "endpoint",
            "-C",
            "model=m",
            "-C",
            f"url={chat.url}",
        ),
        *("--cache", "answers.sqlite", *further),
    )


def test_a_template_then_a_build(raw):
    folder = raw.parent
    done = fdrd(folder, "caption", "--source", "raw", "--captioner", "template", "--out", "mine")
    assert done.returncode == 0, done.stderr
    assert "12 pictures = 12 captions + 0 rejected + 0 unfinished" in done.stdout
    done = fdrd(folder, "build", "--source", "mine", "--out", "data/mine", "--workers", "1")
    assert (done.returncode, "12 read = 12 kept" in done.stdout) == (0, True), done.stderr


def test_an_evaluator_prices_and_a_budget_in_one_account(raw, chat):
    folder = raw.parent
    prices = [
        part
        for flag in "CE"
        for price in ("input_price=1000", "output_price=1000")
        for part in (f"-{flag}", price)
    ]
    judge = [
        "--evaluator",
        "endpoint",
        "-E",
        "model=j",
        "-E",
        f"url={chat.url}",
        "-E",
        "max_tokens=50",
    ]
    arguments = ask(chat, *judge, *prices, "-C", "max_tokens=50", "--json")
    done = fdrd(folder, *arguments, "--estimate")
    expected = json.loads(done.stdout)
    assert (expected["least"], expected["most"], len(chat.asked)) == (24, 72, 0)
    done = fdrd(folder, *arguments, "--budget", "15")
    assert done.returncode == 1, done.stderr
    first = json.loads(done.stdout)
    assert 0 < first["asked"]["spent"] <= 15
    assert first["stopped"] == "budget_spent"
    assert "The budget of 15" in done.stderr
    done = fdrd(folder, *arguments, "--budget", "1000")
    assert done.returncode == 0, done.stderr
    second = json.loads(done.stdout)
    assert (second["kept"], second["unfinished"]) == (12, 0)
    assert len(chat.asked) == len(set(chat.asked)) == 24
    assert first["asked"]["spent"] + second["asked"]["spent"] == pytest.approx(24 * 1.02)


def test_a_key_is_in_no_output(raw, chat):
    folder, chat.key = raw.parent, "sk-right"
    done = subprocess.run(
        command(folder, *ask(chat)), cwd=folder, capture_output=True, text=True, check=False,
        env={**environment(folder), "OPENAI_API_KEY": "sk-wrong-0123456789"},
    )  # fmt: skip
    assert done.returncode == 2
    assert "$OPENAI_API_KEY" in done.stderr
    assert "Traceback" not in done.stderr
    assert "sk-wrong" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--captioner", "nobody"], "no captioner 'nobody'"),
        (["--captioner", "template", "-C", "texts=x"], "did you mean 'text'"),
        (["--captioner", "template", "--without", "metatalk"], "did you mean 'meta_talk'"),
        (["--captioner", "template", "--min-clip-score", "0.2"], "needs --backbone"),
        (["--captioner", "template", "--evaluator", "template"], "answers no questions"),
        (["--captioner", "template", "--out", "raw/captioned"], "inside the source"),
        (["--captioner", "template", "--questions", "nowhere.txt"], "nowhere.txt"),
        (["--captioner", "template", "--opening", "A {klass}."], "klass"),
    ],
)
def test_a_mistake_is_one_line(raw, arguments, what):
    done = fdrd(raw.parent, "caption", "--source", "raw", *arguments)
    assert done.returncode == 2
    assert what in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_the_captioners_are_listed(tmp_path):
    done = fdrd(tmp_path, "captioners")
    assert done.returncode == 0
    for name in ("endpoint", "reader", "template", "transformers", "meta_talk", "detail_invented"):
        assert name in done.stdout
    assert set(json.loads(fdrd(tmp_path, "captioners", "--json").stdout)["captioners"]) == {
        *("endpoint", "reader", "template", "transformers")
    }


def test_a_captioner_of_the_users_own_is_a_file(raw):
    (raw.parent / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from fdrd.captioning import Answer, Expected, captioner\n\n"
        "@captioner('mine')\ndef mine(spending, *, word: str = 'red'):\n"
        "    '''Says a word.'''\n    return Mine(word)\n\n"
        "@dataclass\nclass Mine:\n    word: str\n    converses = False\n    free = True\n"
        "    identity = property(lambda self: {'name': 'mine', 'word': self.word})\n"
        "    def expected(self, text):\n        return Expected()\n"
        "    def answer(self, questions, keep):\n        for question in questions:\n"
        "            keep(question, Answer(f'A {self.word} {question.picture.record.category} in the shade.'))\n"
        "        return ''\n"
    )
    done = fdrd(
        raw.parent,
        "caption",
        "--source",
        "raw",
        "--plugin",
        "mine",
        "--captioner",
        "mine",
        "-C",
        "word=green",
    )
    assert done.returncode == 0, done.stderr
    assert "A green robin in the shade." in (raw.parent / "captioned/raw/captions.json").read_text()


@pytest.mark.slow
def test_killed_at_any_moment_no_answer_is_lost(tmp_path, make_raw, chat):
    """Every answer that reached the process is on the disk, but for those of requests under way at the kill."""
    make_raw(tmp_path / "raw", 120)
    chat.delay = 0.02
    moments = random.Random(0)
    kills, under_way = 0, 4
    while True:
        process = subprocess.Popen(
            command(tmp_path, *ask(chat, "-C", f"concurrency={under_way}")), cwd=tmp_path, env=environment(tmp_path),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        goal = len(chat.asked) + moments.randrange(1, 40)
        while process.poll() is None and len(chat.asked) < goal and len(chat.asked) < 110:
            time.sleep(0.005)
        if len(chat.asked) >= 110:
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
        with AnswerCache(tmp_path / "answers.sqlite") as cache:
            assert len(cache) >= len(chat.answered) - under_way * kills
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert kills >= 2
    assert "120 pictures = 120 captions" in out
    twice = Counter(asked for asked, times in Counter(chat.asked).items() if times > 1)
    assert len(chat.asked) - 120 <= under_way * kills
    assert sum(twice.values()) <= under_way * kills
    again = fdrd(tmp_path, *ask(chat))
    assert again.returncode == 0
    assert "120 from the cache, 0 asked now" in again.stdout


@pytest.mark.slow
def test_two_runs_at_once_share_the_questions(tmp_path, make_raw, chat):
    make_raw(tmp_path / "raw", 60)
    chat.delay = 0.05
    runs = [
        subprocess.Popen(
            command(tmp_path, *ask(chat, "--out", f"out{number}", "-C", "concurrency=2")), cwd=tmp_path,
            env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(2)
    ]  # fmt: skip
    said = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert len(chat.asked) == len(set(chat.asked)) == 60
    assert chat.most_at_once > 2
    one, two = (
        (tmp_path / f"out{number}" / "raw" / "captions.json").read_bytes() for number in range(2)
    )
    assert one == two


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(tmp_path, make_raw, chat):
    make_raw(tmp_path / "raw", 60)
    chat.delay = 0.2
    process = subprocess.Popen(
        command(tmp_path, *ask(chat)),
        cwd=tmp_path,
        env=environment(tmp_path),
        stderr=subprocess.PIPE,
        text=True,
    )
    while len(chat.asked) < 10:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in err
    assert "Traceback" not in err
    with AnswerCache(tmp_path / "answers.sqlite") as cache:
        assert len(cache) == sum(chat.answered.values()) == len(chat.asked)
    assert not list(tmp_path.glob("*.lock"))


def test_noise_in_existing_captions_is_counted(raw):
    folder = raw.parent
    made = ("--captioner", "template", "-C", "text=The image shows that a {category} sings.")
    done = fdrd(
        folder, "caption", "--source", "raw", "--out", "two", *made, "--without", "meta_talk"
    )
    assert done.returncode == 0, done.stderr
    done = fdrd(folder, "audit", "--source", "two", "--noise", "--json")
    (found,) = json.loads(done.stdout)["noise"]
    assert (found["rows"], found["filters"]["meta_talk"]["rows"]) == (12, 12)


@pytest.mark.slow
def test_the_score_of_a_backbone_is_measured_and_limits(raw):
    folder = raw.parent
    made = ("--captioner", "template", "-C", "text=A {category} in the shade.")
    assert fdrd(folder, "caption", "--source", "raw", "--out", "one", *made).returncode == 0
    scored = ("--backbone", "embedded", "--min-clip-score", "2", "--out", "none")
    done = fdrd(folder, "caption", "--source", "raw", *made, *scored)
    assert done.returncode == 0, done.stderr
    assert "12 rejected: clip_score" in done.stdout
    done = fdrd(
        folder,
        "audit",
        "--source",
        "one",
        "--noise",
        "--backbone",
        "embedded",
        "--min-clip-score",
        "2",
    )
    assert done.returncode == 0, done.stderr
    assert "12 of 12 rows (100.0%) would be rejected" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--noise"], "give a built dataset"),
        (["--source", "raw", "--backbone", "embedded"], "--noise"),
        (["--source", "raw", "--noise", "--min-clip-score", "0.2"], "--backbone"),
    ],
)
def test_a_mistaken_audit_is_one_line(raw, arguments, what):
    done = fdrd(raw.parent, "audit", *arguments)
    assert (done.returncode, what in done.stderr) == (2, True)
