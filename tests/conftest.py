"""Common parts of all tests: quiet frameworks, one thread each, shapes checked in the architectures, and the real data."""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("MPLBACKEND", "Agg")

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

_spec = find_spec("nnatomy")
assert _spec is not None
assert _spec.origin is not None
_src = Path(_spec.origin).parents[1]
_models = (_src / "nnatomy" / "architectures").rglob("model.py")
install_import_hook([".".join(p.relative_to(_src).with_suffix("").parts) for p in _models], "beartype.beartype")

pytest_plugins = ["costs", "pytester"]


def pytest_addoption(parser: pytest.Parser) -> None:
    help = "Run JAX, bfloat16 and Keras on every case, not on the first, and JAX eagerly, too."
    parser.addoption("--all-cases", action="store_true", help=help)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Contracts come last: they rest on all else, so that a fault below them is named first by its own test."""
    items.sort(key=lambda item: "contracts" in item.path.parts)
    if not config.getoption("--all-cases"):
        left_out = [item for item in items if item.get_closest_marker("all_cases")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def real_data() -> Path:
    """The folder of real data sets; tests that need it are skipped where NNATOMY_DATA does not name one."""
    folder = os.environ.get("NNATOMY_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real data: set NNATOMY_DATA to its folder")
    return Path(folder)


@pytest.fixture(autouse=True)
def _no_baselines(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are set next to baselines only where a test is about that: they would cost more than the small networks."""
    if not request.node.get_closest_marker("baselines"):
        from nnatomy.runs import baselines

        monkeypatch.setattr(baselines, "measure", lambda *args, **options: None)


@pytest.fixture(autouse=True)
def _own_pictures(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that are trained for pictures are kept for these tests alone."""
    from nnatomy.kernels import library

    folder, kept = library.folder, tmp_path_factory.getbasetemp() / "cache" / "pictures"
    monkeypatch.setattr(library, "folder", lambda kind="kernels": kept if kind == "pictures" else folder(kind))


@pytest.fixture(autouse=True)
def _same_start() -> Iterator[None]:
    """Every test starts from the same random stream and on the numpy backend, and leaves both as it found them."""
    from nnatomy import backends, random

    before = sys.modules.get("nnatomy.backends.jax_devices")
    kept = before and before.settings()
    random.seed(0)
    yield
    backends.use("numpy")
    if after := sys.modules.get("nnatomy.backends.jax_devices"):
        after.restore(kept or {"jax_enable_x64": False, "jax_default_device": None, "jax_default_matmul_precision": None})
