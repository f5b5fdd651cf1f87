"""Items 1 to 13: what a run knows of its data, and the yardstick of a table's score."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from items import Item, column, run
from PIL import Image

import nnatomy as nn

Array = np.ndarray[Any, Any]
DAYS = [date(2023, 1, 1) + timedelta(days=5 * i) for i in range(60)]
NUMBERS = [((7 * i) % 60) / 60 for i in range(60)]
SQUARES = [(a - 0.5) ** 2 for a in NUMBERS]


def table(folder: Path, name: str = "t.csv", separator: str = ",", **columns: Sequence[Any]) -> None:
    rows = zip(*columns.values(), strict=True)
    text = "\n".join(separator.join(map(str, row)) for row in [columns, *rows])
    (folder / name).write_text(text + "\n", encoding="utf-8")


def trained(folder: Path, model: str = "mlp", more: str = "--target y") -> str:
    return run(folder, f"train {model} --data t.csv --epochs 2 --out run {more}")


def predicted(folder: Path, name: str, what: str = "prediction") -> list[str]:
    said = run(folder, f"predict run --data {name} --out of-{name}")
    assert said.startswith("exit 0"), said
    return column(folder / f"of-{name}", what)


def dates(folder: Path) -> bool:
    """The same row has the same answer, whatever stands in the file with it."""
    table(folder, when=[f"{day:%m/%d/%Y}" for day in DAYS], y=range(60))
    trained(folder)
    table(folder, "alone.csv", when=["03/04/2023"])
    table(folder, "both.csv", when=["03/04/2023", "03/25/2023"])
    return predicted(folder, "alone.csv")[0] == predicted(folder, "both.csv")[0]


def swapped(folder: Path) -> str:
    table(folder, a=NUMBERS, y=["no" if a < 0.5 else "yes" for a in NUMBERS])
    trained(folder)
    table(folder, a=NUMBERS, y=["yes" if a < 0.5 else "no" for a in NUMBERS])
    return run(folder, "evaluate run")


def nearly_constant(folder: Path) -> bool:
    """Columns that differ in one row, which is not among the training rows of each: no answer is out of all bounds."""
    columns = {f"c{j}": [0.2 if i == j else 0.1 for i in range(100)] for j in range(0, 100, 5)}
    table(folder, a=np.arange(100) % 13, **columns, y=np.sin(np.arange(100)))
    trained(folder)
    table(folder, "new.csv", a=[3, 3], **{name: [0.1, 0.2] for name in columns})
    first, second = map(float, predicted(folder, "new.csv"))
    return abs(first - second) < 50


def deep(folder: Path) -> float:
    """Where the middle one of three levels lies between the others, as the network sees them."""
    for k, name in enumerate(("dark", "middle", "light")):
        (folder / "p" / name).mkdir(parents=True)
        for i in range(8):
            Image.fromarray(np.full((8, 8), 120 + 14_940 * k, np.uint16)).save(folder / "p" / name / f"{i}.png")
    found = nn.data.load(str(folder / "p"), ("image",))
    x, y = (np.asarray(a) for a in found.train.all()[:2])
    dark, middle, light = (x[y == list(found.classes).index(name)].mean() for name in ("dark", "middle", "light"))
    return float((middle - dark) / (light - dark))


def parts(folder: Path) -> str:
    for part in ("train", "test"):
        for k, name in enumerate(("cat", "dog")):
            (folder / "p" / part / name).mkdir(parents=True)
            for i in range(8):
                Image.fromarray(np.full((8, 8), 100 * k + i, np.uint8)).save(folder / "p" / part / name / f"{i}.png")
    return " ".join(nn.data.load(str(folder / "p"), ("image",)).classes)


def spelled(folder: Path) -> int:
    """The number of classes that a target of two has."""
    table(folder, a=NUMBERS, y=["Yes", "yes", "No", "no"] * 15)
    trained(folder)
    said = run(folder, "predict run --data t.csv --out found.csv")
    assert said.startswith("exit 0"), said
    return (folder / "found.csv").read_text().splitlines()[0].count("p(")


def numerals(folder: Path) -> bool:
    """Numbers with commas are an input: other numbers have other answers."""
    written = [f"{a:.2f}".replace(".", ",") for a in NUMBERS]
    table(folder, separator=";", a=written, b=["x", "z"] * 30, y=[str(i % 7) + ",5" for i in range(60)])
    trained(folder)
    table(folder, "new.csv", separator=";", a=["0,10", "0,90"], b=["x", "x"])
    first, second = predicted(folder, "new.csv")
    return first != second


def accents(folder: Path) -> bool:
    """Both ways to write an accent are one word."""
    for suffix, words in (("pos", ("good", "fine")), ("neg", ("bad", "poor"))):
        lines = [f"the café was {word} in scene {i}" for word in words for i in range(20)]
        (folder / f"t.{suffix}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    said = run(folder, "train lstm --data t.pos.txt --epochs 1 --out run")
    assert said.startswith("exit 0"), said
    words = [unicodedata.normalize(form, "café good\n") for form in ("NFC", "NFD")]
    (folder / "new.txt").write_text("".join(words), encoding="utf-8")
    first, second = predicted(folder, "new.txt", "probability")
    return first == second


def quoted(folder: Path) -> str:
    rows = [f"{i % 7}.5,{a},{'kl'[i % 2]}" for i, a in enumerate(NUMBERS)]
    rows[30] = '0.5,0.5,"ok'
    (folder / "t.csv").write_text("\n".join(["y,a,b", *rows]) + "\n")
    return trained(folder)


def reviews(folder: Path) -> str:
    table(folder, text=["good film", "bad film", "fine play", "poor play"] * 15, label=["yes", "no"] * 30)
    return trained(folder, "lstm", "--target label")


def parquet(folder: Path) -> str:
    import pandas as pd

    pd.DataFrame({"a": NUMBERS, "y": SQUARES}).to_parquet(folder / "t.csv")  # its suffix does not decide
    return trained(folder)


def forecast_times(folder: Path) -> str:
    """The first time of a forecast is the one after the last row."""
    days = [date(2023, 1, 1) + timedelta(days=i) for i in range(90)]
    table(folder, when=days, v=[i % 7 for i in range(90)])
    trained(folder, "lstm", "--target v --window 7 --horizon 2")
    run(folder, "predict run --data t.csv --out found.csv")
    return (folder / "found.csv").read_text().splitlines()[1]


def of_the_tables(folder: Path) -> bool:
    """The default multi-layer perceptron is level with logistic regression on adult: five seeds, the same splits."""
    text = Path(nn.__file__).parents[2].joinpath("docs", "results.md").read_text()
    (row,) = [line for line in text.splitlines() if line.startswith("| adult | mlp | accuracy")]
    network, others = row.split("|")[4:6]
    return float(network.split("±")[0]) > float(others.split("logistic regression")[1].split(",")[0])


ITEMS = [
    Item(1, "a date beside another", dates, True),
    Item(2, "labels swapped after training", swapped, "exit 2"),
    Item(3, "a column without spread", nearly_constant, True),
    Item(4, "pictures of 16 bits", deep, 0.5),
    Item(5, "folders of parts and classes", parts, "cat dog"),
    Item(6, "spellings of two classes", spelled, 2),
    Item(7, "decimal commas", numerals, True),
    Item(8, "an accent written in two ways", accents, True),
    Item(9, "a quote that is never closed", quoted, "exit 2"),
    Item(10, "texts with labels in a table", reviews, "exit 0"),
    Item(10, "a table in Parquet", parquet, "exit 0"),
    Item(11, "the first time of a forecast", forecast_times, "2023-04-01"),
    Item(13, "adult", of_the_tables, True),
]
