"""Exceptions to contracts and unfinished folders: a stale exception fails, an unfinished folder fails alone."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from contract_rules import Unfinished, cases_of, judged

from nnatomy import catalog
from nnatomy.catalog import architectures, folders, why_unfinished
from nnatomy.training.recipe import Case, Contract

pytestmark = pytest.mark.any_kernels
MARK = re.compile(r"^@pytest\.mark\.contract\(Contract\.(\w+)\)$", re.MULTILINE)


def outcome(without: dict[Contract, str], fails: bool, case: Any = None) -> Any:
    """Return the outcome of a contract's test that fails or passes, for a case with exceptions."""
    case = case or Case("toy", {}, lambda rng: (np.zeros(1),), None, without=without)
    mark = SimpleNamespace(args=(Contract.EXPORT,))
    steps = judged(
        SimpleNamespace(
            callspec=SimpleNamespace(params={"case": case, "architecture": SimpleNamespace(name="toy")}),
            get_closest_marker=lambda name: mark if name == "contract" else None,
        )
    )
    next(steps)
    try:
        if fails:
            steps.throw(AssertionError("the contract is broken"))
        else:
            steps.send("passed")
    except StopIteration as end:
        return end.value
    raise AssertionError("the test ran twice")


def test_without_an_exception_the_test_decides() -> None:
    assert outcome({}, fails=False) == "passed"
    with pytest.raises(AssertionError, match="the contract is broken"):
        outcome({}, fails=True)
    with pytest.raises(AssertionError, match="the contract is broken"):
        outcome({Contract.HALF: "another contract"}, fails=True)


def test_an_exception_must_fail_and_a_stale_one_is_noticed() -> None:
    assert outcome({Contract.EXPORT: "has no graph"}, fails=True)
    with pytest.raises(pytest.fail.Exception, match=r"stale: toy is the same in ONNX Runtime after all.*has no graph"):
        outcome({Contract.EXPORT: "has no graph"}, fails=False)


def test_an_unfinished_folder_fails_by_name_and_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a page and nothing else, one with a broken page, and one without a page, among complete ones."""
    complete = set(architectures())
    for family in {a.family for a in architectures().values()}:
        (tmp_path / family).mkdir()
        for folder in (catalog.FOLDER / family).iterdir():
            if (folder / "page.md").is_file():
                (tmp_path / family / folder.name).symlink_to(folder)
    page = "---\ntitle: Started\nyear: 2026\nidea: None yet.\npaper: None.\nbuilds_on: []\n---\n## 1 What is it?\n"
    for name, text in (("started", page), ("broken", "no front matter"), ("dateless", page.replace("2026", "soon"))):
        (tmp_path / "feedforward" / name).mkdir()
        (tmp_path / "feedforward" / name / "page.md").write_text(text)
    (tmp_path / "feedforward" / "pageless").mkdir()
    (tmp_path / "feedforward" / "pageless" / "model.py").write_text("")
    monkeypatch.setattr(catalog, "FOLDER", tmp_path)
    architectures.cache_clear()
    try:
        found = architectures()
        assert set(found) == complete | {"started"}
        (unfinished,) = cases_of(found["started"])
        assert isinstance(unfinished, Unfinished)
        with pytest.raises(pytest.fail.Exception, match=r"toy is not finished: ModuleNotFoundError"):
            outcome({}, False, unfinished)
        assert all(isinstance(case, Case) for name in complete for case in cases_of(found[name]))
        whys = {folder.name: why_unfinished(folder) for folder in folders() if why_unfinished(folder)}
        assert whys.keys() == {"broken", "dateless", "pageless"}
        assert "front matter" in str(whys["broken"])
        assert "no number" in str(whys["dateless"])
        assert whys["pageless"] == "pageless has no page.md"
    finally:
        architectures.cache_clear()


def test_every_contract_that_a_case_may_except_has_a_test() -> None:
    """A contract that no test is marked with would take an exception and ignore it."""
    marked = {name for path in Path(__file__).parent.glob("test_*.py") for name in MARK.findall(path.read_text())}
    assert marked == {contract.name for contract in Contract}
