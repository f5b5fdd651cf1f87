"""Word pieces, sentence pairs with masks, and labeled sentences as word pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.data import load
from nnatomy.data.kinds import kind_of
from nnatomy.data.kinds.passages.passages import PassagePreprocessing, documents_of
from nnatomy.data.masking import DynamicMasks
from nnatomy.data.wordpiece import CLS, MASK, SEP, SPECIAL, UNKNOWN, WordPieces, frequent_words, learn
from nnatomy.errors import UserError

TEXTS = ["The cats play in the garden.", "A cat played, and plays!", "Dogs are playing with cats.", "a dog plays"] * 5
TASKS: dict[str, Any] = {"accepts": ("passages",), "tasks": ("masked language",)}
pytestmark = pytest.mark.any_kernels


def vocabulary(*pieces: str) -> WordPieces:
    return WordPieces((*SPECIAL, *pieces))


def test_a_word_is_cut_into_the_longest_pieces_that_fit() -> None:
    pieces = vocabulary("play", "##ing", "##in", "##g", "p", "##lay", "the")
    assert pieces.pieces("playing") == ("play", "##ing")
    assert pieces.pieces("playg") == ("play", "##g")
    assert pieces.pieces("plays") == ("[UNK]",)  # a rest without a piece makes the whole word unknown
    ids = pieces.encode("The [MASK] Playing")
    assert [pieces.vocabulary[i] for i in ids] == ["the", "[MASK]", "play", "##ing"]
    assert pieces.decode(ids) == "the [MASK] playing"
    assert pieces.encode("").shape == (0,)


def test_pieces_are_those_of_the_library() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    learned = learn(TEXTS, 60)
    assert learned[: len(SPECIAL)] == SPECIAL
    assert len(learned) == len(set(learned)) == 60
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece({w: n for n, w in enumerate(learned)}, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    ours = WordPieces(learned)
    for text in [*TEXTS, "gardening dogs zebra"]:
        assert ours.encode(text).tolist() == made.encode(text.lower()).ids
    assert UNKNOWN in ours.encode("zebra")


def test_a_learned_vocabulary_is_always_the_same() -> None:
    """In other processes too, where the order of the library's tables differs."""
    pytest.importorskip("tokenizers")
    import subprocess
    import sys

    code = f"from nnatomy.data.wordpiece import learn; print(learn({TEXTS!r}, 60))"
    runs = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in range(3)}
    assert runs == {f"{learn(TEXTS, 60)}\n"}
    with pytest.raises(UserError, match="Word pieces"):
        learn(TEXTS, 10)


def test_words_that_are_frequent() -> None:
    assert frequent_words(["A b", "b, [SEP] c", "c B"], 2) == (*SPECIAL, "b", "c")


def test_two_sentences_are_marked_and_cut() -> None:
    made = PassagePreprocessing((*SPECIAL, "a", "b", "c", "d"), window=8)
    texts = ["a b", "a b [SEP] c d", "a a a a a a a a a", "a a a a [SEP] b b b b", "a [SEP] b b b b b"]
    tokens, lengths, segments = made.transform(texts)
    a, b, c, d = range(5, 9)
    assert tokens[0].tolist() == [CLS, a, b, SEP, 0, 0, 0, 0]
    assert tokens[1].tolist() == [CLS, a, b, SEP, c, d, SEP, 0]
    assert segments[1].tolist() == [0, 0, 0, 0, 1, 1, 1, 0]
    assert tokens[2].tolist() == [CLS, *[a] * 6, SEP]
    assert tokens[3].tolist() == [CLS, a, a, SEP, b, b, b, SEP]
    assert tokens[4].tolist() == [CLS, a, SEP, b, b, b, b, SEP]
    assert lengths.tolist() == [4, 7, 8, 8, 8]


def test_documents_end_at_blank_lines() -> None:
    encode = WordPieces((*SPECIAL, *"abcdef", ".")).encode
    found = documents_of("a. b.\nc.\n\nd.\ne. f.\n", encode)
    assert [len(document) for document in found] == [3, 3]


@pytest.fixture
def book(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    names, verbs, things = ["anna", "ben", "tom"], ["plants", "cooks", "paints"], ["apples", "eggs", "ducks"]
    sentences = [" ".join(rng.choice(group) for group in (names, verbs, things)) + "." for _ in range(400)]
    path = tmp_path / "book.txt"
    path.write_text("\n".join(sentences), encoding="utf-8")
    return path


def test_a_text_becomes_pairs(book: Path) -> None:
    data: Any = load(book, window=16, **TASKS)
    assert data.kind == "passages"
    for part in (data.train, data.validation, data.test):
        tokens, lengths, segments, labels, random = part.all()
        assert 0.3 < random.mean() < 0.6
        chosen = labels != -100
        assert (chosen.sum(axis=1) >= 1).all()
        assert not chosen[tokens < len(SPECIAL)].any() or (tokens[chosen] >= MASK).all()
        assert (tokens[np.arange(len(tokens)), lengths - 1] == SEP).all()
        assert ((segments == 1).sum(axis=1) > 0).all()
    again: Any = load(book, window=16, **TASKS)
    for a, b in zip(data.train.all(), again.train.all(), strict=True):
        np.testing.assert_array_equal(a, b)
    other: Any = load(book, window=16, seed=1, **TASKS)
    assert any((a != b).any() for a, b in zip(data.train.all(), other.train.all(), strict=True))


def test_a_plain_text_is_a_text_first(book: Path) -> None:
    assert load(book, window=16).kind == "text"
    with pytest.raises(UserError, match="8 tokens at least"):
        load(book, window=4, **TASKS)


def test_labeled_sentences_as_pieces(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    lines = [f"{text}\t{'dog' if 'og' in text else 'cat'}" for text in TEXTS]
    (tmp_path / "s.tsv").write_text("\n".join(lines), encoding="utf-8")
    data: Any = load(tmp_path / "s.tsv", ("sentences",), tokens=60)
    tokens, lengths, _ = data.train.all()
    assert (tokens[:, 0] == CLS).all()
    assert (tokens[np.arange(len(tokens)), lengths - 1] == SEP).all()
    ids, n = data.preprocessing.transform(["cats", ""])
    assert n.tolist()[1] == 2
    assert "word pieces" in kind_of(data).limits(data)
    saved = data.preprocessing.to_json()
    restored = type(data.preprocessing).from_json(saved)
    np.testing.assert_array_equal(restored.transform(["cats play"])[0], data.preprocessing.transform(["cats play"])[0])
    plain: Any = load(tmp_path / "s.tsv", ("sentences",))
    assert not plain.preprocessing.pieces
    assert ids.shape[1] == n.max()


def test_bert_learns_a_users_files(book: Path, tmp_path: Path) -> None:
    """A text and labeled sentences: trained for an epoch, predicted, exported."""
    pytest.importorskip("tokenizers")
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    found = nn.train("bert", book, out=tmp_path / "run", window=16, epochs=1, settings=small, report=False)
    answer = nn.predict(found.run.folder, ["anna [MASK] apples.", "ben cooks eggs. [SEP] [MASK] paints ducks."])
    assert list(answer.columns) == ["row", "text", "filled"]
    first, second = answer.columns["filled"]
    assert len(first.split()) == 4
    assert "[" not in first + second
    assert first.startswith("anna ")
    table = tmp_path / "mine.csv"
    rows = [f'"{text} {n}",{"dog" if "og" in text else "cat"}' for n, text in enumerate(TEXTS * 3)]
    table.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    found = nn.train("bert", table, out=tmp_path / "texts", epochs=1, tokens=90, settings=small, report=False)
    assert "accuracy" in found.metrics
    assert set(nn.predict(found.run.folder, ["my dog"]).columns["prediction"]) <= {"dog", "cat"}


def test_swapped_pairs_have_the_same_sentences(book: Path) -> None:
    """Half are in the wrong order; each pair of sentences follows each other in the text."""
    data: Any = load(book, window=16, pairs="swapped", **TASKS)
    tokens, lengths, segments, labels, swapped = data.train.all()
    assert 0.4 < swapped.mean() < 0.6
    whole = np.where(labels == -100, tokens, labels)
    sentences = [data.preprocessing.pieces.encode(line).tolist() for line in book.read_text(encoding="utf-8").splitlines()]
    follow = set(zip(map(tuple, sentences), map(tuple, sentences[1:]), strict=False))
    for row in range(0, len(whole), 50):
        ids, second = whole[row, : lengths[row]], segments[row, : lengths[row]] == 1
        a, b = (tuple(ids[part][~np.isin(ids[part], (CLS, SEP))].tolist()) for part in (~second, second))
        assert ((b, a) if swapped[row] else (a, b)) in follow


def test_passages_without_pairs_are_full(book: Path) -> None:
    """No segments, no second target, one [SEP], and as many whole sentences as fit; a [SEP] of a user starts nothing."""
    data: Any = load(book, window=16, pairs="none", **TASKS)
    tokens, lengths, _ = data.train.all()
    assert (tokens == SEP).sum(axis=1).max() == 1
    assert np.median(lengths) > 12
    assert [field.name for field in data.train.fields] == ["tokens", "lengths", "labels"]
    (given, n) = data.preprocessing.transform(["anna plants apples. [SEP] ben cooks"])
    assert (given == SEP).sum() == 1
    assert n.tolist() == [8]
    assert type(data.preprocessing).from_json(data.preprocessing.to_json()).pairs == "none"
    with pytest.raises(UserError, match="mixed"):
        load(book, pairs="mixed", **TASKS)


def test_dynamic_masks_are_drawn_again(book: Path) -> None:
    """The same texts under others masks each time; the same generator gives the same ones."""
    data: Any = load(book, window=16, pairs="none", **TASKS)
    batch = data.train.take(np.arange(20))
    whole = np.where(batch[2] == -100, batch[0], batch[2])
    change, named = DynamicMasks(), data.train.fields
    seen = [change(named, batch, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    for tokens, lengths, labels in seen:
        np.testing.assert_array_equal(np.where(labels == -100, tokens, labels), whole)
        np.testing.assert_array_equal(lengths, batch[1])
        assert ((labels != -100).sum(axis=1) == (batch[2] != -100).sum(axis=1)).all()
    np.testing.assert_array_equal(seen[0][0], seen[1][0])
    assert (seen[0][2] != seen[2][2]).any()
    assert (seen[0][2] != batch[2]).any()
