"""Entropy, coverage and distance of attacks against what they are by definition."""

import itertools
import math
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from redteam_env.evaluation.diversity import (
    coverage,
    distinct,
    entropy,
    mean_cosine,
    near_duplicates,
    ngram_distance,
    self_bleu,
)
from redteam_env.game import RedteamError

WORDS = ("how", "do", "i", "make", "ka", "mi", "ro")
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join), min_size=2, max_size=8)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_entropy_equals_scipy_in_bits(items):
    counts = list(Counter(items).values())
    assert entropy(items) == pytest.approx(stats.entropy(counts, base=2), abs=1e-12)


def test_entropy_of_known_distributions():
    assert entropy(["a", "b", "c", "d"]) == 2
    assert entropy([frozenset("a"), frozenset("b"), frozenset("a"), frozenset("b")]) == 1
    assert entropy(["a", "a", "b", "c"]) == 1.5


def test_one_item_has_an_entropy_of_zero_that_prints_without_a_minus():
    assert f"{entropy(['a', 'a']):.3f}" == "0.000"


def test_coverage_counts_each_possible_item_once_and_no_other():
    possible = ["a", "b", "c", "d"]
    assert coverage(["a", "a", "b"], possible) == 0.5
    assert coverage(["a", "x", "y"], possible) == 0.25
    assert coverage([], possible) == 0
    assert coverage(possible * 2, [*possible, "a"]) == 1


def pair_distance(a, b):
    one, two = ([tuple(x[k : k + 2]) for k in range(max(1, len(x) - 1))] for x in (a, b))
    one, two = Counter(one), Counter(two)
    dot = sum(one[x] * two[x] for x in one)
    size = math.prod(math.sqrt(sum(v * v for v in x.values())) for x in (one, two))
    return 1 - dot / size


@given(TEXTS)
def test_the_distance_is_the_mean_over_all_pairs(texts):
    """Word pairs of these few words do not collide, so the plain count gives the same."""
    pairs = itertools.combinations([x.split() for x in texts], 2)
    expected = np.mean([pair_distance(a, b) for a, b in pairs])
    assert ngram_distance(texts) == pytest.approx(expected, abs=1e-9)


def test_equal_texts_are_at_distance_zero_and_texts_without_a_common_pair_at_one():
    assert ngram_distance(["how do i make ka"] * 3) == pytest.approx(0, abs=1e-12)
    assert ngram_distance(["how do i make", "do how make i"]) == pytest.approx(1)
    assert ngram_distance(["ka mi", "ka ro"], 1) == pytest.approx(0.5)


def test_short_empty_and_odd_texts_have_a_distance():
    assert ngram_distance(["", ""]) == pytest.approx(0)
    assert ngram_distance(["", "ka"]) == pytest.approx(1)
    assert ngram_distance(["\ud800 ka", "\x00 ka"]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: entropy([]), "nothing to take the entropy of"),
        (lambda: coverage(["a"], []), "no possible items"),
        (lambda: ngram_distance(["a"]), "1 texts"),
        (lambda: ngram_distance(["a b", "b a"], 0), "n is 0"),
    ],
)
def test_what_has_no_variety_to_measure_is_an_error(call, message):
    with pytest.raises(RedteamError, match=message):
        call()


def test_distinct_counts_different_grams_over_all_grams():
    assert distinct(["a b a b"], 1) == 0.5
    assert distinct(["a b a b"], 2) == pytest.approx(2 / 3)
    assert distinct(["a b", "c d"], 2) == 1.0
    assert distinct(["a", ""], 2) == 0.0


def test_near_duplicates_are_texts_that_nearly_repeat_an_earlier_one():
    long = " ".join(f"word{k}" for k in range(30))
    assert near_duplicates([long, long.upper(), f"{long} more", "another text of words"]) == 0.5
    assert near_duplicates(["hello", "hello", "bye"]) == pytest.approx(1 / 3)
    assert near_duplicates(["one"]) == 0.0


def test_self_bleu_is_the_mean_of_sacrebleus_sentence_scores():
    sacrebleu = pytest.importorskip("sacrebleu")
    texts = ["the cat sat on the mat", "the cat sat on a hat", "rain fell all night long"]
    expected = [
        sacrebleu.sentence_bleu(text, [x for x in texts if x != text]).score / 100 for text in texts
    ]
    assert self_bleu(texts) == pytest.approx(sum(expected) / 3)
    assert self_bleu(["a b c d e"] * 3) == pytest.approx(1.0)
    assert self_bleu(["a b c d e f g", "h i j k l m n"]) < 0.1


def test_self_bleu_without_its_library_is_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    assert self_bleu(["one text", "two texts"]) is None


@given(st.lists(st.lists(st.floats(-1, 1), min_size=3, max_size=3), min_size=2, max_size=8))
def test_the_mean_cosine_is_that_of_all_pairs(rows):
    vectors = np.array(rows)
    pairs = [x @ y for x, y in itertools.permutations(vectors, 2)]
    assert mean_cosine(vectors) == pytest.approx(np.mean(pairs), abs=1e-9)


@pytest.mark.parametrize(
    "call",
    [
        lambda: distinct(["a"], 0),
        lambda: near_duplicates([]),
        lambda: self_bleu(["one"]),
        lambda: mean_cosine(np.ones((1, 2))),
    ],
)
def test_too_little_to_compare_is_refused(call):
    with pytest.raises(RedteamError):
        call()
