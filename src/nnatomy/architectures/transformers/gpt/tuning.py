"""Tuning a trained GPT: on answers to instructions, and on preferences between answers, against a frozen reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy import functional as F
from nnatomy import ops
from nnatomy.architectures.transformers.gpt.model import GPT
from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.graph import no_grad
from nnatomy.tensor import Tensor
from nnatomy.typing import Float, Int

Array = NDArray[Any]
IGNORED = -100  # what follows within a question, and in the padding


def with_answers(questions: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], length: int) -> tuple[Array, Array]:
    """Return (tokens, following), each (n, length): `loss` then counts the tokens of answers alone (instruction tuning).

    Each row is a question and its answer, padded with its last token; `following` is -100 at other places.

    Raises:
        UserError: where a question is empty, or the two together do not fit
    """
    tokens, following = np.zeros((len(questions), length), np.int64), np.full((len(questions), length), IGNORED)
    for row, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        both = [*question, *answer]
        if not question or len(both) > length + 1:
            raise UserError(
                f"A question of at least one token and its answer fit into {length + 1} tokens. Received {len(question)} and "
                f"{len(answer)}. Give a larger length."
            )
        tokens[row, : len(both) - 1], tokens[row, len(both) - 1 :] = both[:-1], both[-1]
        following[row, len(question) - 1 : len(both) - 1] = answer
    return tokens, following


def log_likelihood(
    model: GPT, tokens: Int[Tensor, "batch time"], following: Int[Tensor, "batch time"]
) -> Float[Tensor, " batch"]:
    """Return ln p(answer | question) = sum_t ln p(following_t | tokens_1..t) over the places that are not -100."""
    scores = model(tokens)
    each = F.cross_entropy(scores.reshape(-1, scores.shape[-1]), following.reshape(-1), reduction="none")
    return -each.reshape(tokens.shape).sum(axis=1)  # type: ignore[no-any-return]


def preferences(
    reference: GPT, chosen: tuple[Array, Array], rejected: tuple[Array, Array]
) -> tuple[Array, ...]:  # fmt: skip
    """Return what a batch of `dpo_loss` holds: both answers, and the log-likelihoods that the frozen reference gives them."""
    training = reference.training
    reference.eval()
    with no_grad():
        found = [log_likelihood(reference, *(Tensor(B.asarray(a)) for a in side)).numpy() for side in (chosen, rejected)]
    reference.train(training)
    return (*chosen, *rejected, *found)


def dpo_loss(
    model: GPT, tokens: Int[Tensor, "batch time"], following: Int[Tensor, "batch time"],
    worse_tokens: Int[Tensor, "batch time"], worse_following: Int[Tensor, "batch time"],
    reference: Float[Tensor, " batch"], worse_reference: Float[Tensor, " batch"], beta: float = 0.1,
) -> tuple[Float[Tensor, ""], Float[Tensor, " batch"]]:  # fmt: skip
    """Direct preference optimization: -ln sigmoid(margin), averaged, and the margins.

    margin = beta ((ln p(better) - ln p_ref(better)) - (ln p(worse) - ln p_ref(worse))), where p_ref is the model before tuning.
    It starts at 0, and the loss at ln 2.

    Source: Rafailov et al. (2023), equation 7.
    """
    better, worse = log_likelihood(model, tokens, following), log_likelihood(model, worse_tokens, worse_following)
    margin = beta * ((better - reference) - (worse - worse_reference))
    return F.batch_mean(ops.softplus(-margin)), margin
