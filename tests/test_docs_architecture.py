"""docs/architecture.md is true: its map, the files that a CSV file passes, and every example, which runs unchanged."""

from __future__ import annotations

import inspect
import re
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from page_code import PAGE, ROOT, blocks, command, run_block, write_files

from nnatomy import views
from nnatomy.data import kinds

pytestmark = pytest.mark.any_kernels
PACKAGE = ROOT / "src" / "nnatomy"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks" / "README.md"])
EXAMPLES = {
    "From a split to a metric", "An operation", "A layer", "A kind of data", "A task", "An architecture", "A metric", "A view",
}  # fmt: skip


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that the page's files form, in a directory where its commands run."""
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(views, "__path__", [*views.__path__, str(tmp_path / "nnatomy" / "views")])
    views.names.cache_clear()
    yield tmp_path / "mine"
    kinds.unregister("marks")
    views.names.cache_clear()
    sys.modules.pop("nnatomy.views.weights", None)


def test_the_map_has_every_folder_in_the_order_of_the_layers() -> None:
    rows = re.findall(r"^\| `([\w.]+)/?` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    layers = [name for layer in contract["layers"] for name in layer.replace("nnatomy.", "").split(" | ")]
    assert [row.removesuffix(".py") for row in rows] == layers
    assert {row for row in rows if "." not in row} == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_path_on_a_page_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[\w-]+/)+[\w-]+\.(?:py|md))`", text)) | set(re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text))
    if page == PAGE:
        named |= set(re.findall(r"`((?:[\w-]+/)+)`", text)) - {"mine/"}
    places = (ROOT, ROOT / "src", PACKAGE, PACKAGE / "kernels", ROOT / "benchmarks", page.parent)
    assert [path for path in named if not any((place / path).exists() for place in places)] == []
    assert page != PAGE or len(named) > 40


def test_a_csv_file_passes_what_the_page_names_in_that_order(tmp_path: Path) -> None:
    part = PAGE.read_text(encoding="utf-8").partition("## From a CSV file to a run")[2].partition("## From a split")[0]
    named = re.findall(r"^\d+\. `([\w./]+)`(?:: `([\w.]+)`)?", part, re.MULTILINE)
    assert 8 <= len(named) <= 12
    assert {file for file, _ in named} == set(re.findall(r"`([\w/]+\.py)`", part)), "a file is named outside the numbers"
    table = tmp_path / "titanic.csv"
    rows = [f"{n % 3 + 1},{20 + n % 40},{'female' if n % 2 else 'male'},{int(n % 2 or n % 5 == 0)}" for n in range(80)]
    table.write_text("pclass,age,sex,survived\n" + "\n".join(rows) + "\n")
    entered: dict[int, CodeType] = {}
    ours = str(PACKAGE)

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(ours):  # others may make code without end
            entered.setdefault(id(frame.f_code), frame.f_code)

    sys.setprofile(watch)
    try:
        code = command(f"nnatomy train mlp --data {table} --target survived --epochs 1 --out {tmp_path / 'run'}")
    finally:
        sys.setprofile(None)
    assert code == 0
    functions = [c for c in entered.values() if c.co_flags & inspect.CO_OPTIMIZED]  # imports execute modules and classes
    turns = []
    for file, name in named:
        path = str(PACKAGE / file)
        own = [turn for turn, c in enumerate(functions) if c.co_filename == path]
        assert own, f"{file} is not entered"
        if name:
            turns.append(next(turn for turn in own if f"{functions[turn].co_qualname}.".startswith(f"{name}.")))
    assert turns == sorted(turns), list(zip(turns, named))


@pytest.mark.parametrize("heading", sorted(EXAMPLES))
def test_its_examples_run(heading: str, mine: Path) -> None:
    found = blocks(heading)
    assert found
    for block in found:
        if block.file is None:
            run_block(block)
    assert threading.active_count() < 20


def test_no_example_is_left_out() -> None:
    assert {block.heading for block in blocks()} == EXAMPLES
    assert {block.language for block in blocks()} == {"python", "bash"}


def test_its_view_is_drawn_of_any_run_and_refused_where_it_does_not_fit(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("nnatomy train mlp --data iris --epochs 1 --out table") == 0
    assert command("nnatomy train ./mine --epochs 1 --out marks") == 0
    for run in ("table", "marks"):
        assert command(f"nnatomy draw {run} --what weights --out {run}.png") == 0
        assert Path(f"{run}.png").stat().st_size > 5000
    assert "weights" in views.names()


def test_its_kind_is_loaded_by_folds_and_refuses_what_it_cannot_read(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import nnatomy as nn

    nn.architecture("./mine")
    found = nn.data.load("random_marks", fold=nn.data.Fold(1, 4))
    assert (found.kind, found.task, len(found.test)) == ("marks", "counting", 60)
    Path("bad.marks").write_text("x.x 2\n")
    assert command("nnatomy train ./mine --data bad.marks --out bad") == 2
    assert "A row has 6 places" in capsys.readouterr().err
    assert not Path("bad").exists()
