"""The exceptions for what a user can put right: the command line prints them as a line, without a traceback."""


class FdrdError(Exception):
    """Something that the user can put right. Its message names the place, the reason and the remedy."""


class CheckError(FdrdError):
    """The data breaks a rule that the user set. The command line exits with 1, as a failed check does, not with 2."""
