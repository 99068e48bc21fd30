"""Errors that the user can fix. The command line prints them as one line, without a traceback."""


class FdrdError(Exception):
    """An error that the user can fix. The message says where, why, and how to fix it.

    Names of arguments are in backticks. The command line writes its options instead (`fdrd.commands.help`).
    """


class CheckError(FdrdError):
    """The data breaks a rule that the user set. The command line exits with 1 instead of 2."""


def first_line(error: BaseException) -> str:
    r"""Return the first line of an error's message, or its type if there is none.

    >>> first_line(OSError("not found\ntry again")), first_line(KeyError())
    ('not found', 'KeyError')
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
