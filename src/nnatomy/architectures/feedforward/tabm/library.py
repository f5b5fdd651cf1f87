"""TabM from the package tabm of its authors, and the embeddings from rtdl_num_embeddings. Both name weights as we do."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LIBRARY = "tabm"


def ships(**_: Any) -> bool:
    """Return True: all variants are there."""
    return True


class Network(nn.Module):
    """The package's parts around features that a table gives as one array, categories one-hot."""

    def __init__(self, whole: Any, numbers: Sequence[int], features: int, classify: bool) -> None:
        super().__init__()
        self.num_module, self.backbone, self.output = whole.num_module, whole.backbone, whole.output
        self.ensemble_view = whole.ensemble_view
        self.numbers, self.classify = list(numbers), classify
        self.others = [place for place in range(features) if place not in numbers]

    def members(self, x: Tensor) -> Tensor:
        """The scores or numbers of each member, (batch, k, outputs)."""
        h = x.flatten(1)
        if self.num_module is not None:
            h = torch.cat([self.num_module(h[:, self.numbers]).flatten(1), h[:, self.others]], 1)
        z: Tensor = self.output(self.backbone(self.ensemble_view(h)))
        return z

    def forward(self, x: Tensor) -> Tensor:
        z = self.members(x)
        return z.softmax(2).mean(1).log() if self.classify else z.mean(1)


def build(
    features: int, outputs: int, classify: bool = True, k: int = 32, blocks: int = 2, width: int = 512, dropout: float = 0.1,
    variant: str = "tabm", start: str = "normal", numbers: Sequence[int] = (), bins: int = 0, embedding: int = 16, **_: Any,
) -> Network:  # fmt: skip
    """The network of model.py's options; what is not a number is a category of the package, with a feature for each level."""
    import rtdl_num_embeddings
    import tabm

    numbers = tuple(numbers) if bins else ()
    embeddings = None
    if numbers:
        edges = [torch.linspace(-2, 2, bins + 1)] * len(numbers)
        embeddings = rtdl_num_embeddings.PiecewiseLinearEmbeddings(edges, embedding, activation=False, version="B")
    whole = tabm.TabM(
        n_num_features=len(numbers) or features, cat_cardinalities=[1] * (features - len(numbers)) if numbers else [],
        d_out=outputs, num_embeddings=embeddings, n_blocks=blocks, d_block=width, dropout=dropout, k=k,
        arch_type="tabm" if variant == "tabm" else f"tabm-{variant}",
        start_scaling_init=None if variant == "packed" else start.replace("_", "-"),
    )  # fmt: skip
    return Network(whole, numbers, features, classify)


def loss(model: Network, x: Tensor, targets: Tensor) -> Tensor:
    """The mean of the members' losses, as in the example of the package."""
    z = model.members(x)
    k = z.shape[1]
    if model.classify:
        return F.cross_entropy(z.flatten(0, 1), targets.repeat_interleave(k))
    return F.mse_loss(z.flatten(0, 1), targets.repeat_interleave(k, dim=0))
