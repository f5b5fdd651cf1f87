"""Llama (2023), Llama 2 and 3; and PaLM (2022)."""

from nnatomy.architectures.transformers.llama.model import MLP, Attention, Block, Llama, build, frequencies, loss, rotate

__all__ = ["MLP", "Attention", "Block", "Llama", "build", "frequencies", "loss", "rotate"]
