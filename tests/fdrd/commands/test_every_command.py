"""The help of a command is its docstring, without what is for developers."""

from fdrd.commands.every_command import help_text


def test_the_help_has_a_line_per_paragraph_and_no_note():
    def command():
        """Build a dataset.

        It is built
        once.

        Note:
            One parameter per option.
        """

    assert help_text(command) == "Build a dataset.\n\nIt is built once."
