"""PyTorch: eager, or its model compiled by torch.compile; its own fused LSTM, GRU and attention."""

from __future__ import annotations

from typing import Any

import torch

from nnatomy.benchmark.implementation import Array, Arrays
from nnatomy.benchmark.implementations import Answering
from nnatomy.benchmark.workloads import Workload


def attend(q: Any, k: Any, v: Any, causal: bool) -> Any:
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)


def prepare(threads: int) -> None:
    torch.set_num_threads(threads)


class Network(Answering):
    """`compile` and `fused_adam` among the options; PyTorch does not choose the fused one by itself on a CPU."""

    def __init__(self, workload: Workload, weights: Any, options: dict[str, Any]) -> None:
        self.batches = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in workload.batches()]
        self.model = workload.build(torch.nn, attend)
        self.fused = True if options.get("fused_adam") else None
        if weights is not None:
            given = {name: torch.tensor(a) for name, a in weights.items()}
            missing, unexpected = self.model.load_state_dict(given, strict=False)
            missing = [name for name in missing if not name.endswith("num_batches_tracked")]
            if missing or unexpected:
                raise ValueError(f"{workload.name}: the models do not have the same weights: {missing}, {unexpected}")
        self.first = {name: t.clone() for name, t in self.model.state_dict().items()}
        functional = torch.nn.functional
        self.loss = functional.mse_loss if workload.loss == "mse" else functional.cross_entropy
        # Compiled for each shape that is measured: code for any shape would be slower.
        self.forward = torch.compile(self.model, dynamic=False) if options.get("compile") else self.model
        self.restart()

    def weights(self) -> Arrays:
        return {name: t.numpy().copy() for name, t in self.first.items()}

    def restart(self) -> None:
        self.model.train()
        self.model.load_state_dict(self.first)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3, fused=self.fused)
        self.count = 0

    def step(self) -> float:
        x, y = self.batches[self.count % len(self.batches)]
        self.count += 1
        self.optimizer.zero_grad()
        loss = self.loss(self.forward(x), y)
        loss.backward()
        self.optimizer.step()
        return float(loss.item())

    def moments(self) -> Arrays:
        return {name: self.optimizer.state[p]["exp_avg"].numpy().copy() for name, p in self.model.named_parameters()}

    def question(self, x: Array) -> Any:
        self.restart()
        self.model.eval()
        return torch.from_numpy(x)

    def answer(self, x: Any) -> Any:
        with torch.inference_mode():
            return self.forward(x)

    def array(self, y: Any) -> Array:
        found: Array = y.numpy()
        return found

    def describe(self) -> str:
        return f"PyTorch {torch.__version__} ({torch.backends.cpu.get_cpu_capability()})"
