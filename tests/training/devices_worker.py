"""The parts of the tests of several devices and hosts that run in separate processes, since JAX starts once in each."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "mlp": {"limit": 150, "epochs": 3, "batch_size": 44, "lr": 0.02},
    "lstm": {"data": "mackey_glass", "window": 6, "horizon": 1, "limit": 90, "epochs": 2, "batch_size": 20},
}
COMMON: dict[str, Any] = {"backend": "jax", "device": "cpu", "precision": "float64", "report": False}


def curves(folder: Path) -> dict[str, Any]:
    """Losses by architecture and way of running, and the placement of the fully sharded state."""
    import nnatomy as nn

    found: dict[str, Any] = {}
    for architecture, options in ARCHITECTURES.items():
        for name, way in (
            ("one", {}), ("data", {"devices": 4}),
            ("full", {"devices": 4, "shard": "full", "callbacks": [lying(found, architecture)]}),
        ):  # fmt: skip
            found[f"{architecture}-{name}"] = losses(
                nn.train(architecture, out=folder / f"{architecture}-{name}", **COMMON, **options, **way)
            )
    options = COMMON | ARCHITECTURES["mlp"] | {"accumulate": 2}
    found["accumulated-one"] = losses(nn.train("mlp", out=folder / "accumulated-one", **options))
    found["accumulated-full"] = losses(nn.train("mlp", out=folder / "accumulated-full", devices=4, shard="full", **options))
    found["lstm-moved"] = moved("lstm", folder / "moved")
    return found


def losses(result: Any) -> list[float]:
    lines = result.run.history()
    return [x for line in lines for x in (line["train_loss"], line["validation"]["loss"])] + [result.metrics["loss"]]


def lying(found: dict[str, Any], architecture: str) -> Any:
    """A callback that notes, of the state after a step, bytes on each device, in all, and in arrays that cannot be split."""
    from jax import tree_util

    from nnatomy.training.loop import Callback, Loop

    class Lying(Callback):
        def after_step(self, loop: Loop) -> None:
            arrays = [a for a in tree_util.tree_leaves(loop.state) if hasattr(a, "addressable_shards") and a.ndim]
            each = [sum(a.addressable_shards[i].data.nbytes for a in arrays) for i in range(4)]
            whole = sum(a.nbytes for a in arrays if all(size % 4 for size in a.shape))
            found[f"{architecture}-bytes"] = {"each": each, "all": sum(a.nbytes for a in arrays), "whole": whole}

    return Lying()


def moved(architecture: str, out: Path) -> list[float]:
    """The losses of a run that is started on four devices, fully sharded, and then continued on one, and on NumPy."""
    import nnatomy as nn

    options = ARCHITECTURES[architecture] | {"devices": 4, "shard": "full"}
    nn.train(architecture, out=out, **COMMON, **options, callbacks=[stopping(after=3)])
    nn.resume(out, report=False, devices=1, callbacks=[stopping(after=6)])
    return losses(nn.resume(out, report=False, backend="numpy", devices=1))


def stopping(after: int) -> Any:
    """A callback that interrupts the run after so many steps in all."""
    from nnatomy.training.loop import Callback, Loop

    class Stopping(Callback):
        def after_step(self, loop: Loop) -> None:
            loop.interrupted = loop.position.step >= after

    return Stopping()


def host(folder: Path, hosts: str, index: str, architecture: str, shard: str) -> dict[str, Any]:
    """One host's part of a run on two; the losses, where it is the one that wrote them."""
    import nnatomy as nn
    from nnatomy import data

    taken: list[int] = []
    take = data.ArraySplit.take
    data.ArraySplit.take = lambda self, indices: taken.append(len(indices)) or take(self, indices)  # type: ignore[method-assign]
    result = nn.train(
        architecture,
        out=folder,
        hosts=hosts,
        host_index=int(index),
        devices=2,
        shard=shard,
        **COMMON,
        **ARCHITECTURES[architecture],
    )
    return {"first": result.hosts.first, "losses": losses(result) if result.hosts.first else [], "taken": taken}


def command(heartbeat: str, *words: str) -> None:
    """The command line, with a host that is silent for so many seconds counted as dead, and checkpoints twice a second."""
    from nnatomy.cli.main import main
    from nnatomy.interrupts import interruptible
    from nnatomy.runs import checkpoints
    from nnatomy.training.parallel import hosts

    hosts.HEARTBEAT, checkpoints.EVERY = int(heartbeat), 0.5
    with interruptible():  # as the installed command: a polite kill is Ctrl-C
        code = main(words)
    sys.exit(code)


if __name__ == "__main__":
    os.environ["JAX_PLATFORMS"] = "cpu"
    what, *words = sys.argv[1:]
    if what == "command":
        command(*words)
    if what == "curves":
        os.environ["JAX_NUM_CPU_DEVICES"] = "4"
    answer = curves(Path(words[0])) if what == "curves" else host(Path(words[0]), *words[1:])
    print(json.dumps(answer))
