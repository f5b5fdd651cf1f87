"""Sparse autoencoders in PyTorch: an independent twin, written from Ng (2011), Conerly et al. (2024) and Makhzani and Frey
(2013). It shares nothing with the architecture's model but the names and shapes of its state."""

import torch
from torch import Tensor, nn


class SparseAutoencoder(nn.Module):
    """A code of sigmoids ("kl"), of ReLUs ("l1") or of the k largest sums ("topk"), and a linear decoder."""

    def __init__(self, features: int, units: int, sparsity: str, weight: float, rho: float, k: int) -> None:
        super().__init__()
        self.sparsity, self.weight, self.rho, self.k = sparsity, weight, rho, k
        self.encoder = nn.Linear(features, units)
        self.decoder = nn.Linear(units, features)

    def code(self, x: Tensor) -> Tensor:
        z = self.encoder(x.flatten(1))
        if self.sparsity == "kl":
            return torch.sigmoid(z)
        if self.sparsity == "l1":
            return torch.relu(z)
        values, places = z.topk(self.k, dim=1)
        return torch.zeros_like(z).scatter(1, places, values)

    def penalty(self, h: Tensor) -> Tensor:
        """beta sum_j KL(rho || r_j) (Ng 2011), or lambda sum_j h_j |w_j| (Conerly et al. 2024); 0 for the k largest."""
        if self.sparsity == "topk":
            return h.new_zeros(())
        if self.sparsity == "l1":
            return self.weight * (h @ torch.linalg.vector_norm(self.decoder.weight, dim=0)).mean()
        r = h.mean(0).clamp(1e-7, 1 - 1e-7)
        rho = torch.full_like(r, self.rho)
        return self.weight * (torch.xlogy(rho, rho / r) + torch.xlogy(1 - rho, (1 - rho) / (1 - r))).sum()

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.code(x)).reshape(x.shape)


def build(
    features: int, units: int = 160, sparsity: str = "kl", weight: float = 3.0, rho: float = 0.1, k: int = 16
) -> SparseAutoencoder:
    """The autoencoder with PyTorch's own initial weights."""
    if sparsity not in ("kl", "l1", "topk"):
        raise ValueError(f"sparsity is 'kl', 'l1' or 'topk'. Received {sparsity!r}. Use sparsity='kl'.")
    return SparseAutoencoder(features, units, sparsity, weight, rho, k)


def loss(model: SparseAutoencoder, x: Tensor, targets: Tensor) -> Tensor:
    """Half of the squared error, summed over features and averaged over examples, plus the penalty of the code."""
    h = model.code(x)
    errors = model.decoder(h) - targets.flatten(1)
    return 0.5 * errors.square().sum(1).mean() + model.penalty(h)
