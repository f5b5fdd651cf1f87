"""Images that have names: scikit-learn's digits, MNIST, and a part of CIFAR-10."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds.image.images import image_dataset
from nnatomy.data.reading import Reading, Source
from nnatomy.data.sets import Made, Named, Public

__all__ = ["SETS"]


def _digits(reading: Reading) -> Dataset:
    from sklearn.datasets import load_digits

    reading.use("gray")  # these images are gray already
    digits = load_digits()
    images, labels = digits.images[:, None].astype(np.float32), digits.target
    names = [str(n) for n in range(10)]
    parts = [(images[rows], labels[rows]) for rows in reading.part(len(labels), labels)]
    return image_dataset(
        "digits", parts, names, largest=16.0, resize=reading.use("resize"),
        description="1,797 handwritten digits of 8 x 8 gray values (UCI Optical Recognition, test part; Alpaydin and Kaynak "
        "1998)",
    )  # fmt: skip


def _cifar10(source: Source, reading: Reading) -> Dataset:
    """Return the subset: 9,000 training, 1,000 validation and 2,000 test pictures; a fold splits the first 10,000."""
    parts: dict[str, Any] = {}
    for part in ("train_a", "train_b", "test"):
        with np.load(source.path / f"cifar10_small_{part}.npz", allow_pickle=False) as archive:
            parts[part] = (archive["x"].transpose(0, 3, 1, 2), archive["y"].astype(np.int64))
            names = [str(name) for name in archive["names"]]
    x, y = (np.concatenate([parts["train_a"][n], parts["train_b"][n]]) for n in (0, 1))
    if reading.use("gray"):
        parts["test"] = (_gray(parts["test"][0]), parts["test"][1])
        x = _gray(x)
    train, held, rest = reading.hold_out(len(y), y, tuple(names), 0.1)
    test = parts["test"] if rest is None else (x[rest], y[rest])
    return image_dataset("cifar10", [(x[train], y[train]), (x[held], y[held]), test], names, resize=reading.use("resize"))


def _gray(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the luma (n, 1, height, width) of images (n, 3, height, width), as Pillow's "L" has it (ITU-R 601)."""
    return np.asarray(np.tensordot(images, np.array([0.299, 0.587, 0.114], np.float32), (1, 0))[:, None].round())


SETS: dict[str, Named] = {
    "digits": Made(_digits, "embedded"),
    "mnist": Public(
        "mnist",
        "70,000 handwritten digits, 28 x 28 (LeCun et al. 1998)",
        files=tuple(
            f"{part}-ubyte.gz" for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
        ),
    ),
    "cifar10": Public(
        "cifar10",
        "12,000 of CIFAR-10's color pictures, 32 x 32, ten classes (Krizhevsky 2009)",
        files=tuple(f"cifar10_small_{part}.npz" for part in ("train_a", "train_b", "test")),
        read=_cifar10,
    ),
}
