"""A bonus for attacks that are unlike earlier ones.

Curiosity-driven red teaming (arXiv 2402.19464) pays an attacker for novelty beside success, because an
attacker that found one attack has no reason to look for another. It compares sentences by their
n-grams (SelfBLEU) and their embeddings. Simplified: novelty is counted. A rewrite's is the largest
``1 / sqrt(1 + count)`` over its n-grams of words that the attacker was not shown, where ``count`` is how
many rewrites of earlier steps had the n-gram; counts fade from step to step, so that what was given up
becomes new again. Only faithful rewrites are paid (:attr:`redteam_env.game.Episode.faithful`), so that
novel nonsense earns nothing. What a scripted attacker of the league wrote is neither paid nor counted.

The bonus is in what is learned from alone: games on disk, rates and the league keep what the game paid.
With it a zero-sum game is none any more. ``online_dpo`` with ``preference = judge`` orders games by
expected rewards of the game and does not see it.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from redteam_env.game import (
    ATTACKER,
    Count,
    Episode,
    RedteamError,
    at_least,
    between,
    check_fields,
    role_of,
)
from redteam_env.protocols import Callback, Row, TrainingRun

LEAST = 0.01
"""A count below this is dropped; it would change a bonus by half a per cent."""
_WORD = re.compile(r"[^\s!-/:-@\[-`{-~\u2000-\u206f\u3000-\u303f]+")  # up to space or punctuation


@dataclass(frozen=True, slots=True, kw_only=True)
class NoveltyConfig:
    """Settings of the novelty bonus.

    Attributes:
        novelty_weight: What a rewrite with an n-gram never seen before earns beside the game's reward.
        novelty_ngram: Words in an n-gram.
        novelty_decay: What of a count is left after a step. At most .999, so that memory is bounded.
    """

    novelty_weight: Annotated[float, at_least(0)] = 1.0
    novelty_ngram: Count = 1
    novelty_decay: Annotated[float, between(0, 0.999)] = 0.98

    def __post_init__(self) -> None:
        check_fields(self)


class Novelty(Callback):
    """Pays the attacker for n-grams that its rewrites did not have before.

    Logs ``attacker/novelty``, the mean over a step's faithful rewrites, without the weight. The bonus is
    the component ``novelty`` of the attacker's reward.

    Args:
        config: Its settings.
    """

    Config: ClassVar[Any] = NoveltyConfig
    name = "novelty"

    def __init__(self, config: NoveltyConfig) -> None:
        self._config = config
        self._counts: dict[str, float] = {}
        self._found: list[float] = []

    def on_start(self, run: TrainingRun) -> None:
        """Take note of the run.

        Raises:
            RedteamError: If the attacker is not trained.
        """
        if "attacker" not in run.policy.trainable_roles:
            raise RedteamError(
                "The callback 'novelty' pays the attacker, which this run does not train; leave it "
                "out, or choose an arrangement with a trained attacker."
            )
        self._run = run

    def on_episodes(self, step: int, episodes: Sequence[Episode]) -> Sequence[Episode]:
        """Return the games with the bonus paid, by the counts of earlier steps; count this one's."""
        faded = {gram: n * self._config.novelty_decay for gram, n in self._counts.items()}
        self._counts = {gram: n for gram, n in faded.items() if n >= LEAST}
        self._found = []
        fresh = [self._fresh(episode) for episode in episodes]
        lessons = [self._paid(*pair) for pair in zip(episodes, fresh, strict=True)]
        for gram in (gram for grams in fresh for gram in grams):
            self._counts[gram] = self._counts.get(gram, 0.0) + 1
        return lessons

    def on_update(self, step: int, row: Row) -> None:
        """Log the mean novelty; ``None`` without a faithful rewrite."""
        found = self._found
        row["attacker/novelty"] = sum(found) / len(found) if found else None

    def state(self) -> Mapping[str, Any]:
        """Return the counts."""
        return {"counts": dict(sorted(self._counts.items()))}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go back to counts that :meth:`state` returned."""
        self._counts = dict(state["counts"])

    def _fresh(self, episode: Episode) -> set[str]:
        """Return the n-grams of a model attacker's visible texts that it had not been shown."""
        fresh: set[str] = set()
        by_model = any(x.seat == ATTACKER and x.generation is not None for x in episode.turns)
        if self._by_script(episode) or not by_model:
            return fresh
        state = self._run.game.start(episode.seed, rewritten=True)
        shown = self._grams(self._run.game.instruction(state, ATTACKER))
        for line in episode.dialogue.lines:
            if line.seat == ATTACKER:
                fresh |= self._grams(line.text) - shown
            else:
                shown |= self._grams(line.text)
        return fresh

    def _by_script(self, episode: Episode) -> bool:
        return self._run.scripted.get(episode.group) == role_of(ATTACKER)

    def _grams(self, text: str) -> set[str]:
        words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
        size = self._config.novelty_ngram
        return {" ".join(words[k : k + size]) for k in range(len(words) - size + 1)}

    def _paid(self, episode: Episode, fresh: set[str]) -> Episode:
        if not (episode.faithful and ATTACKER in episode.samples):
            return episode
        if self._by_script(episode):
            return episode
        novelty = max((1 / (1 + self._counts.get(x, 0.0)) ** 0.5 for x in fresh), default=0.0)
        self._found.append(novelty)
        bonus = self._config.novelty_weight * novelty
        parts = {**episode.components[ATTACKER], "novelty": bonus}
        return replace(
            episode,
            rewards={**episode.rewards, ATTACKER: episode.rewards[ATTACKER] + bonus},
            components={**episode.components, ATTACKER: parts},
        )
