"""What a benchmark compares and how: its options and its cells."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from algorithms.studies.executors import ExecutorName
from algorithms.training.config import (
    SELF_PLAY,
    RunConfig,
    TrainConfig,
    components,
    has_own_loop,
)
from redteam_env import registry
from redteam_env.game import (
    Count,
    RedteamError,
    at_least,
    check_fields,
    check_values,
    multiple_of,
    unknown_name,
)
from redteam_env.protocols import BASE
from redteam_env.utils.lists import assigned, listed
from redteam_env.worlds import world_options

WORLD = "apothecary"
RESPONSE = "attacker_only"
"""The arrangement of a fresh attacker, which every policy of a benchmark that trains one must have."""
RESPONSE_LR = 1e-3
"""The learning rate of fresh attackers in a world, twice that of the runs' attackers, if no setting gives one.
They have fewer steps, and only their success counts: on the base, at temperature .5, they succeed in .98 of
the attacks after 30 steps, at the rate of the runs in .95 after 40."""
REFERENCE = "reinforce_pp"
"""The algorithm of fresh attackers and of the panel's runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelRun:
    """A member of the panel that a benchmark trains itself, once, so that its directory has all it needs.

    Attributes:
        arrangement: Which weights play which role.
        share: Share of the budget that it learns from.
    """

    arrangement: str
    share: float


PANEL_RUNS: Mapping[str, PanelRun] = {
    "half_trained": PanelRun(arrangement="bipolicy", share=0.5),
    "defender_only": PanelRun(arrangement="defender_only", share=1.0),
}
"""Names that a panel may hold beside agents. Half-trained defenders are what tells attackers apart: the
base is beaten by all of them, a whole defender by hardly any."""
PANEL_SEED = 1000
"""Their training seed, far from those of the cells."""
PRIMARY, SECONDARY = "heldout", "train"
"""The split of the seeds that headline scores are about, and the one that is reported beside it: what is
learnt by heart counts for nothing on seeds that no run has met."""
OF_WORLD: Mapping[str, str] = {"model": "model", "source": "seeds", "judge": "judge"}
"""Options that a benchmark needs, and what a world calls them."""
NOT_OF_WORLD: Mapping[str, Any] = {"callback": None}
"""Options of a world that a benchmark leaves out: what callbacks log is measured afterwards, by any judge."""
NO_WORLD = "none"
"""What a world is called that is none."""
SET_HERE: Mapping[str, str] = {
    "world": "--world",
    "model": "--model",
    "seeds": "--source",
    "mix_worlds": "--mix-worlds",
    "judge": "--judge",
    "games": "--games",
    "group_size": "--group-size",
    "steps": "--budget",
    "max_tokens": "--token-budget",
    "algorithm": "--algorithms",
    "opponents": "--algorithms ALGORITHM+OPPONENTS",
    "arrangement": "--arrangements",
    "seed": "--seeds",
    "out": "--out",
    "json": "--json",
    "resume": "nothing: runs always resume",
}
"""Training options that a benchmark sets for every run, and what to give instead of them."""
PANEL = "panel"
"""The part of a benchmark that its panel's runs belong to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """An algorithm in an arrangement.

    Attributes:
        label: As the user named it: ``ALGORITHM`` or ``ALGORITHM+OPPONENTS``.
        arrangement: Which weights play which role.
        reason: Why it cannot be run; ``None`` if it can.
    """

    label: str
    arrangement: str
    reason: str | None = None

    @property
    def trained(self) -> bool:
        """Whether anything is trained; false for the base alone."""
        return self.arrangement != BASE

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.label}.{self.arrangement}" if self.trained else self.label

    @property
    def algorithm(self) -> str:
        """The algorithm's name."""
        return self.label.partition("+")[0]

    @property
    def opponents(self) -> str:
        """The name of its opponents; self-play if the label names none."""
        return self.label.partition("+")[2] or SELF_PLAY


UNTRAINED = Cell(label=BASE, arrangement=BASE)
"""The base as it comes, measured like the others, so that one sees whether training helped at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchConfig:
    """Options of ``bench``; all of them but the last six decide the results.

    Attributes:
        algorithms: Algorithms with a comma between them, each ALGORITHM or ALGORITHM+OPPONENTS;
            plug-ins by name.
        arrangements: Arrangements with a comma between them.
        seeds: Training seeds of every cell, 0 and up.
        budget: Games of every run.
        token_budget: Tokens sampled in every run, by all seats and in a league's own games too: a run
            ends after the step that reaches it, or at the budget of games if that comes first. 0 for
            no such end. An algorithm that plays by itself, such as sb3_ppo, samples none: only its
            opponent's tokens count.
        games: Games a step.
        group_size: Games that share a seed, in every run, so that all are trained on the same games;
            1 for algorithms that play by themselves, such as sb3_ppo.
        world: The controlled world: apothecary, apothecary-easy, apothecary-coupled, or an installed one.
            One word sets model, source, judge, prompts and the training options of every run where they
            are not given; none for a game outside any world, which needs the first three.
        model: Base model: a world's, a model directory, a known name or a hub id.
        source: Seed source, as --seeds of train.
        judge: Judge.
        prompts: Instruction texts, as for train.
        settings: Training options of every run, NAME=VALUE with a comma between them, over those of
            the world.
        mix_worlds: Train with parts that do not fit each other, such as a world's model on English seeds.
        defence_suites: Evaluation suites with a comma between them that the score defence is the mean
            of: rewritten requests, harmful and benign ones.
        suites: Further suites that defenders are asked.
        suite_games: Games or questions of each suite.
        panel_attackers: Attackers that every defender meets, with a comma between them: base, agents,
            run directories such as earlier winners, and half_trained (reinforce_pp, bipolicy, trained
            here with half of the budget).
        panel_defenders: Defenders that every attacker is graded on: the same, and defender_only
            (trained here against the untrained base).
        panel_games: Games of each such pair.
        cross_games: Games of each pair of attacker and defender of one training seed, for ratings.
        response_budget: Games of a fresh attacker's training against each trained defender, for the
            best-response gap; 0 for none.
        measure_seed: Addresses suites, panels and all sampling of the measuring.
        executor: Where tasks run: processes on this machine, one thread each; submitit (jobs of Slurm,
            the extra cluster); or ray (tasks on a Ray cluster, the extra ray).
        job: What a job of submitit or a task of Ray is asked for, NAME=VALUE with a comma between
            them, such as slurm_partition=gpu,timeout_min=600 or num_gpus=1.
        workers: Tasks side by side.
        out: The benchmark's directory.
        to: Where leaderboard, games and plots go; by default the folder report in it.
        json: Print the leaderboard as JSON.
    """

    algorithms: str = "reinforce_pp,grpo,rae,ppo,reinforce_pp+psro,sb3_ppo"
    arrangements: str = "shared,bipolicy"
    seeds: Count = 5
    budget: Count = 5760
    token_budget: Annotated[int, at_least(0)] = 0
    games: Count = 64
    group_size: Count = 4
    world: str | None = WORLD
    model: str | None = None
    source: str | None = None
    judge: str | None = None
    prompts: str | None = None
    settings: str = ""
    mix_worlds: bool = False
    defence_suites: str = "apothecary_alias,apothecary_spelled,apothecary_reversed,apothecary_split"
    suites: str = "apothecary_raw,apothecary_shown,apothecary_quiz"
    suite_games: Annotated[int, multiple_of(4)] = 256
    panel_attackers: str = "base,half_trained"
    panel_defenders: str = "base,half_trained,defender_only"
    panel_games: Annotated[int, multiple_of(4)] = 256
    cross_games: Annotated[int, multiple_of(4)] = 64
    response_budget: Annotated[int, at_least(0)] = 2560
    measure_seed: int = 0
    executor: ExecutorName = "processes"
    job: str = ""
    workers: Count = 2
    out: str = "runs/bench"
    to: str | None = None
    json: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.world == NO_WORLD:
            object.__setattr__(self, "world", None)
        if self.world is not None and self.world not in registry.names("worlds"):
            raise unknown_name("world", self.world, registry.names("worlds"))
        if self.world is None and (lacking := [x for x in OF_WORLD if getattr(self, x) is None]):
            raise RedteamError(
                f"world is none, so {lacking[0]} has to be given: --{lacking[0]}, or name a --world."
            )
        for name in ("budget", "response_budget"):
            value = getattr(self, name)
            if 0 < value < self.games:
                raise RedteamError(
                    f"{name} is {value}, less than one step of {self.games} games; give at least "
                    f"{self.games}, or fewer --games."
                )
            if value % self.games:
                raise RedteamError(
                    f"{name} is {value}, no whole number of steps of {self.games} games; give "
                    f"{value // self.games * self.games}, for example."
                )
        if not listed(self.defence_suites):
            raise RedteamError("defence_suites is empty; name at least one evaluation suite.")
        if twice := {x for x in self.every_suite if self.every_suite.count(x) > 1}:
            raise RedteamError(f"The suite {min(twice)!r} is named twice; name it once.")
        if own := [x for x in self._settings() if x in SET_HERE]:
            raise RedteamError(
                f"settings has {own[0]!r}, which a benchmark sets for every run; give {SET_HERE[own[0]]}."
            )
        for name in ("panel_attackers", "panel_defenders"):
            if not listed(getattr(self, name)):
                raise RedteamError(f"{name} is empty; name at least one, such as {BASE}.")

    @property
    def model_name(self) -> str:
        """The base model, given or the world's."""
        return self._named("model")

    @property
    def source_name(self) -> str:
        """The seed source, given or the world's."""
        return self._named("source")

    @property
    def judge_name(self) -> str:
        """The judge, given or the world's."""
        return self._named("judge")

    def _named(self, name: str) -> str:
        given = getattr(self, name)
        return str(self._of_world()[OF_WORLD[name]] if given is None else given)

    def _of_world(self) -> dict[str, Any]:
        return {} if self.world is None else {**world_options(self.world), **NOT_OF_WORLD}

    @property
    def every_suite(self) -> tuple[str, ...]:
        """The suites that defenders are asked, those of the score defence first."""
        return (*listed(self.defence_suites), *listed(self.suites))

    @property
    def panel_runs(self) -> tuple[str, ...]:
        """The members of the panel that are trained here."""
        members = (*listed(self.panel_attackers), *listed(self.panel_defenders))
        return tuple(name for name in PANEL_RUNS if name in members)

    @property
    def steps(self) -> int:
        """Training steps of every run; with a budget of tokens the most of them."""
        return self.budget // self.games

    def options(self, cell: Cell, seed: int, out: Path) -> TrainConfig:
        """Return the configuration of one run.

        Args:
            cell: Algorithm and arrangement.
            seed: The training seed.
            out: The run directory.

        Raises:
            RedteamError: If an option is wrong, or one of ``settings`` is known to no component.
        """
        own: dict[str, Any] = {
            "algorithm": cell.algorithm,
            "arrangement": cell.arrangement,
            "seed": seed,
        }
        if cell.opponents != SELF_PLAY:
            own["opponents"] = cell.opponents
        own["max_tokens"] = self.token_budget
        return self._options(own, self.budget, out)

    def response(self, opponent: str | None, seed: int, out: Path) -> TrainConfig:
        """Return the configuration of a fresh attacker against a defender.

        Args:
            opponent: The defender, which stays as it is; ``None`` for the untrained base.
            seed: The training seed.
            out: The fresh attacker's run directory.
        """
        own: dict[str, Any] = {"arrangement": RESPONSE, "opponent": opponent, "seed": seed}
        if self.world is not None and not {"lr", "attacker_lr"} & self._settings().keys():
            own["attacker_lr"] = RESPONSE_LR
        return self._options({**own, "algorithm": REFERENCE}, self.response_budget, out)

    def panel(self, name: str, out: Path) -> TrainConfig:
        """Return the configuration of a member of the panel that is trained here.

        Args:
            name: One of :data:`PANEL_RUNS`.
            out: Its run directory.
        """
        run = PANEL_RUNS[name]
        own = {"algorithm": REFERENCE, "arrangement": run.arrangement, "seed": PANEL_SEED}
        steps = max(1, round(run.share * self.steps))
        return self._options(own, steps * self.games, out)

    def _options(self, own: Mapping[str, Any], budget: int, out: Path) -> TrainConfig:
        algorithm = str(own["algorithm"])
        known = self._options_of(algorithm, str(own.get("opponents", SELF_PLAY)))
        values: dict[str, Any] = {"checkpoint_every": 20} if self.world is None else {}
        values |= {"world": self.world, "mix_worlds": self.mix_worlds, **NOT_OF_WORLD}
        if self.prompts is not None:
            values["prompts"] = self.prompts
        values |= {x: v for x, v in self.settings_by_name().items() if x in known}
        found = TrainConfig.from_flat(
            {
                **values,
                "model": self.model_name,
                "seeds": self.source_name,
                "judge": self.judge_name,
                "games": self.games,
                "group_size": 1 if has_own_loop(algorithm) else self.group_size,
                "steps": budget // self.games,
                "max_tokens": 0,
                **own,
                "out": str(out),
                "resume": True,
                "json": True,
            }
        )
        every = min(found.run.steps, found.run.checkpoint_every)
        return dataclasses.replace(
            found, run=dataclasses.replace(found.run, checkpoint_every=every)
        )

    def settings_by_name(self) -> dict[str, Any]:
        """Return the training options of ``settings``.

        Raises:
            RedteamError: If one is not NAME=VALUE, or no component of any run knows it.
        """
        found = self._settings()
        known = set()
        for label in listed(self.algorithms):
            algorithm, _, opponents = label.partition("+")
            known |= self._options_of(algorithm, opponents or SELF_PLAY)
        for name in found:
            if name not in known:
                raise unknown_name("training option in settings", name, known)
        return found

    def _settings(self) -> dict[str, Any]:
        return assigned(self.settings, option="settings", example="lr=5e-4")

    def _options_of(self, algorithm: str, opponents: str) -> set[str]:
        """Return the names of the training options of an algorithm with its opponents."""
        given = {**self._of_world(), **self._settings()}
        chosen = {x: y for x, y in given.items() if x in {"policy", "callback"}}
        kinds = components({**chosen, "algorithm": algorithm, "opponents": opponents})
        return {field.name for kind in kinds.values() for field in dataclasses.fields(kind)}

    @property
    def policy(self) -> str:
        """The name of the policy that every run trains."""
        return str(self._settings().get("policy", RunConfig().policy))

    def weights(self, arrangement: str) -> Mapping[str, str]:
        """Return which weights play which role in an arrangement of the policy.

        Raises:
            RedteamError: If the policy has no such arrangement, or none at all.
        """
        kind = registry.settings("policies", self.policy)
        if not any(field.name == "arrangement" for field in dataclasses.fields(kind)):
            raise RedteamError(
                f"The policy {self.policy!r} has no option 'arrangement', and a benchmark compares "
                "arrangements; choose another policy, or give its Config one."
            )
        weights = getattr(kind(arrangement=arrangement), "weights", None)
        if not isinstance(weights, Mapping):
            raise RedteamError(
                f"The Config of the policy {self.policy!r} has no mapping 'weights', so a benchmark "
                "cannot tell which roles an arrangement trains; give it one from roles to names of weights."
            )
        return weights


def config_from(data: Mapping[str, Any]) -> BenchConfig:
    """Return the options that a plan gives by name; lists, and the table of settings, as such.

    Args:
        data: The plan.

    Raises:
        RedteamError: If a name is unknown or a value wrong.
    """
    known = [field.name for field in dataclasses.fields(BenchConfig)]
    values: dict[str, Any] = {}
    for name, value in data.items():
        if name not in known:
            raise unknown_name("option of a benchmark", name, known)
        parts = value
        if isinstance(value, Mapping):
            parts = [f"{x}={y if isinstance(y, str) else json.dumps(y)}" for x, y in value.items()]
        values[name] = ",".join(map(str, parts)) if isinstance(parts, list) else parts
    check_values(BenchConfig, values)
    return BenchConfig(**values)
