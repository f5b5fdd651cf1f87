"""The paths that `trace` finds are those that the data take, in every architecture and in networks with branches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from networks import Dense, ResNet, Translator

import nnatomy as nn
from nnatomy.catalog import Architecture, architectures
from nnatomy.inspect import INPUT, OUTPUT, Part, trace

F32 = np.float32


def paths(part: Part) -> set[tuple[str, str]]:
    """The edges of a part by the names of its ends."""
    names = [(p.kind if p.is_operation else p.path.removeprefix(part.path).strip(".")) for p in part.parts]
    ends = {INPUT: "in", OUTPUT: "out"}
    return {(ends.get(e.source) or names[e.source], ends.get(e.target) or names[e.target]) for e in part.edges}


def reached(part: Part) -> set[int]:
    """The parts that the input reaches, and OUTPUT if it does."""
    found = {INPUT}
    while True:
        more = {e.target for e in part.edges if e.source in found} - found
        if not more:
            return found - {INPUT}
        found |= more


def test_a_residual_block_has_its_way_round() -> None:
    x = np.zeros((1, 4, 6, 6), F32)
    plain = trace(nn.BasicBlock(4, 4), x)
    assert [p.path or p.kind for p in plain.parts] == ["conv1", "bn1", "relu", "conv2", "bn2", "add", "relu"]
    assert {("in", "conv1"), ("in", "add"), ("bn2", "add"), ("add", "relu"), ("relu", "out")} <= paths(plain)
    shortcut = nn.Sequential(nn.Conv2d(4, 8, 1, 2), nn.BatchNorm2d(8))
    wide = trace(nn.BasicBlock(4, 8, 2, shortcut), x)
    assert {("in", "downsample"), ("downsample", "add"), ("bn2", "add")} <= paths(wide)
    assert ("in", "add") not in paths(wide)


def test_paths_are_found_from_the_run_and_not_from_names() -> None:
    class Crossed(nn.Module):
        def __init__(self) -> None:
            self.last, self.first, self.dead = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: Any) -> Any:
            a = self.first(x)
            self.dead(a)
            return self.last(a * 2) + nn.tanh(x)

    found = trace(Crossed(), np.ones((2, 3), F32))
    assert [p.path for p in found.parts if not p.is_operation] == ["first", "dead", "last"]
    assert paths(found) == {
        ("in", "first"), ("first", "multiply"), ("multiply", "last"), ("in", "tanh"), ("tanh", "add"), ("last", "add"),
        ("add", "out"),
    }  # fmt: skip


def test_attention_has_three_paths_and_a_residual_one() -> None:
    layer = trace(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), np.ones((1, 5, 8), F32))
    assert {("in", "self_attn"), ("in", "add"), ("dropout1", "add"), ("norm1", "linear1"), ("norm1", "add")} <= paths(layer)
    attention = layer.parts[0]
    assert [p.kind for p in attention.parts] == ["linear", "scaled_dot_product_attention", "Linear"]
    assert [e.count for e in attention.edges if e.source == 0] == [3]
    assert attention.parts[0].detail == "in_proj_weight, in_proj_bias"


def test_several_inputs_are_told_apart_and_named() -> None:
    whole = trace(Translator(), np.arange(6)[None], np.arange(4)[None])
    assert [p.kind for p in whole.parts if p.family == "input"] == ["source", "target"]
    decoder = next(p for p in whole.parts if p.path == "decoder")
    layer = next(p for p in decoder.parts if p.path == "decoder.layers.1")
    assert [p.kind for p in layer.parts if p.family == "input"] == ["tgt", "memory"]
    assert {("tgt", "self_attn"), ("tgt", "add"), ("memory", "multihead_attn"), ("norm1", "multihead_attn")} <= paths(layer)
    assert ("memory", "self_attn") not in paths(layer)
    assert {(a, b) for a, b in paths(decoder) if a == "memory"} == {("memory", f"layers.{k}") for k in range(3)}


def test_dense_connections_are_all_there() -> None:
    found = trace(Dense(4), np.ones((1, 2, 5, 5), F32))
    assert sum(1 for e in found.edges if found.parts[e.target].kind == "concatenate" and e.target >= 0) == 1 + 2 + 3 + 4


def test_functions_go_by_the_name_they_are_called_by() -> None:
    class Functions(nn.Module):
        def forward(self, x: Any) -> Any:
            return nn.functional.selu(nn.functional.gelu(x, approximate="tanh").mean(axis=1))

    assert [p.kind for p in trace(Functions(), np.ones((1, 4, 2), F32)).parts] == ["gelu", "mean", "selu"]


def test_costs_and_shapes_are_those_of_the_summary() -> None:
    model, x = ResNet((2, 2)), np.zeros((1, 3, 32, 32), F32)
    whole, rows = trace(model, x), model.summary(x)
    assert (whole.parameters, whole.multiply_adds) == (rows.parameters, rows.multiply_adds)
    by_path = {row.path: row for row in rows.rows}
    leaves = [p for p in whole.walk() if not p.parts and not p.is_operation and p.kind != "ReLU"]
    assert len(leaves) > 20
    for p in leaves:
        row = by_path[p.path]
        assert (p.shape, p.parameters, p.multiply_adds) == (row.output_shape, row.parameters, row.multiply_adds)


def test_the_model_is_left_as_it_was() -> None:
    model, x = Translator(2).train(), (np.arange(6)[None], np.arange(4)[None])
    frozen = next(model.parameters())
    frozen.requires_grad = False
    model.encoder.eval()
    before, modes = model.state_dict(), [m.training for m in model.modules()]
    trace(model, *x)
    assert [m.training for m in model.modules()] == modes
    assert not frozen.requires_grad
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._hooks or m._pre_hooks for m in model.modules())
    after = model.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert nn.graph.Node.__name__ == "Node"


APART = {
    "mcculloch_pitts": "comparisons with thresholds decide, and no value passes them",
    "hopfield": "signs decide, and no value passes them",
    "rnn": "two layers of long loops are shown by one turn of the second, without the path from the first",
    "vae": "the codebook's vectors are chosen by their numbers",
    "gpt": "positions are constants, which come from no input",
    "attention_rnn": "the output layer reads the state before a step, so nothing reads the last one",
    **dict.fromkeys(("bert", "distilbert", "albert"), "positions are constants, which come from no input"),
    "neural_ode": "the solver's times are constants",
    "coatnet": "biases of offsets are parameters alone, which come from no input",
    "diffusion": "the sampler's times are constants",
    "snn": "a spike is a comparison, and no value passes it",
}
"""Architectures with parts that no path from an input reaches, and why."""


@pytest.mark.parametrize(
    "architecture", [pytest.param(architecture, id=architecture.name) for architecture in architectures().values()]
)
def test_every_architecture_can_be_traced(architecture: Architecture) -> None:
    faults: list[str] = []
    for case in architecture.cases:
        batch = case.batch(np.random.default_rng(0))
        inputs = [a.astype(F32) if a.dtype.kind == "f" else a for a in case.inputs(batch)]
        model = architecture.module("model").build(**case.options)
        whole = trace(model, *inputs)
        assert whole.parameters == model.count_parameters()
        if OUTPUT not in reached(whole):
            faults.append(f"{case.name}: no path from input to output")
        loose = [part.path for part in whole.walk() if part.parts and not reached(part) >= set(range(len(part.parts)))]
        faults += [f"{case.name}: {path} has loose parts" for path in loose]
    if architecture.name in APART:
        assert faults, f"{architecture.name} is connected: it is no exception"
    else:
        assert not faults
