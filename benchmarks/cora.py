"""The accuracy of graph neural networks on Cora: mean and standard deviation over seeds, at the best validation epoch.

    python benchmarks/cora.py                      # the recipes cora-gcn and cora-gat, ten seeds each
    python benchmarks/cora.py cora-sage --seeds 3

It needs graph/cora.npz in NNATOMY_DATA. Only weights and dropout differ between seeds: the parts are the published ones.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from nnatomy.catalog import architecture
from nnatomy.errors import UserError, unknown_name
from nnatomy.runs.fitting import fit_recipe
from nnatomy.runs.prepare import choose

PUBLISHED = {
    "cora-gcn": "0.815 (Kipf and Welling 2017)",
    "cora-gat": "0.830 (Velickovic et al. 2018)",
}


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="RECIPE", help="cora-gcn and cora-gat if not given")
    parser.add_argument("--seeds", type=int, default=10, help="how many")
    given = parser.parse_args(words)
    gnn = architecture("gnn")
    known = {recipe.name: recipe for recipe in gnn.recipes if recipe.data == "cora"}
    try:
        if given.seeds < 1:
            raise UserError(f"--seeds must be 1 or more. Received {given.seeds}; give another number.")
        for name in given.names or PUBLISHED:
            if name not in known:
                raise unknown_name("recipe for cora", name, known)
            _, dataset = choose(gnn, "cora", [known[name]], offline=True)
            began, found = time.perf_counter(), list[float]()
            for seed in range(given.seeds):
                found.append(fit_recipe(known[name], dataset, seed).test().metrics["accuracy"])
                print(f"{name} seed {seed}: {found[-1]:.3f}", file=sys.stderr)
            seconds = (time.perf_counter() - began) / len(found)
            deviation = statistics.stdev(found) if len(found) > 1 else 0.0
            beside = f"; published: {PUBLISHED[name]}" if name in PUBLISHED else ""
            print(f"{name}: {statistics.mean(found):.4f} ± {deviation:.4f}, {len(found)} seeds, {seconds:.0f} s each{beside}")
    except UserError as problem:
        print(f"Error: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
