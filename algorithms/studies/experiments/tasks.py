"""The tasks of an experiment, its manifest, and the configuration of each run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from algorithms.studies.experiments.config import (
    RESPONSE,
    Arm,
    Experiment,
    Part,
    opponents_of,
    world_named,
)
from algorithms.studies.experiments.reading import experiment_from
from algorithms.studies.manifest import fingerprints
from algorithms.studies.tasks import (
    ATTACK,
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

MANIFEST = "experiment.json"
SCHEMA = 2
_FRESH = Arm(options=RESPONSE, seeds=())


def manifest_of(experiment: Experiment) -> dict[str, Any]:
    """Return everything that decides an experiment's results: configuration, base models, versions.

    Raises:
        RedteamError: If a base model is missing or was pretrained on no world.
    """
    parts = experiment.parts.values()
    arms = [(part, arm) for part in parts for arm in part.arms.values()]
    arms += [(part, _FRESH) for part in parts if part.against is not None]
    options = [experiment.training, *(part.training for part in parts)]
    options += [arm.options for _, arm in arms]
    runs = [experiment.options(part, arm.options, 0, Path("unused")) for part, arm in arms]
    models = dict.fromkeys(str(run.policy.model) for run in runs)
    opponents = dict.fromkeys(spec for run in runs for spec in opponents_of(run))
    return {
        "schema": SCHEMA,
        "experiment": experiment.source,
        "worlds": {model: plain(asdict(world_named(model).config)) for model in models},
        **fingerprints(runs, options, agents=list(opponents)),
    }


def tasks(experiment: Experiment, part: Part) -> list[Task]:
    """Return everything that a part needs, tasks of the part it plays against among them."""
    if part.against is not None:
        responses = list(_responses(part))
        return [*_needed(tasks(experiment, experiment.part(part.against)), responses), *responses]
    found = [*_measured(part)]
    if part.crossplay is not None:
        met = dict.fromkeys([*part.crossplay.attackers, *part.crossplay.defenders])
        for seed in part.seeds:
            pairs = [(x, seed) for x in met if x != BASE and part.has(x, seed)]
            pairs += [(x, s) for x, _ in pairs if (s := part.stranger(x, seed)) is not None]
            runs = [_run(part.name, arm, s) for arm, s in pairs]
            found.append(Task(kind=CROSS, part=part.name, seed=seed).after(*dict.fromkeys(runs)))
    for arm in part.gradients:
        for seed in part.arms[arm].seeds:
            task = Task(kind=GRADIENTS, part=part.name, arm=arm, seed=seed)
            found.append(task.after(_run(part.name, arm, seed)))
    return found


def _run(part: str, arm: str, seed: int) -> Task:
    return Task(kind=TRAIN, part=part, arm=arm, seed=seed)


def _measured(part: Part) -> Iterator[Task]:
    """Yield training and measuring of every arm, all arms of a seed before the next seed.

    An arm that is another one's opponent comes before that one.
    """
    order = sorted(part.arms.items(), key=lambda x: x[1].opponent is not None)
    for seed in part.seeds:
        for name, arm in order:
            if seed not in arm.seeds:
                continue
            run = _run(part.name, name, seed)
            if arm.opponent is not None:
                run = run.after(_run(part.name, arm.opponent, seed))
            yield run
            if "defender" in arm.roles:
                yield Task(kind=MEASURE, part=part.name, arm=name, seed=seed).after(run)
    if BASE in part.arms:
        yield Task(kind=MEASURE, part=part.name, arm=BASE, seed=-1)


def _responses(part: Part) -> Iterator[Task]:
    """Yield a fresh attacker's training and its games, for every defender that a part plays against.

    What its defender did against scripts and other attackers is needed, too: the best of all counts.
    """
    other = str(part.against)
    for seed in part.seeds:
        cross = Task(kind=CROSS, part=other, seed=seed)
        for arm in part.defenders:
            run = -1 if arm == BASE else seed
            measured = Task(kind=MEASURE, part=other, arm=arm, seed=run)
            attack = Task(kind=ATTACK, part=part.name, arm=arm, seed=seed)
            attack = attack if arm == BASE else attack.after(_run(other, arm, seed))
            yield attack
            respond = Task(kind=RESPOND, part=part.name, arm=arm, seed=seed)
            yield respond.after(attack, measured, cross)


def _needed(every: Sequence[Task], wanted: Iterable[Task]) -> list[Task]:
    """Return what tasks need of others, directly or not, in the order of these."""
    needs = {name for task in wanted for name in task.needs}
    for task in reversed(every):  # whatever a task needs stands before it
        if task.output in needs:
            needs.update(task.needs)
    return [task for task in every if task.output in needs]


@dataclass(frozen=True, slots=True)
class Runs:
    """The configurations of an experiment's runs.

    Attributes:
        experiment: The experiment.
        root: Its directory.
    """

    experiment: Experiment
    root: Path

    def config(self, task: Task) -> TrainConfig:
        """Return the configuration of the run that a task is about."""
        part = self.experiment.part(task.part)
        arm = _FRESH if part.against is not None else part.arms[task.arm]
        out = run_directory(self.root, task.arm, task.seed, part=task.part)
        config = self.experiment.options(part, arm.options, max(task.seed, 0), out)
        opponent, place = arm.opponent, part.name
        if part.against is not None and task.arm != BASE:
            opponent, place = task.arm, part.against
        if opponent is None:
            return config
        run = run_directory(self.root, opponent, task.seed, part=place)
        return replace(config, run=replace(config.run, opponent=str(run)))


def do(source: Mapping[str, Any], root: Path, task: Task) -> str:
    """Do a task; torch, which the work needs, is imported in the process of the task.

    Args:
        source: The experiment's data.
        root: Its directory.
        task: What to do.
    """
    from algorithms.studies.experiments import work  # noqa: PLC0415 - the same

    return work.do(experiment_from(source), root, task)
