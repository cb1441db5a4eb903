"""How varied a set of attacks is: entropy and coverage of their tactics, distance of their words.

Self-RedTeam (arXiv 2506.07468) reports co-trained attackers to be more diverse than ones trained
against a static defender, by the mean distance of sentence embeddings. Where the tactics of a text
can be read off, entropy and coverage are exact; the distance of word pairs needs no model.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Hashable, Sequence

import numpy as np

from redteam_env.game import RedteamError

_DIMENSIONS = 4096


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


def _place(gram: str) -> int:
    digest = hashlib.blake2b(gram.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return int.from_bytes(digest, "big") % _DIMENSIONS
