"""scikit-learn's small real data sets, which need no network: digits, iris, wine, breast cancer, diabetes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from nnatomy.data.csvfile import RawTable
from nnatomy.data.dataset import Dataset
from nnatomy.data.folds import Fold
from nnatomy.data.images import image_dataset
from nnatomy.data.splits import split_rows
from nnatomy.data.table import table_dataset

__all__ = ["EMBEDDED", "embedded_dataset"]

DESCRIPTIONS = {
    "digits": "1,797 handwritten digits of 8 x 8 grey values (UCI Optical Recognition, test part; Alpaydin and Kaynak 1998)",
    "iris": "150 flowers of three species, four measurements (Fisher 1936)",
    "wine": "178 wines of three growers, 13 chemical measurements (UCI Wine; Aeberhard and Forina 1991)",
    "breast_cancer": "569 tumours, malignant or benign, 30 measurements (UCI Wisconsin Diagnostic; Wolberg et al. 1995)",
    "diabetes": "442 patients, ten baseline variables, progression after a year (Efron et al. 2004)",
}
EMBEDDED = tuple(DESCRIPTIONS)


def embedded_dataset(
    name: str, resize: tuple[int, int] | None, seed: int, reconstruction: bool, fold: Fold | None = None
) -> Dataset:
    """Return the named set; splits are 70/15/15 (tables 65/15/20), stratified where there are classes."""
    from sklearn import datasets

    if name == "digits":
        return _digits(resize, seed, fold)
    loaders: dict[str, Callable[[], Any]] = {
        "iris": datasets.load_iris,
        "wine": datasets.load_wine,
        "breast_cancer": datasets.load_breast_cancer,
        "diabetes": lambda: datasets.load_diabetes(scaled=False),
    }
    data = loaders[name]()
    labels = [str(v) for v in (data.target if name == "diabetes" else np.asarray(data.target_names)[data.target])]
    columns = {str(c): [repr(float(v)) for v in data.data[:, n]] for n, c in enumerate(data.feature_names)}
    target = "progression" if name == "diabetes" else "class"
    table = RawTable(columns if reconstruction else {**columns, target: labels}, name)
    found = table_dataset(
        name, table, None if reconstruction else target, seed=seed, reconstruction=reconstruction, fold=fold
    )
    return replace(found, description=DESCRIPTIONS[name])


def _digits(resize: tuple[int, int] | None, seed: int, fold: Fold | None) -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = digits.images[:, None].astype(np.float32), digits.target
    parts = [(images[rows], labels[rows]) for rows in split_rows(len(labels), labels, seed, fold=fold)]
    names = [str(n) for n in range(10)]
    return image_dataset("digits", parts, names, largest=16.0, resize=resize, description=DESCRIPTIONS["digits"])
