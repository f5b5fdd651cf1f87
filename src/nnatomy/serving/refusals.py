"""Why a request is not answered: one sentence, and the HTTP status that says whose turn it is to mend it."""

from __future__ import annotations

from nnatomy.errors import UserError

MALFORMED, TOO_LARGE, UNSUPPORTED, UNFIT = 400, 413, 415, 422
BROKEN, BUSY, LATE = 500, 503, 504


class Refusal(UserError):
    """A request that is refused, or could not be answered, with its HTTP status."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
