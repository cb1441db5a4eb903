"""What ``redteam-env speed`` is asked for, and the rows it answers with."""

from dataclasses import dataclass
from typing import Literal, get_args

from redteam_env.game import RedteamError, unknown_name

Part = Literal["world", "trl", "generation", "arrangements", "game", "growth", "leagues", "all"]
PARTS: tuple[str, ...] = get_args(Part)[:-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedConfig:
    """Options of ``speed``; the budgets hold for the defaults.

    Attributes:
        part: What is measured. world: training, judging and solving in the controlled world. trl: a
            training step beside TRL's GRPOTrainer. generation: sampling beside transformers'
            generate. arrangements: bipolicy beside shared LoRA and independent models. game: playing
            without a model, and PettingZoo's rock-paper-scissors. growth: more games, exchanges and
            adapters. leagues: many past versions beside self-play, training in bench beside training.
            Each but world runs in processes of its own.
        model: The model of trl, generation, arrangements and leagues.
        repeats: Times that each side of a comparison is measured, in turns; the median counts.
        rank: Rank of LoRA in comparisons.
        completions: Completions of a step beside TRL, on a quarter as many prompts.
        length: Tokens of each of them.
        lead: Tokens of the instruction that prompts share, where one is long.
        batches: Batch sizes of generation.
        sampled: Tokens that each row of generation adds.
        games: Games a step, in the controlled world.
        few_games: Games a step, comparing arrangements.
        steps: Training steps that are timed, of each arrangement, after one that is not.
        evaluation_games: Held-out games of an evaluation.
        dialogues: Dialogues that the judge reads.
        tokens: Completion tokens whose advantages are computed.
        most_games: Games a step at the end of their growth.
        most_exchanges: Exchanges a game at the end of theirs.
        most_adapters: Adapters at the end of theirs.
        versions: Past versions of each seat in a league.
        threads: Threads of torch.
        json: Print JSON.
    """

    part: Part = "world"
    model: str = "smollm2"
    repeats: int = 3
    rank: int = 16
    completions: int = 16
    length: int = 48
    lead: int = 256
    batches: tuple[int, ...] = (1, 8, 32, 64)
    sampled: int = 24
    games: int = 64
    few_games: int = 8
    steps: int = 10
    evaluation_games: int = 500
    dialogues: int = 10_000
    tokens: int = 1_000_000
    most_games: int = 1024
    most_exchanges: int = 8
    most_adapters: int = 40
    versions: int = 20
    threads: int = 1
    json: bool = False

    def __post_init__(self) -> None:
        if self.part not in get_args(Part):
            raise unknown_name("part", self.part, get_args(Part))
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise RedteamError(f"{name} is {getattr(self, name)}; give at least 1.")
        if self.completions % 8:
            raise RedteamError(
                f"completions is {self.completions}; give a multiple of 8: four prompts with two "
                "completions or more."
            )
        if not self.batches or min(self.batches) < 1:
            raise RedteamError(f"batches is {self.batches}; give sizes of at least 1.")

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts to measure."""
        return PARTS if self.part == "all" else (self.part,)


_COUNTS = (
    "repeats",
    "rank",
    "completions",
    "length",
    "lead",
    "sampled",
    "games",
    "few_games",
    "steps",
    "evaluation_games",
    "dialogues",
    "tokens",
    "most_games",
    "most_exchanges",
    "most_adapters",
    "versions",
    "threads",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One row of the table.

    Attributes:
        what: What was measured.
        value: The result.
        unit: Its unit; empty for a ratio.
        budget: What it should be at most, or at least if ``more`` is better; ``None`` without one.
        more: Whether more is better.
        part: The part it belongs to.
    """

    what: str
    value: float
    unit: str = ""
    budget: float | None = None
    more: bool = False
    part: str = "world"
