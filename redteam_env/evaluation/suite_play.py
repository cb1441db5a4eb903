"""A suite's requests played against a defender, one answer each or several attempts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from redteam_env.attacks import best
from redteam_env.border.judges import check_judge
from redteam_env.evaluation.calibration import Calibration
from redteam_env.evaluation.kept import KeptGames
from redteam_env.evaluation.suite_scores import SuiteRow, Tried, score_suite
from redteam_env.game import ATTACKER, DEFENDER, Episode, Game
from redteam_env.protocols import Agent, GameSetup, Judge, Progress
from redteam_env.suites import Suite

Attempting = Callable[[Sequence[GameSetup]], Tried]
"""Makes the attempts at each of some requests: :func:`direct` asks them as they stand, an attack
searches for others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteResult:
    """What came of a suite.

    Attributes:
        name: What it is called among those that were played together.
        suite: The suite.
        rows: The figures of each label.
        tried: The games.
        attacked: What a report says of the standing attack that made the games, if one did.
    """

    name: str
    suite: Suite
    rows: tuple[SuiteRow, ...]
    tried: Tried
    attacked: Mapping[str, Any] | None = None

    @property
    def episodes(self) -> list[Episode]:
        """All games, those of one request one after the other."""
        return [game for games in self.tried for game in games]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON without text of any player."""
        card = self.suite.card
        return {
            "name": self.name,
            "title": card.title,
            "source": card.source,
            "licence": card.licence,
            "note": card.note,
            "judge_meant": card.judge,
            "rows": [row.to_json() for row in self.rows],
            **({"attacked": dict(self.attacked)} if self.attacked is not None else {}),
        }


def direct(
    defender: Agent,
    judge: Judge,
    *,
    game: Game,
    attempts: int = 1,
    attacker: Agent | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
    kept: tuple[KeptGames, str] | None = None,
) -> Attempting:
    """Return what asks each request as it stands, or as the suite dresses it, some times over.

    Args:
        defender: Who answers; each attempt has random draws of its own.
        judge: Reads the answers.
        game: The rules; longer requests than it takes are taken, too.
        attempts: How often each request is asked; once where it is dressed.
        attacker: Who dresses the requests of a suite that has them rewritten.
        batch_size: Most requests handed to the defender in one call; by default all.
        progress: Called as ``progress(phase, done, total)``.
        kept: Keeps the games while they are played, in a file of this name; by default nothing does.
    """
    check_judge(judge)
    games, name = kept or (KeptGames(), "")

    def make(setups: Sequence[GameSetup]) -> Tried:
        # who dresses requests knows the games by their addresses
        several = [
            replace(setup, path=(*setup.path, "attempt", k)) if attacker is None else setup
            for setup in setups
            for k in range(attempts)
        ]
        episodes = games.play(
            name,
            several,
            {DEFENDER: defender, **({} if attacker is None else {ATTACKER: attacker})},
            judge,
            game=long_enough(game, setups),
            batch_size=batch_size,
            progress=progress,
        )
        return [episodes[k : k + attempts] for k in range(0, len(episodes), attempts)]

    return make


def long_enough(game: Game, setups: Sequence[GameSetup]) -> Game:
    """Return the same rules for seeds of any length among some games."""
    longest = max((len(setup.seed.text) for setup in setups), default=0)
    return replace(game, max_seed_chars=max(game.max_seed_chars, longest))


def play_suite(
    suite: Suite,
    make: Attempting,
    *,
    name: str,
    judge: str,
    seed: int,
    attempts: int = 1,
    limit: int | None = None,
    calibration: Calibration | None = None,
) -> SuiteResult:
    """Play a suite.

    Args:
        suite: The suite.
        make: How attempts are made.
        name: What it is called.
        judge: Who judges, for messages.
        seed: Addresses the games, and which requests are taken of more than ``limit``.
        attempts: How many each request has, at most.
        limit: Most requests.
        calibration: The judge's, if it has one.

    Raises:
        RedteamError: If an agent or the judge breaks its protocol.
    """
    setups = suite.setups(path=(seed, "suite", name), limit=limit)
    return suite_result(
        suite,
        make(setups),
        name=name,
        judge=judge,
        seed=seed,
        attempts=attempts,
        calibration=calibration,
    )


def suite_result(
    suite: Suite,
    tried: Tried,
    *,
    name: str,
    judge: str,
    seed: int,
    attempts: int = 1,
    attacked: Mapping[str, Any] | None = None,
    ended: Sequence[bool] | None = None,
    calibration: Calibration | None = None,
) -> SuiteResult:
    """Measure a suite that was played.

    Args:
        suite: The suite.
        tried: The games.
        name: What it is called.
        judge: Who judged.
        seed: Sets the bootstrap's random draws.
        attempts: How many each request had, at most.
        attacked: What a report says of the attack that made the games; the figures are then those of the
            best attempt at each request.
        ended: Which searches of that attack ended with a success, where another judge has read their
            attempts since.
        calibration: The judge's, if it has one.
    """
    shown = tried if attacked is None else [[best(games)] for games in tried]
    rows = score_suite(
        suite.card,
        shown,
        judge=judge,
        seed=seed,
        attempts=attempts,
        searched=None if attacked is None else tried,
        ended=ended,
        calibration=calibration,
    )
    return SuiteResult(name=name, suite=suite, rows=rows, tried=tried, attacked=attacked)
