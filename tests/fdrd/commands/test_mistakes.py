"""Mistakes of users, each answered in one line before torch is imported or anything is trained."""

import contextlib
import json
import os
from importlib.util import find_spec

import pytest

from tests.command import run_python
from tests.fdrd.commands.test_cli import draw_raw, fdrd

BENCH = "bench data/fdrd "
NO_METHOD = "fdrd has no method "
MISTAKES = {
    "bench": "give either --method NAME",
    "bench nope -m zero_shot": "no dataset 'nope'",
    "bench raw -m zero_shot": "raw is a raw source, not a dataset; `fdrd build raw`",
    BENCH + "-m nope": NO_METHOD + "'nope'; it has ",
    BENCH + "-m co0p": "did you mean 'coop'?",
    BENCH + "-m clip": "did you mean 'zero_shot'?",
    BENCH + "zeroshot": NO_METHOD + "'zeroshot'; did you mean 'zero_shot'?",
    "bench clip": "did you mean 'zero_shot'?",
    BENCH + "coop -M nctx=3": "coop has no option 'nctx'; did you mean 'n_ctx'?",
    BENCH + "coop -M n_ctx=many": "coop: n_ctx=many: not an int",
    BENCH + "coop -M loss=both": "coop: loss=both: choose from symmetric | image_to_text | ",
    BENCH + "coop -M vpt.depth=2": "vpt is not among the methods coop",
    BENCH + "dcar -M depth=0 -M adapter=no": "depth=0 leaves only the adapter to train",
    BENCH + "--ablate coop": "defines no variants; these methods do: dcar",
    BENCH + "--ablate dcar -m coop": "give either --method",
    BENCH + "--all -m coop": "give either --method",
    BENCH + "coop -M n_ctx": "write -M name=value",
    BENCH + "coop -T rate=0.1": "training has no option 'rate'",
    BENCH + "coop -T epochs=0": "epochs=0: must be at least 1",
    BENCH + "coop -T epochs": "write -T name=value",
    BENCH + "zero_shot --split dev": "unknown split 'dev'",
    BENCH + "zero_shot --domain bird": "data/fdrd has no test of bird; its domains are raw",
    BENCH + "coop --train-domain bird": "data/fdrd has no train of bird",
    BENCH + "zero_shot --gallery some": "--gallery some: give domain, joint or a number",
    BENCH + "zero_shot --gallery 400": "a gallery of 400 images cannot be drawn from ",
    BENCH + "zero_shot --device gpu": "--device gpu: not available here",
    BENCH + "zero_shot --device cuda:x": "--device cuda:x: not available here",
    BENCH + "zero_shot --backbone embeded": "did you mean 'embedded'?",
    BENCH + "zero_shot --backbone ./nowhere": "nowhere does not exist",
    BENCH + "zero_shot --backbone none.py:load": "none.py does not exist",
    BENCH + "zero_shot --backbone org/none": "--backbone a local folder, a function, or `embedded`",
    BENCH + "zero_shot -o raw/wren/0.png": "is not a folder; give --results a folder",
    BENCH + "--checkpoint none.safetensors": "no checkpoint none.safetensors",
    BENCH
    + "--checkpoint any.safetensors": "any.safetensors is not a checkpoint of this version of fdrd",
    BENCH + "zero_shot data/other": "several datasets: data/fdrd, data/other",
    BENCH + "zero_shot --plugin none": "--plugin none: No module named 'none'",
    BENCH + "zero_shot --categories none.txt": "none.txt",
    "build nowhere": "nowhere does not exist; SOURCE takes a folder of images and captions",
    "build raw -o raw/wren/0.png": "is inside the source raw; choose an --out outside of it",
    "sample raw/wren/0.png/below": "raw/wren/0.png: File exists; ",
    "search data/fdrd bird --device gpu": "--device gpu: not available here",
    "search data/fdrd bird --method nope": NO_METHOD,
    "search bird data/fdrd": "data/fdrd is a dataset, which comes first: fdrd search data/fdrd bird",
    "run nowhere.toml": "nowhere.toml: No such file or directory; give a TOML file",
    "run bad.toml": "coop has no option 'nctx'",
    "run far.toml": "data/fdrd has no test of bird",
    "report data/fdrd": "data/fdrd is a built dataset, not results",
    "methods nope": NO_METHOD,
    "search data/fdrd": "give either a text",
    "search data/fdrd bird --image raw/wren/0.png": "give either a text",
    "search data/fdrd bird --split tset": "unknown split",
}

RUN_ALL = """
import contextlib, io, json, shlex, sys
from fdrd.__main__ import main

answers = {}
for line in json.load(sys.stdin):
    sys.argv = ["fdrd", *shlex.split(line)]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            main()
        except SystemExit as stopped:
            code = stopped.code
    answers[line] = [code, printed.getvalue(), "torch" in sys.modules]
json.dump(answers, sys.stdout)
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """The exit code, the message, and whether torch was imported, for each mistake, of one process."""
    folder = draw_raw(tmp_path_factory.mktemp("mistakes"))
    done = fdrd("build", "raw", "--workers", "1", "--backbone", "embedded", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "bad.toml").write_text(
        'data = "data/fdrd"\nmethods = [{ method = "coop", options = { nctx = 3 } }]\n'
    )
    (folder / "any.safetensors").touch()
    (folder / "far.toml").write_text(
        'data = "data/fdrd"\nmethods = ["coop"]\nprotocols = [{ domain = "bird" }]\n'
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "FDRD_CACHE": str(folder / "cache/fdrd")}
    done = run_python("-c", RUN_ALL, input=json.dumps([*MISTAKES]), cwd=folder, env=environment)
    assert not (folder / "runs").exists()
    return json.loads(done.stdout)


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_line_and_torch_is_not_imported(answers, line):
    code, text, torch = answers[line]
    (message,) = [each for each in text.splitlines() if not each.startswith("Dataset: ")]
    assert message.startswith("fdrd: ")
    assert MISTAKES[line] in message
    assert (code, torch) == (2, False)


def test_a_missing_package_is_named_before_anything_is_loaded(monkeypatch):
    from benchmark import registry
    from fdrd.errors import FdrdError

    monkeypatch.setattr(
        registry, "find_spec", lambda name: None if name == "peft" else find_spec(name)
    )
    registry.check_options("coop", {})
    with pytest.raises(FdrdError, match=r"lora needs peft.*pip install 'fdrd\[lora\]'"):
        registry.check_options("lora", {})


@pytest.mark.parametrize(
    ("system", "torch", "driver", "refused"),
    [
        ("linux", "2.9.0+cpu", True, True),
        ("linux", "2.9.0", False, True),
        ("linux", "2.9.0", True, False),
        ("linux", "2.9.0+rocm6.4", False, False),
        ("darwin", "2.9.0", False, True),
        ("win32", "2.9.0", False, False),
    ],
)
def test_cuda_is_refused_without_torch_only_where_it_cannot_be(
    monkeypatch, system, torch, driver, refused
):
    from benchmark.models import loading
    from fdrd.errors import FdrdError

    monkeypatch.setattr(loading.sys, "platform", system)
    monkeypatch.setattr(loading, "version", lambda _name: torch)
    monkeypatch.setattr(loading, "_loads", lambda _library: driver)
    with pytest.raises(FdrdError) if refused else contextlib.nullcontext():
        loading.check_device("cuda:1")
