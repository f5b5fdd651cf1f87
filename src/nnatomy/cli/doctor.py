"""`nnatomy doctor`: what is installed, where data are stored, what may be written, and whether a network learns."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from nnatomy.cli.shared import Json, print_json, print_table

CORE = (
    "numpy", "numba", "scipy", "scikit-learn", "matplotlib", "rich", "typer", "safetensors", "jaxtyping", "pooch",
    "threadpoolctl", "regex",
)  # fmt: skip
EXTRAS = {
    "verify": ("torch", "keras", "tensorflow-cpu"),
    "jax": ("jax",),
    "weights": ("h5py",),
    "onnx": ("onnx", "onnxruntime"),
    "tune": ("optuna",),
    "web": ("starlette", "hypercorn"),
    "frames": ("pyarrow",),
}


@dataclass(frozen=True)
class Check:
    """One finding; `needed` says whether anything fails without it."""

    name: str
    fine: bool
    detail: str
    needed: bool = True

    def to_json(self) -> dict[str, Any]:
        return vars(self).copy()


def examine() -> list[Check]:
    """All findings, the needed ones first."""
    checks = [Check("python", sys.version_info >= (3, 11), sys.version.split()[0] + " (3.11 or newer is needed)")]
    missing = [name for name in CORE if _version(name) is None]
    found = ", ".join(f"{name} {_version(name)}" for name in CORE if name not in missing)
    checks.append(Check("packages", not missing, f"missing: {', '.join(missing)}; pip install nnatomy" if missing else found))
    checks.append(_learning())
    checks.append(_writable())
    checks += _kernels()
    for extra, names in EXTRAS.items():
        absent = [name for name in names if _version(name) is None and _version(name.removesuffix("-cpu")) is None]
        detail = (
            f'pip install "nnatomy[{extra}]"'
            if absent
            else ", ".join(f"{n} {_version(n) or _version(n.removesuffix('-cpu'))}" for n in names)
        )
        checks.append(Check(f"extra: {extra}", not absent, detail, needed=False))
    checks.append(_data())
    return checks


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _learning() -> Check:
    """Train four hidden units on XOR, from the first gradient to the last."""
    import numpy as np

    import nnatomy as nn

    start = time.perf_counter()
    generator = nn.Generator(3)
    x, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([[0], [1], [1], [0]], np.float32)
    w1, w2 = nn.Parameter(generator.normal((2, 8))), nn.Parameter(generator.normal((8, 1)))
    b1, b2 = nn.Parameter(np.zeros(8, np.float32)), nn.Parameter(np.zeros(1, np.float32))
    loss = nn.Tensor(np.float32(np.inf))
    for _ in range(500):
        loss = nn.square(nn.tanh(x @ w1 + b1) @ w2 + b2 - y).mean()
        loss.backward()
        with nn.no_grad():
            for p in (w1, b1, w2, b2):
                assert p.grad is not None
                p.copy_(p - 0.2 * p.grad)
                p.grad = None
    seconds = time.perf_counter() - start
    return Check("learning", bool(loss.item() < 0.01), f"XOR to an error of {loss.item():.2g} in {seconds:.2f} s")


def _writable() -> Check:
    try:
        with tempfile.TemporaryFile(dir=Path.cwd()):
            pass
    except OSError as problem:
        return Check(
            "runs folder", False, f"{Path.cwd()} cannot be written ({problem.strerror}); change to another folder or give --out"
        )
    return Check("runs folder", True, f"{Path.cwd() / 'runs'} can be written")


def _kernels() -> list[Check]:
    """Return the facts about computing: the kernels, the threads, and the folder where kernels are kept."""
    from nnatomy.backends import kernels
    from nnatomy.kernels import library, machine

    mode, threads = kernels(), machine.get_num_threads()
    if mode == "reference":
        missing = _version("numba") is None
        why = "Numba is missing; pip install numba" if missing else "NNATOMY_KERNELS requests plain NumPy; unset it for speed"
        return [Check("kernels", not missing, f"reference: {why}", needed=False)]
    from nnatomy.kernels import processor

    width = f"vectors of {processor.LANES} float32"
    found = [Check("kernels", True, f"{mode}, {threads} thread{'s' * (threads > 1)}, {width}", needed=False)]
    place = library.usable_folder()
    if place is None:
        detail = "no folder that only you can write; kernels are compiled again in each process. Set NNATOMY_CACHE to one"
        return [*found, Check("kernel cache", False, detail, needed=False)]
    sizes = [path.stat().st_size for path in place.glob("*.o")]
    detail = f"{place}: {len(sizes)} compiled kernel{'s' * (len(sizes) != 1)}, {sum(sizes) / 2**20:.1f} MiB"
    return [*found, Check("kernel cache", True, detail, needed=False)]


def _data() -> Check:
    folder = os.environ.get("NNATOMY_DATA")
    if not folder:
        return Check("NNATOMY_DATA", False, "not set: named sets are looked for in the cache folder", needed=False)
    if not Path(folder).is_dir():
        return Check("NNATOMY_DATA", False, f"{folder} is not a folder; make it, or unset NNATOMY_DATA", needed=False)
    return Check("NNATOMY_DATA", True, f"{folder}: {len(list(Path(folder).iterdir()))} entries", needed=False)


def doctor(as_json: Json = False) -> int:
    """Check the installation, and that a small network learns."""
    checks = examine()
    healthy = all(c.fine for c in checks if c.needed)
    if as_json:
        print_json({"checks": [check.to_json() for check in checks], "healthy": healthy})
    else:
        print_table(
            ("check", "state", "detail"),
            [(c.name, "ok" if c.fine else "MISSING" if c.needed else "not installed", c.detail) for c in checks],
        )
    return 0 if healthy else 1
