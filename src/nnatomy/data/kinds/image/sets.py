"""Images that have names: scikit-learn's digits, MNIST, a part of CIFAR-10, and digits to be recalled from noisy copies."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds.image.images import image_dataset
from nnatomy.data.kinds.image.recall import noisy_digits, noisy_mnist
from nnatomy.data.npz import read_arrays
from nnatomy.data.pictures import luma
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
        "digits", parts, names, largest=16.0, resize=reading.use("resize"), binary=reading.use("binary", False),
        description="1,797 handwritten digits of 8 x 8 gray values (UCI Optical Recognition, test part; Alpaydin and Kaynak "
        "1998)",
    )  # fmt: skip


def _cifar10(source: Source, reading: Reading) -> Dataset:
    """Return the subset: 9,000 training, 1,000 validation and 2,000 test pictures; a fold splits the first 10,000."""
    parts: dict[str, Any] = {}
    for part in ("train_a", "train_b", "test"):
        found = read_arrays(source.path / f"cifar10_small_{part}.npz")
        parts[part] = (found["x"].transpose(0, 3, 1, 2), found["y"].astype(np.int64))
        names = [str(name) for name in found["names"]]
    x, y = (np.concatenate([parts["train_a"][n], parts["train_b"][n]]) for n in (0, 1))
    if reading.use("gray"):
        parts["test"] = (luma(parts["test"][0]), parts["test"][1])
        x = luma(x)
    train, held, rest = reading.hold_out(len(y), y, tuple(names), 0.1)
    test = parts["test"] if rest is None else (x[rest], y[rest])
    split = [(x[train], y[train]), (x[held], y[held]), test]
    return image_dataset("cifar10", split, names, resize=reading.use("resize"), binary=reading.use("binary", False))


MNIST_FILES = {
    "train-images-idx3-ubyte.gz": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte.gz": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte.gz": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte.gz": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
SETS: dict[str, Named] = {
    "digits": Made(_digits, "embedded"),
    "mnist": Public(
        "mnist",
        "70,000 handwritten digits, 28 x 28 (LeCun et al. 1998)",
        files=MNIST_FILES,
    ),
    "noisy_digits": Made(noisy_digits, "embedded"),
    "noisy_mnist": Public(
        "mnist",
        "1,000 digits of MNIST in black and white, to be recalled from noisy copies",
        files=MNIST_FILES,
        read=noisy_mnist,
    ),
    "cifar10": Public(
        "cifar10",
        "12,000 of CIFAR-10's color pictures, 32 x 32, ten classes (Krizhevsky 2009)",
        files={
            "cifar10_small_train_a.npz": "d28a1e9db26ce097d0c1f1d297431577a9a1c7883aaa890111b4b9ecd24f16c9",
            "cifar10_small_train_b.npz": "20b3a02c0bcb2b3a2bcf79c70da139f381535d884749b96a132c723246060edb",
            "cifar10_small_test.npz": "d89a2f1cdc100f40b199f0e3303da7ad4dc27347f2486638caa2b083a479c548",
        },
        read=_cifar10,
    ),
}
