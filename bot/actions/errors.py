"""What can be wrong with a wish to change something; the sentence is for the person who wished."""


class ActionError(Exception):
    """The wish cannot be fulfilled; `str(error)` says why and what to do, in Chinese."""


class NotAllowed(ActionError):
    """The person may not do this."""


class Conflict(ActionError):
    """Somebody else was faster, or the row is no longer in the state the person saw."""
