"""What ``redteam-env speed`` is asked for, and the rows it answers with."""

from dataclasses import dataclass

from redteam_env.game import RedteamError


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedConfig:
    """Options of ``speed``; the budgets hold for the defaults.

    Attributes:
        steps: Training steps that are timed, of each arrangement, after one that is not.
        games: Games a step.
        evaluation_games: Held-out games of an evaluation.
        dialogues: Dialogues that the judge reads.
        tokens: Completion tokens whose advantages are computed.
        threads: Threads of torch.
        json: Print JSON.
    """

    steps: int = 10
    games: int = 64
    evaluation_games: int = 500
    dialogues: int = 10_000
    tokens: int = 1_000_000
    threads: int = 1
    json: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "games", "evaluation_games", "dialogues", "tokens", "threads"):
            if getattr(self, name) < 1:
                raise RedteamError(f"{name} is {getattr(self, name)}; give at least 1.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One row of the table.

    Attributes:
        what: What was measured.
        value: The result.
        unit: Its unit; empty for a ratio.
        budget: What it should be at most, or at least if ``more`` is better; ``None`` without one.
        more: Whether more is better.
    """

    what: str
    value: float
    unit: str
    budget: float | None = None
    more: bool = False
