"""Names, options and plugins of methods, and the errors for wrong ones."""

import importlib
import pkgutil

import pytest

from benchmark.declarations import declaration
from benchmark.registry import (
    _METHODS,
    BUILT_IN,
    about,
    built_in,
    distribute,
    get_method,
    load_plugin,
    method,
    method_names,
    method_options,
    role_of,
)
from benchmark.settings import TrainConfig
from fdrd.errors import FdrdError
from fdrd.options import options_of, read_options, split_assignments


def test_an_unknown_method_suggests_a_similar_one():
    with pytest.raises(FdrdError, match=r"no method 'co0p'; did you mean 'coop'\?.*zero_shot"):
        get_method("co0p")


def test_built_in_names_are_those_that_their_modules_register(registry):
    for package in BUILT_IN:
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
            importlib.import_module(f"{package}.{module.name}")
    modules = {name: entry.factory.__module__ for name, entry in _METHODS.items()}
    assert built_in() == {n: m for n, m in modules.items() if m.partition(".")[0] in BUILT_IN}


def test_one_method_is_the_reference_and_one_the_floor(registry):
    roles = {name: role for name in method_names() if (role := role_of(name))}
    assert roles == {"zero_shot": "reference", "random": "floor"}
    method("dice", role="floor")(lambda: None)
    assert (role_of("dice"), role_of("no such method")) == ("floor", "")


def test_a_method_may_be_registered_again_by_its_owner(registry):
    method("coop")(get_method("coop"))


def test_options_are_the_keyword_arguments_with_their_docs():
    options = method_options("coop")
    assert list(options) == ["n_ctx", "ctx_init", "loss"]
    assert (options["n_ctx"].type, options["n_ctx"].default) == (int, 4)
    assert options["n_ctx"].doc == "context vectors."
    assert options["loss"].values == "symmetric | image_to_text | text_to_image | sigmoid"


@pytest.mark.parametrize("name", method_names())
def test_every_method_says_what_it_is_and_what_its_options_mean(name):
    assert about(name).summary
    assert all(option.doc for option in method_options(name).values())


@pytest.mark.parametrize("name", built_in())
def test_the_source_of_a_method_declares_what_its_import_does(name):
    get_method(name)
    read, made = declaration(built_in()[name], name), _METHODS[name].declaration
    assert (read.options, read.parameters) == (made.options, made.parameters)
    assert (read.text, read.notes) == (made.text, made.notes)
    for argument in ("ablations", "options", "needs", "role", "trains"):
        assert (read.argument(argument) or None) == (made.argument(argument) or None)


def test_every_training_option_is_documented():
    assert all(option.doc for option in options_of(TrainConfig).values())


def test_text_is_converted_to_the_annotated_type():
    given = {"epochs": "3", "learning_rate": "1e-3", "optimizer": "adamw"}
    assert read_options(method_options("coop"), {"ctx_init": "x" * 4000}, "coop")
    read = read_options(options_of(TrainConfig), given, "training")
    assert read == {"epochs": 3, "learning_rate": 0.001, "optimizer": "adamw"}


def coop(given):
    return read_options(method_options("coop"), given, "coop")


def both(given):
    return distribute(["zero_shot", "coop"], given)


def train(given):
    return TrainConfig(**given)


def assigned(texts):
    return split_assignments(texts, "-M")


@pytest.mark.parametrize(
    ("read", "given", "message"),
    [
        (coop, {"n_ctxt": "4"}, r"coop has no option 'n_ctxt'; did you mean 'n_ctx'\?.*ctx_init"),
        (coop, {"n_ctx": "four"}, "coop: n_ctx=four: not an int"),
        (coop, {"n_ctx": "2.5"}, "coop: n_ctx=2.5: not an int"),
        (coop, {"n_ctx": True}, "coop: n_ctx=True: not an int"),
        (coop, {"loss": "both"}, r"coop: loss=both: choose from symmetric \| image_to_text"),
        (coop, {"loss": "a\nb\x1b[2J"}, r"^coop: loss='a\\nb\\x1b\[2J': choose from symmetric"),
        (coop, {"ctx_init": "x" * 4001}, "^coop: ctx_init is longer than 4,000 characters$"),
        (coop, {"train": "x"}, "coop has no option 'train'"),
        (coop, {"seed": "x"}, "coop has no option 'seed'"),
        (both, {"n_ctxt": "4"}, r"zero_shot, coop has no option 'n_ctxt'; did you mean 'n_ctx'"),
        (both, {"maple.depth": "4"}, "maple is not among the methods zero_shot, coop"),
        (both, {"zero_shot.n_ctx": "4"}, "zero_shot has no option 'n_ctx'; it has none"),
        (train, {"epochs": 0}, "epochs=0: must be at least 1"),
        (train, {"batch_size": 1}, "batch_size=1: must be at least 2"),
        (train, {"learning_rate": -1.0}, "learning_rate=-1.0: must be above 0"),
        (assigned, ["depth"], "write -M name=value"),
        (assigned, ["=3"], "write -M"),
        (assigned, ["a=1", "a=2"], "given twice"),
    ],
)
def test_an_unknown_or_invalid_option_is_an_error_that_names_the_valid_ones(read, given, message):
    with pytest.raises(FdrdError, match=message):
        read(given)


def test_an_option_goes_to_every_method_that_has_it():
    given = {"coop.n_ctx": "2", "n_ctx": "8"}
    assert distribute(["zero_shot", "coop"], given) == {"zero_shot": {}, "coop": {"n_ctx": 2}}


def test_a_missing_plugin_is_named(registry):
    with pytest.raises(FdrdError, match=r"`plugin` no_such: .*on PYTHONPATH"):
        load_plugin("no_such")


def test_equal_variants_run_once():
    """What a user gives may make a variant the whole method: its result would count as another seed."""
    from benchmark.registry import variants_of

    assert len(variants_of("dcar", {"n_ctx": 2})) == len(variants_of("dcar", {}))
    given = variants_of("dcar", {"beta": 0.0})
    assert given["whole"] == {"beta": 0.0}
    assert "whole without token weights" not in given
    assert all("beta" in options for options in given.values())
