"""What a folder knows of its data: fingerprint.json of a run, a comparison or a tuning, and the check of data against it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from nnatomy import data
from nnatomy.data.dataset import Dataset
from nnatomy.data.fingerprints import DEALT
from nnatomy.errors import UserError
from nnatomy.runs.folder import write_atomically
from nnatomy.saved import read_json, typed

FILE = "fingerprint.json"


@dataclass(frozen=True)
class KnownData:
    """The fingerprint in a folder."""

    fingerprint: data.Fingerprint
    remedy: str
    """The last sentence of errors."""

    @classmethod
    def of(cls, folder: Path, remedy: str) -> KnownData:
        """Return what a folder knows. Raises UserError where it does not say."""
        path = folder / FILE
        if not path.exists():
            raise UserError(
                f"A folder knows its data by {FILE}. Received {folder}, which has none, so that changed data would not be "
                "noticed. Train again."
            )
        return cls(typed(data.Fingerprint, read_json(path), str(path)), remedy)

    def check_files(self, source: str, labels: str | None = None) -> None:
        """Raise UserError where the files of a source have changed; nothing else is read."""
        self._refuse(source, data.changed(source, self.fingerprint, labels))

    def check(self, dataset: Dataset, *, given: bool = False, splits: bool = True) -> None:
        """Raise UserError for a data set of other contents, or, with `splits`, of other rows in its splits.

        `given`: whether a user gave it as an object.
        """
        now = data.fingerprint(dataset, given)
        self._refuse(now.name, self.fingerprint.change(now.contents))
        other = [name for name, rows in self.fingerprint.splits.items() if now.splits.get(name) != rows and name != DEALT]
        if splits and other:
            raise UserError(
                f"A model is tested on rows that it was not trained on. Received {now.name}, which is split otherwise than "
                f"when it was trained ({', '.join(other)}), by another version or option. {self.remedy}"
            )

    def tests_on_known(self, dataset: Dataset) -> bool:
        """Return True if a data set is the same, but split otherwise: what is tested on may have been trained on."""
        now = data.fingerprint(dataset)
        other = self.fingerprint.splits.get(DEALT) != now.splits.get(DEALT)
        return other and bool(now.splits) and self.fingerprint.contents == now.contents

    def _refuse(self, source: str, change: str) -> None:
        if change:
            rule = "Runs and studies keep to the data that they started with."
            raise UserError(f"{rule} Received {source}, {change}. {self.remedy}")


def remember(folder: Path, dataset: Dataset, *, given: bool = False) -> None:
    """Write the fingerprint of a data set into a folder."""
    plain = data.fingerprint(dataset, given).to_json()
    write_atomically(folder / FILE, json.dumps(plain, indent=2, ensure_ascii=False) + "\n")
