"""Layers, losses, optimizers and schedules are what users of PyTorch expect: names, arguments, defaults, saved state."""

from __future__ import annotations

import contextlib
import inspect
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(7)


def x(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.normal(size=shape).astype("float32")


# Signatures

NOT_OURS = {
    "device": "nn.use(...) chooses the device of everything",
    "dtype": ".astype() converts a module",
    "inplace": "a result never takes the place of an input, which its gradient may need",
    "size_average": "PyTorch deprecates it: reduction= takes its place",
    "reduce": "PyTorch deprecates it: reduction= takes its place",
    "min_value": "PyTorch deprecates it: min_val takes its place",
    "max_value": "PyTorch deprecates it: max_val takes its place",
    "sparse": "gradients are dense arrays",
    "_weight": "private: from_pretrained() takes given vectors",
    "_freeze": "private: from_pretrained() freezes",
}
DIFFERENT: dict[str, str] = {
    "TransformerEncoderLayer.activation": "PyTorch's default is its function relu; ours is its name",
    "TransformerDecoderLayer.activation": "as TransformerEncoderLayer",
    "Transformer.activation": "as TransformerEncoderLayer",
    "TransformerEncoder.enable_nested_tensor": "padding is masked, never cut out",
    "TransformerEncoder.mask_check": "as enable_nested_tensor",
    "Upsample.recompute_scale_factor": "it makes PyTorch round a scale twice; sizes given as size= are exact",
}
"""Arguments that differ from PyTorch's, each with its reason; the rest of a signature does not."""


def shared(ours: Any, theirs: Any) -> list[str]:
    """The names of classes that both packages have."""
    return sorted(
        name for name in dir(theirs)
        if not name.startswith("_") and inspect.isclass(getattr(theirs, name)) and inspect.isclass(getattr(ours, name, None))
    )  # fmt: skip


def parameters(kind: Any) -> dict[str, inspect.Parameter]:
    if issubclass(kind, torch.nn.RNNBase) and kind is not torch.nn.RNNBase:  # its own signature is *args, **kwargs
        return {k: v for k, v in inspect.signature(torch.nn.RNNBase).parameters.items() if k not in ("mode", "proj_size")}
    return dict(inspect.signature(kind).parameters)


LAYERS = [name for name in shared(nn, torch.nn) if name in nn.layers.__all__ and name != "Module"]


@pytest.mark.parametrize("name", LAYERS)
def test_layers_have_pytorchs_arguments_and_defaults(name: str) -> None:
    ours, theirs = dict(inspect.signature(getattr(nn, name)).parameters), parameters(getattr(torch.nn, name))
    declared = {key.partition(".")[2] for key in DIFFERENT if key.partition(".")[0] == name} | set(NOT_OURS)
    expected = {k: p for k, p in theirs.items() if not (k in declared and k not in ours)}
    if name == "Identity":
        return  # it takes anything, as PyTorch's does
    if set(ours) == {"args", "kwargs"}:  # a class without a constructor
        ours, expected = {}, {k: p for k, p in expected.items() if k not in ("args", "kwargs")}
    if name == "RNN":
        own = {"nonlinearity": inspect.Parameter("nonlinearity", inspect.Parameter.KEYWORD_ONLY, default="tanh")}
        order = ["input_size", "hidden_size", "num_layers"]
        expected = {k: expected[k] for k in order} | own | {k: p for k, p in expected.items() if k not in order}
    added = [k for k in ours if k not in expected]
    assert set(added) <= {"generator", "reset_after"}, "ours has more"
    assert [k for k in ours if k not in added] == list(expected), "names and their order"
    for key, parameter in expected.items():
        if key not in declared and parameter.kind is not inspect.Parameter.VAR_POSITIONAL:
            assert ours[key].default == parameter.default, key


def test_every_difference_is_one() -> None:
    for key in DIFFERENT:
        name, _, argument = key.partition(".")
        ours, theirs = inspect.signature(getattr(nn, name)).parameters, parameters(getattr(torch.nn, name))
        assert argument not in ours or ours[argument].default != theirs[argument].default, key


FUSED = {"foreach", "capturable", "differentiable", "fused"}
"""PyTorch's ways to run the same rule; nn.compile compiles a step."""
NOT_OURS_IN_OPTIMIZERS = {"decoupled_weight_decay": "Adam with it is AdamW"}


@pytest.mark.parametrize("name", [n for n in shared(nn.optim, torch.optim) if n != "Optimizer"])
def test_optimizers_have_pytorchs_arguments_and_defaults(name: str) -> None:
    ours, theirs = (inspect.signature(getattr(m, name)).parameters for m in (nn.optim, torch.optim))
    left = FUSED | (set(NOT_OURS_IN_OPTIMIZERS) - set(ours))
    assert list(ours) == [k for k in theirs if k not in left]
    for key, parameter in ours.items():
        assert parameter.default == theirs[key].default, key


@pytest.mark.parametrize("name", [n for n in shared(nn.optim.lr_scheduler, torch.optim.lr_scheduler) if n != "Optimizer"])
def test_schedulers_have_pytorchs_arguments_and_defaults(name: str) -> None:
    ours, theirs = (
        {k: p.default for k, p in inspect.signature(getattr(m, name)).parameters.items()}
        for m in (nn.optim.lr_scheduler, torch.optim.lr_scheduler)
    )
    assert list(ours.items()) == list(theirs.items())


LAZY = ["LazyLinear", "LazyConv2d", "LazyConvTranspose1d", "LazyBatchNorm3d", "LazyInstanceNorm1d"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        *((name, "the size of its input") for name in LAZY),
        ("SyncBatchNorm", "devices="),
        ("CrossMapLRN2d", "LocalResponseNorm"),
    ],
)
def test_layers_that_are_not_here_say_what_to_use(name: str, says: str) -> None:
    with pytest.raises(AttributeError, match=says):
        getattr(nn, name)


def test_nothing_usual_is_missing() -> None:
    """The classes of PyTorch that are not here, by name: a new one is noticed."""
    missing = {n for n in dir(torch.nn) if inspect.isclass(getattr(torch.nn, n)) and not hasattr(nn, n)}
    assert missing == {
        "Buffer", "Container", "CrossMapLRN2d", "DataParallel", "LinearCrossEntropyLoss", "LinearCrossEntropyOptions",
        "NLLLoss2d", "RNNBase", "RNNCellBase", "SyncBatchNorm", "UninitializedBuffer", "UninitializedParameter",
    } | {n for n in missing if n.startswith("Lazy")}  # fmt: skip
    missing = {n for n in dir(torch.optim) if inspect.isclass(getattr(torch.optim, n)) and not hasattr(nn.optim, n)}
    assert missing == {"Muon", "SparseAdam"}
    theirs = {n for n in dir(torch.optim.lr_scheduler) if n.endswith(("LR", "Scheduler"))}
    assert [n for n in theirs if not hasattr(nn.optim.lr_scheduler, n)] == []


# Schedulers


def optimizers(name: str = "SGD", **how: Any) -> tuple[Any, Any]:
    """Optimizers of two groups, the second with a rate of its own."""
    made = []
    for m, parameter in ((nn, lambda: nn.Parameter(nn.ones(1))), (torch, lambda: torch.ones(1, requires_grad=True))):
        groups = [{"params": [parameter()]}, {"params": [parameter()], "lr": 0.5}]
        made.append(getattr(m.optim, name)(groups, lr=0.1, **how))
    return made[0], made[1]


MOMENTUM = {"momentum": 0.9}
SCHEDULERS: dict[str, tuple[Any, ...]] = {
    "LambdaLR": (lambda S, o: S.LambdaLR(o, lambda t: 0.95**t),),
    "LambdaLR of each": (lambda S, o: S.LambdaLR(o, [lambda t: 0.9**t, lambda t: 1 / (t + 1)]),),
    "MultiplicativeLR": (lambda S, o: S.MultiplicativeLR(o, lambda t: 1 - 0.01 * t),),
    "StepLR": (lambda S, o: S.StepLR(o, 7, 0.5),),
    "MultiStepLR": (lambda S, o: S.MultiStepLR(o, [5, 12, 30], 0.3),),
    "ExponentialLR": (lambda S, o: S.ExponentialLR(o, 0.9),),
    "ConstantLR": (lambda S, o: S.ConstantLR(o),),
    "LinearLR": (lambda S, o: S.LinearLR(o, total_iters=9),),
    "PolynomialLR": (lambda S, o: S.PolynomialLR(o, 20, 2.0),),
    "CosineAnnealingLR": (lambda S, o: S.CosineAnnealingLR(o, 12, eta_min=0.02),),
    "CosineAnnealingWarmRestarts": (lambda S, o: S.CosineAnnealingWarmRestarts(o, 5, 2, 0.01),),
    "CyclicLR": (lambda S, o: S.CyclicLR(o, 0.01, 0.2, 4), "SGD", MOMENTUM),
    "CyclicLR, halved": (lambda S, o: S.CyclicLR(o, [0.01, 0.02], [0.2, 0.5], 4, 3, "triangular2"), "SGD", MOMENTUM),
    "CyclicLR, by steps": (lambda S, o: S.CyclicLR(o, 0.01, 0.2, 4, mode="exp_range", gamma=0.97, cycle_momentum=False),),
    "CyclicLR, own": (lambda S, o: S.CyclicLR(o, 0.01, 0.2, 4, scale_fn=lambda c: 1 / c), "Adam"),
    "OneCycleLR": (lambda S, o: S.OneCycleLR(o, 0.4, 45), "Adam"),
    "OneCycleLR of epochs": (
        lambda S, o: S.OneCycleLR(o, [0.4, 0.2], epochs=9, steps_per_epoch=5, three_phase=True, anneal_strategy="linear"),
        "SGD", MOMENTUM,
    ),
    "SequentialLR": (lambda S, o: S.SequentialLR(o, [S.LinearLR(o, 0.1, 1.0, 5), S.ExponentialLR(o, 0.9)], [5]),),
    "ChainedScheduler": (lambda S, o: S.ChainedScheduler([S.ConstantLR(o, 0.1, 4), S.ExponentialLR(o, 0.9)]),),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:The epoch parameter", "ignore:Detected call of")
@pytest.mark.parametrize("make, how", [(row[0], row[1:]) for row in SCHEDULERS.values()], ids=SCHEDULERS)
def test_schedulers_equal_pytorchs(make: Any, how: tuple[Any, ...]) -> None:
    """Rates and momentums of both groups over 40 steps, with ours saved and made again half way."""
    name, options = (*how, *("SGD", {})[len(how) :])
    ours, theirs = optimizers(name, **options)
    scheduler, reference = make(nn.optim.lr_scheduler, ours), make(torch.optim.lr_scheduler, theirs)
    for step in range(40):
        for got, expected in zip(ours.param_groups, theirs.param_groups):
            for key in ("lr", "momentum", "betas"):
                if key in got:
                    np.testing.assert_allclose(got[key], expected[key], rtol=1e-9, atol=1e-12, err_msg=f"{key} at {step}")
        assert scheduler.get_last_lr() == [group["lr"] for group in ours.param_groups]
        if step == 20:
            saved = scheduler.state_dict()
            scheduler = make(nn.optim.lr_scheduler, ours)
            scheduler.load_state_dict(saved)
        theirs.step()
        scheduler.step()
        reference.step()


PLATEAUS: list[dict[str, Any]] = [{"patience": 2}, {"mode": "max", "patience": 0, "factor": 0.5, "min_lr": [0.02, 0.3]}]


@pytest.mark.parametrize("how", PLATEAUS, ids=str)
def test_reduce_on_plateau_equals_pytorchs(how: dict[str, Any]) -> None:
    ours, theirs = optimizers()
    scheduler = nn.optim.lr_scheduler.ReduceLROnPlateau(ours, **how)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **how)
    for metric in RNG.uniform(0.5, 1, 30):
        scheduler.step(nn.tensor(metric))
        reference.step(metric)
        np.testing.assert_allclose(scheduler.get_last_lr(), [g["lr"] for g in theirs.param_groups], rtol=1e-12)
    assert scheduler.get_last_lr()[0] < 0.1


@pytest.mark.any_kernels  # plans need the fast ones
@pytest.mark.filterwarnings("ignore:This function runs as it is")
@pytest.mark.parametrize("cycle_momentum", [False, True])
def test_a_compiled_step_follows_its_scheduler(cycle_momentum: bool) -> None:
    """Rates that a schedule sets are inputs of the next compiled step; with another momentum at each step, it runs eagerly."""

    def trained(compiled: bool) -> list[float]:
        p = nn.Parameter(nn.ones(3))
        optimizer = nn.optim.SGD([p], lr=0.1, momentum=0.9)
        scheduler = nn.optim.lr_scheduler.OneCycleLR(optimizer, 0.3, 12, cycle_momentum=cycle_momentum)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = nn.sum(nn.square(p * x - 1))
            loss.backward()
            optimizer.step()
            return loss

        run, losses = nn.compile(step) if compiled else step, []
        for _ in range(10):
            losses.append(float(run(nn.tensor([1.0, 2.0, 0.5]))))
            scheduler.step()
        assert not compiled or (run.reason is None) is not cycle_momentum
        return losses

    np.testing.assert_allclose(trained(True), trained(False), rtol=1e-5)


def test_wrong_schedulers_are_told() -> None:
    S, (plain, _) = nn.optim.lr_scheduler, optimizers()
    for wrong, words in (
        (lambda: S.StepLR(nn.Linear(2, 2), 3), "needs an optimizer. Received Linear"),
        (lambda: S.LambdaLR(plain, [lambda t: 1.0]), "one for each group. Received 1"),
        (lambda: S.StepLR(plain, 0), "step_size"),
        (lambda: S.OneCycleLR(plain, 0.1), "total_steps"),
        (lambda: S.CyclicLR(nn.optim.Adagrad([nn.Parameter(nn.ones(1))]), 0.1, 0.2), "cycle_momentum=False"),
        (lambda: S.CyclicLR(plain, 0.1, 0.2, mode="square"), "'square'"),
        (lambda: S.CosineAnnealingWarmRestarts(plain, 0), "at least 1. Received 0"),
        (lambda: S.SequentialLR(plain, [S.StepLR(plain, 2)], [3]), "milestone"),
        (lambda: S.StepLR(plain, 2).load_state_dict({}), "state of StepLR"),
    ):
        with pytest.raises(nn.UserError, match=words):
            wrong()
    scheduler = S.OneCycleLR(plain, 0.1, 2, cycle_momentum=False)
    scheduler.step()
    scheduler.step()
    with pytest.raises(nn.UserError, match="has 2 steps"):
        scheduler.step()


# Saved state


def torch_state(layer: Any) -> dict[str, Any]:
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    return layer.state_dict()


EXCHANGED = {
    "batch norm": lambda m: m.Sequential(m.Conv2d(2, 3, 3), m.BatchNorm2d(3), m.ReLU()),
    "batch norm, no running moments": lambda m: m.BatchNorm1d(3, track_running_stats=False),
    "all batches": lambda m: m.BatchNorm1d(3, momentum=None),
    "list": lambda m: m.ModuleList([m.Linear(2, 3), m.Sequential(m.Linear(3, 2))]),
    "dict": lambda m: m.ModuleDict({"encoder": m.Linear(2, 3), "decoder": m.LSTM(3, 2)}),
    "bag": lambda m: m.EmbeddingBag(5, 3),
    "attention": lambda m: m.MultiheadAttention(4, 2, kdim=3, vdim=5, add_bias_kv=True),
    "transformer": lambda m: m.Transformer(8, 2, 2, 1, 12, dropout=0.0),
}


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("make", EXCHANGED.values(), ids=EXCHANGED)
def test_states_go_both_ways(make: Any) -> None:
    torch.manual_seed(1)
    ours, theirs = make(nn), make(torch.nn)
    state = torch_state(theirs)
    assert ours.load_state_dict(state) == ([], [])  # of PyTorch's tensors
    saved = ours.state_dict()
    assert [k for k in state if k not in saved] == [k for k in state if k.endswith("num_batches_tracked") and k not in saved]
    for name, value in saved.items():
        np.testing.assert_array_equal(value, state[name].numpy())
    again = make(torch.nn)
    again.load_state_dict({k: torch.tensor(v) for k, v in saved.items()})  # strict
    for name, value in saved.items():
        np.testing.assert_array_equal(value, again.state_dict()[name].numpy())


def test_a_count_of_batches_elsewhere_is_unexpected() -> None:
    with pytest.raises(nn.UserError, match="unexpected: num_batches_tracked"):
        nn.Linear(2, 2).load_state_dict({**nn.Linear(2, 2).state_dict(), "num_batches_tracked": np.array(3)})
    missing = nn.Linear(2, 2).load_state_dict({"weight": np.ones((2, 2)), "else": np.ones(1)}, strict=False)
    assert missing.missing_keys == ["bias"]
    assert missing.unexpected_keys == ["else"]


def load(weight: Any) -> Any:
    return nn.Linear(1, 1).load_state_dict({"weight": weight, "bias": np.ones(1)})


@pytest.mark.parametrize("call, words", [
    (lambda: nn.functional.softshrink(x(2), -0.5), "lambd >= 0. Received -0.5"),
    (lambda: nn.Softshrink(-0.5), "at least 0. Received -0.5"),
    (lambda: nn.functional.hardtanh(x(2), 1, -1), "Received 1 and -1"),
    (lambda: nn.Hardtanh(1, -1), "Received 1 and -1"),
    (lambda: nn.Softmax(), "needs the axis"),
    (lambda: load(np.ones((1, 1)) * 1j), "weight holds complex128, expected float32"),
    (lambda: load(np.full((1, 1), 1e300)), "beyond 3.4e.38"),
    (lambda: load(np.ones((1, 1), bool)), "weight holds bool"),
    (lambda: load(torch.ones(1, 1, dtype=torch.complex64)), "weight holds complex64"),
    (lambda: load("text"), "weight is "),
    (lambda: nn.Linear(1, 1).load_state_dict([1.0]), "dictionary of arrays by name. Received list"),
])  # fmt: skip
def test_values_that_mean_nothing_are_refused(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(nn.UserError, match=words):
        call()


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_transformer_equals_pytorchs() -> None:
    ours, theirs = (m.Transformer(8, 2, 2, 1, 12, dropout=0.0, norm_first=True) for m in (nn, torch.nn))
    ours.load_state_dict(torch_state(theirs))
    src, tgt = x(5, 3, 8), x(4, 3, 8)
    mask = nn.Transformer.generate_square_subsequent_mask(4)
    np.testing.assert_array_equal(mask.numpy(), torch.nn.Transformer.generate_square_subsequent_mask(4).numpy())
    got = ours(src, tgt, tgt_mask=mask)
    expected = theirs(torch.tensor(src), torch.tensor(tgt), tgt_mask=torch.tensor(np.array(mask)))
    np.testing.assert_allclose(got.numpy(), expected.detach().numpy(), rtol=1e-4, atol=1e-5)
    found = nn.Transformer(64, 2, 1, 1, 64, generator=nn.Generator(0)).encoder.layers[0].linear1.weight.numpy()
    assert abs(found).max() <= np.sqrt(6 / 128)  # Glorot's law
    assert abs(found).max() > 1 / 8  # the law of nn.Linear


# Containers


def test_lists_and_sequences_are_changed_as_lists_are() -> None:
    blocks = nn.ModuleList([nn.Linear(2, 3)]).append(nn.ReLU()).extend([nn.Linear(3, 4)])
    blocks.insert(1, nn.Tanh())
    assert [type(b).__name__ for b in blocks] == ["Linear", "Tanh", "ReLU", "Linear"]
    assert [name for name, _ in blocks.named_parameters()] == ["0.weight", "0.bias", "3.weight", "3.bias"]
    del blocks[1]
    blocks[-1] = nn.Linear(3, 5)
    assert len(blocks) == 3
    assert blocks[2].weight.shape == (5, 3)
    assert [type(b).__name__ for b in blocks[1:]] == ["ReLU", "Linear"]
    named = nn.Sequential({"first": nn.Linear(2, 3), "act": nn.ReLU()}).append(nn.Linear(3, 1))
    assert [name for name, _ in named.named_children()] == ["first", "act", "2"]
    assert named(x(4, 2)).shape == (4, 1)
    assert named[:2](x(4, 2)).shape == (4, 3)
    assert named.get_submodule("first") is named.first is named[0]
    with pytest.raises(NotImplementedError, match="ModuleList"):
        blocks(x(1, 2))
    for wrong, words in ((lambda: nn.ModuleList([3]), "takes modules"), (lambda: nn.ModuleDict({"keys": nn.ReLU()}), "'keys'"),
                         (lambda: nn.ModuleDict({"a.b": nn.ReLU()}), "'a.b'"), (lambda: nn.ParameterList([1.5]), "float"),
                         (lambda: nn.Sequential(3), "takes modules or functions")):  # fmt: skip
        with pytest.raises(nn.UserError, match=words):
            wrong()
    with pytest.raises(IndexError, match="3 members"):
        blocks[3]


def test_dictionaries_of_modules_and_parameters() -> None:
    parts = nn.ModuleDict({"a": nn.Linear(2, 3)})
    parts["b"] = nn.ReLU()
    assert list(parts) == list(parts.keys()) == ["a", "b"]
    assert "a" in parts
    assert parts.pop("a").weight.shape == (3, 2)
    assert [type(m).__name__ for m in parts.values()] == ["ReLU"]
    weights = nn.ParameterDict({"left": nn.zeros(2), "right": nn.Parameter(nn.ones(3))})
    scales = nn.ParameterList([np.ones(2, "float32"), nn.Parameter(nn.zeros(1))])
    assert [n for n, _ in weights.named_parameters()] == ["left", "right"]
    assert [n for n, _ in scales.named_parameters()] == ["0", "1"]
    (weights["left"].sum() + scales[0].sum()).backward()
    assert weights.left.grad is not None


def test_modules_answer_to_pytorchs_names() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module("layer", nn.Linear(2, 2))
            self.register_buffer("mean", nn.zeros(2))
            self.register_parameter("scale", nn.Parameter(nn.ones(2)))
            self.register_parameter("shift", None)

    net = Net()
    assert list(net.state_dict()) == ["mean", "scale", "layer.weight", "layer.bias"]
    assert [type(m).__name__ for m in net.children()] == ["Linear"]
    assert [b.shape for b in net.buffers()] == [(2,)]
    assert net.get_parameter("layer.bias") is net.layer.bias
    with pytest.raises(nn.UserError, match="Did you mean 'layer'"):
        net.get_submodule("layers")
    net.layer(x(1, 2)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert net.layer.bias.grad.tolist() == [0, 0]
    optimizer = nn.optim.SGD(net.parameters())
    optimizer.zero_grad(set_to_none=False)
    assert net.layer.bias.grad.tolist() == [0, 0]
    optimizer.zero_grad()
    assert net.layer.bias.grad is None


def test_handles_remove_their_hooks() -> None:
    layer, seen = nn.Linear(2, 2), []
    handle = layer.register_forward_hook(lambda *_: seen.append(1))
    layer(x(1, 2))
    handle.remove()
    handle.remove()
    with layer.register_forward_pre_hook(lambda *_: seen.append(2)):
        layer(x(1, 2))
    layer(x(1, 2))
    leaf = nn.ones(2, requires_grad=True)
    leaf.register_hook(lambda g: g * 3).remove()
    leaf.sum().backward()
    assert seen == [1, 2]
    assert leaf.grad.tolist() == [1, 1]


# Layers with several inputs


@pytest.mark.parametrize("axes, how", [(1, {}), (2, {"stride": 2}), (2, {"stride": 2, "padding": 1}), (3, {})], ids=str)
@pytest.mark.parametrize("batch", [True, False])
def test_unpooling_equals_pytorchs(axes: int, how: dict[str, int], batch: bool) -> None:
    shape = (2, 3, *(7, 6, 5)[:axes])[not batch :]
    data, size = x(*shape), 3 if "stride" in how else 2
    pools = [getattr(m, f"MaxPool{axes}d")(size, return_indices=True, **how) for m in (nn, torch.nn)]
    unpools = [getattr(m, f"MaxUnpool{axes}d")(size, **how) for m in (nn, torch.nn)]
    ours, theirs = nn.tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
    got = unpools[0](*pools[0](ours), shape[-axes:])
    expected = unpools[1](*pools[1](theirs), output_size=list(shape[-axes:]))
    np.testing.assert_array_equal(got.numpy(), expected.detach().numpy())
    if how.get("stride") != 2:  # without overlaps the gradient is unique
        got.square().sum().backward()
        expected.square().sum().backward()
        np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-6)


def test_unpooling_without_a_size_is_of_whole_windows() -> None:
    found = [m.MaxUnpool1d(2)(*m.MaxPool1d(2, return_indices=True)(t(RISING))) for m, t in
             ((nn, nn.tensor), (torch.nn, torch.tensor))]  # fmt: skip
    np.testing.assert_array_equal(found[0].numpy(), found[1].numpy())
    with pytest.raises(nn.UserError, match="below 6"):
        nn.MaxUnpool1d(2)(nn.ones(1, 1, 3), nn.tensor([[[0, 2, 6]]]))
    with pytest.raises(nn.UserError, match="return_indices"):
        nn.MaxUnpool1d(2)(nn.ones(1, 1, 3), nn.ones(1, 1, 3))


RISING = np.arange(6.0, dtype="float32").reshape(1, 1, 6)


@pytest.mark.parametrize("wanted", [(9, 8), (10, 9), (9, 9)])
def test_transposed_convolutions_take_an_output_size(wanted: tuple[int, int]) -> None:
    ours, theirs = (m.ConvTranspose2d(2, 3, 3, stride=2, padding=1) for m in (nn, torch.nn))
    ours.load_state_dict(theirs.state_dict())
    data = x(1, 2, 5, 5)
    if wanted == (9, 8):
        with pytest.raises(nn.UserError, match=r"from \[9, 9\] to \[10, 10\]"):
            ours(data, wanted)
        return
    expected = theirs(torch.tensor(data), output_size=wanted).detach().numpy()
    np.testing.assert_allclose(ours(data, wanted).numpy(), expected, rtol=1e-4, atol=1e-6)


T, N, C = 12, 4, 6
LENGTHS = np.array([12, 9, 12, 5])
TARGETS = np.array([[1, 2, 2, 5, 3], [3, 3, 1, 0, 0], [4, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
COUNTS = np.array([5, 3, 0, 2])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("form", ["padded", "in a row", "one", "blank last", "impossible"])
def test_ctc_equals_pytorchs(form: str, reduction: str) -> None:
    """Losses, and gradients of scores before a log_softmax."""
    scores, targets, lengths, counts, how = RNG.normal(size=(T, N, C)), TARGETS, LENGTHS, COUNTS, {}
    if form == "in a row":
        targets = np.concatenate([row[:n] for row, n in zip(TARGETS, COUNTS)])
    if form == "one":
        scores, targets, lengths, counts = scores[:, 0], TARGETS[0], LENGTHS[0], COUNTS[0]
    if form == "blank last":
        how = {"blank": C - 1}
        targets = TARGETS % (C - 1)
    if form == "impossible":
        counts, how = np.array([5, 3, 0, 5]), {"zero_infinity": True}  # five times a class needs nine steps, and has five
    ours, theirs = nn.tensor(scores, requires_grad=True), torch.tensor(scores, requires_grad=True)
    got = nn.CTCLoss(reduction=reduction, **how)(nn.log_softmax(ours, axis=-1), targets, lengths, counts)
    twins = [torch.tensor(a) for a in (targets, lengths, counts)]
    expected = torch.nn.CTCLoss(reduction=reduction, **how)(torch.log_softmax(theirs, -1), *twins)
    np.testing.assert_allclose(got.data, expected.detach().numpy(), rtol=1e-10)
    got.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-8, atol=1e-12)


def test_ctc_of_what_cannot_be_is_infinite_and_wrong_input_is_told() -> None:
    p = nn.log_softmax(nn.tensor(x(2, 1, C)), axis=-1)
    assert float(nn.CTCLoss()(p, np.array([[1, 1]]), [2], [2])) == np.inf
    for targets, lengths, counts, words in (
        ([[1, 0]], [2], [2], "no blanks 0"), ([[1, 9]], [2], [2], "6 classes"),
        ([[1, 2]], [3], [2], "input_lengths from 0 to 2"),
        ([[1, 2]], [2], [3], "target_lengths from 0 to 2"), ([[1], [2]], [2], [1], "each of the 1 sequences"),
    ):  # fmt: skip
        with pytest.raises(nn.UserError, match=words):
            nn.CTCLoss()(p, np.array(targets), lengths, counts)


def leaves(value: Any) -> list[Any]:
    return [y for part in value for y in leaves(part)] if isinstance(value, tuple) else [value]


ON_JAX = {
    "pixels": (lambda: nn.Sequential(nn.ReflectionPad2d((1, 2, 0, 1)), nn.PixelShuffle(2)), [x(2, 8, 3, 4)]),
    "patches": (lambda: nn.Sequential(nn.Unfold(2, stride=2), nn.Fold((4, 6), 2, stride=2)), [x(2, 3, 4, 6)]),
    "bag": (lambda: nn.EmbeddingBag(7, 3, mode="max"), [np.array([1, 2, 2, 6]), np.array([0, 1, 1])]),
    "maxima": (lambda: nn.MaxPool2d(2, return_indices=True), [x(2, 3, 4, 6)]),
    "adaptive maxima": (lambda: nn.AdaptiveMaxPool2d(3, return_indices=True), [x(2, 3, 4, 5)]),
    "transformer": (lambda: nn.Transformer(8, 2, 1, 1, 12, dropout=0.0), [x(4, 3, 8), x(5, 3, 8)]),
    "attention": (lambda: nn.MultiheadAttention(8, 2, add_bias_kv=True, add_zero_attn=True), [x(4, 3, 8)] * 3),
    "ctc": (lambda: nn.CTCLoss(), [np.log(RNG.dirichlet(np.ones(C), (T, N))).astype("float32"), TARGETS, LENGTHS, COUNTS]),
    "lstm of one": (lambda: nn.LSTM(3, 4, 2, bidirectional=True), [x(5, 3)]),
    "normal": (lambda: nn.GaussianNLLLoss(), [x(3, 4), x(3, 4), np.abs(x(3, 1))]),
    "labels": (lambda: nn.MultiLabelMarginLoss(), [x(2, 4), np.array([[1, 2, -1, 0], [0, -1, 1, 1]])]),
}


@pytest.mark.any_kernels
@pytest.mark.parametrize("make, inputs", ON_JAX.values(), ids=ON_JAX)
def test_layers_on_jax_equal_those_on_numpy(make: Any, inputs: list[Any]) -> None:
    pytest.importorskip("jax")

    def run() -> list[Any]:
        nn.seed(0)
        layer = make()
        given = [nn.tensor(a, requires_grad=a.dtype.kind == "f") for a in inputs]
        found = layer(*given)
        parts = leaves(found)
        nn.sum(nn.square(parts[0])).backward()
        grads = [a.grad for a in (*given, *layer.parameters()) if a.requires_grad]
        return [np.array(t.data) for t in (*parts, *grads) if t is not None]

    expected = run()
    with nn.backend("jax"):
        for got, value in zip(run(), expected, strict=True):
            np.testing.assert_allclose(got, value, rtol=2e-4, atol=2e-5)


# Names that are not here

ANSWERS: list[tuple[Callable[[], Any], str]] = [
    (lambda: nn.Linear(2, 2).cuda(), "model.to_backend()"),
    (lambda: nn.Linear(2, 2).to("cuda"), "nn.use('jax', device='gpu')"),
    (lambda: nn.Linear(2, 2).double(), ".astype('float64')"),
    (lambda: nn.LSTM(2, 2).half(), ".astype('float16')"),
    (lambda: nn.Linear(2, 2).register_full_backward_hook(print), "register_hook()"),
    (lambda: nn.Linear(2, 2).weights, "Linear has no 'weights'"),
    (lambda: nn.ReLU(inplace=True), "never takes the place of an input"),
    (lambda: nn.ReLU(True), "ReLU takes no arguments. Received True. Leave it out"),
    (lambda: nn.Dropout(0.5, inplace=True), "Dropout has no argument 'inplace'"),
    (lambda: nn.Linear(2, 2, device="cuda"), "nn.use('jax', device='gpu')"),
    (lambda: nn.Conv2d(2, 2, 3, dtype="float64"), ".astype('float64')"),
    (lambda: nn.Embedding(2, 2, sparse=True), "gradients are dense"),
    (lambda: nn.MSELoss(size_average=False), "reduction='mean' or 'sum'"),
    (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2), 1, enable_nested_tensor=False), "padding is masked"),
    (lambda: nn.LSTM(2, 4, proj_size=2), "add a Linear"),
    (lambda: nn.optim.Adam([nn.Parameter(nn.ones(1))], fused=True), "nn.compile()"),
    (lambda: nn.optim.Adamm, "Did you mean 'Adam'"),
    (lambda: nn.functional.log_softmaxx, "Did you mean 'log_softmax'"),
    (lambda: nn.utils.clip_grad_norm_, "nn.optim.clip_grad_norm()"),
    (lambda: nn.utils.data.DataLoader, "x[index]"),
    (lambda: nn.nn.Linear, "The layers are here"),
    (lambda: nn.autograd.Function, "@primitive"),
]


@pytest.mark.parametrize("call, words", ANSWERS, ids=[words for _, words in ANSWERS])
def test_foreign_names_say_what_to_use(call: Callable[[], Any], words: str) -> None:
    with pytest.raises((AttributeError, TypeError)) as raised:
        call()
    assert words in str(raised.value)
    assert str(raised.value).endswith((".", "?"))


def test_what_is_not_there_is_still_not_there() -> None:
    layer = nn.Linear(2, 2)
    assert not hasattr(layer, "cuda")
    assert getattr(layer, "cuda", None) is None
    assert nn.Identity(3, inplace=True)(1) == 1


@pytest.mark.parametrize("name, args", [
    ("normalize", {"dim": 0}), ("cosine_similarity", {"dim": 0}), ("glu", {"dim": 0}), ("softmin", {"dim": 0}),
    ("pairwise_distance", {"keepdim": True}), ("log_softmax", {"dim": 1}), ("softmax", {"dim": 0}),
], ids=str)  # fmt: skip
def test_functions_take_dim_and_keepdim(name: str, args: dict[str, Any]) -> None:
    data = [x(4, 6)] * (2 if name in ("cosine_similarity", "pairwise_distance") else 1)
    got = getattr(nn.functional, name)(*map(nn.tensor, data), **args)
    expected = getattr(torch.nn.functional, name)(*map(torch.tensor, data), **args)
    np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)


SPACE = {1: (2, 3, 9), 2: (2, 3, 8, 9), 3: (2, 3, 6, 7, 8)}


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("batch", [True, False])
def test_functions_of_images_are_pytorchs(n: int, batch: bool) -> None:
    data, w, v = x(*SPACE[n])[slice(None) if batch else 0], x(4, 3, *(3,) * n), x(3, 4, *(3,) * n)
    for name, args, how in (
        (f"conv{n}d", (w, x(4), 2, 1), {}), (f"conv_transpose{n}d", (v, None, 2, 1, 1), {}), (f"max_pool{n}d", (2,), {}),
        (f"max_pool{n}d", (3, 2, 1), {"ceil_mode": True}), (f"avg_pool{n}d", (3, 2, 1), {"count_include_pad": False}),
        (f"adaptive_avg_pool{n}d", (2,), {}), (f"adaptive_max_pool{n}d", (3,), {}),
    ):  # fmt: skip
        got, expected = (
            getattr(m, name)(t(data), *[t(a) if isinstance(a, np.ndarray) else a for a in args], **how)
            for m, t in ((nn.functional, nn.tensor), (torch.nn.functional, torch.tensor))
        )
        np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5, err_msg=name)


# The page on ports

PAGE = (Path(__file__).parents[2] / "docs" / "from-pytorch.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```\n+```output\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


TITLES = ["Names", *re.findall(r"^## (?!What differs)(.*)$", PAGE, re.MULTILINE)]


@pytest.mark.parametrize("code, wanted", PROGRAMS, ids=TITLES)
def test_programs_in_pytorchs_style_run(code: str, wanted: str) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {"__name__": "page"})
    assert printed.getvalue() == wanted


def test_every_block_of_the_page_runs() -> None:
    assert len(PROGRAMS) == PAGE.count("```python") == 6
