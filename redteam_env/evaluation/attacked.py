"""A defender under a standing attack: in the games of an evaluation, and on the requests of a suite.

The figures are those of each request's best attempt; how success grows with the attempts is told apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from redteam_env.attacks.search import best
from redteam_env.border.attacks import attempts as make_attempts
from redteam_env.border.judges import is_seeded
from redteam_env.evaluation.attempts import success_growth
from redteam_env.evaluation.kept import KeptGames
from redteam_env.faithfulness import toward_seed
from redteam_env.game import DEFENDER, Episode, Game
from redteam_env.game.faithfulness import by_labels
from redteam_env.protocols import Agent, Attack, GameSetup, Judge, Progress, Queries

Attempting = Callable[[Sequence[GameSetup]], Sequence[Sequence[Episode]]]
"""Makes the attempts at each of some requests."""


@dataclass(slots=True, kw_only=True)
class UnderAttack:
    """Makes the attempts at each of some requests, and counts what they cost.

    Attributes:
        attack: The attack.
        defender: Who answers.
        judge: Reads the attempts.
        game: The rules.
        attempts: Most attempts at each request.
        batch_size: Most questions put to an agent at once; by default all.
        progress: Called as ``progress(phase, done, total)``.
        queries: What the attempts cost so far.
    """

    attack: Attack
    defender: Agent
    judge: Judge
    game: Game
    attempts: int
    batch_size: int | None = None
    progress: Progress | None = None
    queries: Queries = field(default_factory=Queries)

    def __call__(self, setups: Sequence[GameSetup]) -> Sequence[Sequence[Episode]]:
        """Return the attempts at each request.

        Raises:
            RedteamError: If the attack, an agent or the judge breaks its protocol.
        """
        if not setups:
            return []
        found = make_attempts(
            self.attack,
            setups,
            self.defender,
            self.judge,
            game=toward_seed(self.game, self.judge),
            attempts=self.attempts,
            batch_size=self.batch_size,
            progress=self.progress,
        )
        self.queries = self.queries.plus(found.queries)
        return found.episodes

    def games(
        self,
        setups: Sequence[GameSetup],
        *,
        kept: KeptGames | None = None,
        search: Attempting | None = None,
    ) -> "Attacked":
        """Play games in which the attack takes the attacker's seat; raw ones are asked as they stand.

        Args:
            setups: The games.
            kept: Keeps the raw ones while they are played; by default nothing does.
            search: Makes the attempts at the others; by default this object.

        Raises:
            RedteamError: As above.
        """
        rewritten = [k for k, setup in enumerate(setups) if setup.rewritten]
        raw = [k for k, setup in enumerate(setups) if not setup.rewritten]
        direct = (kept or KeptGames()).play(
            "raw",
            [setups[k] for k in raw],
            {DEFENDER: self.defender},
            self.judge,
            game=self.game,
            batch_size=self.batch_size,
            progress=self.progress,
        )
        tried = (search or self)([setups[k] for k in rewritten])
        shown = dict(zip(raw, direct, strict=True)) | dict(
            zip(rewritten, map(best, tried), strict=True)
        )
        return Attacked(episodes=[shown[k] for k in range(len(setups))], tried=tried)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacked:
    """Games under attack.

    Attributes:
        episodes: One for each game: its best attempt, or the raw game.
        tried: All attempts at each rewritten game.
    """

    episodes: Sequence[Episode]
    tried: Sequence[Sequence[Episode]]


def attack_record(
    spec: str,
    attempts: int,
    queries: Queries,
    tried: Sequence[Sequence[Episode]],
    judge: Judge,
) -> dict[str, Any]:
    """Return what a report says of an attack, as plain JSON without text of any player.

    Args:
        spec: The attack as the user named it.
        attempts: Most attempts at each request.
        queries: What they cost.
        tried: The attempts at each request.
        judge: Who read them.
    """
    uncompared = not is_seeded(judge) and any(by_labels(x.content) for own in tried for x in own)
    return {
        "attack": spec,
        "attempts": attempts,
        "made": sum(map(len, tried)),
        "by_labels": uncompared,
        "queries": queries.to_json(),
        "success_within": [x.to_json() for x in success_growth(tried, attempts, searched=True)],
    }
