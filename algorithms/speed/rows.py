"""What ``redteam-env speed`` is asked for, and the rows it answers with."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from redteam_env.game import Count, RedteamError, check_fields, multiple_of

Part = Literal[
    "world", "judges", "trl", "generation", "arrangements", "game", "growth", "leagues", "all"
]
PARTS: tuple[str, ...] = get_args(Part)[:-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedConfig:
    """Options of ``speed``; the budgets hold for the defaults.

    Attributes:
        part: What is measured. world: training, judging and solving in the controlled world. judges:
            what asking one takes beside its own work. trl: a training step beside TRL's GRPOTrainer. generation: sampling beside transformers'
            generate. arrangements: bipolicy beside shared LoRA and independent models. game: playing
            without a model, and PettingZoo's rock-paper-scissors. growth: more games, exchanges and
            adapters. leagues: many past versions beside self-play, training in bench beside training.
            Each but world and judges runs in processes of its own.
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
        dialogues: Dialogues that a judge reads.
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
    repeats: Count = 3
    rank: Count = 16
    completions: Annotated[int, multiple_of(8)] = 16
    length: Count = 48
    lead: Count = 256
    batches: tuple[Count, ...] = (1, 8, 32, 64)
    sampled: Count = 24
    games: Count = 64
    few_games: Count = 8
    steps: Count = 10
    evaluation_games: Count = 500
    dialogues: Count = 10_000
    tokens: Count = 1_000_000
    most_games: Count = 1024
    most_exchanges: Count = 8
    most_adapters: Count = 40
    versions: Count = 20
    threads: Count = 1
    json: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.batches:
            raise RedteamError("batches is empty; give at least one size.")

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts to measure."""
        return PARTS if self.part == "all" else (self.part,)


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
