"""Reading an experiment: a TOML file, checked as a whole before anything is run."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from importlib import resources
from pathlib import Path
from typing import Any

from algorithms.studies.experiments.config import (
    Experiment,
    Measuring,
    Options,
    Part,
    Primary,
    Tuned,
)
from algorithms.studies.plans import read_plan
from algorithms.training.config import TrainConfig
from redteam_env.game import RedteamError, check_values, unknown_name
from redteam_env.protocols import BASE
from redteam_env.worlds.apothecary.suites import RAW

SCHEMA = 1
BUILTIN = {"claims": "claims.toml"}
_ENTRIES = ("schema", "name", "training", "evaluation", "primary", "parts")
_OURS = ("seed", "out", "resume", "json")
"""Options that the experiment sets itself."""
_OF_PART = (
    "model",
    "revision",
    "prompts",
    "thinking",
    "exchanges",
    "leak_on_violation",
    "max_seed_chars",
    "max_action_chars",
)
"""Options that decide what is played when arms are measured: the same for all arms of a part."""
_NAME = re.compile(r"[A-Za-z0-9_]+")
_LARGEST_SEED = 2**15 - 1


def read_experiment(named: str) -> Experiment:
    """Read an experiment.

    Args:
        named: ``claims``, or a plan of the same form (:mod:`algorithms.studies.plans`).

    Raises:
        RedteamError: If there is no such plan, or anything in it is unknown or wrong; the text names
            it.
    """
    folder = resources.files(__package__)
    builtin = {x: (folder / file).read_text(encoding="utf-8") for x, file in BUILTIN.items()}
    plan = read_plan(named, what="experiment", builtin=builtin)
    return experiment_from(plan.data, code=plan.source)


def experiment_from(data: Mapping[str, Any], *, code: str | None = None) -> Experiment:
    """Return the experiment that a plan's data describe, with every run's options checked.

    Args:
        data: The plan.
        code: The Python that it stands in.

    Raises:
        RedteamError: If anything in it is unknown, missing or wrong.
    """
    if not isinstance(data, Mapping) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, Mapping) else data
        raise RedteamError(f"The experiment has schema {found!r}; this version reads {SCHEMA}.")
    _known("experiment", data, _ENTRIES, _ENTRIES)
    check_values(Experiment, {"name": data["name"], "training": data["training"]}, "[experiment] ")
    measuring = _make(Measuring, data["evaluation"], "evaluation")
    primary = _make(Primary, data["primary"], "primary")
    for suite in primary.suites:
        if suite == RAW:
            raise RedteamError(
                f"The primary suites name {RAW!r}, whose requests are not rewritten: its rates are others "
                "and have no mean with theirs. Leave it out."
            )
        if suite not in measuring.suites:
            raise unknown_name("primary suite", suite, measuring.suites)
    if not isinstance(data["parts"], Mapping) or not data["parts"]:
        raise RedteamError(f"parts is {data['parts']!r}; give at least one table [parts.NAME].")
    parts = {name: _part(name, value) for name, value in data["parts"].items()}
    made = Experiment(
        name=data["name"],
        training=data["training"],
        measuring=measuring,
        primary=primary,
        parts=parts,
        source=json.loads(json.dumps(data)),
        code=code,
    )
    for part in parts.values():
        _check_part(made, part)
    every = {name for part in parts.values() for name in part.names}
    _check_arms("a primary contrast", [x for pair in primary.contrasts for x in pair], every)
    return made


def _part(name: str, data: Any) -> Part:
    where = f"parts.{name}"
    values = dict(data) if isinstance(data, Mapping) else data
    if isinstance(values, dict):
        if "name" in values:
            raise unknown_name(f"entry of [{where}]", "name", _names(Part))
        values["name"] = name
        if "tuned" in values:
            values["tuned"] = _make(Tuned, values["tuned"], f"{where}.tuned")
    part: Part = _make(Part, values, where)
    return part


def _make(kind: Any, data: Any, where: str) -> Any:
    if not isinstance(data, Mapping):
        raise RedteamError(f"[{where}] is {data!r}; give a table.")
    needed = [x.name for x in fields(kind) if x.default is x.default_factory is MISSING]
    _known(where, data, _names(kind), needed)
    check_values(kind, data, f"[{where}] ")
    return kind(**data)


def _names(kind: Any) -> list[str]:
    return [x.name for x in fields(kind)]


def _known(
    where: str, data: Mapping[str, Any], names: Sequence[str], needed: Sequence[str]
) -> None:
    for name in data:
        if name not in names:
            raise unknown_name(f"entry of [{where}]", name, names)
    for name in needed:
        if name not in data:
            raise RedteamError(f"[{where}] has no entry {name!r}; give it.")


def _check_part(made: Experiment, part: Part) -> None:
    if part.against is not None:
        _check_against(made, part)
        runs: Mapping[str, Options] = {"best response": {"arrangement": "attacker_only"}}
    else:
        if not part.seeds or not any(arm != BASE for arm in part.arms):
            raise RedteamError(
                f"The part {part.name!r} has no seeds or no arms that are trained; give it both."
            )
        runs = {**part.arms, **(part.tuned.candidates if part.tuned else {})}
    _check_names(part)
    _check_seeds(part)
    _check_options(f"The part {part.name!r}", part.training, (*_OURS, "arrangement"))
    _check_options("The experiment", made.training, (*_OURS, "arrangement"))
    configs = {}
    for name, options in runs.items():
        where = f"The arm {name!r} of {part.name!r}"
        _check_options(where, options, (*_OURS, *_OF_PART))
        if name != BASE and "arrangement" not in options:
            raise RedteamError(f"{where} has no arrangement; give it one, or leave the arm out.")
        try:
            configs[name] = made.options(part, options, 0, Path("unused"))
        except RedteamError as error:
            raise RedteamError(f"{where}: {error}") from error
        _check_checkpoints(made, part, where, configs[name])
    _check_together(part, configs)


def _check_against(made: Experiment, part: Part) -> None:
    other = made.part(str(part.against))
    if other.against is not None:
        raise RedteamError(
            f"The part {part.name!r} plays against {other.name!r}, which plays against another "
            "itself; name a part that trains defenders."
        )
    own = ("arms", "seeds", "crossplay", "swap", "gradients", "contrasts", "tuned")
    if given := [name for name in own if getattr(part, name)]:
        raise RedteamError(
            f"The part {part.name!r} plays against {other.name!r}: its arms and seeds are those of "
            f"that part; leave {', '.join(given)} out."
        )


def _check_names(part: Part) -> None:
    for name in (part.name, *part.names, *(part.tuned.candidates if part.tuned else ())):
        if not _NAME.fullmatch(name):
            raise RedteamError(
                f"{name!r} (in the part {part.name!r}) is no name; use letters, digits and _."
            )
    if part.arms.get(BASE):
        raise RedteamError(f"The arm {BASE!r} of {part.name!r} is not trained; leave it empty.")
    tuned = part.tuned
    if tuned is not None:
        if tuned.name in (*part.arms, BASE) or BASE in tuned.candidates:
            name = tuned.name if tuned.name in (*part.arms, BASE) else BASE
            raise RedteamError(f"The name {name!r} is taken in {part.name!r}; give another.")
        for name in ("seeds", "candidates"):
            if not getattr(tuned, name):
                raise RedteamError(f"The part {part.name!r} has a tuned arm without {name}.")
    names = set(part.names)
    _check_arms(f"a contrast of {part.name!r}", [x for pair in part.contrasts for x in pair], names)
    _check_arms(f"gradients of {part.name!r}", part.gradients, names)


def _check_arms(where: str, given: Sequence[str], names: set[str]) -> None:
    for name in given:
        if name not in names:
            raise unknown_name(f"arm in {where}", name, names)


def _check_seeds(part: Part) -> None:
    own = part.tuned.seeds if part.tuned else ()
    for seeds in (part.seeds, own):
        for seed, times in Counter(seeds).items():
            if not 0 <= seed <= _LARGEST_SEED:
                raise RedteamError(
                    f"The part {part.name!r} has the seed {seed}; give 0 to {_LARGEST_SEED}."
                )
            if times > 1:
                raise RedteamError(f"The seeds of the part {part.name!r} name {seed} twice.")
    for seed in own:
        if seed in part.seeds:
            raise RedteamError(
                f"The part {part.name!r} tunes on its seeds ({seed}); give seeds of their own."
            )


def _check_options(where: str, options: Options, refused: Sequence[str]) -> None:
    for name in refused:
        if name in options:
            whose = "the experiment sets it" if name in _OURS else _WHERE.get(name, _PART_SETS)
            raise RedteamError(f"{where} has the option {name!r}; leave it out: {whose}.")


_WHERE = {"arrangement": "each arm names its own"}
_PART_SETS = "all arms of a part are measured in one game, so it belongs to the part's training"


def _check_checkpoints(made: Experiment, part: Part, where: str, config: TrainConfig) -> None:
    run = config.run
    if part.against is None and run.steps <= run.checkpoint_every * (
        made.measuring.checkpoints - 1
    ):
        raise RedteamError(
            f"{where} has {run.steps} steps with a checkpoint every {run.checkpoint_every}: fewer "
            f"than {made.measuring.checkpoints}."
        )


def _check_together(part: Part, configs: Mapping[str, TrainConfig]) -> None:
    """Check what the arms of a part must have in common."""
    for arm in part.gradients:
        config = configs.get(arm)
        if arm == BASE or (config and len(set(config.policy.weights.values())) > 1):
            raise RedteamError(
                f"gradients of {part.name!r} names {arm!r}, whose roles share no weights; name arms "
                "of the arrangements shared or shared_full."
            )
    if part.crossplay:
        lengths = {(x.run.steps, x.run.checkpoint_every) for x in configs.values()}
        if len(lengths) > 1:
            raise RedteamError(
                f"The part {part.name!r} has crossplay, but its arms differ in steps or "
                "checkpoint_every; arms meet at the same checkpoints, so give all the same."
            )
