"""Weight files as named arrays: which format a file has, and parts that its index names. One module reads each format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nnatomy.files import open_file
from nnatomy.interchange import keras_files, numpy_files, safetensors_files, torch_files
from nnatomy.interchange.archives import Archive
from nnatomy.interchange.refusal import refusal
from nnatomy.saved import read_json, typed

Arrays = dict[str, np.ndarray[Any, Any]]

INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
SINGLE_FILES = ("model.safetensors", "pytorch_model.bin", "model.weights.h5")


@dataclass(frozen=True)
class Index:
    """The index of a model in parts: the file of each array."""

    weight_map: Mapping[str, str]


class Contents(NamedTuple):
    """The content of a file: its arrays, and whether they are named and stored as Keras does it."""

    arrays: Arrays
    keras: bool = False


def read(path: str | Path) -> Arrays:
    """The arrays of a weight file by the names that the file gives them; nothing in it is executed.

    Safetensors, PyTorch (.pt, .pth, .bin in the zip format), Keras (.keras, .weights.h5, .h5) and NumPy (.npy, .npz), known by
    their contents; an index (model.safetensors.index.json) or its folder is read with all its parts. bfloat16 comes
    back as float32. Sizes that a file claims are checked before memory is taken. Raises UserError for all else.
    """
    return contents(path).arrays


def contents(path: str | Path) -> Contents:
    """As `read`, with information about the names."""
    place = Path(path).expanduser()
    if place.is_dir():
        place = _in_folder(place)
    open_file(place).close()
    if place.name.endswith(".json"):
        return _sharded(place)
    try:
        with place.open("rb") as file:
            start = file.read(16)
    except OSError as problem:
        raise refusal(place, f"cannot be read ({problem.strerror})", "Check its permissions") from None
    reader = _reader(place, start)
    return reader(place)


def _reader(path: Path, start: bytes) -> Callable[[Path], Contents]:
    if start.startswith(b"PK\x03\x04"):
        return _zip
    if start.startswith(numpy_files.MAGIC):
        return lambda p: Contents(numpy_files.read_array(p))
    if start.startswith(keras_files.MAGIC):
        return lambda p: Contents(keras_files.read_hdf5(p), keras=True)
    if path.suffix == ".safetensors" or start[8:9] == b"{":
        return lambda p: Contents(safetensors_files.read_safetensors(p))
    if start.startswith(b"\x80") or path.suffix in (".pt", ".pth"):
        raise refusal(
            path, "is a bare pickle, as PyTorch wrote them before version 1.6, or no PyTorch file",
            "save it again with torch.save(model.state_dict(), path)",
        )  # fmt: skip
    raise refusal(path, "has another format", "Give safetensors, PyTorch, Keras or NumPy files")


def _zip(path: Path) -> Contents:
    with Archive(path) as archive:
        if any(name.rpartition("/")[2] == "data.pkl" for name in archive.names):
            return Contents(torch_files.read_state_dict(archive))
        if keras_files.MEMBER in archive.names:
            return Contents(keras_files.read_archive(archive), keras=True)
        if archive.names and all(name.endswith(".npy") for name in archive.names):
            return Contents(numpy_files.read_archive(archive))
    raise refusal(path, "is a zip archive of another kind", "Give a file that PyTorch, Keras or NumPy wrote")


def _in_folder(folder: Path) -> Path:
    found = [folder / name for name in (*INDICES, *SINGLE_FILES) if (folder / name).is_file()]
    if not found:
        raise refusal(folder, f"is a folder without {INDICES[0]} or {SINGLE_FILES[0]}", "Name the file of weights in it")
    return found[0]


def _sharded(path: Path) -> Contents:
    """All parts that an index names, each read once; a part is next to its index."""
    remedy = "Give model.safetensors.index.json."
    places = typed(Index, read_json(path, remedy), str(path), remedy, other_keys=True).weight_map
    parts = list(dict.fromkeys(places.values()))
    fine = all(Path(part).name == part and "\\" not in part for part in parts)
    if not fine or any(part.endswith(".json") for part in parts):
        raise refusal(path, "names parts outside its own folder", "Put the parts next to it and name them plainly")
    arrays: Arrays = {}
    for part in parts:
        arrays.update(contents(path.parent / part).arrays)
    lost = [name for name in places if name not in arrays]
    if lost:
        raise refusal(path, f"promises {lost[0]!r}, which is in none of its parts", "Download the parts again")
    return Contents(arrays)
