"""The GPU benchmark: the published sizes, what a step computes, how XLA sees our step, and a rehearsal on the CPU."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax")

import jax

import nnatomy as nn
from gpu import card, measure, page
from gpu.operations import operations, parameters
from gpu.outline import outline, tensors
from gpu.workloads import FULL, TINY, Workload, find, gpt2, workloads
from nnatomy.benchmark.report import behind, caveats, places
from nnatomy.errors import UserError

pytestmark = pytest.mark.any_kernels


def _script() -> Any:
    path = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
    spec = spec_from_file_location("benchmarks_gpu", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_published_sizes() -> None:
    """GPT-2's smallest model (Hugging Face counts the same) and torchvision's ResNet-50; no weight is made for it."""
    assert parameters(replace(find("gpt2"), build=gpt2())) == 124_439_808
    assert parameters(find("resnet50")) == 25_557_032
    assert parameters(find("gpt2")) == 124_439_808 + 47 * 768  # nanoGPT's vocabulary of 50,304


def test_operations_are_the_papers_formula() -> None:
    d, L, T, V = FULL.width, FULL.depth, FULL.steps, FULL.vocabulary
    assert operations(find("gpt2")) == T * (6 * (12 * L * d * d + V * d) + 12 * L * d * T)
    assert operations(find("resnet50")) == pytest.approx(6 * 4.089e9, rel=1e-3)  # 4.09 G multiply-adds, as torchvision lists
    assert operations(find("mlp")) == 6 * (1024 * 4096 + 2 * 4096 * 4096 + 4096 * 1000)
    assert operations(find("lstm")) == 6 * (128 * 4096 * (512 + 3 * 1024) + 1024 * 1000)


@pytest.mark.parametrize("name", [w.name for w in workloads()])
def test_torch_has_the_same_network(name: str) -> None:
    torch = pytest.importorskip("torch")
    workload = find(name)
    with torch.device("meta"):
        theirs = workload.build(torch.nn)
    ours = tensors(outline(lambda: workload.build(nn)))
    kept = {n: tuple(t.shape) for n, t in theirs.state_dict().items() if "num_batches" not in n}  # which is not read here
    assert kept == {n: t.shape for n, t in ours.items()}


def test_first_values_have_the_scales_that_are_asked_for() -> None:
    tiny = find("gpt2", TINY)
    values = tiny.values({"h.0.attn.c_proj.weight": (300, 300), "wte.weight": (300, 300), "ln_f.weight": (9,), "b.bias": (9,)})
    assert values["wte.weight"].std() == pytest.approx(0.02, rel=0.02)
    assert values["h.0.attn.c_proj.weight"].std() == pytest.approx(0.01, rel=0.02)  # two layers, four branches
    assert abs(values["ln_f.weight"].mean() - 1) < 0.05 > abs(values["b.bias"].mean())
    statistics = tiny.values({"running_mean": (3,), "running_var": (3,)})
    assert [a.tolist() for a in statistics.values()] == [[0, 0, 0], [1, 1, 1]]


def _lowered(workload: Workload, precision: str) -> Any:
    from gpu.ours import learner_for

    model = outline(lambda: workload.build(nn))
    kept: list[Any] = []

    def state(values: dict[str, Any]) -> Any:
        for name, t in tensors(model).items():
            t.data = values[name]
        kept.append(learner_for(workload, model, precision))
        return kept[0].state()

    with nn.backend("jax"):
        shapes = jax.eval_shape(state, {name: t.data for name, t in tensors(model).items()})
        batch = tuple(a.astype(np.int32) for a in workload.batches(workload.size)[0])
        return jax.jit(kept[0], donate_argnums=0).lower(shapes, batch)


def test_what_xla_sees_of_a_step() -> None:
    """bfloat16 products, no float64 but the learning rate, no way back to the host, all of the state donated."""
    lowered = _lowered(find("gpt2", TINY), "bfloat16")
    text = lowered.as_text()
    products = re.findall(r"stablehlo\.dot_general.* : \(tensor<([^>]*)>, tensor<([^>]*)>\)", text)
    assert len(products) == 3 * (2 * 4 + 1) + 2 * 7  # of each layer and the output; attention's, whose scores are made twice
    assert all(kind.endswith("xbf16") for pair in products for kind in pair)
    assert not re.search(r"x\d*f64>|xf64>", text)  # no array of them
    scalars = {line.split("stablehlo.")[1].split()[0] for line in text.splitlines() if "f64>" in line and "stablehlo." in line}
    assert scalars <= {"multiply", "convert"}  # lr times factor, as float32 then
    compiled = lowered.compile()
    program = compiled.as_text()
    for word in ("callback", "infeed", "outfeed", "send(", "recv("):
        assert word not in program
    memory = compiled.memory_analysis()
    weights = 4 * 3 * parameters(find("gpt2", TINY))
    assert memory.alias_size_in_bytes >= weights


def test_cards() -> None:
    assert card.published("NVIDIA H100 80GB HBM3") == 989e12
    assert card.published("NVIDIA H100 PCIe") == 756e12
    assert card.published("NVIDIA A100-SXM4-40GB") == 312e12
    assert card.published("NVIDIA A10") == 125e12
    assert card.published("NVIDIA A10G") is None
    assert card.product_rate(64, 2) > 1e6


def test_needs_a_device(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    assert _script().main([]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "CUDA device" in said
    assert "--tiny" in said


@pytest.mark.parametrize("words", ["--only gpt3", "--peers keras", "--batch 3", "--batch 0 --only mlp"])
def test_bad_words(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _script().main(["--tiny", *words.split()]) == 2
    assert capsys.readouterr().err.startswith("Error: ")


@pytest.mark.slow
def test_rehearsal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    out, figures = tmp_path / "gpu.md", tmp_path / "gpu.json"
    assert _script().main(["--tiny", "--only", "gpt2", "--out", str(out), "--figures", str(figures)]) == 0
    found = json.loads(figures.read_text())
    assert [r["name"] for r in found["results"]] == ["gpt2"]
    for result in found["results"]:
        assert 0 < result["agreement"]["float32"]["torch"]["gradient"] < 1e-3
        assert 0 < result["agreement"]["bfloat16"]["torch"]["loss"] < measure.CLOSE
        for figures_ in result["timed"]["train"]["implementations"].values():
            assert figures_["rate"]["median"] == pytest.approx(1e3 * result["units"] / figures_["ms"]["median"])
            assert figures_["peak_mib"] > 100
    assert places(out, figures) == (out, figures)  # its own files may be written again
    text = out.read_text()
    assert "A rehearsal" in text
    assert "| gpt2 | tokens/s |" in text
    assert max(map(len, text.splitlines())) < 300
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "| gpt2 | tokens/s |" in capsys.readouterr().out


def _figures(rate: float, ratio: float | None = None) -> dict[str, Any]:
    def quartiles(v: float) -> dict[str, float]:
        return {"median": v, "low": v, "high": v}

    return {"ms": quartiles(1.0), "rate": quartiles(rate), "operations_a_second": 5e14, "peak_mib": 1.0} | (
        {} if ratio is None else {"ratio": quartiles(ratio)}
    )


def test_the_page_says_where_we_are_behind() -> None:
    result = {
        "name": "lstm", "unit": "steps", "operations": 1e12, "failed": {}, "notes": {},
        "differ": {"torch": {"in": "float32", "loss": 0.5, "gradient": 2.0, "gradient_in": "w"}},
        "timed": {"train": {"implementations": {"nnatomy": _figures(100.0), "compile": _figures(200.0, 0.5)}}},
    }  # fmt: skip
    report = {"results": [result], "absent": {}, "peak": {"published": 1e15, "measured": 1.0}}
    assert behind(report) == ["training step: lstm (torch.compile by 2.00)"]
    assert "PyTorch gives other answers (float32: " in caveats(report)[0]
    assert page.speeds(report)[1] == [("lstm", "steps/s", "100 (100–100)", "200 (200–200)", "0.50 (0.50–0.50)")]
    assert page.uses(report)[1][0][3] == "50.0 %"


def test_our_failure_is_told_and_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from nnatomy.benchmark.worker import WorkerError

    def start(*args: Any) -> Any:
        raise WorkerError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(measure, "start", start)
    result = measure.run(find("mlp", TINY), ["nnatomy"], measure.chosen(["mlp"], tiny=True), {})
    assert result["failed"] == {"nnatomy": "RESOURCE_EXHAUSTED: out of memory"}
    assert result["timed"] == {}


def test_one_batch_is_for_one_workload() -> None:
    with pytest.raises(UserError, match="--batch"):
        measure.chosen(batch=4)
    assert measure.chosen(["gpt2"], batch=4).batch == 4
