"""The configuration of an experiment, as a TOML file holds it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

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
from redteam_env.protocols import BASE
from redteam_env.worlds import MODELS
from redteam_env.worlds.apothecary import World, make_world
from redteam_env.worlds.apothecary.suites import HIDDEN, KINDS, RAW
from redteam_env.worlds.embedded import embedded_model, world_of

Options = Mapping[str, Any]
SPLITS = ("train", "heldout")
"""The substances that are trained on, and those that are not."""
ROLES = ("attacker", "defender")
RESPONSE: Options = {"arrangement": "attacker_only"}
"""What a fresh attacker is trained as."""
AUC, AUC_TRAIN, OWN_PLAY, GRADIENT_COSINE, QUIZ_SHARE, BEST_RESPONSE, ENTROPY = (
    "auc",
    "auc_train",
    "own_play",
    "gradients",
    "quiz",
    "best_response",
    "entropy",
)
MEASURES: Mapping[str, str] = MappingProxyType(
    {
        AUC: "AUC of the refusal score, mean of the primary suites, held-out substances",
        AUC_TRAIN: "AUC of the refusal score, mean of the primary suites, training substances",
        OWN_PLAY: "attack success on a stranger of the same arm less that on the own defender",
        GRADIENT_COSINE: "cosine of the roles' gradients on shared weights",
        QUIZ_SHARE: "share of the capability quiz that is answered rightly",
        BEST_RESPONSE: "attack success of the best attacker found, held-out substances",
        ENTROPY: "entropy in bits of the tactics in the attacker's rewrites",
    }
)
"""What a claim may be about. Attack success is the exact one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """How every run is measured.

    Attributes:
        checkpoints: Last checkpoints that are measured and averaged.
        suites: Scripted suites (:mod:`redteam_env.worlds.apothecary.suites`).
        suite_games: Games a suite and split, half of them harmful.
        quiz_games: Questions of the capability quiz.
        cross_games: Rewritten games of a pair and checkpoint, half of each label and split.
        gradient_games: Games behind the cosine of the roles' gradients.
        attacker_temperature: Sampling temperature of attackers; fresh ones do not sample.
        defender_temperature: Sampling temperature of defenders; 0 is greedy.
        seed: Addresses the suites, the quiz and all sampling.
    """

    checkpoints: Count = 2
    suites: Sequence[str] = (RAW, *HIDDEN)
    suite_games: Annotated[int, multiple_of(2)] = 192
    quiz_games: Count = 128
    cross_games: Annotated[int, multiple_of(4)] = 256
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
    """The measures by which defenders are compared, fixed before the first run.

    Attributes:
        suites: The suites whose mean is taken.
        over_refusal: Where the miss rate is read off the ROC curve.
    """

    suites: Sequence[str]
    over_refusal: Share

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.suites:
            raise RedteamError("The primary measure has no suites; name at least one.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A paper's claim as one number, whose sign it predicts.

    Attributes:
        name: What it is called.
        paper: Whose it is.
        text: What it says.
        part: The part that tests it.
        measure: What is compared, one of :data:`MEASURES`.
        arms: Two arms, whose difference is the number (first minus second, runs of the same seed); for
            ``gradients`` one arm, whose value is.
        sign: 1 if the number should be above zero, -1 if below.
    """

    name: str
    paper: str
    text: str
    part: str
    measure: str
    arms: Sequence[str]
    sign: Literal[1, -1]

    def __post_init__(self) -> None:
        check_fields(self)
        if self.measure not in MEASURES:
            raise unknown_name("measure", self.measure, MEASURES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What is trained and compared, or the untrained base.

    Attributes:
        options: Its training options, over those of the experiment and the part.
        seeds: Its training seeds; none for the base.
        opponent: The arm whose last weights play the seat that this one does not train: the run of the
            same seed, frozen.
    """

    options: Options
    seeds: Sequence[int]
    opponent: str | None = None

    @property
    def roles(self) -> frozenset[str]:
        """The roles that it plays: those it trains; both for the base."""
        alone = str(self.options.get("arrangement", "")).removesuffix("_only")
        return frozenset([alone]) if alone in ROLES else frozenset(ROLES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossplay:
    """Which arms meet: each attacker each defender of the same training seed.

    An arm that is named on both sides also meets a *stranger*: its attacker the defender of its run with
    the next seed.

    Attributes:
        attackers: Arms whose attackers play.
        defenders: Arms whose defenders play.
    """

    attackers: Sequence[str]
    defenders: Sequence[str]

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of an experiment that is run and reported by itself.

    Attributes:
        name: What it is called.
        about: What it asks, one sentence.
        seeds: Training seeds.
        arms: The arms by name. In a plan an arm is a table of training options beside which there may be
            ``seeds``, how many of the part's seeds it has (the first ones; by default all), and
            ``opponent = "arm:NAME"``, a trained and then frozen opponent. ``base`` is an empty table.
        training: Options of every run of this part.
        crossplay: Who meets whom.
        gradients: Arms whose roles' gradients are compared.
        contrasts: Pairs of arms that are compared beside those of the claims.
        against: The part whose defenders fresh attackers are trained against.
        defenders: Which of its arms; with the seeds of this part.
    """

    name: str
    about: str
    seeds: Sequence[int]
    arms: Mapping[str, Arm] = field(default_factory=dict)
    training: Options = field(default_factory=dict)
    crossplay: Crossplay | None = None
    gradients: Sequence[str] = ()
    contrasts: Sequence[tuple[str, str]] = ()
    against: str | None = None
    defenders: Sequence[str] = ()

    def has(self, arm: str, seed: int) -> bool:
        """Whether an arm is trained with a seed; the base stands for every seed."""
        return arm == BASE or seed in self.arms[arm].seeds

    def stranger(self, arm: str, seed: int) -> int | None:
        """Return the seed of the run whose defender is a stranger to an arm's attacker of a seed.

        Returns:
            The arm's next seed; ``None`` for an arm that does not meet its own kind, or has one seed.
        """
        cross, seeds = self.crossplay, list(self.arms[arm].seeds)
        if cross is None or not {arm} <= {*cross.attackers} & {*cross.defenders} or len(seeds) < 2:
            return None
        return seeds[(seeds.index(seed) + 1) % len(seeds)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Everything that decides what is run and how it is judged.

    Attributes:
        name: What it is called.
        training: Options of every run.
        measuring: How runs are measured.
        primary: What arms are compared by.
        claims: What is tested, by name: one primary contrast a claim.
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
    claims: Mapping[str, Claim]
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


def opponents_of(config: TrainConfig) -> list[str]:
    """Return the agents that a run names as opponents."""
    scripted = [name for names in config.scripted.specs.values() for name in names]
    return [*([config.run.opponent] if config.run.opponent else []), *scripted]


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
