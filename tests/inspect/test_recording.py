"""`record` returns the layers' outputs and changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.inspect import activations, gradient_norms, gradients, record


class Net(nn.Module):
    def __init__(self) -> None:
        self.encoder = [nn.Linear(4, 8), nn.Linear(8, 3)]
        self.drop = nn.Dropout(0.5)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        h = nn.relu(self.encoder[0](x))
        return self.encoder[1](self.drop(self.drop(h)))  # type: ignore[no-any-return]


def batch() -> nn.Tensor:
    return nn.tensor(np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32))


def test_outputs_inputs_and_gradients_are_those_of_the_run() -> None:
    model, x = Net().eval(), batch()
    with record(model) as seen:
        y = model(x)
    assert seen[""].output is y
    assert seen["encoder.0"].inputs == [(x,)]
    np.testing.assert_array_equal(seen["encoder.0"].output.numpy(), model.encoder[0](x).numpy())
    assert [len(seen[path].outputs) for path in ("encoder.1", "drop", "unused")] == [1, 2, 0]
    assert seen["encoder.0"].gradient is None
    (y * y).sum().backward()
    slopes = 2 * y.numpy() @ model.encoder[1].weight.numpy() * (seen["encoder.0"].output.numpy() > 0)
    found = seen["encoder.0"].gradient
    assert found is not None
    np.testing.assert_allclose(found.numpy(), slopes, rtol=1e-5, atol=1e-6)


def test_nothing_is_left_behind_and_nothing_is_changed() -> None:
    model, x = Net().eval(), batch()
    before = model(x).numpy()
    with record(model) as seen:
        inside = model(x).numpy()
    np.testing.assert_array_equal(before, inside)
    model(x)
    assert len(seen["encoder.0"].outputs) == 1, "the hook is still there"


def test_only_the_layers_asked_for_are_recorded_and_wrong_names_are_told() -> None:
    model = Net()
    with record(model, ["encoder.1"]) as seen:
        model(batch())
    assert list(seen) == ["encoder.1"]
    with (
        pytest.raises(nn.UserError, match=r"No layer has this name. Received 'encoder\.2'. Did you mean 'encoder\.[01]'"),
        record(model, ["encoder.2"]),
    ):
        pass


def test_activations_are_those_after_training_in_the_order_of_the_run() -> None:
    model = Net().train()
    found = activations(model, batch().numpy())
    assert list(found) == ["encoder.0", "drop", "drop (call 2)", "encoder.1", ""]
    np.testing.assert_array_equal(found["drop"], np.maximum(found["encoder.0"], 0))  # nothing is dropped
    assert model.training
    assert model.drop.training


def test_gradients_leave_grad_alone_and_norms_are_summed_by_layer() -> None:
    model = Net()

    def loss(model: nn.Module, x: nn.Tensor) -> nn.Tensor:
        return (model(x) ** 2).sum()  # type: ignore[no-any-return]

    found = gradients(model, loss, batch().numpy())
    assert all(p.grad is None for p in model.parameters())
    assert not found["unused.weight"].any()
    loss(model.eval(), batch()).backward()
    for name, p in model.named_parameters():
        if p.grad is not None:
            np.testing.assert_allclose(found[name], p.grad.numpy(), rtol=1e-5, atol=1e-6)
    norms = gradient_norms(found)
    both = np.concatenate([found["encoder.0.weight"].ravel(), found["encoder.0.bias"]])
    assert norms["encoder.0"] == pytest.approx(np.linalg.norm(both), rel=1e-6)
    assert list(norms) == ["encoder.0", "encoder.1", "unused"]
