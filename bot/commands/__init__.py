"""What `python -m bot …` does: each command is a function that raises CommandError with one clear sentence."""


class CommandError(Exception):
    """The command cannot do what it was asked; the sentence says why and what to do."""


class NotWellError(Exception):
    """What was looked at is not as it must be, and has been said; exit code 1."""
