"""A method is identified by what runs: every edit of a notebook, a REPL or a sibling file gives another digest."""

import code
import importlib
import threading
from dataclasses import replace

import pytest

from benchmark import code_digest as module
from benchmark.code_digest import NoIdentityError, code_digest
from benchmark.registry import _warn_once

CELLS = '''
import functools
import math
import numpy as np
import torch
from dataclasses import dataclass, field
from benchmark import Features, method
from torch import nn

WIDTH = 3
TABLE = {"a": [1, (2.0, None)], "b": {"x", "y"}}
WEIGHTS = torch.arange(4.0)
ARRAY = np.arange(3)

def base(value):
    return value + 1

def scaled(value, factor=2):
    return base(value) * factor * len(TABLE["a"]) + WEIGHTS.sum() + ARRAY.sum()

def wrapped(function):
    offset = 5
    @functools.wraps(function)
    def inner(*args):
        return function(*args) + offset
    return inner

@functools.lru_cache
def remembered(value):
    return value - 7

@wrapped
def decorated(value):
    try:
        return remembered(value) - 1
    except ValueError:
        return 0

@dataclass
class Settings:
    rate: float = 0.25
    names: list = field(default_factory=lambda: ["car"])

SETTINGS = Settings()

class Above:
    depth = 1
    def forward(self, value):
        return math.floor(value) + 8

class Mine(Above):
    trains = "nothing"
    learner = None

    def __init__(self, backbone):
        self.backbone = backbone

    @property
    def width(self):
        return WIDTH

    @staticmethod
    def fixed():
        return 9

    @classmethod
    def made(cls, backbone):
        return cls(backbone)

    def encode_image(self, images):
        return Features(self.backbone.encode_image(images).pooled * scaled(1) * SETTINGS.rate)

    def encode_text(self, captions):
        return Features(self.backbone.encode_text(captions).pooled * decorated(1))

    def similarity(self, images, texts):
        return images.pooled @ texts.pooled.T

def factory_of(size):
    @method("mine")
    def mine(backbone, *, n: int = 4):
        """Score as the backbone does.

        Args:
            n: of nothing.
        """
        made = Mine.made(backbone)
        made.size = size, [each for each in range(WIDTH)]
        return made
    return mine

mine = factory_of(6)
'''

EDITS = {
    "a helper of a helper": ("value + 1", "value + 2"),
    "an operator": ("base(value) * factor", "base(value) / factor"),
    "a default": ("factor=2", "factor=3"),
    "a default of the factory": ("n: int = 4", "n: int = 5"),
    "a constant": ("WIDTH = 3", "WIDTH = 4"),
    "its type": ("WIDTH = 3", "WIDTH = 3.0"),
    "a value deep in a table": ("(2.0, None)", "(2.5, None)"),
    "a member of a set": ('{"x", "y"}', '{"x", "z"}'),
    "a tensor": ("arange(4.0)", "arange(5.0)"),
    "an array": ("np.arange(3)", "np.arange(3) + 1"),
    "the closure of a decorator": ("offset = 5", "offset = 6"),
    "a function behind a cache": ("value - 7", "value - 8"),
    "a decorated function": ("remembered(value) - 1", "remembered(value) - 2"),
    "a caught exception": ("except ValueError", "except TypeError"),
    "the closure of the factory": ("factory_of(6)", "factory_of(7)"),
    "a default of a dataclass": ("rate: float = 0.25", "rate: float = 0.5"),
    "a default factory": ('["car"]', '["cat"]'),
    "an object": ("SETTINGS = Settings()", "SETTINGS = Settings(rate=1.0)"),
    "a class attribute": ("depth = 1", "depth = 2"),
    "a method of a class above": ("math.floor(value) + 8", "math.floor(value) + 9"),
    "a library function": ("math.floor", "math.ceil"),
    "a property": ("return WIDTH", "return WIDTH + 1"),
    "a static method": ("return 9", "return 10"),
    "a class method": ("return cls(backbone)", "return cls(backbone or 1)"),
    "a nested loop": ("range(WIDTH)", "range(WIDTH + 1)"),
}


def console():
    shell = code.InteractiveConsole({"__name__": "__main__"})
    lines = 0

    def enter(text):
        nonlocal lines
        lines += 1
        shell.runcode(compile(text, f"<python-input-{lines}>", "exec"))

    return enter, shell.locals


def bare_exec():
    names = {}
    return lambda text: exec(text, names), names


@pytest.fixture(params=[console, bare_exec])
def shell(request, registry):
    """Return a function that runs a cell, and the names of the session."""
    return request.param()


@pytest.mark.parametrize("edit", EDITS)
def test_each_edit_of_a_cell_gives_another_digest(shell, edit):
    enter, names = shell
    enter(CELLS)
    before = code_digest(names["mine"])
    assert CELLS.count(EDITS[edit][0]) == 1
    enter(CELLS.replace(*EDITS[edit]))
    after = code_digest(names["mine"])
    assert after != before
    enter(CELLS)
    assert code_digest(names["mine"]) == before


def test_what_does_not_run_does_not_count(shell):
    enter, names = shell
    enter(CELLS)
    before = code_digest(names["mine"])
    enter(f"\n# a comment, and other line numbers\n{CELLS}\nresults = [1]\nunused = object()\n")
    assert code_digest(names["mine"]) == before


@pytest.fixture
def measured(run_tiny, tmp_path):
    """Return a function that measures the method, for its result and whether an earlier one served."""

    def measured():
        said = []
        asked = {"hard_negatives": False, "progress": lambda stage, *_: said.append(stage)}
        result = run_tiny("mine", results=tmp_path, **asked)
        return result, any(", from " in stage for stage in said)

    return measured


def test_an_edited_cell_is_measured_anew_and_an_equal_one_is_not(registry, measured):
    enter, _ = console()
    enter(CELLS)
    first, _ = measured()
    enter(CELLS)
    assert measured() == (first, True)
    enter(CELLS.replace("images.pooled @ texts.pooled.T", "-images.pooled @ texts.pooled.T"))
    edited, reused = measured()
    assert not reused
    assert edited.ranks != first.ranks


def test_a_method_with_a_value_of_no_content_is_never_reused(registry, measured, tmp_path, caplog):
    _warn_once.cache_clear()
    enter, _ = console()
    enter("import threading")
    enter(CELLS.replace("range(WIDTH)", "'ab'").replace("WIDTH = 3", "WIDTH = threading.Lock()"))
    first, second = (measured()[0].settings for _ in range(2))
    assert first.code != second.code
    assert len(list(tmp_path.glob("*.json"))) == 2
    assert replace(first, code=second.code) == second
    (warning,) = caplog.messages
    assert warning.startswith("mine: results are not reused, because its code refers to WIDTH")
    assert "\n" not in warning


def test_a_function_that_calls_itself_and_a_list_that_holds_itself_end(registry):
    enter, names = console()
    enter("ring = []\nring.append(ring)\ndef f(n):\n    return ring if n == 0 else f(n - 1)")
    before = code_digest(names["f"])
    enter("ring.append(1)")
    assert code_digest(names["f"]) != before


def test_values_that_are_nested_too_deeply_have_no_identity(registry):
    enter, names = console()
    enter("deep = []\nfor _ in range(100_000):\n    deep = [deep]\ndef f():\n    return deep")
    with pytest.raises(NoIdentityError):
        code_digest(names["f"])


FILES = {
    "own": "import sibling\nfrom package_of_mine.part import part\nfrom constants import SIZE\n"
    "def factory(backbone):\n    from late import late\n    return sibling.helper(), part(), SIZE, late(), 1\n",
    "sibling": "import further\ndef helper():\n    return further.value()\ndef other():\n    return 1\n",
    "further": "def value():\n    return 1\n",
    "constants": "SIZE = 1\n",
    "late": "def late():\n    return 1\n",
    "package_of_mine/part": "from . import inner\ndef part():\n    return inner.SIZE + 0\n",
    "package_of_mine/inner": "SIZE = 1\n",
    "package_of_mine/__init__": "",
}


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """Return a function that imports the files anew with these contents, and returns the factory."""
    monkeypatch.syspath_prepend(tmp_path)
    names = [name.replace("/", ".").removesuffix(".__init__") for name in FILES]

    def load(files):
        for name in names:
            module.sys.modules.pop(name, None)
        for name, text in files.items():
            path = tmp_path / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            importlib.invalidate_caches()
        return importlib.import_module("own").factory

    monkeypatch.setattr(module.sys, "dont_write_bytecode", True)
    yield load
    for name in names:
        module.sys.modules.pop(name, None)


@pytest.mark.parametrize("edited", [name for name in FILES if "__init__" not in name])
def test_an_edited_sibling_file_gives_another_digest(loaded, edited):
    before = code_digest(loaded(FILES))
    assert code_digest(loaded(FILES)) == before
    new = FILES[edited].replace("1", "2").replace("0", "2")
    assert code_digest(loaded(FILES | {edited: new})) != before


def test_a_value_set_from_outside_counts(loaded):
    factory = loaded(FILES)
    before = code_digest(factory)
    module.sys.modules["further"].value = lambda: 5
    assert code_digest(factory) != before


def test_an_edited_file_that_was_not_imported_again_is_not_taken_for_the_new_code(loaded, tmp_path):
    """Its numbers are those of the old code, so the new code must not find them."""
    factory = loaded(FILES)
    new = FILES["sibling"].replace("value()", "value() + 1")
    (tmp_path / "sibling.py").write_text(new)
    old_code = code_digest(factory)
    assert old_code != code_digest(loaded(FILES | {"sibling": new}))


LOCK = threading.Lock()


def test_a_lock_has_no_content_but_an_attribute_of_its_name_reads_no_global():
    lock = LOCK
    assert code_digest(lambda settings: settings.LOCK)
    for function, name in ((lambda: LOCK, "LOCK"), (lambda: lock, "lock")):
        with pytest.raises(NoIdentityError, match=rf"^{name}, a value of type lock$"):
            code_digest(function)
