"""nnatomy: the step that the training loop takes, compiled as there, or eager."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import nnatomy as nn
from nnatomy import functional as F
from nnatomy.benchmark.implementation import Array, Arrays
from nnatomy.benchmark.implementations import COMPILED, Answering
from nnatomy.benchmark.workloads import Workload
from nnatomy.data.dataset import ArraySplit
from nnatomy.kernels import library, machine
from nnatomy.optim import Adam
from nnatomy.plan import Compiled, compile
from nnatomy.training.learners import GradientDescent, Learner, Setup

compilations: list[str] = []
BLAS_THREADS = 1  # as many as the training loop gives to NumPy's products


def attend(q: Any, k: Any, v: Any, causal: bool) -> Any:
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal)


def prepare(threads: int) -> None:
    machine.set_num_threads(threads)
    library.announce = lambda sentence: compilations.append(COMPILED)
    threadpool_limits(BLAS_THREADS, user_api="blas")
    np.seterr(all="ignore")  # as in the training loop, which finds non-finite values itself


class Forward:
    """The outputs of a model for given weights: a function of arrays, which can be compiled."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.tensors = dict(model.named_parameters()) | dict(model.named_buffers())

    def bind(self, weights: dict[str, Any]) -> None:
        """Set the model to `weights`."""
        for name, tensor in self.tensors.items():
            tensor.data = weights[name]

    def __call__(self, weights: dict[str, Any], x: Any) -> Any:
        self.bind(weights)
        with nn.no_grad():
            return self.model(nn.Tensor(x)).data


def learner_of(model: Any, loss: Any, optimizer: partial[Any], setup: Setup | None = None) -> Learner:
    """Return the learner of a model and loss(outputs, targets); its batches are inputs and targets."""

    def both(model: Any, x: Any, y: Any) -> tuple[Any, Any]:
        outputs = model(x)
        return loss(outputs, y), outputs

    examples: Any = ArraySplit(())  # a learner needs only the fields of its data
    return GradientDescent(both, optimizer).begin(model, examples, setup)


class Network(Answering):
    """`eager` among the options: without plans."""

    def __init__(self, workload: Workload, weights: Any, options: dict[str, Any]) -> None:
        nn.seed(0)
        self.model = workload.build(nn, attend)
        self.model.train()
        loss = F.mse_loss if workload.loss == "mse" else F.cross_entropy
        self.learner = learner_of(self.model, loss, partial(Adam, lr=1e-3))
        self.first = copy.deepcopy(self.learner.state())
        self.batches = workload.batches()
        eager = options.get("eager")
        self.train: Any = self.learner if eager else compile(self.learner, warn=False)
        forward = Forward(self.model)
        self.forward: Any = forward if eager else compile(forward, warn=False)
        self.restart()

    def weights(self) -> Arrays:
        return {name: np.array(a) for name, a in self.first["model"].items()}

    def restart(self) -> None:
        self.state, self.count = copy.deepcopy(self.first), 0  # a compiled step writes into the state that it is given

    def step(self) -> float:
        self.state, metrics = self.train(self.state, self.batches[self.count % len(self.batches)])
        self.count += 1
        return float(metrics["loss"])

    def moments(self) -> Arrays:
        return {name: np.array(arrays["exp_avg"]) for name, arrays in self.state["optimizers"]["all"]["state"].items()}

    def question(self, x: Array) -> Array:
        self.model.eval()
        self.asked = {name: np.array(a) for name, a in self.first["model"].items()}
        return x

    def answer(self, x: Array) -> Any:
        return self.forward(self.asked, x)

    def array(self, y: Any) -> Array:
        return np.array(y)

    def describe(self) -> str:
        return f"nnatomy {nn.__version__}, backend {nn.backends.current()}, NumPy {np.__version__}"

    def notes(self) -> list[str]:
        reasons = {f.reason for f in (self.train, self.forward) if isinstance(f, Compiled) and f.reason}
        return [f"runs without a plan: {reason}" for reason in sorted(reasons)] + compilations[:1]
