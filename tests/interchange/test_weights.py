"""Files that PyTorch, Keras, safetensors and NumPy write here, loaded: the outputs are theirs afterwards."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.catalog import architecture
from nnatomy.errors import UserError
from nnatomy.interchange import Depthwise, Flattened, Pointwise, load, read
from nnatomy.layers import GRU, LSTM, BatchNorm1d, BatchNorm2d, Conv2d, ConvTranspose2d, Embedding, LayerNorm, Linear
from nnatomy.layers.module import Module, Sequential
from nnatomy.tensor import Tensor

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.any_kernels


def outputs(model: Module, *inputs: Any) -> Any:
    with nn.no_grad():
        return np.asarray(model.eval()(*map(Tensor, inputs)).data)


def images(n: int = 5) -> Any:
    return np.random.default_rng(3).normal(size=(n, 1, 28, 28)).astype("float32")


@pytest.fixture(scope="module")
def keras() -> Any:
    from nnatomy.verification.implementations import tensorflow_and_keras

    pytest.importorskip("keras")
    pytest.importorskip("h5py")
    return tensorflow_and_keras()[1]


# PyTorch


def test_a_twins_state_dict_loads_without_names(tmp_path: Path) -> None:
    twin = architecture("lenet5").module("torch_twin").build(activation="relu")
    torch.save(twin.state_dict(), tmp_path / "lenet.pt")
    found = load(architecture("lenet5"), tmp_path / "lenet.pt", activation="relu")
    assert found.missing == found.unexpected == found.misshapen == ()
    assert "10 arrays" in str(found)
    expected = twin.eval()(torch.tensor(images())).detach().numpy()
    np.testing.assert_allclose(outputs(found.model, images()), expected, rtol=1e-4, atol=1e-5)


def test_an_architectures_own_tables_of_names_are_used(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "model.py").write_text(
        "import nnatomy as nn\n\n\ndef build(depth=1):\n    return nn.Sequential(*(nn.Linear(2, 2) for _ in range(depth)))\n"
    )
    (tmp_path / "net" / "recipe.py").write_text("recipes = ()\n")
    (tmp_path / "net" / "names.py").write_text(
        "def tables(depth=1):\n"
        "    return {'one': {'alien.': ''}, 'two': {f'net.dense{k + 1}': str(k) for k in range(depth)} | {'head': None}}\n"
    )
    given = {f"net.dense{k}.weight": torch.rand(2, 2) for k in (1, 2)}
    given |= {f"net.dense{k}.bias": torch.rand(2) for k in (1, 2)} | {"head.weight": torch.rand(3, 2)}
    torch.save(given, tmp_path / "theirs.pt")
    found = load(nn.architecture(str(tmp_path / "net")), tmp_path / "theirs.pt", depth=2)
    assert (found.left_out, found.missing) == (("head.weight",), ())
    np.testing.assert_array_equal(found.model.state_dict()["1.weight"], given["net.dense2.weight"].numpy())
    torch.save({k.replace("net.dense1.", "0."): v for k, v in given.items() if "dense1" in k}, tmp_path / "ours.pt")
    assert not load(nn.architecture(str(tmp_path / "net")), tmp_path / "ours.pt").missing
    with pytest.raises(UserError, match=r"missing: 0\.weight"):
        load(nn.architecture(str(tmp_path / "net")), tmp_path / "theirs.pt", names={"head": None}, depth=2)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ""])
def test_the_contents_tell_the_format(tmp_path: Path, suffix: str) -> None:
    torch.save({"w": torch.arange(6.0).reshape(2, 3)}, tmp_path / f"x{suffix}")
    np.testing.assert_array_equal(read(tmp_path / f"x{suffix}")["w"], np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
)
def test_every_dtype_of_pytorch(tmp_path: Path, dtype: str) -> None:
    given = (torch.randn(3, 4) * 3).to(getattr(torch, dtype))
    torch.save({"w": given}, tmp_path / "x.pt")
    found = read(tmp_path / "x.pt")["w"]
    expected = given.float().numpy() if dtype == "bfloat16" else given.numpy()
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_views_strides_and_shared_storages(tmp_path: Path) -> None:
    whole = torch.arange(24.0).reshape(4, 6)
    state = {
        "turned": whole.T, "slice": whole[1:3, ::2], "row": whole[2], "scalar": whole[3, 5], "none": whole[:0],
        "repeated": whole[0, :1].expand(3), "tied": whole, "parameter": torch.nn.Parameter(whole * 2),
    }  # fmt: skip
    torch.save(state, tmp_path / "x.pt")
    found = read(tmp_path / "x.pt")
    assert set(found) == set(state)
    for name, tensor in state.items():
        np.testing.assert_array_equal(found[name], tensor.detach().numpy())
    assert np.shares_memory(found["tied"], found["turned"])


def test_a_checkpoint_with_more_than_weights(tmp_path: Path) -> None:
    """Nested dictionaries, an optimizer, numbers and text: arrays by their paths, and a table to choose among them."""
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(theirs.parameters())
    theirs(torch.randn(8, 3)).sum().backward()
    optimizer.step()
    wrapped = OrderedDict((f"module.{name}", value) for name, value in theirs.state_dict().items())
    torch.save({"epoch": 3, "note": "é", "state": wrapped, "optimizer": optimizer.state_dict()}, tmp_path / "x.pt")
    names = read(tmp_path / "x.pt")
    assert "state.module.0.weight" in names
    assert "optimizer.state.0.exp_avg" in names
    ours = Sequential(Linear(3, 4), BatchNorm1d(4))
    found = load(ours, tmp_path / "x.pt", names={"state.module.": "", "optimizer": None})
    assert found.left_out[0] == "state.module.1.num_batches_tracked"
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    np.testing.assert_allclose(outputs(ours, x), theirs.eval()(torch.tensor(x)).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_newer_pickle_protocols(tmp_path: Path) -> None:
    torch.save({"w": torch.arange(3.0)}, tmp_path / "x.pt", pickle_protocol=4)
    np.testing.assert_array_equal(read(tmp_path / "x.pt")["w"], [0, 1, 2])


def test_what_is_no_state_dict_is_refused_by_name(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(UserError, match=r"wants to run 'torch\.nn\.modules\.linear\.Linear'.*state_dict"):
        read(tmp_path / "model.pt")
    torch.save({"w": torch.ones(2)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match=r"bare pickle.*before version 1\.6.*torch\.save"):
        read(tmp_path / "old.pt")
    torch.save({"w": torch.zeros(2, dtype=torch.complex64)}, tmp_path / "complex.pt")
    with pytest.raises(UserError, match="ComplexFloatStorage"):
        read(tmp_path / "complex.pt")
    torch.save({"epoch": 1}, tmp_path / "none.pt")
    with pytest.raises(UserError, match="no tensors"):
        read(tmp_path / "none.pt")


# What load reports


def test_strict_loading_says_all_that_is_wrong_and_changes_nothing(tmp_path: Path) -> None:
    torch.save({"0.weight": torch.ones(4, 3), "0.bias": torch.ones(5), "head.bias": torch.ones(1)}, tmp_path / "x.pt")
    model = Sequential(Linear(3, 4), Linear(4, 2))
    before = model.state_dict()
    message = r"missing: 1\.weight, 1\.bias; unexpected: head\.bias; misshapen: 0\.bias is \(5,\), expected \(4,\)"
    with pytest.raises(UserError, match=message):
        load(model, tmp_path / "x.pt")
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    found = load(model, tmp_path / "x.pt", strict=False)
    assert found.loaded == ("0.weight",)
    assert found.missing == ("1.weight", "1.bias")
    assert found.unexpected == ("head.bias",)
    assert found.misshapen == ("0.bias is (5,), expected (4,)",)
    assert "misshapen (1): 0.bias is (5,)" in str(found)
    np.testing.assert_array_equal(model.state_dict()["0.weight"], np.ones((4, 3)))
    np.testing.assert_array_equal(model.state_dict()["0.bias"], before["0.bias"])


def test_a_table_that_does_not_fit_the_file_is_refused(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.ones(2, 2), "a.bias": torch.ones(2), "b": torch.ones(2)}, tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"Received 'c', .* Use one of a\.weight, a\.bias, b"):
        load(Sequential(Linear(2, 2)), tmp_path / "x.pt", names={"c": "0"})
    with pytest.raises(UserError, match=r"two for '0\.bias'"):
        load(Sequential(Linear(2, 2)), tmp_path / "x.pt", names={"a": "0", "b": "0.bias"})


def test_a_shared_parameter_needs_one_of_its_names(tmp_path: Path) -> None:
    class Tied(Module):
        def __init__(self) -> None:
            self.first, self.last = Embedding(5, 3), Linear(3, 5, bias=False)
            self.last.weight = self.first.weight

    torch.save({"first.weight": torch.full((5, 3), 2.0)}, tmp_path / "x.pt")
    model = Tied()
    assert load(model, tmp_path / "x.pt").missing == ()
    np.testing.assert_array_equal(model.last.weight.data, np.full((5, 3), 2.0))


def test_values_take_the_dtype_of_the_model(tmp_path: Path) -> None:
    torch.save({"0.weight": torch.ones(2, 2).bfloat16(), "0.bias": torch.ones(2).double()}, tmp_path / "x.pt")
    model = Sequential(Linear(2, 2))
    load(model, tmp_path / "x.pt")
    assert {a.dtype for a in model.state_dict().values()} == {np.dtype("float32")}


def test_what_is_neither_model_nor_architecture() -> None:
    with pytest.raises(UserError, match=r"nn\.architecture\('lenet5'\)"):
        load("lenet5", "x.pt")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"nowhere\.pt, which does not"):
        load(Linear(2, 2), "nowhere.pt")


# Safetensors and NumPy


def test_safetensors_in_parts_and_half_precision(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = {"a.weight": torch.randn(3, 2).bfloat16(), "a.bias": torch.randn(3).half(), "n": torch.tensor(7)}
    save_file({"a.weight": state["a.weight"]}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"a.bias": state["a.bias"], "n": state["n"]}, tmp_path / "model-00002-of-00002.safetensors")
    parts = dict(zip(state, ("model-00001-of-00002", "model-00002-of-00002", "model-00002-of-00002")))
    index = {"metadata": {}, "weight_map": {name: f"{part}.safetensors" for name, part in parts.items()}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    for place in (tmp_path, tmp_path / "model.safetensors.index.json"):
        found = read(place)
        assert found["a.weight"].dtype == np.float32
        np.testing.assert_array_equal(found["a.weight"], state["a.weight"].float().numpy())
        np.testing.assert_array_equal(found["a.bias"], state["a.bias"].numpy())
        assert found["n"] == 7
    index["weight_map"]["lost"] = "model-00001-of-00002.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="promises 'lost'"):
        read(tmp_path)


@pytest.mark.parametrize("part", ["../secret.safetensors", "/etc/passwd", "sub/x.safetensors", "..\\x", "x.json", 3])
def test_an_index_stays_in_its_folder(tmp_path: Path, part: Any) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": part}}))
    with pytest.raises(UserError, match=r"outside its own folder|no index|must be a text"):
        read(tmp_path)


def test_numpy_files(tmp_path: Path) -> None:
    model = Sequential(Linear(3, 2))
    state = {name: np.asfortranarray(a) + 1 for name, a in model.state_dict().items()}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", **state)
        load(model, tmp_path / "x.npz")
        np.testing.assert_array_equal(model.state_dict()["0.weight"], state["0.weight"])
    np.save(tmp_path / "0.bias.npy", np.array([5.0, 6.0]))
    assert load(model, tmp_path / "0.bias.npy", strict=False).loaded == ("0.bias",)
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    with pytest.raises(UserError, match="not a plain number"):
        read(tmp_path / "objects.npz")


# Keras


def test_keras_twins(tmp_path: Path, keras: Any) -> None:
    """A file names layers by the attributes that hold them, or by their classes and numbers."""
    twin = architecture("lenet5").module("keras_twin").build(activation="relu")
    twin.save_weights(tmp_path / "x.weights.h5")
    found = load(architecture("lenet5"), tmp_path / "x.weights.h5", names={"last": "output"}, activation="relu")
    np.testing.assert_allclose(outputs(found.model, images()), np.asarray(twin(images())), rtol=1e-4, atol=1e-5)

    options = {"features": 6, "outputs": 3, "hidden": (5, 4), "batch_norm": True}
    twin = architecture("mlp").module("keras_twin").build(**options)
    for norm in twin.norms:
        norm.moving_mean.assign(np.random.default_rng(1).normal(size=norm.moving_mean.shape))
        norm.moving_variance.assign(np.random.default_rng(2).uniform(0.5, 2, norm.moving_variance.shape))
    twin.save_weights(tmp_path / "y.weights.h5")
    names = {
        "layers/dense": "linears.0", "layers/dense_1": "linears.1", "layers/dense_2": "linears.2",
        "layers/batch_norm": "norms.0", "layers/batch_norm_1": "norms.1",
    }  # fmt: skip
    found = load(architecture("mlp"), tmp_path / "y.weights.h5", names=names, **options)
    x = np.random.default_rng(0).normal(size=(7, 6)).astype("float32")
    np.testing.assert_allclose(outputs(found.model, x), np.asarray(twin(x)), rtol=1e-4, atol=1e-5)


class Maps(Module):
    """Convolution, its transpose, batch norm and a linear layer behind flattened maps."""

    def __init__(self) -> None:
        self.conv, self.norm, self.up = Conv2d(2, 4, (3, 2)), BatchNorm2d(4, eps=1e-3), ConvTranspose2d(4, 3, 2, stride=2)
        self.dense, self.scale = Linear(3 * 8 * 10, 5), LayerNorm(5, eps=1e-3)

    def forward(self, x: Any) -> Any:
        return self.scale(self.dense(self.up(self.norm(self.conv(x))).flatten(1)))


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])
def test_keras_layouts_of_maps(tmp_path: Path, keras: Any, suffix: str) -> None:
    layers = keras.layers
    theirs = keras.Sequential(
        [
            keras.Input((6, 6, 2)), layers.Conv2D(4, (3, 2), name="conv"), layers.BatchNormalization(name="norm"),
            layers.Conv2DTranspose(3, 2, strides=2, name="up"), layers.Flatten(), layers.Dense(5, name="dense"),
            layers.LayerNormalization(name="scale"),
        ]
    )  # fmt: skip
    theirs.set_weights([np.random.default_rng(i).uniform(0.1, 1, w.shape) for i, w in enumerate(theirs.get_weights())])
    path = tmp_path / f"x{suffix}"
    theirs.save_weights(path) if suffix == ".weights.h5" else theirs.save(path)
    flattened = Flattened("dense", (3, 8, 10))
    names: Any = {
        "layers/conv2d": "conv", "layers/batch_normalization": "norm", "layers/conv2d_transpose": "up",
        "layers/dense": flattened, "layers/layer_normalization": "scale",
    }  # fmt: skip
    ours = Maps()
    found = load(ours, path, names={"model_weights/dense": flattened} if suffix == ".h5" else names)
    assert len(found.loaded) == 12
    x = np.random.default_rng(0).normal(size=(3, 6, 6, 2)).astype("float32")
    expected = np.asarray(theirs(x, training=False))
    np.testing.assert_allclose(outputs(ours, x.transpose(0, 3, 1, 2).copy()), expected, rtol=1e-4, atol=1e-5)


class Separable(Module):
    """One kernel for each channel and its neighbor, and a linear layer over the channels."""

    def __init__(self) -> None:
        self.filters, self.mix = Conv2d(2, 6, (3, 2), groups=2), Linear(6, 5)

    def forward(self, x: Any) -> Any:
        return self.mix(self.filters(x).mean(axis=(2, 3)))


def test_keras_layers_of_other_classes(tmp_path: Path, keras: Any) -> None:
    """A depthwise convolution with three maps a channel, and a 1x1 convolution that is a linear layer here."""
    layers = keras.layers
    theirs = keras.Sequential(
        [
            keras.Input((6, 6, 2)), layers.DepthwiseConv2D((3, 2), depth_multiplier=3),
            layers.GlobalAveragePooling2D(keepdims=True), layers.Conv2D(5, 1), layers.Flatten(),
        ]
    )  # fmt: skip
    theirs.set_weights([np.random.default_rng(i).normal(size=w.shape) for i, w in enumerate(theirs.get_weights())])
    theirs.save(tmp_path / "x.keras")
    names: Any = {"layers/depthwise_conv2d": Depthwise("filters"), "layers/conv2d": Pointwise("mix")}
    ours = Separable()
    assert len(load(ours, tmp_path / "x.keras", names=names).loaded) == 4
    x = np.random.default_rng(0).normal(size=(3, 6, 6, 2)).astype("float32")
    expected = np.asarray(theirs(x, training=False))
    np.testing.assert_allclose(outputs(ours, x.transpose(0, 3, 1, 2).copy()), expected, rtol=1e-4, atol=1e-5)


class Sequences(Module):
    """An embedding, an LSTM both ways, a GRU and a linear layer."""

    def __init__(self) -> None:
        self.embedding, self.lstm = Embedding(9, 4), LSTM(4, 5, batch_first=True, bidirectional=True)
        self.gru, self.output = GRU(10, 6, batch_first=True), Linear(6, 2)

    def forward(self, x: Any) -> Any:
        return self.output(self.gru(self.lstm(self.embedding(x))[0])[0])


def test_keras_gates_and_biases(tmp_path: Path, keras: Any) -> None:
    layers = keras.layers
    theirs = keras.Sequential(
        [
            keras.Input((7,)), layers.Embedding(9, 4), layers.Bidirectional(layers.LSTM(5, return_sequences=True)),
            layers.GRU(6, return_sequences=True), layers.Dense(2),
        ]
    )  # fmt: skip
    theirs.set_weights([np.random.default_rng(i).normal(size=w.shape) for i, w in enumerate(theirs.get_weights())])
    theirs.save(tmp_path / "x.keras")
    names = {
        "layers/embedding": "embedding", "layers/bidirectional/forward_layer": "lstm.*_l0",
        "layers/bidirectional/backward_layer": "lstm.*_l0_reverse", "layers/gru": "gru.*_l0", "layers/dense": "output",
    }  # fmt: skip
    ours = Sequences()
    load(ours, tmp_path / "x.keras", names=names)
    x = np.random.default_rng(0).integers(0, 9, (4, 7))
    np.testing.assert_allclose(outputs(ours, x), np.asarray(theirs(x)), rtol=1e-4, atol=1e-5)


def test_a_keras_layer_without_a_scale_is_not_mistaken(tmp_path: Path, keras: Any) -> None:
    """Its variables are numbered, and each number then means another one."""
    theirs = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization(scale=False)])
    theirs.save(tmp_path / "x.keras")
    found = load(Sequential(BatchNorm1d(3)), tmp_path / "x.keras", names={"layers/batch_normalization": "0"}, strict=False)
    assert found.loaded == ()
    assert len(found.unexpected) == 3
    plain = Sequential(Linear(3, 2, bias=False))
    theirs = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False)])
    theirs.save(tmp_path / "y.keras")
    assert load(plain, tmp_path / "y.keras", names={"layers/dense": "0"}).loaded == ("0.weight",)


def test_keras_half_precision(tmp_path: Path, keras: Any) -> None:
    theirs = keras.Sequential([keras.Input((3,), dtype="bfloat16"), keras.layers.Dense(2, dtype="bfloat16")])
    theirs.save(tmp_path / "x.keras")
    kernel = read(tmp_path / "x.keras")["layers/dense/vars/0"]
    np.testing.assert_array_equal(kernel, np.asarray(theirs.layers[-1].kernel).astype("float32"))
