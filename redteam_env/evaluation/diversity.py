"""How varied a set of attacks is: entropy and coverage of their tactics, distance of their words.

Self-RedTeam (arXiv 2506.07468) reports co-trained attackers to be more diverse than ones trained
against a static defender, by the mean distance of sentence embeddings. Where the tactics of a text
can be read off, entropy and coverage are exact; the distance of word pairs needs no model.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Sequence
from typing import Any

import numpy as np

from redteam_env.game import RedteamError

_DIMENSIONS = 4096
NEAR = 0.8
"""The resemblance from which two texts are near duplicates."""
_SHINGLE = 3


def entropy(items: Sequence[Hashable]) -> float:
    """Return the Shannon entropy of the empirical distribution of items, in bits.

    Args:
        items: What was drawn, at least one.

    Raises:
        RedteamError: If there are no items.
    """
    if not items:
        raise RedteamError("There is nothing to take the entropy of; give at least one item.")
    n = len(items)
    return math.fsum(k / n * math.log2(n / k) for k in Counter(items).values())


def coverage(items: Collection[Hashable], possible: Collection[Hashable]) -> float:
    """Return the share of all possible items that occur at least once.

    Raises:
        RedteamError: If nothing is possible.
    """
    if not possible:
        raise RedteamError("There are no possible items; give at least one.")
    return len(set(items) & set(possible)) / len(set(possible))


def ngram_distance(texts: Sequence[str], n: int = 2) -> float:
    """Return one minus the mean cosine of all pairs of texts, each a vector of its word n-grams.

    Words are hashed into 4,096 counts; identical texts have distance 0, texts without a common
    n-gram distance 1 (up to collisions).

    Args:
        texts: At least two.
        n: Words in a gram, at least 1; shorter texts count as one gram.

    Raises:
        RedteamError: If there are fewer than two texts, or ``n`` is below 1.
    """
    if n < 1:
        raise RedteamError(f"n is {n}; a gram has at least 1 word.")
    if len(texts) < 2:
        raise RedteamError(f"There are {len(texts)} texts; a distance needs two.")
    total = np.zeros(_DIMENSIONS)
    own = 0.0
    for text, times in Counter(texts).items():
        words = text.split()
        grams = [" ".join(words[k : k + n]) for k in range(max(1, len(words) - n + 1))]
        vector = np.zeros(_DIMENSIONS)
        for gram in grams:
            vector[_place(gram)] += 1
        vector /= np.linalg.norm(vector)
        total += times * vector
        own += times
    pairs = len(texts) * (len(texts) - 1)
    return 1 - (float(total @ total) - own) / pairs


def distinct(texts: Sequence[str], n: int = 2) -> float:
    """Return the share of different word n-grams among all n-grams of some texts.

    (Li et al. 2016, arXiv 1510.03055.)

    Args:
        texts: The texts; those shorter than a gram have none.
        n: Words in a gram, at least 1.

    Returns:
        The share; 0 without any gram.

    Raises:
        RedteamError: If ``n`` is below 1.
    """
    if n < 1:
        raise RedteamError(f"n is {n}; a gram has at least 1 word.")
    grams = [gram for text in texts for gram in _grams(text, n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def near_duplicates(texts: Sequence[str], resemblance: float = NEAR) -> float:
    """Return the share of texts that are nearly the same as an earlier one.

    The resemblance of two texts is the share of their sequences of three words that both have (Broder
    1997, "On the resemblance and containment of documents"); case does not count.

    Args:
        texts: The texts.
        resemblance: From which on two are nearly the same, in (0, 1].

    Raises:
        RedteamError: If there are no texts.
    """
    if not texts:
        raise RedteamError("There are no texts to compare; give at least one.")
    shingles = [
        frozenset(_grams(text.casefold(), _SHINGLE) or [(text.casefold(),)]) for text in texts
    ]
    repeated = sum(
        any(len(own & other) >= resemblance * len(own | other) for other in shingles[:k])
        for k, own in enumerate(shingles)
    )
    return repeated / len(texts)


def self_bleu(texts: Sequence[str]) -> float | None:
    """Return the mean BLEU of each text against all others, in [0, 1]; low is varied.

    (Zhu et al. 2018, arXiv 1802.01886; sacrebleu's sentence BLEU with its defaults.) Sequences of words are
    counted once for each text: of the most that the others have, the two highest counts are enough.

    Args:
        texts: At least two.

    Returns:
        The mean, or ``None`` where sacrebleu is not installed.

    Raises:
        RedteamError: If there are fewer than two texts.
    """
    if len(texts) < 2:
        raise RedteamError(f"There are {len(texts)} texts; self-BLEU needs two.")
    try:
        from sacrebleu.metrics import BLEU  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    metric = BLEU(effective_order=True)
    words = [metric.tokenizer(text.rstrip()).split() for text in texts]
    counts = [
        [Counter(_sequences(own, n)) for n in range(1, metric.max_ngram_order + 1)] for own in words
    ]
    highest: dict[tuple[str, ...], tuple[int, int, int]] = {}
    for k, orders in enumerate(counts):
        for gram, many in (x for order in orders for x in order.items()):
            first, owner, second = highest.get(gram, (0, -1, 0))
            highest[gram] = (many, k, first) if many > first else (first, owner, max(second, many))
    scores = []
    for k, orders in enumerate(counts):
        matched = []
        for order in orders:
            others = (_of_others(highest[gram], k, many) for gram, many in order.items())
            matched.append(sum(others))
        size = len(words[k])
        lengths = (len(own) for place, own in enumerate(words) if place != k)
        closest = min(lengths, key=lambda length: (abs(length - size), length))
        score = BLEU.compute_bleu(
            matched,
            [order.total() for order in orders],
            size,
            closest,
            smooth_method=metric.smooth_method,
            effective_order=True,
        )
        scores.append(score.score / 100)
    return math.fsum(scores) / len(scores)


def _sequences(words: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    return (tuple(words[k : k + n]) for k in range(len(words) - n + 1))


def _of_others(highest: tuple[int, int, int], text: int, many: int) -> int:
    """Return how often a sequence of a text is matched by the other text that has it most often."""
    first, owner, second = highest
    return min(many, second if owner == text else first)


def mean_cosine(vectors: np.ndarray[Any, Any]) -> float:
    """Return the mean cosine of all pairs of vectors.

    Args:
        vectors: Unit vectors, at least two rows.

    Raises:
        RedteamError: If there are fewer than two.
    """
    n = len(vectors)
    if n < 2:
        raise RedteamError(f"There are {n} vectors; a cosine needs two.")
    total = vectors.sum(axis=0)
    return (float(total @ total) - float((vectors * vectors).sum())) / (n * (n - 1))


def _grams(text: str, n: int) -> list[tuple[str, ...]]:
    words = text.split()
    return [tuple(words[k : k + n]) for k in range(len(words) - n + 1)]


def _place(gram: str) -> int:
    digest = hashlib.blake2b(gram.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return int.from_bytes(digest, "big") % _DIMENSIONS
