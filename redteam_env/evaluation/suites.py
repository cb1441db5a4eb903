"""Evaluation suites: fixed requests to a defender, and questions with known answers.

Whoever is compared must be asked the same. A suite is a plug-in of the group ``redteam_env.suites``:
a factory that is called as ``factory(source=..., games=..., seed=...)`` with a seed source, a number
of games or questions, and a seed that addresses every draw, and returns a
:class:`~redteam_env.protocols.RequestSuite` or a :class:`~redteam_env.protocols.QuestionSuite`.
The built-in ``raw`` asks held-out seeds as they stand, of any source. The requests of a card
(:mod:`redteam_env.suites`) are a suite, too, under the card's name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from redteam_env.border.records import demand
from redteam_env.border.seeds import all_seeds, card_of
from redteam_env.border.suites import CheckedRequests, check_suite
from redteam_env.game import RedteamError
from redteam_env.game.values import whole
from redteam_env.judges.contextual import for_contexts
from redteam_env.protocols import Agent, GameSetup, Judge, SeedSource, Suite
from redteam_env.randomness import Address
from redteam_env.registry import build, names
from redteam_env.rollout import schedule
from redteam_env.suites import DataPart, SuiteCard, load_suite, read_card
from redteam_env.suites import Suite as Requests
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
        """Refuse: a suite has no attacker.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredSuite(Requests):
    """A registered suite whose requests are measured as those of a card are.

    Attributes:
        made: What the suite's plug-in made.
    """

    made: CheckedRequests

    def setups(self, *, path: Address, limit: int | None = None) -> list[GameSetup]:  # noqa: ARG002 - they are made already
        """Return the suite's games; as many as there are, at addresses of their own."""
        return [replace(setup, group=k) for k, setup in enumerate(self.made.setups)]

    def attacker(self) -> Agent | None:
        """Return who says the requests; ``None`` if the suite has no attacker."""
        return self.made.attacker() if any(x.rewritten for x in self.made.setups) else None


def registered_suite(
    name: str, *, source: SeedSource, games: int, seed: int, max_tokens: int
) -> RegisteredSuite:
    """Return a registered suite to be measured: harmful requests by success, benign ones by refusals.

    Args:
        name: Its name.
        source: Where seeds come from.
        games: Requests.
        seed: Addresses every draw.
        max_tokens: The defender's longest answer.

    Raises:
        RedteamError: As :func:`resolve_suite`, or if it asks questions instead of playing games.
    """
    made = resolve_suite(name, source=source, games=games, seed=seed)
    if not isinstance(made, CheckedRequests):
        raise RedteamError(
            f"The suite {name!r} asks questions with known answers and plays no games; name it for "
            "train by --eval-suites, or leave it out."
        )
    seeds = [setup.seed for setup in made.setups]
    own = {"harmful": "success", "benign": "refusal"}
    labels = {"harmful" if x.harmful else "benign" for x in seeds}
    card = SuiteCard(
        name=name,
        title=name,
        source="a registered suite",
        licence="that of its package",
        data=(DataPart(),),
        metric={label: metric for label, metric in own.items() if label in labels},
        max_tokens=max_tokens,
    )
    return RegisteredSuite(card=card, seeds=seeds, sources=[card_of(source)], made=made)


def reader(suite: Suite, judge: Judge) -> Judge:
    """Return the judge that reads a suite's games: of requests with contexts, one that tells these from them.

    Args:
        suite: The suite.
        judge: The judge of all others.
    """
    return for_contexts(judge) if getattr(suite, "contexts", False) else judge


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
