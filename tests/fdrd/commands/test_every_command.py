"""The help of a command is its docstring, without what is for developers."""

import pytest

import fdrd.__main__ as program
from fdrd.commands.console import err
from fdrd.commands.every_command import help_text
from fdrd.errors import FdrdError


def test_the_help_has_a_line_per_paragraph_and_no_note():
    def command():
        """Build a dataset.

        It is built
        once.

        Note:
            One parameter per option.
        """

    assert help_text(command) == "Build a dataset.\n\nIt is built once."


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
