"""What a view may handle. None of these means that there is no session."""


class SwitchoverError(Exception):
    """The server refused a request, or gave an answer that is none.

    ``code`` is the stable word of the server (``denied``, ``unauthorized``), or ``None``.
    """

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


class Unavailable(SwitchoverError):
    """The session could not be looked at, or nothing was written. Try again later."""


class OutcomeUnknown(Unavailable):
    """A write was sent, and nobody knows whether it happened, or whether it still will. Repeating it is safe."""
