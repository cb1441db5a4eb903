"""The work of a part, cut into tasks that each leave one file: what exists is done."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from algorithms.studies.experiments.config import Experiment, Options, Part
from algorithms.training.config import TrainConfig
from redteam_env.protocols import BASE
from redteam_env.utils.files import read_record

TRAIN, MEASURE, CROSS, GRADIENTS, CHOOSE, ATTACK, RESPOND = (
    "train",
    "measure",
    "cross",
    "gradients",
    "choose",
    "attack",
    "respond",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One piece of work.

    Attributes:
        kind: What is done.
        part: For which part.
        arm: For which arm; empty for all arms of a seed.
        seed: The training seed; -1 for the base.
        output: The file it leaves, inside the experiment's directory.
        needs: Outputs of other tasks that must exist before.
    """

    kind: str
    part: str
    arm: str
    seed: int
    output: str
    needs: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What a person is shown."""
        seed = f" seed {self.seed}" if self.seed >= 0 else ""
        return f"{self.part}: {self.kind} {self.arm or 'all arms'}{seed}"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are in an experiment's directory.

    Attributes:
        root: The directory.
    """

    root: Path

    def run(self, part: str, arm: str, seed: int) -> Path:
        """Return a run directory."""
        return self.root / "runs" / part / arm / f"seed-{seed}"

    @staticmethod
    def record(part: str, kind: str, arm: str, seed: int, suffix: str = "parquet") -> str:
        """Return the place of a task's output, relative to the directory."""
        name = f"{arm}-{seed}" if arm else f"seed-{seed}"
        return f"records/{part}/{kind}/{name}.{suffix}"

    def records(self, part: str, kind: str) -> list[Path]:
        """Return the outputs of one kind that exist, sorted."""
        folder = self.root / "records" / part / kind
        return sorted(x for x in folder.glob("*.*") if not x.name.startswith("."))


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
        found += _measured(f"{part.name}-tuning", tuned.candidates, tuned.seeds)
        chosen = Layout.record(part.name, CHOOSE, tuned.name, 0, "json")
        needs = tuple(x.output for x in found if x.part.endswith("-tuning") and x.kind == MEASURE)
        found.append(
            Task(kind=CHOOSE, part=part.name, arm=tuned.name, seed=-1, output=chosen, needs=needs)
        )
        found += _measured(part.name, {tuned.name: {}}, part.seeds, needs=(chosen,))
    arms = [*part.arms, *([part.tuned.name] if part.tuned else [])]
    trained = [arm for arm in arms if arm != BASE]
    if part.crossplay:
        for k, seed in enumerate(part.seeds):
            pair = (seed, part.seeds[(k + 1) % len(part.seeds)])
            needs = tuple(
                Layout.record(part.name, TRAIN, arm, s, "json") for arm in trained for s in pair
            )
            output = Layout.record(part.name, CROSS, "", seed)
            found.append(
                Task(kind=CROSS, part=part.name, arm="", seed=seed, output=output, needs=needs)
            )
    for arm in part.gradients:
        for seed in part.seeds:
            found.append(
                Task(
                    kind=GRADIENTS,
                    part=part.name,
                    arm=arm,
                    seed=seed,
                    output=Layout.record(part.name, GRADIENTS, arm, seed, "json"),
                    needs=(Layout.record(part.name, TRAIN, arm, seed, "json"),),
                )
            )
    return found


def _measured(
    part: str, arms: Mapping[str, Options], seeds: Any, *, needs: tuple[str, ...] = ()
) -> Iterator[Task]:
    """Yield training and measuring of every arm, all arms of a seed before the next seed."""
    for seed in seeds:
        for arm in arms:
            if arm == BASE:
                continue
            trained = Layout.record(part, TRAIN, arm, seed, "json")
            yield Task(kind=TRAIN, part=part, arm=arm, seed=seed, output=trained, needs=needs)
            yield Task(
                kind=MEASURE,
                part=part,
                arm=arm,
                seed=seed,
                output=Layout.record(part, MEASURE, arm, seed),
                needs=(trained,),
            )
    if BASE in arms:
        output = Layout.record(part, MEASURE, BASE, -1)
        yield Task(kind=MEASURE, part=part, arm=BASE, seed=-1, output=output)


def _responses(other: Part, part: Part) -> Iterator[Task]:
    """Yield a fresh attacker's training and its games, for every defender of a part."""
    defenders = [BASE, *(x for x, o in other.arms.items() if _trains_defender(x, o))]
    for seed in other.seeds:
        for arm in defenders:
            trained = Layout.record(other.name, TRAIN, arm, seed, "json")
            attack = Layout.record(part.name, ATTACK, arm, seed, "json")
            needs = () if arm == BASE else (trained,)
            yield Task(kind=ATTACK, part=part.name, arm=arm, seed=seed, output=attack, needs=needs)
            yield Task(
                kind=RESPOND,
                part=part.name,
                arm=arm,
                seed=seed,
                output=Layout.record(part.name, RESPOND, arm, seed),
                needs=(attack,),
            )


def _trains_defender(arm: str, options: Options) -> bool:
    return arm != BASE and options.get("arrangement") != "attacker_only"


def arm_options(experiment: Experiment, layout: Layout, part: str, arm: str) -> Options:
    """Return an arm's own options, those of a tuned one as they were chosen.

    Raises:
        RedteamError: If a tuned arm's options have not been chosen yet.
    """
    if part.endswith("-tuning"):
        tuned = experiment.part(part.removesuffix("-tuning")).tuned
        if tuned is not None:
            return tuned.candidates[arm]
    found = experiment.part(part)
    if found.tuned is not None and arm == found.tuned.name:
        file = layout.root / Layout.record(part, CHOOSE, arm, 0, "json")
        chosen: Options = read_record(file, remedy="Run the part again.", needed=["options"])[
            "options"
        ]
        return chosen
    return found.arms.get(arm, {})


def run_config(experiment: Experiment, layout: Layout, task: Task) -> TrainConfig:
    """Return the configuration of the run that a task is about."""
    options = arm_options(experiment, layout, task.part, task.arm)
    part = experiment.part(task.part.removesuffix("-tuning"))
    return experiment.options(
        part, options, max(task.seed, 0), layout.run(task.part, task.arm, task.seed)
    )
