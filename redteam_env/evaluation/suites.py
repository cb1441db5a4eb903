"""Evaluation suites: fixed requests to a defender, and questions with known answers.

Whoever is compared must be asked the same. A suite is a plug-in of the group ``redteam_env.suites``:
a factory that is called as ``factory(source=..., games=..., seed=...)`` with a seed source, a number
of games or questions, and a seed that addresses every draw, and returns a
:class:`~redteam_env.protocols.RequestSuite` or a :class:`~redteam_env.protocols.QuestionSuite`.
The built-in ``raw`` asks held-out seeds as they stand, of any source. The requests of a card
(:mod:`redteam_env.suites`) are a suite, too, under the card's name.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from redteam_env.border.records import demand
from redteam_env.border.seeds import all_seeds, card_of
from redteam_env.border.suites import check_suite
from redteam_env.game import RedteamError
from redteam_env.game.values import whole
from redteam_env.protocols import Agent, GameSetup, SeedSource, Suite
from redteam_env.registry import build, names
from redteam_env.rollout import schedule
from redteam_env.suites import load_suite, read_card
from redteam_env.suites.card import ENDING, card_names

HELDOUT = "heldout"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedSuite:
    """Held-out seeds as they stand.

    Attributes:
        setups: The games; no attacker plays.
        rewritten: False.
        contexts: Whether requests may have contexts of their own, which judges are to tell from them.
    """

    setups: Sequence[GameSetup]
    rewritten: bool = False
    contexts: bool = False

    def attacker(self) -> Agent:
        """Refuse: nobody attacks.

        Raises:
            RedteamError: Always.
        """
        raise RedteamError("The suite 'raw' plays seeds as they stand; no attacker is needed.")


def raw(*, source: SeedSource, games: int, seed: int) -> SeedSuite:
    """Return the suite of held-out seeds without any attacker, half of them harmful.

    Args:
        source: Where seeds come from.
        games: How many.
        seed: Addresses the draw and all sampling.

    Raises:
        RedteamError: If the source has no held-out seeds of both labels.
    """
    labels = {x.harmful for x in all_seeds(source, HELDOUT)}
    if labels != {True, False}:
        raise RedteamError(
            f"The seeds {card_of(source).name!r} have no held-out seeds of both labels, which the suite "
            "'raw' needs; choose another source or leave the suite out."
        )
    found = schedule(
        source, games, path=(seed, "suite", "raw"), rewrite_fraction=0.0, split=HELDOUT
    )
    return SeedSuite(setups=found)


def resolve_suite(name: str, *, source: SeedSource, games: int, seed: int) -> Suite:
    """Return a suite by name.

    Args:
        name: A registered suite, a suite card, or the path of a card of one's own.
        source: Where seeds come from.
        games: Games or questions.
        seed: Addresses every draw.

    Raises:
        RedteamError: If the name is unknown, the factory fails, what it makes is no suite, or a card's
            data are missing.
    """
    seed = demand(seed, whole, "seed")
    if name not in names("suites") and (name in card_names() or name.endswith(ENDING)):
        card = read_card(name)
        requests = load_suite(card).setups(path=(seed, "suite", card.name), limit=games)
        found = SeedSuite(setups=requests, contexts=card.form == "context")
        return check_suite(found, name)
    return check_suite(build("suites", name, source=source, games=games, seed=seed), name)
