"""Pairs of texts: which files they are, what is fitted, and how texts become numbers and texts again."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nnatomy.data import Fold, load, load_examples, load_inputs
from nnatomy.data.dataset import batches
from nnatomy.data.kinds import kind_of
from nnatomy.data.kinds.pairs.pairs import PairPreprocessing, PairSplit
from nnatomy.data.kinds.pairs.vocabulary import BOS, EOS, PAD, UNK, Vocabulary
from nnatomy.errors import UserError

pytestmark = pytest.mark.any_kernels

SENTENCES = [
    "A man (in red) runs, and I wait.", "The dog sleeps.", "Two cats wait, then run!", "A dog and a man run.", "The Alps wait.",
]  # fmt: skip


def test_texts_come_back_from_their_numbers() -> None:
    words = Vocabulary.fit(SENTENCES)
    assert [words.decode(row) for row in words.encode(SENTENCES)] == SENTENCES
    assert words.decode(words.encode(["THE dog waits in the alps."])[0]) == "The dog <unk> in the Alps."
    letters = Vocabulary.fit(["abc", "cab", "b a"])
    assert not letters.spaced
    assert letters.decode(letters.encode(["cab ab"])[0]) == "cab ab"


def test_special_tokens_in_a_text_are_text() -> None:
    words = Vocabulary.fit(["a <eos> b c", "b c a"])
    assert EOS not in np.concatenate(words.encode(["a <eos> b", "<pad> <bos>"]))


def test_what_the_decoder_is_given_is_one_place_behind_what_follows() -> None:
    split = PairSplit((np.array([5, 6, 7]), np.array([5])), (np.array([8]), np.array([9, 8, 7])), ("x", "y z"))
    source, lengths, given, following = split.take(np.array([0, 1]))
    assert source.tolist() == [[5, 6, 7], [5, PAD, PAD]]
    assert lengths.tolist() == [3, 1]
    assert given.tolist() == [[BOS, 8, PAD, PAD], [BOS, 9, 8, 7]]
    assert following.tolist() == [[8, EOS, -100, -100], [9, 8, 7, EOS]]


@pytest.mark.parametrize(("second", "kind"), [
    (lambda n: "pos" if n % 2 else "neg", "sentences"),
    (lambda n: "very good" if n % 2 else "very bad", "sentences"),
    (lambda n: f"a text of its own {n}", "pairs"),
])  # fmt: skip
def test_a_tsv_file_is_what_it_holds(tmp_path: Path, second: Callable[[int], str], kind: str) -> None:
    lines = [f"this is a text {n}\t{second(n)}" for n in range(40)]
    (tmp_path / "x.tsv").write_text("\n".join(lines), encoding="utf-8")
    assert kind_of(load(tmp_path / "x.tsv")).name == kind


def test_two_columns_of_numbers_are_no_pairs(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("\n".join(f"{n}\t{n * n}" for n in range(40)), encoding="utf-8")
    with pytest.raises(UserError, match=r"pairs of texts. .* holds tables"):
        load(tmp_path / "x.tsv", ("pairs",))


def test_pairs_of_characters_are_recognized(tmp_path: Path) -> None:
    (tmp_path / "sums.tsv").write_text("\n".join(f"{a}+{b}\t={a + b}" for a in range(10) for b in range(10)), encoding="utf-8")
    found = load(tmp_path / "sums.tsv", ("pairs",))
    assert found.preprocessing.to_json()["source"]["spaced"] is False
    assert found.test.references[0].startswith("=")


def test_pairs_with_one_source_stay_in_one_split(tmp_path: Path) -> None:
    lines = [f"source number {n % 30}\ttranslation {n} of it" for n in range(90)]
    (tmp_path / "p.tsv").write_text("\n".join(lines), encoding="utf-8")
    for fold in (None, Fold(0, 3)):
        found = load(tmp_path / "p.tsv", fold=fold)
        seen = [{found.preprocessing.source.decode(s) for s in split.sources} for split in (found.train, found.test)]
        unknown = {text for text in seen[1] if "<unk>" in text}
        assert not seen[0] & (seen[1] - unknown)
        assert sum(map(len, (found.train, found.validation, found.test))) == 90


def test_too_few_different_sources_are_refused(tmp_path: Path) -> None:
    (tmp_path / "p.tsv").write_text("\n".join(f"a b {n % 5}\tc d {n}" for n in range(30)), encoding="utf-8")
    with pytest.raises(UserError, match=r"5 different sources in p\. Give at least 20"):
        load(tmp_path / "p.tsv")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "texts"
    made.mkdir()
    for part, count in (("train", 20), ("val", 6), ("test", 8)):
        (made / f"my.{part}.en").write_text("\n".join(f"the {part} text {n}" for n in range(count)), encoding="utf-8")
        packed = "\n".join(f"der {part} Satz {n}" for n in range(count)).encode()
        (made / f"my.{part}.de.gz").write_bytes(gzip.compress(packed))
    return made


def test_two_files_of_a_folder_are_pairs_in_their_official_parts(folder: Path) -> None:
    found = load(folder)
    assert [len(s) for s in (found.train, found.validation, found.test)] == [20, 6, 8]
    assert found.test.references[3] == "the test text 3"
    assert "--target de" in found.notices[0]
    turned = load(folder, target="de")
    assert turned.test.references[3] == "der test Satz 3"
    split, _ = load_examples(folder, turned.preprocessing)
    assert split.references[0] == "der train Satz 0"  # type: ignore[attr-defined]
    assert len(load(folder, fold=Fold(0, 2)).test) == 13  # of training and validation; the official test takes no part
    with pytest.raises(UserError, match="Use de or en"):
        load(folder, target="fr")


def test_files_of_a_pair_that_differ_in_length_are_refused(folder: Path) -> None:
    (folder / "my.train.en").write_text("only one line", encoding="utf-8")
    with pytest.raises(UserError, match="equally many lines"):
        load(folder)


@pytest.mark.parametrize("text", ["", "one\ttwo\nthree", "one\ttwo\n\tthree", "a\tb\tc\n"])
def test_lines_that_are_no_pairs_are_refused(text: str, tmp_path: Path) -> None:
    preprocessing = PairPreprocessing.fit(["a b"], ["c d"])
    (tmp_path / "p.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"pairs|source, a tab and a target"):
        load_examples(tmp_path / "p.tsv", preprocessing)


def test_inputs_are_lines_lists_or_pairs(tmp_path: Path) -> None:
    preprocessing = PairPreprocessing.fit(["a b c"], ["c d"])
    (tmp_path / "s.txt").write_text("a b\nc x\n", encoding="utf-8")
    (tmp_path / "s.tsv").write_text("a b\tc\nc x\td\n", encoding="utf-8")
    expected = preprocessing.transform(["a b", "c x"])
    for source in (tmp_path / "s.txt", tmp_path / "s.tsv", ["a b", "c x"]):
        found = load_inputs(source, preprocessing)
        assert all(map(np.array_equal, found.arrays, expected))
        assert "1 tokens" in found.notices[0]
    assert expected[0].tolist()[1][1] == UNK
    (tmp_path / "blank.txt").write_text("a b\n\nc x\n", encoding="utf-8")
    blank = load_inputs(tmp_path / "blank.txt", preprocessing)
    assert (blank.rows, blank.shown) == (("1", "2", "3"), {"source": ("a b", "", "c x")})
    for wrong in ([], [""], 3, ["a", 4]):
        with pytest.raises(UserError, match="A translation needs texts"):
            load_inputs(wrong, preprocessing)


def test_batches_of_like_length_need_little_padding() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join("ab"[i] for i in rng.integers(0, 2, n)) for n in rng.integers(1, 40, 640)]
    split = PairPreprocessing.fit(texts, texts).encode(texts, texts)
    padding = [1 - b[1].sum() / b[0].size for b in batches(split, 32, shuffle=0)]
    alone = [1 - b[1].sum() / b[0].size for b in batches(split, 32)]
    assert np.mean(padding) < 0.2 < 0.4 < np.mean(alone)


def test_the_letters_are_copied_or_reversed_and_never_repeated() -> None:
    found = load("letters")
    decode = found.preprocessing.source.decode
    texts = [[decode(row) for row in split.sources] for split in (found.train, found.validation, found.test)]
    assert sum(map(len, map(set, texts))) == len(set().union(*texts)) == sum(map(len, texts))
    for source, target in zip(texts[2], found.test.references, strict=True):
        assert target == (source[1:] if source[0] == "=" else source[:0:-1])
