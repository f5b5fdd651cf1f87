"""The time that a study has taken, over all commands that worked on it, and the end of its budget."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from nnatomy.errors import UserError
from nnatomy.studies.files import read_values, write_json


class Spending:
    """Seconds of work in a study's folder. Each command that continues it adds its own."""

    def __init__(self, folder: Path, started: float) -> None:
        """`started`: when this command began, by time.perf_counter()."""
        self._folder, self._file, self.started, self._before = folder, folder / "time.json", started, 0.0
        with suppress(UserError):
            self._before = read_values(self._file, dict[str, float])["seconds"]

    def since(self, saved: float | None, given: float | None) -> float:
        """Return when the time of a budget began, by time.perf_counter().

        `given`: a budget of this command alone. `saved`: that of the study, which earlier commands have spent in part. Raises
        UserError where they have spent it all and have no result.
        """
        if given is not None or saved is None:
            return self.started
        if self._before >= saved and not (self._folder / "result.json").is_file():
            raise UserError(
                f"A budget of {saved:g} s is for all commands that continue {self._folder}. Received {self._before:.0f} s that "
                "were spent. Give --resume a budget of its own, such as --budget 5m."
            )
        return self.started - self._before

    def save(self) -> float:
        """Keep the seconds so far, and return them; after each piece of work, so that a killed command's count, too."""
        seconds = self._before + time.perf_counter() - self.started
        write_json(self._file, {"seconds": round(seconds, 3)})
        return seconds
