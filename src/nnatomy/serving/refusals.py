"""Refused requests: one sentence, and the HTTP status, which shows whether client or server is at fault."""

from __future__ import annotations

from nnatomy.data.requests import Fault, RequestError
from nnatomy.errors import UserError

MALFORMED, TOO_LARGE, UNSUPPORTED, UNPROCESSABLE = 400, 413, 415, 422
BROKEN, BUSY, TIMED_OUT = 500, 503, 504
STATUS: dict[Fault, int] = {
    "malformed": MALFORMED,
    "too large": TOO_LARGE,
    "unsupported": UNSUPPORTED,
    "unprocessable": UNPROCESSABLE,
}


class Refusal(UserError):
    """A request that is refused or failed, with its HTTP status."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status

    @classmethod
    def of(cls, problem: RequestError) -> Refusal:
        """Return the refusal of a request that does not fit the model."""
        return cls(STATUS[problem.fault], str(problem))
