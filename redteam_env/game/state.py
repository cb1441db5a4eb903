"""A game in progress, as :class:`redteam_env.game.Game` moves it from turn to turn."""

from collections.abc import Sequence
from dataclasses import dataclass

from redteam_env.game.records import JUDGE, Dialogue, Seed, Turn, Verdict, public_dialogue, role_of


@dataclass(frozen=True, slots=True, kw_only=True)
class GameState:
    """A game in progress.

    Attributes:
        seed: What it started from.
        rewritten: Whether the attacker plays.
        turns: The turns so far.
        to_move: The seat to move, or ``None`` when the game is over and only the verdict is due.
    """

    seed: Seed
    rewritten: bool
    turns: tuple[Turn, ...]
    to_move: str | None

    @property
    def forfeited(self) -> bool:
        """Whether the last turn lost the game, which needs no verdict."""
        return bool(self._played) and self._played[-1].forfeit

    @property
    def error(self) -> str | None:
        """Why the last turn had no answer to give, which voids the game, or ``None``."""
        return self._played[-1].error if self._played else None

    @property
    def _played(self) -> tuple[Turn, ...]:
        """The turns without that of the judge's seat, on which the game does not depend."""
        judged = bool(self.turns) and self.turns[-1].seat == JUDGE
        return self.turns[:-1] if judged else self.turns

    def void_reason(self, verdicts: Sequence[Verdict]) -> str | None:
        """Return why the game is void, if it is: a seat failed, or a verdict is not whole."""
        if self.error is not None:
            return f"{role_of(self._played[-1].seat)} error: {self.error}"
        return next(filter(None, (x.void_reason for x in verdicts)), None)

    @property
    def judged(self) -> bool:
        """Whether the game is over and a judge is to read it."""
        if self.to_move is not None:
            return False
        played = self._played
        return not (played and (played[-1].forfeit or played[-1].error is not None))

    @property
    def dialogue(self) -> Dialogue:
        """What everybody may see."""
        return public_dialogue(self.seed, self.rewritten, self.turns)
