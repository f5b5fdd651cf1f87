"""PyTorch as its users train on a GPU: autocast over float32 weights, channels last, fused optimizers, perhaps compiled."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from gpu.implementations import BETAS, DECAY, MOMENTUM, RATE, sample
from gpu.workloads import Workload
from nnatomy.benchmark.implementation import Arrays, Implementation


class Network(Implementation):
    """`compiled`: model and loss by torch.compile. float32 is exact, bfloat16 is autocast's."""

    def __init__(self, workload: Workload, size: int, precision: str, device: str, compiled: bool) -> None:
        self.device, self.precision, self.kind = torch.device(device), precision, workload.name
        torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
        torch.backends.cudnn.allow_tf32 = precision != "float32"
        torch.backends.cudnn.benchmark = True
        with self.device:
            self.model = workload.build(torch.nn)
        first = workload.values({name: tuple(t.shape) for name, t in self.model.state_dict().items()})
        self.model.load_state_dict({name: torch.from_numpy(value) for name, value in first.items()})
        self.model.train()
        self.batches = [tuple(torch.from_numpy(a).to(self.device) for a in batch) for batch in workload.batches(size)]
        if self.batches[0][0].ndim == 4:
            self.model = self.model.to(memory_format=torch.channels_last)
            self.batches = [(x.to(memory_format=torch.channels_last), y) for x, y in self.batches]
        parameters = list(self.model.parameters())
        if workload.optimizer == "sgd":
            self.optimizer: Any = torch.optim.SGD(parameters, lr=RATE, momentum=MOMENTUM, fused=True)
        else:
            self.optimizer = torch.optim.AdamW(parameters, lr=RATE, betas=BETAS, weight_decay=DECAY, fused=True)
        self.loss: Any = torch.compile(self._loss, dynamic=False) if compiled else self._loss
        self.count = 0

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.precision == "bfloat16" else nullcontext()

    def _loss(self, x: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy(self.model(x), y)

    def step(self) -> Any:
        x, y = self.batches[self.count % len(self.batches)]
        self.count += 1
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            loss = self.loss(x, y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def release(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def moments(self) -> Arrays:
        states = self.optimizer.state
        found = {}
        for name, p in self.model.named_parameters():
            state = states[p]
            found[name] = sample(state["exp_avg" if "exp_avg" in state else "momentum_buffer"].contiguous().cpu().numpy())
        return found

    def peak_mib(self) -> float | None:
        return float(torch.cuda.max_memory_allocated()) / 2**20 if self.device.type == "cuda" else None

    def describe(self) -> str:
        cudnn = f", CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}" if self.device.type == "cuda" else ""
        return f"PyTorch {torch.__version__}{cudnn}"
