"""From one CPU to a cluster: writes docs/scale.md, from arithmetic and from steps compiled but never run.

    python benchmarks/scale.py --out docs/scale.md     # minutes; for H100 GPUs where "jax[cuda12]" is installed, a GPU or not
    python benchmarks/scale.py --target cpu            # for virtual CPU devices
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nnatomy.benchmark.report import in_markdown
from nnatomy.runs.folder import write_atomically
from scale import page
from scale.compiled import TARGETS, default_target


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=TARGETS, default=default_target(), help="what steps are compiled for")
    parser.add_argument("--devices", default=",".join(map(str, page.DEVICES)), help="numbers of them, with commas between")
    parser.add_argument("--out", type=Path, help="the page to write; the table is printed if not given")
    given = parser.parse_args(words)
    devices = [int(n) for n in given.devices.split(",")]
    simulation = page.simulate(given.target, devices=devices, log=lambda line: print(line, file=sys.stderr))
    if given.out is None:
        print(in_markdown(page.simulated_table(simulation["rows"])))
    else:
        write_atomically(given.out, page.markdown(simulation))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
