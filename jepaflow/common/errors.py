"""One exception for everything that a user can mend: the command line prints its sentence and no traceback."""


class JepaflowError(Exception):
    """What is wrong, in which file, episode or frame, and what to do about it, in one clear sentence."""
