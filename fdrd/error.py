"""The one exception for a user's mistake: the command line prints it as a line, without a traceback."""


class FdrdError(Exception):
    """Something that the user can put right. Its message names the place, the reason and the remedy."""
