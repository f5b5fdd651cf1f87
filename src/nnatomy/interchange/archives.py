"""Zip archives from unknown sources: members are read into memory, never unpacked, and no more than the file can hold."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from types import TracebackType
from typing import Self

from nnatomy.interchange.refusal import refusal

DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, ValueError, NotImplementedError, RuntimeError)
"""The exceptions of zipfile for damaged, encrypted and unknown members (also LookupError and OverflowError)."""
MOST = 32
"""The largest ratio of unpacked to packed size, next to FREE: random numbers hardly compress, so weights stay far below."""
FREE = 16 * 2**20


class Archive:
    """A zip file whose members' names are plain and whose sizes are believable. Raises UserError otherwise."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.size = path.stat().st_size
            self._zip = zipfile.ZipFile(path)
            members = self._zip.infolist()
        except (*DAMAGE, LookupError, OverflowError):
            raise self.damaged() from None
        self._members = {member.filename: member for member in members}
        self.names = list(self._members)
        if len(members) != len(self._members):
            raise refusal(path, "holds two members of one name", "Write it again")
        if any(name.startswith("/") or "\\" in name or ".." in name.split("/") for name in self.names):
            raise refusal(path, "has members that point outside it", "Do not trust it")
        if sum(member.file_size for member in members) > MOST * self.size + FREE:
            raise refusal(path, f"claims to unpack to more than {MOST} times its size", "Do not trust it")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._zip.close()

    def size_of(self, name: str) -> int:
        """Return the size in bytes that a member claims. Raises UserError where there is none of that name."""
        if name not in self._members:
            raise refusal(self.path, f"lacks its member {name!r}", "Download or write it again")
        return self._members[name].file_size

    def read(self, name: str) -> bytes:
        """A member's bytes, as many as it claims and with the right checksum."""
        claimed = self.size_of(name)
        try:
            data = self._zip.read(self._members[name])
        except (*DAMAGE, LookupError, OverflowError, MemoryError):
            raise self.damaged() from None
        if len(data) != claimed:
            raise self.damaged()
        return data

    def damaged(self) -> Exception:
        """The refusal of a file that is not what its first bytes promise."""
        return refusal(self.path, "is damaged or cut short", "Download or write it again")
