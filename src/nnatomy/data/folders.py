"""Folders of pictures: their files, what is left out of them, and published parts such as train/ and test/."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from nnatomy.data.reading import Reading
from nnatomy.errors import UserError
from nnatomy.files import check_name

__all__ = ["PARTS", "left_out", "official_parts", "parts_notice", "pictures_in", "subfolders"]

PARTS = {
    "train": "train", "training": "train", "test": "test", "testing": "test",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation",
}  # fmt: skip
SYSTEM = ("__macosx", "thumbs.db", "desktop.ini")
"""Names of what systems leave in folders, besides those that start with a dot."""


def visible(path: Path) -> bool:
    """Return True for a user's own file or folder."""
    return not path.name.startswith(".") and path.name.lower() not in SYSTEM


def subfolders(folder: Path) -> list[Path]:
    """Return the visible folders in a folder, in order of their names. Raises UserError for a name that is not UTF-8."""
    found = sorted(path for path in folder.iterdir() if path.is_dir() and visible(path))
    for path in found:
        check_name(path)
    return found


def pictures_in(folder: Path, suffixes: Sequence[str]) -> tuple[list[Path], list[Path]]:
    """Return the files at any depth of a folder whose names end like those of pictures, and the other files."""
    inside = [path for path in sorted(folder.rglob("*")) if all(map(visible, [path, *path.relative_to(folder).parents][:-1]))]
    files = [path for path in inside if visible(path) and not path.is_dir()]
    pictures = [path for path in files if path.suffix.lower() in suffixes]
    return pictures, [path for path in files if path.suffix.lower() not in suffixes]


def left_out(files: Sequence[Path], folder: Path, why: str) -> list[str]:
    """Return the notice on files of a folder that take no part; none where there are none."""
    count = "1 file takes" if len(files) == 1 else f"{len(files):,} files take"
    return [f"{count} no part, such as {files[0].relative_to(folder)}: {why}."] if files else []


def parts_notice(names: Sequence[str], held: int, reading: Reading) -> list[str]:
    """Return the notice on the parts of a folder, as `Reading.consecutive` uses them; none where it is not divided."""
    if len(names) == 1:
        return []
    if reading.fold is not None:
        return [f"The {names[-1]} part takes no part in folds."]
    if len(names) == 3:
        return [f"The splits are the folder's own parts: {', '.join(names)}."]
    return [f"The {names[-1]} part is the test; {held} examples of the training part are held out for validation."]


def official_parts(folder: Path, holds: Callable[[Path], bool], what: str) -> dict[str, Path]:
    """Return the published parts of a folder, "train", "validation" and "test", by name; none where it is not divided.

    Args:
        folder: of data
        holds: whether a folder holds data as one part does
        what: the form of a part, for errors: "one sub-folder of pictures for each class"

    Raises UserError where folders are named like parts and are none.
    """
    named = [(PARTS[child.name.lower()], child) for child in subfolders(folder) if child.name.lower() in PARTS]
    others = [child.name for child in subfolders(folder) if child.name.lower() not in PARTS]
    parts = dict(named)
    if len(named) < 2 or (others and not all(holds(child) for _, child in named)):
        return {}  # classes may have such names: trains, buses, trams
    names = ", ".join(child.name for _, child in named)
    if others:
        raise UserError(f"Parts of a set are alone in their folder. Received {names} next to {others[0]} in {folder}. Move it.")
    if "train" not in parts or len(parts) < len(named):
        raise UserError(f"Parts of a set are train, validation and test. Received {names} in {folder}. Rename them.")
    wrong = next((child for _, child in named if not holds(child)), None)
    if wrong is not None:
        raise UserError(f"A part of a set holds {what}. Received {wrong} without them. Sort its files so.")
    return parts
