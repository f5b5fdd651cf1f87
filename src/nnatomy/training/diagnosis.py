"""Diagnosis of a loss that is not finite: the layer that produced the first bad value."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnatomy.data import fields
from nnatomy.errors import UserError
from nnatomy.graph import no_grad
from nnatomy.layers.module import Module
from nnatomy.tensor import Tensor
from nnatomy.training.learners import Learner


def explain(learner: Learner, state: dict[str, Any], batch: tuple[Any, ...], loss: float, epoch: int, step: int) -> str:
    """Return the sentence for a loss that is not finite: where the first bad value comes from, and what to change."""
    learner.bind(learner.devices.to_host(state))
    named = learner.named(batch)
    inputs = fields.select(named, learner.precision.inputs(named, batch), "input", "given")
    with learner.lowered():
        where = first_bad_layer(learner.model, [Tensor(a) for a in inputs])
    rate = learner.lr(state)
    remedy = "Choose other settings with --set" if rate is None else f"Lower --lr (now {rate:g})"
    clip = " or limit the gradients with --set clip=1" if rate is not None else ""
    return f"Training needs a finite loss. Received {loss} at epoch {epoch + 1}, step {step + 1} ({where}). {remedy}{clip}."


def first_bad_layer(model: Module, inputs: list[Tensor]) -> str:
    """Return the first parameter, else the first layer's output, that holds NaN or infinity, as text."""
    bad = next((name for name, p in model.named_parameters() if not np.isfinite(np.asarray(p.data)).all()), None)
    found: list[str] = []

    def watch(path: str) -> Any:
        def hook(module: Module, args: tuple[Any, ...], out: Any) -> None:
            first = out[0] if isinstance(out, tuple) else out
            if isinstance(first, Tensor) and not found and not np.isfinite(np.asarray(first.data)).all():
                found.append(f"layer {path or 'the model itself'} ({type(module).__name__})")

        return hook

    handles = [module.register_forward_hook(watch(path)) for path, module in model.named_modules()]
    try:
        with no_grad():
            model(*inputs)
    except (IndexError, UserError) as problem:  # what a compiled step of JAX could not raise
        return f"by itself, the model says: {str(problem).rstrip('.')}"
    except Exception:  # a model that is not a function of its inputs alone: a pair of adversaries, an agent
        return "its layers could not be examined" + (f"; the parameter {bad} is not finite" if bad else "")
    finally:
        for handle in handles:
            handle.remove()
    layer = f"the first values that are not finite come out of {found[0]}" if found else "every layer's output is finite"
    if not (found or bad):
        layer += ", so the loss or its targets are not"
    return layer + (f", after an update broke the parameter {bad}" if bad else "")
