"""One attacker against one defender on fixed held-out games."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redteam_env.attacks.agent import AttackAgent
from redteam_env.border.judges import check_judge
from redteam_env.border.records import demand
from redteam_env.border.seeds import all_seeds, card_of
from redteam_env.evaluation.calibration import Calibration, calibration_of
from redteam_env.evaluation.correction import Corrected, corrected_rates
from redteam_env.evaluation.kept import KeptGames
from redteam_env.evaluation.rates import Rates, measure
from redteam_env.game import ATTACKER, DEFENDER, Episode, Game, RedteamError
from redteam_env.game.faithfulness import by_labels
from redteam_env.game.values import whole
from redteam_env.protocols import Agent, GameSetup, Judge, Progress, SeedSource
from redteam_env.rollout import schedule

HELDOUT = "heldout"
REWRITE_FRACTION = 0.5
"""Share of held-out games in which the attacker plays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matchup:
    """What came of one pairing.

    Attributes:
        attacker: Who attacked, as the user named it.
        defender: Who defended.
        judge: Name of the judge.
        smoke_only: Whether that judge is good for smoke runs only.
        rates: All rates.
        episodes: The games, in the order of their setups.
        calibration: How far the judge agrees with people, if that was measured and the rates can be corrected
            by it (:func:`correcting`).
    """

    attacker: str
    defender: str
    judge: str
    smoke_only: bool
    rates: Rates
    episodes: tuple[Episode, ...]
    calibration: Calibration | None = None

    @property
    def corrected(self) -> dict[str, Corrected]:
        """The rates that can be corrected for the judge's errors, by name; none without calibration."""
        return corrected_rates(self.episodes, self.calibration)

    @property
    def by_labels(self) -> bool:
        """Whether its rate of faithful successes rests on judged labels alone."""
        return self.rates.faithful_attack_success.n > 0 and any(
            by_labels(x.content) for x in self.episodes if x.rewritten and x.verdict is not None
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON: names and rates, no text of any player."""
        own = {
            "attacker": self.attacker,
            "defender": self.defender,
            "judge": self.judge,
            "smoke_only": self.smoke_only,
            "rates": self.rates.to_json(),
        }
        if self.calibration is not None:
            own["corrected"] = {name: x.to_json() for name, x in self.corrected.items()}
            own["calibration"] = self.calibration.to_json()
        return own


def heldout_setups(
    source: SeedSource,
    games: int,
    seed: int,
    *,
    benign_fraction: float | None = None,
    rewrite_fraction: float = REWRITE_FRACTION,
) -> list[GameSetup]:
    """Return the games that every matchup of an evaluation plays.

    They are drawn from the held-out split: by default half harmful, half benign, and within each label
    half rewritten and half raw. A source with held-out seeds of one label only gives games of that
    label; the rates about the other then have no games.

    Args:
        source: Where seeds come from.
        games: Number of games, at least 1.
        seed: Addresses the draw and all sampling within the games.
        benign_fraction: Share of benign seeds; by default half, if the source has seeds of both labels.
        rewrite_fraction: Share of games in which the attacker plays, within each label.

    Returns:
        The same games for the same arguments.

    Raises:
        RedteamError: If the source has no held-out seeds or ``games`` is below 1.
    """
    games, seed = demand(games, whole, "games"), demand(seed, whole, "seed")
    labels = {x.harmful for x in all_seeds(source, HELDOUT)}
    if not labels:
        raise RedteamError(
            f"The seeds {card_of(source).name!r} have no split {HELDOUT!r} to evaluate on; use a "
            f"source that has one, or hold some of its own out: Seed(..., split={HELDOUT!r})."
        )
    if benign_fraction is None:
        benign_fraction = 0.5 if len(labels) == 2 else float(False in labels)
    return schedule(
        source,
        games,
        path=(seed, "evaluation"),
        benign_fraction=benign_fraction,
        rewrite_fraction=rewrite_fraction,
        split=HELDOUT,
    )


def evaluate(
    attacker: Agent,
    defender: Agent,
    setups: Sequence[GameSetup],
    judge: Judge,
    *,
    game: Game | None = None,
    names: tuple[str, str] = ("attacker", "defender"),
    batch_size: int | None = None,
    progress: Progress | None = None,
    kept: KeptGames | None = None,
) -> Matchup:
    """Play fixed games and measure them.

    Args:
        attacker: Plays the rewritten games' first seat.
        defender: Answers.
        setups: The games, from :func:`heldout_setups`.
        judge: Reads the dialogues.
        game: The rules; by default :class:`~redteam_env.game.Game` as it stands.
        names: What to call the two in reports.
        batch_size: Most games handed to an agent in one call; by default all.
        progress: Called as ``progress(phase, done, total)``.
        kept: Keeps the games while they are played; by default nothing does.

    Returns:
        Rates and games.

    Raises:
        RedteamError: If an agent or the judge breaks its protocol.
    """
    check_judge(judge)
    calibration = correcting(calibration_of(judge), attacker)
    episodes = (kept or KeptGames()).play(
        "games",
        setups,
        {ATTACKER: attacker, DEFENDER: defender},
        judge,
        game=game,
        batch_size=batch_size,
        progress=progress,
    )
    return matchup(episodes, judge, names, calibration)


def correcting(calibration: Calibration | None, attacker: Agent) -> Calibration | None:
    """Return what is known of a judge's errors, if games of an attacker can be corrected for them.

    Args:
        calibration: What is known of the judge.
        attacker: Who attacked. A standing attack plays the best of several attempts, in which a judge errs
            more often than in one.
    """
    return None if isinstance(attacker, AttackAgent) else calibration


def matchup(
    episodes: Sequence[Episode],
    judge: Judge,
    names: tuple[str, str],
    calibration: Calibration | None,
) -> Matchup:
    """Measure games that were played.

    Args:
        episodes: The games.
        judge: Who judged them.
        names: Attacker and defender.
        calibration: What is known of the judge
            (:func:`~redteam_env.evaluation.calibration.calibration_of`).

    Returns:
        Rates and games.
    """
    return Matchup(
        attacker=names[0],
        defender=names[1],
        judge=judge.name,
        smoke_only=judge.smoke_only,
        rates=measure(episodes),
        episodes=tuple(episodes),
        calibration=calibration,
    )
