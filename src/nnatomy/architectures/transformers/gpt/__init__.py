"""GPT (2018) and GPT-2 (2019)."""

from nnatomy.architectures.transformers.gpt.model import GPT, MLP, Attention, Block, Conv1D, build, loss
from nnatomy.architectures.transformers.gpt.tuning import dpo_loss, log_likelihood, preferences, with_answers

__all__ = [
    "GPT", "MLP", "Attention", "Block", "Conv1D", "build", "dpo_loss", "log_likelihood", "loss", "preferences", "with_answers",
]  # fmt: skip
