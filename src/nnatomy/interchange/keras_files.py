"""Keras' .keras, .weights.h5 and .h5: HDF5, read by h5py; links out of the file and sizes beyond it are refused."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from nnatomy.errors import UserError
from nnatomy.interchange.archives import FREE, MOST, Archive
from nnatomy.interchange.refusal import refusal
from nnatomy.interchange.scalars import BFLOAT16, PLAIN, widened

Array = np.ndarray[Any, Any]

MAGIC = b"\x89HDF\r\n\x1a\n"
MEMBER = "model.weights.h5"
OPTIMIZERS = ("optimizer", "optimizer_weights", "_optimizer")
DEEPEST = 32
"""The largest depth of nested groups."""


def read_hdf5(path: Path) -> dict[str, Array]:
    """The arrays of an HDF5 file by their paths, without what optimizers keep."""
    return _read(path, path, path.stat().st_size)


def read_archive(archive: Archive) -> dict[str, Array]:
    """The arrays of a .keras file; its configuration is not looked at."""
    data = archive.read(MEMBER)
    return _read(archive.path, io.BytesIO(data), len(data))


def _read(path: Path, source: Any, size: int) -> dict[str, Array]:
    h5py = _h5py()
    try:
        with h5py.File(source, "r") as file:
            found, left = {}, MOST * size + FREE
            for name, dataset in _datasets(path, h5py, file):
                left -= dataset.nbytes
                if left < 0:
                    raise refusal(path, f"claims more for {name!r} than it can hold", "Do not trust it")
                found[name] = _array(path, name, dataset)
    except UserError:
        raise
    except Exception:  # h5py raises the HDF5 library's errors for a damaged file, under many types
        raise refusal(path, "is damaged, cut short or not Keras' HDF5", "Download or write it again") from None
    if not found:
        raise refusal(path, "holds no weights", "Save the model after it was built")
    return found


def _datasets(path: Path, h5py: ModuleType, file: Any) -> Iterator[tuple[str, Any]]:
    """Every dataset, once: what is under several names counts where it is met first."""
    todo: list[tuple[str, Any, int]] = [("", file, 0)]
    seen = set()
    while todo:
        name, item, depth = todo.pop()
        place = h5py.h5o.get_info(item.id).addr
        if place in seen:
            continue
        seen.add(place)
        if isinstance(item, h5py.Dataset):
            yield name, item
        if not isinstance(item, h5py.Group):
            continue
        if depth > DEEPEST:
            raise refusal(path, f"nests groups more than {DEEPEST} deep", "Write it again")
        for key in reversed(list(item)):
            inner = f"{name}/{key}" if name else key
            if not isinstance(item.get(key, getlink=True), h5py.HardLink):
                raise refusal(path, f"points elsewhere with {inner!r}", "Do not trust it")
            if inner not in OPTIMIZERS:
                todo.append((inner, item[key], depth + 1))


def _array(path: Path, name: str, dataset: Any) -> Array:
    if dataset.external or dataset.is_virtual:
        raise refusal(path, f"points elsewhere with {name!r}", "Do not trust it")
    half = dataset.dtype.itemsize == 2 and dataset.attrs.get("dtype") == "bfloat16"
    if dataset.dtype.kind not in PLAIN and not half:
        raise refusal(path, f"holds {name!r} as {dataset.dtype}, which is not a plain number", "Save the weights alone")
    values = np.asarray(dataset[()])
    if half:
        return widened(values.view("<u2"), BFLOAT16)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _h5py() -> ModuleType:
    try:
        import h5py
    except ImportError:
        raise UserError(
            'Keras files need h5py. Received an environment without it. Run pip install "nnatomy[weights]".'
        ) from None
    return h5py  # type: ignore[no-any-return]  # h5py ships no types
