"""The configuration of an experiment, as a TOML file holds it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from algorithms.training.config import TrainConfig
from redteam_env.game import (
    Count,
    RedteamError,
    Share,
    at_least,
    check_fields,
    multiple_of,
    unknown_name,
)
from redteam_env.worlds import MODELS
from redteam_env.worlds.apothecary import World, make_world
from redteam_env.worlds.apothecary.suites import KINDS
from redteam_env.worlds.embedded import embedded_model, world_of

Options = Mapping[str, Any]
SPLITS = ("train", "heldout")
"""The substances that are trained on, and those that are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """How every run is measured.

    Attributes:
        checkpoints: Last checkpoints that are measured and averaged.
        suites: Scripted suites (:mod:`redteam_env.worlds.apothecary.suites`).
        suite_games: Games a suite and split, half of them harmful.
        quiz_games: Questions of the capability quiz.
        cross_games: Rewritten games of a pair and checkpoint, half of each label and split.
        swap_games: Rewrites asked of the defender's weights in the attacker's seat.
        gradient_games: Games behind the cosine of the roles' gradients.
        attacker_temperature: Sampling temperature of attackers.
        defender_temperature: Sampling temperature of defenders; 0 is greedy.
        seed: Addresses the suites, the quiz and all sampling.
    """

    checkpoints: Count = 3
    suites: Sequence[str] = KINDS
    suite_games: Annotated[int, multiple_of(2)] = 512
    quiz_games: Count = 256
    cross_games: Annotated[int, multiple_of(4)] = 200
    swap_games: Annotated[int, multiple_of(2)] = 256
    gradient_games: Count = 1024
    attacker_temperature: Annotated[float, at_least(0)] = 1.0
    defender_temperature: Annotated[float, at_least(0)] = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        for suite in self.suites:
            if suite not in KINDS:
                raise unknown_name("suite", suite, KINDS)
            if list(self.suites).count(suite) > 1:
                raise RedteamError(f"suites names {suite!r} twice; name it once.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Primary:
    """The measures by which arms are compared, fixed before the first run.

    Attributes:
        suites: The suites whose mean is taken.
        over_refusal: Where the miss rate is read off the ROC curve.
        contrasts: Pairs of arms: first minus second.
    """

    suites: Sequence[str]
    over_refusal: Share
    contrasts: Sequence[tuple[str, str]]

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.suites:
            raise RedteamError("The primary measure has no suites; name at least one.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """An arm whose options are chosen on seeds of their own.

    Attributes:
        name: The arm's name.
        seeds: Seeds on which candidates are tried.
        candidates: Options by name.
    """

    name: str
    seeds: Sequence[int]
    candidates: Mapping[str, Options]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of an experiment that is run and reported by itself.

    Attributes:
        name: What it is called.
        about: What it asks, one sentence.
        seeds: Training seeds of every arm.
        arms: Options of every arm, over those of the experiment and the part; ``base`` has none
            and is not trained.
        training: Options of every run of this part.
        crossplay: Whether all attackers meet all defenders.
        swap: Whether each role's weights are played in the other seat.
        gradients: Arms whose roles' gradients are compared.
        contrasts: Pairs of arms; by default the experiment's, as far as the part has the arms.
        against: The part whose defenders fresh attackers are trained against.
        tuned: An arm with tuned options.
    """

    name: str
    about: str
    seeds: Sequence[int] = ()
    arms: Mapping[str, Options] = field(default_factory=dict)
    training: Options = field(default_factory=dict)
    crossplay: bool = False
    swap: bool = False
    gradients: Sequence[str] = ()
    contrasts: Sequence[tuple[str, str]] = ()
    against: str | None = None
    tuned: Tuned | None = None

    @property
    def names(self) -> list[str]:
        """The names of all arms, the tuned one's last."""
        return [*self.arms, *([self.tuned.name] if self.tuned else [])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Everything that decides what is run and how it is judged.

    Attributes:
        name: What it is called.
        training: Options of every run.
        measuring: How runs are measured.
        primary: What arms are compared by.
        parts: The parts by name, in order.
        source: The plan's own data, for the manifest.
        code: The Python that the plan stands in; ``None`` for TOML.
        worlds: The world of each base model at the time of the runs; what is not named is that of
            the model as it is now.
    """

    name: str
    training: Options
    measuring: Measuring
    primary: Primary
    parts: Mapping[str, Part]
    source: Mapping[str, Any]
    code: str | None = None
    worlds: Mapping[str, World] = field(default_factory=dict)

    def world(self, part: Part) -> World:
        """Return the world that a part plays in.

        Raises:
            RedteamError: If its base model is missing or was pretrained on no world.
        """
        model = str(self.options(part, {}, 0, Path("unused")).policy.model)
        return self.worlds[model] if model in self.worlds else world_named(model)

    def part(self, name: str) -> Part:
        """Return a part.

        Raises:
            RedteamError: If there is none of this name.
        """
        if name not in self.parts:
            raise unknown_name("part", name, self.parts)
        return self.parts[name]

    def options(self, part: Part, arm: Options, seed: int, out: Path) -> TrainConfig:
        """Return the configuration of one run.

        Args:
            part: Its part.
            arm: The arm's options.
            seed: The training seed.
            out: The run directory.
        """
        values = {**self.training, **part.training, **arm, "seed": seed}
        values = {
            name: None if value == "none" and name in _optional() else value
            for name, value in values.items()
        }
        if "arrangement" not in arm:
            values["arrangement"] = "bipolicy"
        return TrainConfig.from_flat({**values, "out": str(out), "resume": True, "json": True})


@lru_cache(maxsize=1)
def _optional() -> frozenset[str]:
    """Return the options that may be without a value, which TOML writes ``"none"``."""
    return frozenset(x for x, value in TrainConfig.from_flat({}).flat().items() if value is None)


def world_named(model: str) -> World:
    """Return the world that a base model was pretrained on.

    Args:
        model: An embedded model or a directory that ``worlds pretrain`` wrote.

    Raises:
        RedteamError: If there is no such directory, or it describes no world.
    """
    directory = embedded_model(model) if model in MODELS else Path(model).expanduser()
    return make_world(world_of(directory))
