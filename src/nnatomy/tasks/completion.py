"""Completion: the answers that follow questions, in a text whose lines have both."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from nnatomy.data import fields
from nnatomy.tasks.language import Language
from nnatomy.tasks.parts import Array, Batch, Meter
from nnatomy.training.evaluation import Evaluation, Metric


class Completion(Language):
    """The prediction of the next token of questions and answers such as "27+58=085"; a whole answer is right or wrong.

    An answer is right if each of its tokens, the line's end included, is the likeliest one after the true tokens before it.
    This is the case exactly if a model that writes the likeliest tokens after the question writes this answer.
    """

    name = "completion"
    metrics = (
        Metric("answers", "higher", says="fraction of answers that are written without a mistake"),
        *Language.metrics,
    )

    def meter(self) -> Meter:
        vocabulary = self.dataset.preprocessing.to_json()["vocabulary"]
        sign = self.dataset.preprocessing.to_json()["answer"]
        return _Answers(super().meter(), self.dataset.fields, vocabulary.index(sign), vocabulary.index("\n"))


class _Answers:
    """The metrics of all tokens, and the fraction of right answers among the lines that a window holds whole."""

    def __init__(self, language: Meter, named: tuple[fields.Field, ...], sign: int, end: int) -> None:
        self._language, self._named, self._sign, self._end = language, named, sign, end
        self._right, self._count = 0, 0

    def add(self, outputs: Array, batch: Batch) -> None:
        self._language.add(outputs, batch)
        (tokens,), (following,) = (fields.select(self._named, batch, role) for role in ("input", "target"))
        hits = outputs.argmax(axis=-1) == following
        for row, after, hit in zip(tokens, following, hits, strict=True):
            ends = np.flatnonzero(after == self._end)  # the last places of answers
            for first, last in itertools.pairwise(ends):  # a line between two ends is whole
                signs = first + 1 + np.flatnonzero(row[first + 1 : last + 1] == self._sign)
                if len(signs):
                    self._right += bool(hit[signs[0] : last + 1].all())
                    self._count += 1

    def result(self) -> Evaluation:
        found = self._language.result()
        answers: dict[str, Any] = {"answers": self._right / max(self._count, 1)}
        return Evaluation(answers | found.metrics, found.arrays)
