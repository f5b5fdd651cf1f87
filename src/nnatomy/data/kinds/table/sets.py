"""Tables that have names: scikit-learn's small real sets, points in the plane and truth tables made here, and public sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.csvfile import RawTable
from nnatomy.data.dataset import ArraySplit, Dataset, generator
from nnatomy.data.kinds.table.encoding import Field, TablePreprocessing
from nnatomy.data.kinds.table.table import table_dataset
from nnatomy.data.reading import Reading
from nnatomy.data.sets import RAW, Made, Named, Public

__all__ = ["LOGIC", "PLANE", "SETS", "points"]

Array = npt.NDArray[Any]
LOGIC = {
    "and": (0, 0, 0, 1), "or": (0, 1, 1, 1), "nand": (1, 1, 1, 0), "nor": (1, 0, 0, 0), "logic_xor": (0, 1, 1, 0),
    "majority": (0, 0, 0, 1, 0, 1, 1, 1), "parity4": tuple(row.bit_count() % 2 for row in range(16)),
}  # fmt: skip
"""Truth tables: the outputs for all rows of inputs, counted upwards in binary."""
PLANE = ("moons", "circles", "spirals", "blobs", "xor", "halves")
EMBEDDED = {
    "iris": "150 flowers of three species, four measurements (Fisher 1936)",
    "wine": "178 wines of three growers, 13 chemical measurements (UCI Wine; Aeberhard and Forina 1991)",
    "breast_cancer": "569 tumours, malignant or benign, 30 measurements (UCI Wisconsin Diagnostic; Wolberg et al. 1995)",
    "diabetes": "442 patients, ten baseline variables, progression after a year (Efron et al. 2004)",
}


def _embedded(name: str, reading: Reading) -> Dataset:
    """Return one of scikit-learn's sets, without its target for an architecture that only reconstructs its input."""
    from sklearn import datasets

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
    if reading.reconstruction and not {"classification", "regression"} & set(reading.tasks):
        found = table_dataset(name, RawTable(columns, name), None, reading)
    else:
        found = table_dataset(name, RawTable({**columns, target: labels}, name), target, reading)
    return replace(found, description=EMBEDDED[name])


def _plane(name: str, reading: Reading) -> Dataset:
    xy, ids = points(name, 1000, generator(reading.seed))
    columns = {axis: [repr(float(v)) for v in xy[:, n]] for n, axis in enumerate("xy")}
    made = table_dataset(name, RawTable({**columns, "class": [str(c) for c in ids]}, name), "class", reading)
    return replace(made, notices=(), description=f"1,000 points in the plane: {name}")


def points(name: str, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return n points [n, 2] in the plane and their class ids; names are those of PLANE."""
    ids = np.arange(n) % (3 if name in ("blobs", "spirals") else 2)
    t = rng.uniform(0, 1, n)
    noise = rng.normal(0, 1, (n, 2))
    if name == "moons":
        x, y = (
            np.where(ids == 0, np.cos(np.pi * t), 1 - np.cos(np.pi * t)),
            np.where(ids == 0, np.sin(np.pi * t), 0.5 - np.sin(np.pi * t)),
        )
        return np.stack([x, y], axis=1) + 0.1 * noise, ids
    if name == "circles":
        radius = np.where(ids == 0, 1.0, 0.5)
        return radius[:, None] * np.stack([np.cos(2 * np.pi * t), np.sin(2 * np.pi * t)], axis=1) + 0.06 * noise, ids
    if name == "spirals":
        angle = 4.5 * np.sqrt(t) + 2 * np.pi * ids / 3
        return np.sqrt(t)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.02 * noise, ids
    if name == "blobs":
        centers = np.array([[0.0, 2.0], [-1.8, -1.0], [1.8, -1.0]])
        return centers[ids] + 0.7 * noise, ids
    xy = rng.uniform(-1, 1, (n, 2))
    if name == "xor":
        return xy, (xy[:, 0] * xy[:, 1] < 0).astype(np.int64)
    xy[:, 1] += np.where(xy[:, 1] > xy[:, 0], 0.15, -0.15)  # halves: split by the line y = x, with a gap
    return xy, (xy[:, 1] > xy[:, 0]).astype(np.int64)


def _logic(name: str, reading: Reading) -> Dataset:
    """Return the rows of a truth table; with so few, the same rows serve for training and testing."""
    outputs = np.array(LOGIC[name], dtype=np.int64)
    inputs = len(outputs).bit_length() - 1
    rows = (np.arange(len(outputs))[:, None] >> np.arange(inputs)[::-1] & 1).astype(np.float32)
    fields = tuple(Field(column, "boolean", 0.0, False) for column in "abcd"[:inputs])
    why = f"Folds need rows to be held out, {name} has {len(rows)}, and each is needed to learn; choose other data."
    splits = [ArraySplit((rows[part], outputs[part])) for part in reading.whole(len(rows), why)]
    preprocessing = TablePreprocessing(fields, "out", "classification", ("0", "1"))
    notices = (f"All {len(rows)} rows are used for training, validation and test: there are no others.",)
    return Dataset(
        name, "table", "classification", splits[0], splits[1], splits[2], ("0", "1"), preprocessing, notices, (inputs,),
        f"the truth table of {name}", 2,
    )  # fmt: skip


SETS: dict[str, Named] = {
    **{name: Made(partial(_embedded, name), "embedded") for name in EMBEDDED},
    **{name: Made(partial(_plane, name)) for name in PLANE},
    **{name: Made(partial(_logic, name)) for name in LOGIC},
    "titanic": Public(
        "tabular/titanic.csv",
        "891 passengers of the Titanic: who survived? (Kaggle/Vanderbilt)",
        target="survived",
        url=f"{RAW}/mwaskom/seaborn-data/71e2436/titanic.csv",
        sha256="81787d320d7f7b03df935e91de8bd19e11d45c5bbcab86ef4d4a76dc91b7d4f2",
    ),
    "penguins": Public(
        "tabular/penguins.csv",
        "344 penguins of three species (Gorman et al. 2014)",
        target="species",
        url=f"{RAW}/mwaskom/seaborn-data/71e2436/penguins.csv",
        sha256="e07636bd8af74260099ea2f8678e2eabbf35def579940cc76f67061ee16c06c1",
    ),
    "mpg": Public(
        "tabular/mpg.csv",
        "398 cars and their miles per gallon (Quinlan 1993)",
        target="mpg",
        url=f"{RAW}/mwaskom/seaborn-data/71e2436/mpg.csv",
        sha256="c14b8b855ea7ee86cb9736bf8caaf281c4685ca08826f3eb2acaccaaf40f0d5a",
    ),
    "adult": Public(
        "tabular/adult_train.csv",
        "6,000 people of a census: who earns above 50,000? (Kohavi and Becker 1996)",
        target="income",
        sha256="cdcb257ab3cdf9886895633c4489e1dc6d4389a1dc6f106055e425efc51a32d9",
    ),
    "california_housing": Public(
        "tabular/california_housing.csv",
        "20,640 districts of California and their house prices (Pace and Barry 1997)",
        target="median_house_value",
        url=f"{RAW}/ageron/handson-ml2/1e21152/datasets/housing/housing.csv",
        sha256="8a3727f4cf54ac1a327f69b1d5b4db54c5834ea81c6e4efc0d163300022a685e",
    ),
}
