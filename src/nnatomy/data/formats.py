"""What a file holds, by its first bytes, not its name: a text, a table in columns, arrays, or what no reader takes."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from nnatomy.files import read_at_most, read_unpacked, unpacked

__all__ = ["ARRAYS", "BINARY", "DELIMITED", "FOLDER", "JSON", "PLAIN", "TABLES", "format_of"]

PLAIN, DELIMITED, JSON, ARRAYS, FOLDER, BINARY = "plain text", "delimited text", "JSON", "arrays", "folder", "binary file"
TABLES = ("parquet", "arrow", "arrow stream")
MAGIC = (
    (b"PAR1", "parquet"), (b"ARROW1", "arrow"), (b"\xff\xff\xff\xff", "arrow stream"), (b"\x93NUMPY", ARRAYS),
    (b"PK\x03\x04", "ZIP archive"), (b"%PDF", "PDF document"), (b"\x89HDF", "HDF5 file"), (b"SQLite format 3", "database"),
    (b"\xd0\xcf\x11\xe0", "Office document"), (b"FEA1", "Feather file of version 1"), (b"ORC", "ORC file"),
    (b"Obj\x01", "Avro file"), (b"\x28\xb5\x2f\xfd", "packed by Zstandard"), (b"BZh", "packed by bzip2"),
    (b"\xfd7zXZ\0", "packed by xz"),
    (b"\x80\x02", "pickle"), (b"\x80\x03", "pickle"), (b"\x80\x04", "pickle"), (b"\x80\x05", "pickle"),
    (b"\x89PNG", "picture"), (b"\xff\xd8\xff", "picture"), (b"GIF8", "picture"),
)  # fmt: skip
"""What a file starts with, and what it is then."""



def format_of(path: Path) -> str:
    """Return what a file is: PLAIN, one of TABLES, ARRAYS, or the name of what no reader takes, such as "PDF document".

    Raises UserError where it cannot be read, or is damaged.
    """
    with unpacked(path) as content:
        head = bytes(read_at_most(content, 4096))
    found = next((name for magic, name in MAGIC if head.startswith(magic)), None)
    if found == "arrow stream" and not 0 < int.from_bytes(head[4:8], "little", signed=True) < 2**28:
        found = None  # no length of a schema follows
    if found == "ZIP archive":
        return _kind_of_archive(path)
    return found or (BINARY if b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")) else PLAIN)


def _kind_of_archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(read_unpacked(path))) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return ARRAYS if path.suffix.lower() == ".npz" else "ZIP archive"  # damaged: its reader says so
    if names and all(name.endswith(".npy") for name in names):
        return ARRAYS
    return "Excel workbook" if any(name.startswith("xl/") for name in names) else "ZIP archive"
