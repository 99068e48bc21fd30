"""`fdrd caption`: its output and errors, and a captioner of another package."""

import contextlib
import json

import pytest

from tests.command import run_fdrd, start_fdrd

PLUGIN = """
from dataclasses import dataclass
from fdrd.captioning import Answer, captioner

@captioner("mine")
@dataclass
class Mine:
    '''Says a word.'''
    spending: object
    word: str = "red"
    converses = False
    free = True
    identity = property(lambda self: {"name": "mine", "word": self.word})

    def answer(self, questions, keep):
        for question in questions:
            keep(question, Answer(f"A {self.word} {question.image.record.category} in the shade."))
        return ""
"""


def fdrd(folder, *arguments):
    """Run a command in this process; return exit code, stdout and stderr."""
    with contextlib.chdir(folder):
        code, out, err = run_fdrd(*arguments)
    return code, out, " ".join(err.split())


def fdrd_process(folder, *arguments):
    """Run a command in a process of its own; return exit code, stdout and stderr."""
    process = start_fdrd(folder, *arguments)
    out, err = process.communicate()
    assert "Traceback" not in err
    return process.returncode, out, " ".join(err.split())


def from_template(*more):
    return ("caption", "--source", "raw", "--captioner", "template", *more)


def from_endpoint(chat, *more):
    options = ("-C", "model=m", "-C", f"url={chat.url}", "--cache", "answers.sqlite")
    return ("caption", "--source", "raw", "--captioner", "endpoint", *options, *more)


def test_the_next_command_is_one_that_can_run(raw):
    none = from_template("-C", "text=A {category} can be seen in the image.")
    code, out, err = fdrd(raw.parent, *none)
    assert (code, "0 captions + 12 rejected" in out) == (0, True)
    hint = "Next: read the reasons in captioned/*/rejected_captions.jsonl"
    assert hint in " ".join(out.split()) + err
    assert "Next:  fdrd build" not in out + err


def test_captioner_and_evaluator_share_one_budget(raw, chat):
    options = ("input_price=1000", "output_price=1000", "max_tokens=50")
    flags = [part for flag in ("-C", "-E") for option in options for part in (flag, option)]
    judge = ("--evaluator", "endpoint", "-E", "model=j", "-E", f"url={chat.url}")
    arguments = from_endpoint(chat, *judge, *flags, "--json")
    code, out, err = fdrd(raw.parent, *arguments, "--budget", "15")
    first = json.loads(out)
    assert (code, first["stopped"]) == (1, "budget_spent"), err
    assert 0 < first["asked"]["spent"] <= 15
    # A draft without a verdict is unfinished.
    assert first["kept"] < 12
    assert first["kept"] + first["unfinished"] + sum(first["rejected"].values()) == 12
    code, out, err = fdrd(raw.parent, *arguments, "--budget", "1000")
    second = json.loads(out)
    assert (code, second["kept"], second["unfinished"]) == (0, 12, 0), err
    assert len(chat.asked) == len(set(chat.asked)) == 24
    assert first["asked"]["spent"] + second["asked"]["spent"] == pytest.approx(24 * 1.02)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--captioner", "nobody"], "no captioner 'nobody'"),
        (["--captioner", "template", "-C", "texts=x"], "did you mean 'text'"),
        (["--captioner", "template", "--without", "metatalk"], "did you mean 'meta_talk'"),
        (["--captioner", "template", "--min-clip-score", "0.2"], "needs --backbone"),
        (["--captioner", "template", "--evaluator", "template"], "cannot answer questions"),
        (["--captioner", "template", "--out", "raw/captioned"], "inside the source"),
        (["--captioner", "template", "--questions", "nowhere.txt"], "nowhere.txt"),
        (["--captioner", "template", "--opening", "A {klass}."], "klass"),
    ],
)
def test_a_mistake_is_one_line(raw, arguments, what):
    code, _, err = fdrd(raw.parent, "caption", "--source", "raw", *arguments)
    assert (code, what in err) == (2, True), err


def test_the_captioners_are_listed(tmp_path):
    code, out, _ = fdrd(tmp_path, "caption", "--list")
    assert code == 0
    for name in ("endpoint", "reader", "template", "transformers", "meta_talk", "detail_invented"):
        assert name in out
    _, out, _ = fdrd(tmp_path, "caption", "--list", "--json")
    listed = json.loads(out)["captioners"]
    assert set(listed) == {"endpoint", "reader", "template", "transformers"}
    assert all(text for one in listed.values() for text in one["options"].values())


def test_a_custom_captioner_is_one_file(raw):
    (raw.parent / "mine.py").write_text(PLUGIN)
    arguments = ("--plugin", "mine", "--captioner", "mine", "-C", "word=green")
    code, _, err = fdrd_process(raw.parent, "caption", "--source", "raw", *arguments)
    assert code == 0, err
    assert "A green robin in the shade." in (raw.parent / "captioned/raw/captions.json").read_text()


def test_noise_in_existing_captions_is_counted(raw):
    text = "text=The image shows that a {category} sings."
    made = from_template("-C", text, "--out", "two", "--without", "meta_talk")
    assert fdrd(raw.parent, *made)[0] == 0
    _, out, _ = fdrd(raw.parent, "audit", "two", "--no-text-only", "--json")
    (found,) = json.loads(out)["noise"]
    assert (found["rows"], found["filters"]["meta_talk"]["rows"]) == (12, 12)
    _, out, _ = fdrd(raw.parent, "audit", "two", "--no-text-only")
    assert "12 of 12 rows (100.0%) would be rejected" in " ".join(out.split())
