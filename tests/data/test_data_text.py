"""Texts as characters, and labeled sentences as words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnatomy.data import load, load_inputs, preprocessing_from_json
from nnatomy.data.kinds.sentences.sentences import WordPreprocessing
from nnatomy.data.kinds.text.text import CharacterPreprocessing, clean
from nnatomy.errors import UserError

Write = Callable[..., Path]
Real = Callable[[str], Path]
GOOD = [f"a warm and clever film number {k}" for k in range(40)]
BAD = [f"a dull , empty film number {k}" for k in range(40)]


@given(st.text(min_size=1))
def test_characters_come_back(text: str) -> None:
    fitted = CharacterPreprocessing.fit(text, 8)
    assert fitted.decode(fitted.encode(text)) == clean(text)
    assert preprocessing_from_json(json.loads(json.dumps(fitted.to_json()))) == fitted


def test_characters_not_seen_are_unknown() -> None:
    fitted = CharacterPreprocessing.fit("abc", 8)
    assert fitted.encode("azbé").tolist() == [1, 0, 2, 0]


def test_a_text_is_parted_by_position(write: Write) -> None:
    text = "".join(chr(97 + k % 26) for k in range(4000)) + "!"
    found = load(write("t.txt", text), ("text",), window=8)
    assert (found.kind, found.task, found.input_shape) == ("text", "language", (8,))
    now, following = found.train.take(np.array([0, 1]))
    fitted = found.preprocessing
    assert isinstance(fitted, CharacterPreprocessing)
    assert fitted.decode(now) == text[:16]
    assert fitted.decode(following[0]) == text[1:9]
    assert fitted.decode(found.test.take(np.array([0]))[0]) == text[round(0.95 * len(text)) :][:8]
    assert "!" not in fitted.vocabulary  # the vocabulary is the training part's
    assert found.outputs == len(fitted.vocabulary) == 27
    assert any("1 characters of the later parts" in notice for notice in found.notices)


@given(st.text(min_size=1))
def test_tokens_of_bytes_write_every_text(text: str) -> None:
    """Whatever the training text was: each byte has a token."""
    fitted = CharacterPreprocessing.fit("the cat and the hat, the cat and the hat", 8, 270)
    assert fitted.decode(fitted.encode(text)) == clean(text)


def test_tokens_of_bytes_join_what_is_frequent(write: Write) -> None:
    text = "the cat sat on the mat, and the dog sat on the cat. " * 40
    found = load(write("t.txt", text), ("text",), window=8, tokens=300)
    fitted = found.preprocessing
    assert isinstance(fitted, CharacterPreprocessing)
    assert found.outputs == len(fitted.vocabulary)
    assert {" the", " cat", " sat"} <= set(fitted.vocabulary)
    now, following = found.train.take(np.array([0]))
    assert text.startswith(fitted.decode(now))
    np.testing.assert_array_equal(now[0, 1:], following[0, :-1])
    assert len(fitted.encode(text)) < len(text) / 3
    assert preprocessing_from_json(json.loads(json.dumps(fitted.to_json()))) == fitted
    with pytest.raises(UserError, match="at least 257"):
        load(write("t.txt", text), ("text",), window=8, tokens=256)
    with pytest.raises(UserError, match="tokens, and windows of 300"):
        load(write("t.txt", text * 3), ("text",), window=300, tokens=300)


def test_sums_are_true_and_parted_by_what_is_added() -> None:
    found = load("sums", seed=3)
    fitted = found.preprocessing
    assert isinstance(fitted, CharacterPreprocessing)
    assert (found.task, found.outputs, fitted.answer) == ("completion", 14, "=")
    parts = []
    for split in (found.train, found.validation, found.test):
        text = fitted.decode(split.tokens)  # type: ignore[attr-defined]
        lines = [line.replace("=", "+").split("+") for line in text.splitlines()]
        assert all(int(a) + int(b) == int(c) for a, b, c in lines)
        parts.append({frozenset((int(a), int(b))) for a, b, _ in lines})
        assert len({tuple(line) for line in lines}) == len(lines)
    assert [len(part) for part in parts] == [4546, 252, 252]
    assert not parts[0] & parts[2] | parts[0] & parts[1] | parts[1] & parts[2]


def test_words_are_parted() -> None:
    fitted = WordPreprocessing.fit([], ())
    assert fitted.split("It's a well-made film, isn't it?") == ["it's", "a", "well-made", "film", ",", "isn't", "it", "?"]


def test_rare_words_are_unknown_and_frequent_ones_first() -> None:
    fitted = WordPreprocessing.fit(["a a b b b once"], ("n", "p"))
    assert fitted.vocabulary == ("<pad>", "<unk>", "b", "a")
    tokens, lengths = fitted.transform(["a once", "b"])
    assert tokens.tolist() == [[3, 1], [2, 0]]
    assert lengths.tolist() == [2, 1]


@pytest.mark.parametrize("source", ["films.neg.txt", "films.pos.txt", "."])
def test_a_pair_of_files_by_either_or_by_its_folder(write: Write, source: str) -> None:
    write("films.pos.txt", "\n".join(GOOD))
    folder = write("films.neg.txt", "\n".join(BAD)).parent
    found = load(folder / source, ("sentences",))
    assert found.classes == ("negative", "positive")
    assert [len(split) for split in (found.train, found.validation, found.test)] == [64, 8, 8]
    tokens, lengths, labels = found.test.all()
    dull = found.preprocessing.vocabulary.index("dull")  # type: ignore[attr-defined]
    np.testing.assert_array_equal((tokens == dull).any(axis=1), labels == 0)
    assert lengths.max() == tokens.shape[1]


@pytest.mark.parametrize("header", ["", "sentence\tlabel\n"])
def test_lines_of_sentence_and_label(write: Write, header: str) -> None:
    text = "\n".join([f"{s}\t1" for s in GOOD] + [f"{s}\t0" for s in BAD])
    found = load(write("s.tsv", header + text), ("sentences",))
    assert found.classes == ("0", "1")
    assert len(found.train) + len(found.validation) + len(found.test) == 80
    new = load_inputs(write("new.txt", "a clever film\n\ndull\n"), found.preprocessing)
    assert new.rows == ("1", "2", "3")
    assert new.shown == {"text": ("a clever film", "", "dull")}
    assert new.arrays[1].tolist() == [3, 1, 1]


def test_the_vocabulary_is_the_training_sentences(write: Write) -> None:
    parts = {"train": GOOD[:30] + BAD[:30], "dev": ["zebra zebra"] * 4, "test": ["yak yak"] * 4}
    for part, sentences in parts.items():
        write(f"x_{part}.tsv", "\n".join(f"{s}\t{k % 2}" for k, s in enumerate(sentences)))
    found = load(write("x_train.tsv", "\n".join(f"{s} \t{k % 2}" for k, s in enumerate(parts["train"]))), ("sentences",))
    assert [len(split) for split in (found.train, found.validation, found.test)] == [60, 4, 4]
    assert not {"zebra", "yak"} & set(found.preprocessing.vocabulary)  # type: ignore[attr-defined]


def test_tinyshakespeare(real: Real) -> None:
    found = load(real("text/tinyshakespeare.txt"), ("text", "series"))
    assert found.outputs == 66  # 65 characters and the unknown one
    assert len(found.train) == (round(0.9 * 1115394) - 129) // 128 + 1


@pytest.mark.parametrize(
    ("source", "counts"), [("text/rt-polarity.neg.txt", (8530, 1066, 1066)), ("text/sst2_train.tsv", (6920, 872, 1821))]
)
def test_real_sentences(real: Real, source: str, counts: tuple[int, ...]) -> None:
    found = load(real(source), ("sentences",))
    assert tuple(len(split) for split in (found.train, found.validation, found.test)) == counts
    tokens, lengths, labels = found.train.take(np.arange(64))
    assert set(np.unique(labels)) <= {0, 1}
    assert ((tokens != 0).sum(axis=1) == lengths).all()
