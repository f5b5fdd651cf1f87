"""Our training steps next to PyTorch's, eager and compiled, on one CUDA device: rates, model-FLOPs utilization, memory.

    python benchmarks/gpu.py --out docs/gpu.md --figures gpu.json
    python benchmarks/gpu.py --only gpt2 --batch 32 --peers compile
    python benchmarks/gpu.py --tiny                # rehearses the same code at tiny sizes on a CPU
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from gpu import measure, page
from nnatomy.benchmark.report import agreed, behind, caveats, in_markdown, places
from nnatomy.errors import UserError


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="workloads, with commas between them: gpt2, resnet50, lstm, mlp")
    parser.add_argument("--peers", help="of torch and compile; on a CPU torch alone if not given")
    parser.add_argument("--batch", type=int, help="examples in a step of the one workload that --only names")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes on the CPU: to try the benchmark itself")
    parser.add_argument("--out", type=Path, help="the page to write, with its picture beside it")
    parser.add_argument("--figures", type=Path, metavar="FILE", help="the file for all figures")
    parser.add_argument("--json", action="store_true", help="print all figures as one JSON object, and no tables")
    given = parser.parse_args(words)
    try:
        out, figures = places(given.out, given.figures)
        only, peers = (text.split(",") if text else None for text in (given.only, given.peers))
        settings = measure.chosen(only, peers, given.batch, given.tiny)
        report = measure.bench(settings, lambda line: print(line, file=sys.stderr))
    except UserError as problem:
        print(f"Error: {problem}", file=sys.stderr)
        return 2
    page.write(report, out, figures)
    if given.json:
        print(json.dumps(report))
    else:
        for table in (page.speeds(report), page.uses(report)):
            print(in_markdown(table), end="\n\n")
        print("\n".join([*caveats(report), *(f"Behind in {line}." for line in behind(report))]))
    return 0 if agreed(report) and not any(result["failed"] for result in report["results"]) else 1


if __name__ == "__main__":
    raise SystemExit(main())
