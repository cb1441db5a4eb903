"""How varied an attacker's rewrites are, and how far they went from their seeds.

The measures are those of Self-RedTeam (arXiv 2506.07468): one minus the mean cosine of sentence
embeddings, self-BLEU (Zhu et al. 2018, arXiv 1802.01886, by sacrebleu with its defaults for sentences),
distinct-n (Li et al. 2016, arXiv 1510.03055), and the cosine of a seed with its rewrite. Near duplicates
are told by the resemblance of word sequences (Broder 1997). What needs a model takes an embedder.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

from redteam_env.embedders import embed_checked
from redteam_env.evaluation.diversity import distinct, mean_cosine, near_duplicates, self_bleu
from redteam_env.game import Episode, role_of
from redteam_env.protocols import Embedder

T = TypeVar("T")
MOST = 500
"""Rewrites that are compared; of more, as many are taken at even distances. Each pair is looked at."""
MOST_BLEU = 64
"""The same for self-BLEU, which takes long, and which more texts alone make higher."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variety:
    """How varied some rewrites are; ``None`` for what could not be measured.

    Attributes:
        rewrites: How many were compared.
        distinct_1: Different words, as a share of all words.
        distinct_2: Different word pairs, as a share of all.
        near_duplicates: The share of rewrites that are nearly the same as an earlier one.
        self_bleu: The mean BLEU of a rewrite against the others (:data:`MOST_BLEU`), in [0, 1]; low is
            varied. ``None`` without sacrebleu.
        embedding_distance: One minus the mean cosine of two rewrites; high is varied. ``None`` without
            embedder.
        seed_similarity: The mean cosine of a rewrite with its seed. ``None`` without embedder.
        embedder: Its name, or nothing.
    """

    rewrites: int
    distinct_1: float
    distinct_2: float
    near_duplicates: float
    self_bleu: float | None
    embedding_distance: float | None = None
    seed_similarity: float | None = None
    embedder: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)


def variety(
    episodes: Sequence[Episode], embedder: Embedder | None = None, *, name: str = ""
) -> Variety | None:
    """Measure the rewrites in played games.

    Args:
        episodes: Games; raw ones, and those in which the attacker said nothing, are passed over.
        embedder: Maps texts to unit vectors.
        name: What the embedder is called.

    Returns:
        The measures; ``None`` for fewer than two rewrites.

    Raises:
        RedteamError: If the embedder breaks its protocol.
    """
    pairs = [(x.seed.text, text) for x in episodes if x.rewritten and (text := _rewrite(x))]
    if len(pairs) < 2:
        return None
    seeds, texts = zip(*_spread(pairs, MOST), strict=True)
    distance = similarity = None
    if embedder is not None:
        vectors = embed_checked(embedder, [*texts, *seeds]).astype(float)
        own, origins = vectors[: len(texts)], vectors[len(texts) :]
        distance = 1 - mean_cosine(own)
        similarity = float((own * origins).sum(axis=1).mean())
    return Variety(
        rewrites=len(texts),
        distinct_1=distinct(texts, 1),
        distinct_2=distinct(texts, 2),
        near_duplicates=near_duplicates(texts),
        self_bleu=self_bleu(_spread(texts, MOST_BLEU)),
        embedding_distance=distance,
        seed_similarity=similarity,
        embedder=name if embedder is not None else "",
    )


def _spread(items: Sequence[T], most: int) -> list[T]:
    places = np.linspace(0, len(items) - 1, min(len(items), most)).round().astype(int)
    return [items[k] for k in places]


def _rewrite(episode: Episode) -> str:
    """Return all that the attacker said, which in a game of one exchange is the rewrite."""
    said = (x.visible for x in episode.turns if role_of(x.seat) == "attacker" and not x.forfeit)
    return "\n".join(said).strip()
