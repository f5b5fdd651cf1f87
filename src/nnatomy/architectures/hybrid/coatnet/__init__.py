"""CoAtNet (2021): convolution, then attention with a bias for each offset."""

from nnatomy.architectures.hybrid.coatnet.model import CoAtNet, build, loss, relative_index

__all__ = ["CoAtNet", "build", "loss", "relative_index"]
