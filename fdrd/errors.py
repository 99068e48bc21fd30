"""Errors that the user can fix. The command line prints them as one line, without a traceback."""


class FdrdError(Exception):
    """An error that the user can fix. The message says where, why, and how to fix it."""


class CheckError(FdrdError):
    """The data breaks a rule that the user set. The command line exits with 1 instead of 2."""
