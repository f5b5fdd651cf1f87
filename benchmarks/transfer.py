"""Is it worth starting from other digits? LeNet-5 on MNIST's 5 to 9 with few labels, from scratch and from a run on 0 to 4.

    NNATOMY_DATA=... python benchmarks/transfer.py --labels 4 10 --seeds 5

Each seed draws its own labeled images, which are split into training and validation as any folder is; the 4,861 test images
of the five digits are the same for all.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from nnatomy.data.kinds.image.idx import read_idx, write_idx
from nnatomy.runs.train import train

EPOCHS = 30
WAYS: dict[str, dict[str, Any]] = {
    "from scratch": {},
    "all from the run": {"new_head": True},
    "convolutions at a tenth": {"new_head": True, "rates": {"c1": 0.1, "c3": 0.1}},
    "convolutions frozen": {"new_head": True, "freeze": ("c1", "c3")},
    f"frozen for {EPOCHS // 3} epochs": {"new_head": True, "freeze": (f"c1={EPOCHS // 3}", f"c3={EPOCHS // 3}")},
}


def folder_of(place: Path, digits: range, labels: int | None, seed: int) -> Path:
    """A folder in MNIST's form with some digits, numbered from 0; `labels` of each, or all."""
    source = Path(os.environ["NNATOMY_DATA"]) / "mnist"
    place.mkdir(parents=True)
    for part in ("train", "t10k"):
        images, names = (next(iter(source.glob(f"{part}-{kind}*"))) for kind in ("images", "labels"))
        pixels, numbers = read_idx(images), read_idx(names)
        rows = np.flatnonzero(np.isin(numbers, digits))
        if labels is not None and part == "train":
            order = np.random.default_rng(seed).permutation(rows)
            rows = np.concatenate([order[numbers[order] == digit][:labels] for digit in digits])
        write_idx(place / f"{part}-images-idx3-ubyte", pixels[rows])
        write_idx(place / f"{part}-labels-idx1-ubyte", (numbers[rows] - digits.start).astype(np.uint8))
    return place


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, nargs="+", default=[4, 10])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=30_000, help="training images of the digits 0 to 4")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        source = folder_of(work / "source", range(5), None, 0)
        first = train("lenet5", source, out=work / "run", limit=asked.limit, report=False)
        print(f"digits 0 to 4, {asked.limit} images: test accuracy {first.metrics['accuracy']:.4f}", flush=True)
        for labels in asked.labels:
            scores: dict[str, list[float]] = {way: [] for way in WAYS}
            for seed in range(asked.seeds):
                target = folder_of(work / f"target-{labels}-{seed}", range(5, 10), labels, seed)
                for number, (way, options) in enumerate(WAYS.items()):
                    begin = {"from_": work / "run"} if options else {}
                    out = work / f"{labels}-{seed}-{number}"
                    found = train("lenet5", target, out=out, epochs=EPOCHS, seed=seed, report=False, **begin, **options)
                    scores[way].append(found.metrics["accuracy"])
            print(f"digits 5 to 9, {labels} labels a class, {asked.seeds} seeds: mean (lowest to highest) test accuracy")
            for way, found in scores.items():
                print(f"  {way:<26} {statistics.mean(found):.4f} ({min(found):.4f} to {max(found):.4f})", flush=True)


if __name__ == "__main__":
    main()
