"""The help of every command: names, texts below them, 80 columns; twins are hidden, less used options named."""

import re

import pytest
import typer
from typer.testing import CliRunner

import fdrd.__main__ as program
from fdrd.commands import app
from fdrd.commands.console import err
from fdrd.commands.options import default_dataset
from fdrd.errors import FdrdError

COMMANDS = typer.main.get_command(app).commands


def help_of(*arguments):
    return CliRunner().invoke(app, [*arguments, "--help"], env={"COLUMNS": "80"}).output


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_fits_80_columns(name):
    text = help_of(name)
    # A usage line and an example may be long: they are copied.
    lines = [line for line in text.partition("Examples:")[0].splitlines() if "Usage:" not in line]
    assert max(map(len, lines)) <= 80
    assert "<" not in text.replace("<=", "")  # `<bool>`, `<path>`
    assert "…" not in text
    assert re.search(r"^  -q, --quiet\n {10}Print results", text, re.M)
    for argument in re.findall(r"^  ([A-Za-z|]+)$", text, re.M):
        assert argument.isupper()


@pytest.mark.parametrize("name", ["bench", "build", "caption"])
def test_the_help_of_a_large_command_shows_at_most_20_options_and_names_the_others(name):
    text = help_of(name)
    shown = re.findall(r"^  (?:-\w, )?--([\w-]+)", text, re.M)
    assert len(shown) <= 20 + (name != "bench")
    listed = re.search(r"^Less used, see docs/command-line.md: (.*?)\.$", text, re.M | re.S)
    for param in COMMANDS[name].params:
        if param.param_type_name == "option" and not param.hidden:
            option = param.opts[0].removeprefix("--")
            assert (option in shown) != (option in listed[1].replace("\n", " ").split(", ")), option


def test_twins_are_hidden():
    twins = {"data", "source", "out", "epochs", "lr", "batch-size"}
    shown = set(re.findall(r"^  --([\w-]+)", help_of("bench") + help_of("export"), re.M))
    assert not twins & shown


def test_the_program_lists_each_command_with_its_first_sentence():
    text = help_of()
    assert re.findall(r"^  ([a-z]+) +[A-Z]", text, re.M) == list(COMMANDS)
    assert max(map(len, text.splitlines())) <= 80


def test_a_process_that_does_not_print_still_names_itself_and_its_error(monkeypatch, capsys):
    """`fdrd bench` under torchrun silences every process but the first."""

    def app():
        err.quiet = True
        raise FdrdError("data/fdrd: no such dataset")

    monkeypatch.setattr(program, "app", app)
    monkeypatch.setattr(err, "quiet", False)
    monkeypatch.setenv("RANK", "3")
    with pytest.raises(SystemExit, match="2"):
        program.main()
    assert "fdrd, process 3: data/fdrd: no such dataset" in capsys.readouterr().err


def test_quiet_is_of_one_command_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments, hint in ((["build", "--reasons", "-q"], False), (["build", "--reasons"], True)):
        assert ("Next:" in CliRunner().invoke(app, arguments).output) is hint
        assert err.quiet is not hint


def test_the_default_dataset_is_data_fdrd_or_the_only_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FdrdError, match="no dataset in data/; run"):
        default_dataset()
    for name, expected in (("birds", "data/birds"), ("cars", None), ("fdrd", "data/fdrd")):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "manifest.json").touch()
        if expected is None:
            with pytest.raises(FdrdError, match="name one: data/birds, data/cars"):
                default_dataset()
        else:
            assert default_dataset().as_posix() == expected


def test_a_preset_refuses_what_it_decides_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["bench", "--preset", "paper", "--shots", "4", "--gallery", "domain", "-q"]
    error = CliRunner().invoke(app, given).exception
    assert str(error) == "--preset paper decides this; leave out --shots and --gallery"
    error = CliRunner().invoke(app, ["bench", "--preset", "paper", "--seeds", "2"]).exception
    assert str(error).startswith("no dataset in data/")


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        (["--to", "jsonl", "--device", "cpu"], "--to jsonl has no --device"),
        (["--to", "coco", "--task", "zeroshot_retrieval"], "--to coco has no --task"),
        (["--to", "features", "--shard-mb", "4"], "--to features has no --shard-mb"),
        (["--to", "transformers", "--split", "test"], "--to transformers has no --split"),
        (["--to", "zip"], "--to zip: choose from parquet, webdataset, "),
    ],
)
def test_an_export_refuses_options_of_other_formats(given, refused):
    error = CliRunner().invoke(app, ["export", "data/fdrd", "out", *given]).exception
    assert isinstance(error, FdrdError)
    assert str(error).startswith(refused)
