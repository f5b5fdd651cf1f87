"""Names and meanings of PyTorch and NumPy: taken as they mean them, or refused with what to use in their place."""

from __future__ import annotations

import builtins
import contextlib
import io
import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nnatomy as nn
from nnatomy import foreign
from nnatomy.errors import UserError

A = np.array([[1.5, -2.0, 3.0], [0.5, 4.0, -1.0]])
WIDE = np.arange(24.0).reshape(2, 3, 4) / 7
SQUARE = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]])
INDEX = np.array([[0, 2], [1, 0]])


def value(y: Any) -> Any:
    """Arrays and numbers as nested tuples of NumPy's."""
    if isinstance(y, tuple | list):
        return tuple(value(part) for part in y)
    return y.detach().numpy() if isinstance(y, torch.Tensor) else y.numpy() if isinstance(y, nn.Tensor) else y


def same(ours: Any, theirs: Any) -> None:
    ours, theirs = value(ours), value(theirs)
    assert isinstance(ours, tuple) == isinstance(theirs, tuple)
    for a, b in zip(ours, theirs, strict=True) if isinstance(ours, tuple) else [(ours, theirs)]:
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=1e-12)


# One expression, evaluated with our Tensors and with PyTorch's: `x` is A, `w` is WIDE, `s` is SQUARE, `i` is INDEX

AS_IN_PYTORCH = """
    x.transpose(0, 1) | x.transpose(1, 0) | w.transpose(0, 2) | w.transpose(-1, 1) | m.transpose(x, 0, 1) | w.permute(2, 0, 1)
    x.permute(0, 1) | m.permute(w, (1, 0, 2)) | w.movedim(0, 2) | w.swapdims(0, 1) | x.t() | w.mT
    x.view(3, 2) | x.view(-1) | x.view((3, 2)) | x.reshape(3, 2) | x.ravel() | w.flatten(1) | w.flatten(start_dim=1)
    x.expand(2, 2, 3) | x[:, :1].expand(-1, 4) | x[:1].expand_as(x) | x.view_as(w[:, 0, :3]) | x.unsqueeze(0) | w.unbind(1)
    x.size(0) | x.size() | x.size(-1) | x.numel() | x.nelement() | x.dim() | x.ndimension() | len(x)
    x.sum(dim=1) | x.sum(1, keepdim=True) | x.mean(dim=(0, 1)) | x.prod(dim=0) | x.softmax(dim=0) | x.cumsum(dim=1)
    x.max() | x.max(dim=1) | m.max(x, dim=0, keepdim=True) | x.min(dim=0) | m.max(x, -x) | x.amax(1)
    x.amin(dim=0, keepdim=True)
    x.median() | x.median(dim=1) | x.median(dim=0, keepdim=True) | x.argmax() | x.argmax(dim=1) | x.argmin(dim=0, keepdim=True)
    x.var() | x.var(0) | x.var(dim=1, unbiased=False) | x.std(dim=1, keepdim=True) | x.std(unbiased=False) | x.logsumexp(dim=1)
    x.norm() | x.norm(1) | x.norm(2, 1) | x.norm(p=1, dim=0) | x.norm(dim=1, keepdim=True) | m.norm(x, 3, dim=1)
    x.sort(dim=0) | x.sort(1, descending=True) | x.argsort(dim=1) | x.topk(2, dim=1) | m.topk(x, 1, dim=0, largest=False)
    x.clamp(0, 1) | x.clamp(min=0) | x.clamp(max=1) | m.clamp(x, min=-1, max=1) | x.clip(0.0) | x.abs() | x.absolute() | x.neg()
    x.add(x) | x.sub(2 * x) | x.mul(x) | x.div(x) | x.pow(2) | x.eq(x) | x.ne(x) | x.lt(0) | x.le(0) | x.gt(0) | x.ge(0)
    x.fmod(1.3) | x.trunc() | x.fix() | x.exp2() | x.abs().log10() | x.abs().log1p() | x.round(decimals=1)
    x.gather(1, i) | m.gather(x, 1, i) | m.gather(x, dim=1, index=i) | x.index_select(1, i[0]) | x.take(i)
    x.take_along_dim(i, 1)
    x.scatter(1, i, x[:, :2]) | x.scatter_add(1, i, x[:, :2]) | m.scatter(x, 1, i, x[:, 1:]) | x.masked_fill(x > 0, 0.0)
    x.nonzero(as_tuple=True) | x.nonzero(as_tuple=False) | x.argwhere() | m.where(x > 0) | m.where(x > 0, x, -x)
    x.count_nonzero()
    m.cat([x, x], dim=1) | m.concat([x, x]) | m.stack([x, x], dim=-1) | m.split(x, 2, dim=1) | x.split([1, 2], dim=1)
    x.chunk(2, dim=1) | m.flip(x, [0, 1]) | x.flip(0, 1) | x.flip(dims=[1]) | x.roll(1) | x.roll(1, dims=0)
    x.roll((1, 1), (0, 1))
    x.repeat(2, 1) | x.repeat(2, 1, 2) | x.tile(2) | m.tile(x, (2, 1)) | x.repeat_interleave(2) | x.repeat_interleave(2, dim=0)
    x.diagonal() | w.diagonal() | w.diagonal(1, 0, 2) | w.diagonal(dim1=1, dim2=2) | m.diag(x) | x.tril(diagonal=1) | x.triu(-1)
    s.inverse() | s.det() | m.linalg.inv(s) | m.linalg.slogdet(s) | m.linalg.solve(s, x[0]) | m.linalg.cholesky(s) | m.trace(s)
    m.linalg.norm(x, dim=1) | m.linalg.vector_norm(x, 1, dim=0, keepdim=True) | m.linalg.matrix_norm(w, "nuc", dim=(0, 2))
    m.linalg.eigvalsh(s) | m.linalg.svdvals(x) | m.linalg.pinv(x) | m.linalg.matrix_rank(x) | m.linalg.matrix_power(s, 3)
    m.mm(x, x.t()) | m.bmm(w, w.transpose(1, 2)) | x.matmul(x[0]) | m.mv(x, x[0]) | x[0].dot(x[1]) | m.outer(x[0], x[1])
    m.cross(x, x.flip(0), dim=1) | m.kron(x, s) | m.diff(x, dim=0) | m.quantile(x, 0.3, dim=1) | m.rot90(x)
    m.isclose(x, x + 1e-9)
    m.allclose(x, x) | m.unique(i) | m.unique(i, return_counts=True) | m.bincount(i[0], minlength=5) | m.linspace(0, 1, steps=3)
    m.arange(1, end=4) | m.zeros((2, 3)) | m.ones((2,)) | m.full((2, 2), fill_value=3.0) | m.full_like(x, fill_value=2.0)
    m.meshgrid(x[0], x[1], indexing="ij") | x.contiguous() | x.clone()
    m.std(x, dim=0, correction=0) | m.var(x, 1, correction=0) | m.squeeze(x[:1], dim=0) | m.amax(w, dim=(0, 2))
    m.einsum("ij->j", x)
    m.tensordot(w, w, dims=3) | m.logaddexp(x, x) | m.floor_divide(x, 2) | m.remainder(x, 2) | x % 2 | x // 2 | m.sign(x)
    x @ x.T
"""
CALLS = [call for call in re.split(r"\s*\|\s*|\n\s*", AS_IN_PYTORCH.strip()) if call]


def evaluated(call: str, library: Any, arrays: dict[str, Any]) -> Any:
    code = compile(call, "call", "eval")
    return types.FunctionType(code, {"__builtins__": builtins, "m": library, **arrays})()


@pytest.mark.parametrize("call", CALLS)
def test_means_what_it_means_in_pytorch(call: str) -> None:
    arrays = {"x": A, "w": WIDE, "s": SQUARE, "i": INDEX}
    ours = evaluated(call, nn, {name: nn.tensor(a) for name, a in arrays.items()})
    theirs = evaluated(call, torch, {name: torch.tensor(a) for name, a in arrays.items()})
    same(ours, theirs)


CONVERTED = {"float": "float32", "double": "float64", "half": "float16", "int": "int32", "long": "int64", "bool": "bool",
             "short": "int16", "byte": "uint8", "char": "int8"}  # fmt: skip


@pytest.mark.parametrize("name", CONVERTED)
def test_conversions(name: str) -> None:
    found = getattr(nn.tensor([0.0, 2.0]), name)()
    assert found.dtype == CONVERTED[name] == str(getattr(torch.tensor([0.0]), name)().dtype).removeprefix("torch.")
    assert found.tolist() == [0, 2 if name != "bool" else True]


def test_values_and_positions_have_names_and_gradients() -> None:
    x, y = nn.tensor(A, requires_grad=True), torch.tensor(A, requires_grad=True)
    for name in ("max", "min", "median"):
        ours, theirs = getattr(x, name)(dim=1), getattr(y, name)(dim=1)
        same(ours.indices, theirs.indices)
        same(nn.grad(ours.values.sum(), x), torch.autograd.grad(theirs.values.sum(), y)[0])
    assert x.sort().values.shape == (2, 3)
    assert x.topk(2).indices.shape == (2, 2)


def test_in_place_as_in_pytorch() -> None:
    p = nn.Parameter(nn.tensor([1.0, 2.0, -3.0]))
    with nn.no_grad():
        assert p.add_(1.0) is p
        p.mul_(2.0).clamp_(min=0.0)
    assert p.tolist() == [4.0, 6.0, 0.0]
    with pytest.raises(RuntimeError, match=r"nn\.no_grad"):
        p.sub_(1.0)


def test_the_number_of_elements_is_a_number_too() -> None:
    x = nn.zeros(2, 3)
    assert x.size == 6
    assert x.size * 2 == 12
    assert np.zeros(x.size).shape == (6,)
    assert f"{x.size}" == "6"


# Refused: the call, and what its one sentence names

X = nn.tensor(A)
T = AttributeError
REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "max of an axis": (lambda: X.max(0), UserError, "max(axis=0) for the values, or max(dim=0)"),
    "torch.max of an axis": (lambda: nn.max(X, 1), UserError, "max(dim=1)"),
    "min of an axis": (lambda: X.min(-1), UserError, "min(axis=-1)"),
    "median of an axis": (lambda: X.median(1), UserError, "median(dim=1)"),
    "nonzero": (lambda: X.nonzero(), UserError, "as_tuple=True"),
    "meshgrid": (lambda: nn.meshgrid(X[0], X[1]), UserError, 'indexing="xy"'),
    "repeat along an axis": (lambda: nn.repeat(X, 2, axis=1), TypeError, "repeat"),
    "numpy.repeat": (lambda: nn.repeat(X, 2), UserError, "each axis"),
    "dot of matrices": (lambda: nn.dot(X, X), UserError, "matmul"),
    "embedding turned round": (lambda: nn.embedding(nn.tensor([0, 1]), X), UserError, "weights first"),
    "flat pad": (lambda: nn.pad(X, (1, 2)), UserError, "(before, after)"),
    "one pad": (lambda: nn.pad(X, 1), UserError, "(before, after)"),  # type: ignore[arg-type]
    "permute of few": (lambda: X.permute(0), UserError, "Name them all"),
    "a keyword": (lambda: X.sum(axes=0), TypeError, "Did you mean axis=?"),
    "out": (lambda: nn.exp(X, out=X), TypeError, "copy_(result)"),
    "alpha": (lambda: nn.add(X, X, alpha=2), TypeError, "Multiply"),
    "device": (lambda: nn.zeros(2, device="cuda"), TypeError, "nn.use('jax', device='gpu')"),  # type: ignore[call-arg]
    "device of random numbers": (lambda: nn.randn(2, device="cuda"), TypeError, "nn.use("),  # type: ignore[call-arg]
    "device of a tensor": (lambda: nn.tensor([1.0], device="cuda"), TypeError, "nn.use("),  # type: ignore[call-arg]
    "dtype of a sum": (lambda: nn.sum(X, dtype="float64"), TypeError, ".astype("),
    "sorted": (lambda: X.topk(1, sorted=True), TypeError, "sorted"),
    "cuda": (lambda: X.cuda(), T, "nn.use("), "to": (lambda: X.to("cuda"), T, ".astype("),
    "cpu": (lambda: X.cpu(), T, "nn.use("), "type": (lambda: X.type("x"), T, ".astype("),
    "grad_fn": (lambda: X.grad_fn, T, ".node"), "a typing error": (lambda: X.reshap(2), T, "Did you mean 'reshape'?"),
    "DataLoader": (lambda: nn.DataLoader, T, "nn.train("), "autocast": (lambda: nn.autocast, T, "precision='bfloat16'"),
    "lr_scheduler": (lambda: nn.lr_scheduler, T, "nn.optim"), "jit": (lambda: nn.jit, T, "nn.compile"),
    "vmap": (lambda: nn.vmap, T, "nn.grad"), "hstack": (lambda: nn.hstack, T, "nn.cat"),
    "sparse": (lambda: X.to_sparse(), T, "does not offer sparse"),
    "fft": (lambda: nn.fft, T, "does not offer complex"),
    "a typing error of the package": (lambda: nn.Linaer, T, "Did you mean 'Linear'?"),
    "nothing like it": (lambda: nn.qqqqq, T, "dir(nn) lists"),
    "parts of 0": (lambda: nn.split(X, 0), UserError, "at least 1"),
    "no chunks": (lambda: nn.chunk(X, 0), UserError, "at least 1"),
    "median of nothing": (lambda: nn.median(nn.zeros(0)), UserError, "at least one element"),
    "quantile of percents": (lambda: nn.quantile(X, 50), UserError, "Divide percentages by 100"),
    "counts of negative": (lambda: nn.bincount(nn.tensor([-1])), UserError, "integers >= 0"),
    "a singular matrix": (lambda: nn.linalg.inv(nn.zeros(2, 2)), UserError, "pinv"),
    "a singular system": (lambda: nn.linalg.solve(nn.ones(2, 2), nn.ones(2)), UserError, "lstsq"),
    "an indefinite matrix": (lambda: nn.linalg.cholesky(-nn.eye(2)), UserError, "eigh"),
    "a matrix that is not square": (lambda: nn.linalg.det(X), UserError, "square matrices (..., n, n)"),
    "a vector as matrix": (lambda: nn.linalg.svd(X[0]), UserError, "(..., m, n)"),
    "a system of two meanings": (lambda: nn.linalg.solve(nn.ones(3, 3, 3), nn.ones(3, 3)), UserError, "b[..., None]"),
    "a Tensor as size": (lambda: nn.Linear(4, nn.tensor([3]).max() + 1), UserError, "Use int() of it"),
    "PyTorch's old unbiased": (lambda: X.std(True), UserError, "An axis is an integer"),
    "no sizes of parts": (lambda: nn.split(X), TypeError, "split(a, sections, axis=0). Received 1 arg"),
    "svd of a method": (lambda: X.svd(), T, "nn.linalg"),
    "an absolute tolerance": (lambda: nn.linalg.matrix_rank(X, 1), TypeError, "rtol=None"),
    "axes of a count": (lambda: X.count_nonzero(0, 1), TypeError, "keepdims=False"),
    "a list": (lambda: nn.sum([1.0, 2.0]), TypeError, "nn.tensor()"),
    "no arrays": (lambda: nn.stack([]), UserError, "at least one"),
    "nothing to join": (lambda: nn.cat([]), UserError, "at least one"),
    "half a chunk": (lambda: nn.chunk(X, 2.5), UserError, "at least 1"),
    "axes of one": (lambda: nn.unsqueeze(X, [0]), UserError, "One axis is an integer"),
    "PyTorch's tensor": (lambda: X + torch.tensor(A), UserError, "nn.tensor()"),
    "PyTorch's tensor first": (lambda: torch.tensor(A) + X, UserError, "nn.tensor()"),
    "text": (lambda: X + "a", TypeError, "arrays and numbers. Received 'a'"),
    "None": (lambda: X * None, TypeError, "Received None"),
    "complex numbers": (lambda: X + 1j, UserError, "real numbers"),
    "a loss of the package": (lambda: nn.cross_entropy, T, "Use nn.functional.cross_entropy()"),
    "a loss in place": (lambda: nn.functional.relu_, T, "Use the result of relu()"),
    "PyTorch's way to pad": (lambda: nn.functional.pad(X, (1,)), UserError, "(before, after)"),
    "eigenvalues of others": (lambda: nn.linalg.eig, T, "nn.linalg has no 'eig'"),
    "a shape of initial values": (lambda: nn.init.xavier_uniform(X), UserError, "xavier_uniform_"),  # type: ignore[arg-type]
    "initial values of a shape": (lambda: nn.init.normal_((2, 3)), UserError, "normal(shape)"),
}  # fmt: skip


@pytest.mark.parametrize("backend", ["numpy", "jax"])
@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_what_to_use(name: str, backend: str) -> None:
    call, kind, said = REFUSED[name]
    with nn.backend(backend), pytest.raises(kind, match=re.escape(said)) as refusal:
        call()
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).endswith((".", "?"))


WITHOUT_ANSWER = re.compile(r"dir\((nn|Tensor)\) lists|Did you mean")


@pytest.mark.parametrize("where", ["Tensor", "nn"])
def test_every_name_of_pytorch_is_offered_or_answered(where: str) -> None:
    ours, theirs = {"Tensor": (nn.ones(2, 2), torch.Tensor), "nn": (nn, torch)}[where]
    unanswered = []
    for name in dir(theirs):
        if name.startswith("_") or isinstance(getattr(torch, name, None), types.ModuleType | type):
            continue
        try:
            getattr(ours, name)
        except AttributeError as error:
            if WITHOUT_ANSWER.search(str(error)):
                unanswered.append(name)
    assert unanswered == []


def test_answers_are_of_names_that_are_not_offered() -> None:
    offered = set(nn.ops.__all__) | {name for name in vars(nn.Tensor) if not name.startswith("_")}
    assert offered & set(foreign.ANSWERS) <= {"detach", "fill_", "zero_"}  # of nn, where they are methods
    assert offered & (set(foreign.SAME) | set(foreign.DTYPES)) <= {"pow"}
    assert all(foreign.found(nn, name) is not None for name in foreign.SAME)


# nn.functional, nn.linalg and nn.init

IMAGE = np.arange(16.0).reshape(1, 1, 4, 4)
FUNCTIONAL = """
    F.pad(x, (1, 2)) | F.pad(x, (1, 2, 0, 1), value=2.0) | F.pad(p, (1, 1, 0, 2), mode="reflect")
    F.pad(p, (2, 1, 1, 1), "circular") | F.pad(p, (1, 0, 0, 0), "replicate") | F.pad(x, (-1, 1)) | F.one_hot(i)
    F.one_hot(i, 5) | F.one_hot(i, num_classes=3)
    F.embedding(i, s) | F.interpolate(p, scale_factor=2) | F.interpolate(p, size=3, mode="bilinear", align_corners=True)
    F.interpolate(p, (2, 3), mode="area") | F.softmax(x, dim=1) | F.log_softmax(x, dim=0) | F.normalize(x, dim=0)
    F.normalize(x, p=1, dim=1) | F.cosine_similarity(x, x, dim=0) | F.pairwise_distance(x, -x, keepdim=True) | F.relu(x)
    F.glu(s[:, :2], dim=1) | F.pixel_shuffle(p.reshape(1, 4, 2, 2), 2)
"""


@pytest.mark.parametrize("call", [call for call in re.split(r"\s*\|\s*|\n\s*", FUNCTIONAL.strip()) if call])
def test_functional_means_what_it_means_in_pytorch(call: str) -> None:
    arrays = {"x": A, "s": SQUARE, "i": INDEX, "p": IMAGE}
    ours = evaluated(call, None, {"F": nn.functional, **{name: nn.tensor(a) for name, a in arrays.items()}})
    theirs = evaluated(call, None, {"F": torch.nn.functional, **{name: torch.tensor(a) for name, a in arrays.items()}})
    same(ours, theirs)


def test_gumbel_softmax_draws_each_class_as_often_as_softmax_has_it() -> None:
    nn.seed(0)
    logits = nn.tensor(np.log(np.tile([0.5, 0.3, 0.2], (20_000, 1))), dtype="float32", requires_grad=True)
    drawn = nn.functional.gumbel_softmax(logits, tau=0.5, hard=True)
    assert set(np.unique(drawn.numpy())) == {0.0, 1.0}
    np.testing.assert_allclose(drawn.mean(axis=0).numpy(), [0.5, 0.3, 0.2], atol=0.012)
    assert float(nn.abs(nn.grad((drawn * nn.tensor([1.0, 2.0, 3.0])).sum(), logits)).max()) > 0.01


@pytest.mark.parametrize("face", ["functional", "linalg", "init"])
def test_faces_answer_too(face: str) -> None:
    ours, library = getattr(nn, face), torch.linalg if face == "linalg" else getattr(torch.nn, face)
    missing = [name for name in vars(library) if not name.startswith("_") and not hasattr(ours, name)]
    for name in missing:
        with pytest.raises(AttributeError, match=rf"^nn\.{face} has no '{name}'.*[.?]$"):
            getattr(ours, name)


def test_numbers_and_shapes_of_pytorchs_calls() -> None:
    assert nn.randint(3, (2, 4)).shape == nn.randint(1, 3, (2, 4)).shape == (2, 4)
    assert int(nn.randint(3, (50,)).max()) == 2
    assert nn.zeros_like(X, dtype="int64").dtype == np.int64
    assert nn.randn(2, 3).size(dim=1) == 3


# Floating types: the input is named


def test_a_float64_input_is_named_with_its_remedy() -> None:
    x = np.random.default_rng(0).uniform(size=(2, 4))
    image = x.reshape(1, 1, 2, 4)
    for call in (
        lambda: nn.Linear(4, 3)(x), lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU())(x), lambda: nn.Conv2d(1, 1, 2)(image),
        lambda: nn.LayerNorm(4)(x), lambda: nn.BatchNorm1d(4)(x), lambda: nn.LSTM(4, 2)(x[None]),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=r"the input x of float64.*x\.astype\('float32'\).*model\.astype\('float64'\)"):
            call()
    with pytest.raises(TypeError, match=r"a of float32, b of float64.*Convert b with \.astype\('float32'\)"):
        nn.ones(2, 4) + x


# Initial values in place


@pytest.mark.parametrize("name", ["xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_"])
def test_initial_values_have_pytorchs_spread(name: str) -> None:
    ours, theirs = nn.Parameter(nn.zeros(300, 200)), torch.empty(300, 200)
    how = {"gain": 1.5} if name.startswith("xavier") else {"mode": "fan_out", "nonlinearity": "relu"}
    torch.manual_seed(0)
    getattr(torch.nn.init, name)(theirs, **how)
    assert getattr(nn.init, name)(ours, **how) is ours
    assert ours.requires_grad
    assert float(nn.std(ours)) == pytest.approx(float(theirs.std()), rel=0.02)
    assert float(nn.abs(ours).max()) == pytest.approx(float(theirs.abs().max()), rel=0.02 if "uniform" in name else 0.25)


def test_initial_values_that_are_given() -> None:
    p = nn.Parameter(nn.zeros(4, 4))
    for name, how in (("constant_", {"val": 0.5}), ("eye_", {}), ("ones_", {}), ("zeros_", {})):
        same(getattr(nn.init, name)(p, **how), getattr(torch.nn.init, name)(torch.empty(4, 4), **how))
    for groups in (1, 2):
        kernel = nn.Parameter(nn.ones(4, 2, 3, 3))
        same(nn.init.dirac_(kernel, groups), torch.nn.init.dirac_(torch.empty(4, 2, 3, 3), groups))
    nn.init.uniform_(p, a=2.0, b=3.0)
    assert 2 <= float(p.min()) < float(p.max()) <= 3
    nn.init.trunc_normal_(p, mean=1.0, std=5.0, a=0.0, b=2.0)
    assert 0 <= float(p.min()) < float(p.max()) <= 2
    nn.init.orthogonal_(p, gain=2.0)
    np.testing.assert_allclose((p @ p.T).numpy(), 4 * np.eye(4), atol=1e-5)
    half = nn.Parameter(nn.zeros(3, 3, dtype="float16"))
    assert nn.init.normal_(half).dtype == np.float16


# Linear algebra beyond PyTorch's table


def test_least_squares_are_numpys() -> None:
    rng = np.random.default_rng(0)
    for shape in ((5, 2), (2, 5), (3, 3)):
        a, b = rng.normal(size=shape), rng.normal(size=shape[:1])
        found, expected = nn.linalg.lstsq(nn.tensor(a), nn.tensor(b)), np.linalg.lstsq(a, b)
        for y, z in zip(found, expected, strict=True):
            np.testing.assert_allclose(y.numpy(), z, rtol=1e-9)


def test_small_types_are_taken() -> None:
    half = nn.tensor(SQUARE.astype("float16"))
    assert nn.linalg.inv(half).dtype == np.float16
    np.testing.assert_allclose(nn.linalg.inv(half).numpy(), np.linalg.inv(SQUARE), atol=1e-3)
    np.testing.assert_allclose(nn.linalg.solve(half, half[0]).numpy(), [1.0, 0.0, 0.0], atol=1e-3)
    whole = nn.tensor([[2, 0], [0, 4]])
    assert nn.linalg.det(whole).dtype == np.float32
    assert float(nn.linalg.det(whole)) == 8


def test_the_slope_of_a_singular_determinant_is_its_cofactors() -> None:
    x = nn.tensor([[1.0, 2.0], [2.0, 4.0]], dtype="float64", requires_grad=True)
    np.testing.assert_allclose(nn.grad(nn.linalg.det(x), x).numpy(), [[4, -2], [-2, 1]], atol=1e-12)


def test_a_singular_matrix_in_a_plan_is_refused() -> None:
    plan = nn.compile(nn.linalg.inv)
    assert plan(2.0 * nn.eye(2)).tolist() == [[0.5, 0.0], [0.0, 0.5]]
    with pytest.raises(UserError, match=r"linalg\.inv\(\) needs matrices that have an inverse"):
        plan(nn.zeros(2, 2))


def test_third_derivatives() -> None:
    def inverse(x: Any) -> Any:
        return nn.linalg.inv(nn.reshape(x, (1, 1)))[0, 0]

    x = nn.tensor(2.0, dtype="float64", requires_grad=True)
    first = nn.grad(inverse(x), x, create_graph=True)
    second = nn.grad(first, x, create_graph=True)
    assert nn.grad(second, x).item() == pytest.approx(-6 / 2**4)


def test_a_matrix_that_cannot_be_exported_is_refused() -> None:
    from nnatomy.interchange.onnx import to_onnx

    class Inverse(nn.Module):
        def forward(self, x: Any) -> Any:
            return nn.linalg.inv(x)

    with pytest.raises(UserError, match="inv"):
        to_onnx(Inverse(), np.eye(3, dtype="float32")[None])


PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


def test_the_page_is_true() -> None:
    """Its code prints what it says, and it names all of nn.linalg."""
    text = PAGE.read_text(encoding="utf-8")
    known: dict[str, Any] = {"__name__": "page"}
    blocks = re.findall(r"^```python\n(.*?)^```\n+```output\n(.*?)^```$", text, re.S | re.M)
    assert len(blocks) == 3
    for code, wanted in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, known)
        assert printed.getvalue() == wanted
    for name in nn.linalg.__all__:
        assert f"`{name}`" in text
