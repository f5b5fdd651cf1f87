"""Completion: which answers count, and when one is right."""

from __future__ import annotations

import numpy as np
import pytest

from nnatomy import data, tasks
from nnatomy.data.fields import Field
from nnatomy.tasks.completion import _Answers
from nnatomy.tasks.language import _Surprise

NAMED = (Field("tokens", like="tokens"), Field("following", role="target", like="tokens"))


TEXT = "3=5\n1+7=8\n0+9=9\n2+2=4"


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (None, 1.0),
        (1, 1.0),  # the answer 5 of the first line, whose question may have started before the window
        (5, 1.0),  # the question 7
        (7, 0.5),  # the answer 8
        (8, 0.5),  # the end of its line: the answer would go on
        (13, 0.5),  # the answer 9
        (19, 1.0),  # the answer 4: the window ends before its line does
    ],
)
def test_an_answer_is_right_if_all_of_its_tokens_are(wrong: int | None, expected: float) -> None:
    signs = sorted(set(TEXT))
    ids = np.array([[signs.index(c) for c in TEXT]])
    tokens, following = ids[:, :-1], ids[:, 1:]
    predicted = following.copy()
    if wrong is not None:
        predicted[0, wrong] = (predicted[0, wrong] + 1) % len(signs)
    meter = _Answers(_Surprise(len(signs), NAMED), NAMED, signs.index("="), signs.index("\n"))
    meter.add(np.eye(len(signs))[predicted], (tokens, following))
    found = meter.result().metrics
    assert found["answers"] == expected
    assert found["accuracy"] == pytest.approx(1 - (wrong is not None) / following.size)


def test_a_language_task_has_no_answers() -> None:
    assert "answers" not in {metric.name for metric in tasks.Language.metrics}
    assert data.load("sums").task == tasks.Completion.name
