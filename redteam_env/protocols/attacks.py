"""Standing attacks: methods that search for a request which a defender gives in to."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol, runtime_checkable

from redteam_env.game import Episode, Game
from redteam_env.protocols.agents import Agent, Progress
from redteam_env.protocols.judges import Judge
from redteam_env.protocols.rollouts import GameSetup


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """What an attack cost.

    Attributes:
        target: Answers that the defender was asked for.
        attacker: Texts that the attacker's model was asked for.
        judge: Dialogues that the judge was asked about.
        unread: Texts of the attacker's model that failed or did not keep the format; the attack went
            on without them.
    """

    target: int = 0
    attacker: int = 0
    judge: int = 0
    unread: int = 0

    def plus(self, more: "Queries") -> "Queries":
        """Return the sum."""
        return Queries(
            target=self.target + more.target,
            attacker=self.attacker + more.attacker,
            judge=self.judge + more.judge,
            unread=self.unread + more.unread,
        )

    def to_json(self) -> dict[str, int]:
        """Return plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """What came of an attack.

    Attributes:
        episodes: For each setup its attempts in the order in which they were made, at least one: judged
            games that the attacker rewrote. An attack may stop at the first success.
        queries: What all of them cost.
    """

    episodes: Sequence[Sequence[Episode]]
    queries: Queries


@runtime_checkable
class Attack(Protocol):
    """Makes attempts at a defender, one seed at a time or many together.

    What its entry point names is called as ``factory(attacker=..., seed=..., **options)``: an agent
    that writes for it or ``None``, a number that begins the address of all randomness, and what the
    user wrote behind the name (``pair?depth=3``), as numbers or texts. A class whose attribute
    ``asks_model`` is true is refused without an attacker.
    """

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def exchanges(self) -> int:
        """Most exchanges of one attempt; a game with fewer is refused."""
        ...

    def attack(
        self,
        setups: Sequence[GameSetup],
        target: Agent,
        judge: Judge,
        *,
        game: Game,
        attempts: int,
        batch_size: int | None = None,
        progress: Progress | None = None,
    ) -> Attempts:
        """Attack a defender.

        Args:
            setups: Where to start from; each attempt is a game of the same seed and group whose
                address begins with the setup's.
            target: Plays the defender's seat.
            judge: Reads the attempts.
            game: The rules; an attempt may end after fewer exchanges.
            attempts: Most attempts at each setup.
            batch_size: Most questions put to an agent at once; by default all.
            progress: Called as ``progress(phase, done, total)``.
        """
        ...
