"""The tasks of an experiment, its manifest, and the configuration of each run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from algorithms.studies.experiments.config import Experiment, Options, Part, world_named
from algorithms.studies.experiments.reading import experiment_from
from algorithms.studies.manifest import fingerprints
from algorithms.studies.tasks import (
    ATTACK,
    CHOOSE,
    CROSS,
    GRADIENTS,
    MEASURE,
    RESPOND,
    TRAIN,
    Task,
    run_directory,
)
from algorithms.studies.verify import plain
from algorithms.training.config import TrainConfig
from redteam_env.protocols import BASE
from redteam_env.utils.files import read_record

MANIFEST = "experiment.json"
SCHEMA = 1
RESPONSE: Options = {"arrangement": "attacker_only"}
"""What a fresh attacker is trained as."""
_TUNING = "-tuning"


def manifest_of(experiment: Experiment) -> dict[str, Any]:
    """Return everything that decides an experiment's results: configuration, base models, versions.

    Raises:
        RedteamError: If a base model is missing or was pretrained on no world.
    """
    parts = experiment.parts.values()
    options = [experiment.training, *(part.training for part in parts)]
    options += chain.from_iterable(part.arms.values() for part in parts)
    options += chain.from_iterable(x.tuned.candidates.values() for x in parts if x.tuned)
    runs = [
        experiment.options(part, arm, 0, Path("unused"))
        for part in parts
        for arm in ([RESPONSE] if part.against else _arms(part))
    ]
    models = dict.fromkeys(str(run.policy.model) for run in runs)
    return {
        "schema": SCHEMA,
        "experiment": experiment.source,
        "worlds": {model: plain(asdict(world_named(model).config)) for model in models},
        **fingerprints(runs, options),
    }


def _arms(part: Part) -> list[Options]:
    """Return the options of a part's arms, and of those that its tuned arm is chosen from."""
    return [*part.arms.values(), *(part.tuned.candidates.values() if part.tuned else ())]


def tasks(experiment: Experiment, part: Part) -> list[Task]:
    """Return everything that a part needs, tasks of the part it plays against among them."""
    if part.against is not None:
        other = experiment.part(part.against)
        responses = list(_responses(other, part))
        needed = {name for task in responses for name in task.needs}
        return [*(x for x in tasks(experiment, other) if x.output in needed), *responses]
    found = [*_measured(part.name, part.arms, part.seeds)]
    if part.tuned is not None:
        tuned = part.tuned
        tried = [*_measured(f"{part.name}{_TUNING}", tuned.candidates, tuned.seeds)]
        chosen = Task(kind=CHOOSE, part=part.name, arm=tuned.name, seed=0).after(
            *(x for x in tried if x.kind == MEASURE)
        )
        found += [*tried, chosen]
        found += _measured(part.name, {tuned.name: {}}, part.seeds, chosen)
    trained = [arm for arm in part.names if arm != BASE]
    if part.crossplay:
        for k, seed in enumerate(part.seeds):
            pair = (seed, part.seeds[(k + 1) % len(part.seeds)])
            runs = [_run(part.name, arm, s) for arm in trained for s in pair]
            found.append(Task(kind=CROSS, part=part.name, seed=seed).after(*dict.fromkeys(runs)))
    for arm in part.gradients:
        for seed in part.seeds:
            task = Task(kind=GRADIENTS, part=part.name, arm=arm, seed=seed)
            found.append(task.after(_run(part.name, arm, seed)))
    return found


def _run(part: str, arm: str, seed: int) -> Task:
    return Task(kind=TRAIN, part=part, arm=arm, seed=seed)


def _measured(
    part: str, arms: Mapping[str, Options], seeds: Sequence[int], *before: Task
) -> Iterator[Task]:
    """Yield training and measuring of every arm, all arms of a seed before the next seed."""
    for seed in seeds:
        for arm in arms:
            if arm == BASE:
                continue
            run = _run(part, arm, seed).after(*before)
            yield run
            yield Task(kind=MEASURE, part=part, arm=arm, seed=seed).after(run)
    if BASE in arms:
        yield Task(kind=MEASURE, part=part, arm=BASE, seed=-1)


def _responses(other: Part, part: Part) -> Iterator[Task]:
    """Yield a fresh attacker's training and its games, for every defender of a part."""
    defenders = [BASE, *(x for x, o in other.arms.items() if _trains_defender(x, o))]
    for seed in other.seeds:
        for arm in defenders:
            attack = Task(kind=ATTACK, part=part.name, arm=arm, seed=seed)
            attack = attack if arm == BASE else attack.after(_run(other.name, arm, seed))
            yield attack
            yield Task(kind=RESPOND, part=part.name, arm=arm, seed=seed).after(attack)


def _trains_defender(arm: str, options: Options) -> bool:
    return arm != BASE and options.get("arrangement") != "attacker_only"


@dataclass(frozen=True, slots=True)
class Runs:
    """The configurations of an experiment's runs, as its directory decides them.

    Attributes:
        experiment: The experiment.
        root: Its directory: it holds which options a tuned arm was given.
    """

    experiment: Experiment
    root: Path

    def part(self, task: Task) -> Part:
        """Return the part that a task belongs to."""
        return self.experiment.part(task.part.removesuffix(_TUNING))

    def tuning(self, task: Task) -> list[Task]:
        """Return the tasks that measured the candidates of a part's tuned arm."""
        every = tasks(self.experiment, self.part(task))
        return [x for x in every if x.kind == MEASURE and x.part.endswith(_TUNING)]

    def options(self, task: Task) -> Options:
        """Return the own options of a task's arm, those of a tuned one as they were chosen.

        Raises:
            RedteamError: If a tuned arm's options have not been chosen yet.
        """
        part = self.part(task)
        tuned = part.tuned
        if tuned is not None and task.part.endswith(_TUNING):
            return tuned.candidates[task.arm]
        if tuned is not None and task.arm == tuned.name:
            choice = Task(kind=CHOOSE, part=part.name, arm=tuned.name, seed=0)
            chosen: Options = read_record(
                self.root / choice.output, remedy="Run the part again.", needed=["options"]
            )["options"]
            return chosen
        return part.arms.get(task.arm, {})

    def config(self, task: Task) -> TrainConfig:
        """Return the configuration of the run that a task is about."""
        out = run_directory(self.root, task.arm, task.seed, part=task.part)
        part = self.part(task)
        if part.against is None:
            return self.experiment.options(part, self.options(task), max(task.seed, 0), out)
        config = self.experiment.options(part, RESPONSE, task.seed, out)
        if task.arm == BASE:
            return config
        opponent = run_directory(self.root, task.arm, task.seed, part=part.against)
        return replace(config, run=replace(config.run, opponent=str(opponent)))


def do(source: Mapping[str, Any], root: Path, task: Task) -> str:
    """Do a task; torch, which the work needs, is imported in the process of the task.

    Args:
        source: The experiment's data.
        root: Its directory.
        task: What to do.
    """
    from algorithms.studies.experiments import work  # noqa: PLC0415 - the same

    return work.do(experiment_from(source), root, task)
