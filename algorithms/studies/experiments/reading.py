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
    AUC,
    AUC_TRAIN,
    BEST_RESPONSE,
    ENTROPY,
    GRADIENT_COSINE,
    OWN_PLAY,
    QUIZ_SHARE,
    RESPONSE,
    ROLES,
    Arm,
    Claim,
    Crossplay,
    Experiment,
    Measuring,
    Options,
    Part,
    Primary,
    opponents_of,
)
from algorithms.studies.plans import read_plan
from algorithms.training.config import TrainConfig
from redteam_env.evaluation.agents import check_spec
from redteam_env.game import RedteamError, check_values, unknown_name
from redteam_env.protocols import BASE
from redteam_env.worlds.apothecary.suites import RAW

SCHEMA = 2
BUILTIN = {"claims": "claims.toml"}
_ENTRIES = ("schema", "name", "training", "evaluation", "primary", "claims", "parts")
_OURS = ("seed", "out", "resume", "json")
"""Options that the experiment sets itself."""
_OF_PART = (
    "world",
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
_ARM = "arm:"
"""Before the name of an arm that is somebody's opponent."""
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
        raise RedteamError(
            f"The experiment has schema {found!r}; this version reads {SCHEMA}. Use the version of redteam-env "
            "that wrote it, or write the plan anew."
        )
    _known("experiment", data, _ENTRIES, [x for x in _ENTRIES if x != "claims"])
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
    claims = data.get("claims", {})
    for name, tables in (("claims", claims), ("parts", data["parts"])):
        if not isinstance(tables, Mapping) or (name == "parts" and not tables):
            raise RedteamError(f"{name} is {tables!r}; give tables [{name}.NAME].")
    made = Experiment(
        name=data["name"],
        training=data["training"],
        measuring=measuring,
        primary=primary,
        claims={x: _named(Claim, x, value, "claims") for x, value in claims.items()},
        parts={x: _named(Part, x, value, "parts") for x, value in data["parts"].items()},
        source=json.loads(json.dumps(data)),
        code=code,
    )
    _check_options("The experiment", made.training, (*_OURS, "arrangement"))
    for part in made.parts.values():
        _check_part(made, part)
    for claim in made.claims.values():
        _check_claim(made, claim)
    return made


def _named(kind: Any, name: str, data: Any, table: str) -> Any:
    where = f"{table}.{name}"
    if not isinstance(data, Mapping):
        raise RedteamError(f"[{where}] is {data!r}; give a table.")
    if "name" in data:
        raise unknown_name(f"entry of [{where}]", "name", _names(kind))
    values = {**data, "name": name}
    if "arms" in data and kind is Part:
        values["arms"] = _arms(where, data)
    if "crossplay" in data:
        values["crossplay"] = _make(Crossplay, data["crossplay"], f"{where}.crossplay")
    return _make(kind, values, where)


def _arms(where: str, part: Mapping[str, Any]) -> dict[str, Arm]:
    seeds, given = part.get("seeds", ()), part["arms"]
    check_values(Part, {"seeds": seeds}, f"[{where}] ")
    if not isinstance(given, Mapping) or not all(isinstance(x, Mapping) for x in given.values()):
        raise RedteamError(f"[{where}] arms is {given!r}; give a table of options for each arm.")
    return {name: _arm(f"{where}.arms.{name}", name, x, list(seeds)) for name, x in given.items()}


def _arm(where: str, name: str, given: Mapping[str, Any], seeds: Sequence[int]) -> Arm:
    options = dict(given)
    count = options.pop("seeds", len(seeds))
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= len(seeds):
        raise RedteamError(
            f"[{where}] seeds is {count!r}; give how many of the part's {len(seeds)} seeds the arm has."
        )
    opponent = options.get("opponent")
    if isinstance(opponent, str) and opponent.startswith(_ARM):
        del options["opponent"]
        return Arm(options=options, seeds=seeds[:count], opponent=opponent.removeprefix(_ARM))
    return Arm(options=options, seeds=() if name == BASE else seeds[:count])


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
    if part.against is None and not any(arm != BASE for arm in part.arms):
        raise RedteamError(f"The part {part.name!r} has no arms that are trained; give it some.")
    _check_names(part)
    _check_seeds(part)
    _check_options(f"The part {part.name!r}", part.training, (*_OURS, "arrangement"))
    if part.against is not None:
        _check_against(made, part)
        fresh = {"best response": Arm(options=RESPONSE, seeds=part.seeds)}
        _configs(made, part, fresh)
        return
    _check_together(part, _configs(made, part, part.arms))


def _configs(made: Experiment, part: Part, arms: Mapping[str, Arm]) -> dict[str, TrainConfig]:
    """Return the configuration of each arm's runs, checked."""
    configs = {}
    for name, arm in arms.items():
        where = f"The arm {name!r} of {part.name!r}"
        _check_options(where, arm.options, (*_OURS, *_OF_PART))
        if name != BASE and "arrangement" not in arm.options:
            raise RedteamError(f"{where} has no arrangement; give it one, or leave the arm out.")
        try:
            configs[name] = made.options(part, arm.options, 0, Path("unused"))
            for spec in opponents_of(configs[name]):
                check_spec(spec)
        except RedteamError as error:
            raise RedteamError(f"{where}: {error}") from error
        _check_checkpoints(made, part, where, configs[name])
    return configs


def _check_against(made: Experiment, part: Part) -> None:
    other = made.part(str(part.against))
    if other.against is not None:
        raise RedteamError(
            f"The part {part.name!r} plays against {other.name!r}, which plays against another "
            "itself; name a part that trains defenders."
        )
    own = ("arms", "crossplay", "gradients", "contrasts")
    if given := [name for name in own if getattr(part, name)]:
        raise RedteamError(
            f"The part {part.name!r} plays against {other.name!r}: its arms are those of that part; "
            f"leave {', '.join(given)} out."
        )
    if not part.defenders:
        raise RedteamError(f"The part {part.name!r} plays against nobody; give it defenders.")
    for name in part.defenders:
        _check_plays(f"defenders of {part.name!r}", other, name, "defender")
        for seed in part.seeds:
            if not other.has(name, seed):
                raise RedteamError(
                    f"The part {part.name!r} has the seed {seed}, with which {name!r} of "
                    f"{other.name!r} is not trained; leave one of them out."
                )


def _check_names(part: Part) -> None:
    for name in (part.name, *part.arms):
        if not _NAME.fullmatch(name):
            raise RedteamError(
                f"{name!r} (in the part {part.name!r}) is no name; use letters, digits and _."
            )
    base = part.arms.get(BASE)
    if base is not None and (base.options or base.opponent):
        raise RedteamError(f"The arm {BASE!r} of {part.name!r} is not trained; leave it empty.")
    if part.defenders and part.against is None:
        raise RedteamError(
            f"The part {part.name!r} has defenders, which are for fresh attackers; name the part that "
            "they are of (against), or leave them out."
        )
    _check_arms(f"a contrast of {part.name!r}", [x for pair in part.contrasts for x in pair], part)
    _check_arms(f"gradients of {part.name!r}", part.gradients, part)
    if part.crossplay is not None:
        for role, names in zip(
            ROLES, (part.crossplay.attackers, part.crossplay.defenders), strict=True
        ):
            for name in names:
                _check_plays(f"crossplay of {part.name!r}", part, name, role)


def _check_arms(where: str, given: Sequence[str], part: Part) -> None:
    for name in given:
        if name not in part.arms:
            raise unknown_name(f"arm in {where}", name, part.arms)


def _check_plays(where: str, part: Part, name: str, role: str) -> None:
    _check_arms(where, [name], part)
    if role not in part.arms[name].roles:
        raise RedteamError(
            f"{where} names {name!r} as {role}, which it does not train; leave it out."
        )


def _check_seeds(part: Part) -> None:
    if not part.seeds:
        raise RedteamError(f"The part {part.name!r} has no seeds; give it some.")
    for seed, times in Counter(part.seeds).items():
        if not 0 <= seed <= _LARGEST_SEED:
            raise RedteamError(
                f"The part {part.name!r} has the seed {seed}; give 0 to {_LARGEST_SEED}."
            )
        if times > 1:
            raise RedteamError(f"The seeds of the part {part.name!r} name {seed} twice.")


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
    for name in part.gradients:
        if name == BASE or len(set(configs[name].policy.weights.values())) > 1:
            raise RedteamError(
                f"gradients of {part.name!r} names {name!r}, whose roles share no weights; name arms "
                "of the arrangements shared or shared_full."
            )
    for name, arm in part.arms.items():
        if arm.opponent is not None:
            _check_opponent(part, name, arm)
    if part.crossplay is not None:
        met = {*part.crossplay.attackers, *part.crossplay.defenders} - {BASE}
        lengths = {(configs[x].run.steps, configs[x].run.checkpoint_every) for x in met}
        if len(lengths) > 1:
            raise RedteamError(
                f"The part {part.name!r} has crossplay, but its arms differ in steps or "
                "checkpoint_every; arms meet at the same checkpoints, so give all the same."
            )


def _check_opponent(part: Part, name: str, arm: Arm) -> None:
    where = f"The arm {name!r} of {part.name!r}"
    if len(arm.roles) != 1:
        raise RedteamError(
            f"{where} has an opponent, but trains both roles; make it attacker_only or defender_only."
        )
    (seat,) = set(ROLES) - arm.roles
    _check_plays(f"opponent of {name!r}", part, str(arm.opponent), seat)
    other = part.arms[str(arm.opponent)]
    if other.opponent is not None or arm.opponent == BASE:
        raise RedteamError(
            f"{where} has the opponent {arm.opponent!r}, which "
            f"{'has one of its own' if other.opponent else 'everybody has who names none'}; name an arm "
            "that is trained without another one."
        )
    if not set(arm.seeds) <= set(other.seeds):
        raise RedteamError(
            f"{where} has {len(arm.seeds)} seeds, but its opponent {arm.opponent!r} only "
            f"{len(other.seeds)}; give it no more."
        )


def _check_claim(made: Experiment, claim: Claim) -> None:
    where = f"[claims.{claim.name}]"
    part = made.part(claim.part)
    wanted = 1 if claim.measure == GRADIENT_COSINE else 2
    if len(set(claim.arms)) != wanted or len(claim.arms) != wanted:
        raise RedteamError(
            f"{where} has the arms {list(claim.arms)}; the measure {claim.measure!r} takes {wanted}."
        )
    cross = part.crossplay or Crossplay(attackers=(), defenders=())
    defenders = [name for name, arm in part.arms.items() if "defender" in arm.roles]
    tells: Mapping[str, Sequence[str]] = {
        **dict.fromkeys((AUC, AUC_TRAIN, QUIZ_SHARE), defenders),
        OWN_PLAY: [name for name in cross.attackers if name in cross.defenders],
        GRADIENT_COSINE: part.gradients,
        BEST_RESPONSE: part.defenders,
        ENTROPY: cross.attackers,
    }
    for name in claim.arms:
        if name not in tells[claim.measure]:
            raise unknown_name(
                f"arm with the measure {claim.measure!r} in {where}", name, tells[claim.measure]
            )
    owner = part if part.against is None else made.part(part.against)
    seeds = [x for x in part.seeds if all(owner.has(name, x) for name in claim.arms)]
    if len(seeds) < 2:
        raise RedteamError(f"{where} has {len(seeds)} training seed; a verdict needs at least two.")
