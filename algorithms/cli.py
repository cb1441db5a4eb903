"""The commands ``train`` and ``quickstart``; torch is imported only when they run."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro

from algorithms.config import GameConfig, RunConfig, TrainConfig
from algorithms.rundir import stored_config
from redteam_env.evaluation import AgentPool, Matchup, compare, crossplay, heldout_setups
from redteam_env.game import RedteamError
from redteam_env.judges.resolve import resolve_judge
from redteam_env.policies import BASE, PolicyConfig
from redteam_env.registry import load
from redteam_env.report import comparison_report, crossplay_report, make_console, progress_bar
from redteam_env.seeds.resolve import resolve_seeds

INTERRUPTED = 130
QUICKSTART_RUN = RunConfig(steps=5, games=12, checkpoint_every=5, out="runs/quickstart")
QUICKSTART_POLICY = PolicyConfig(rank=16, max_new_tokens=24)
QUICKSTART_GAMES = 32


def train(argv: Sequence[str]) -> int:
    """Train an attacker and a defender against each other.

    Args:
        argv: The command's arguments.

    Returns:
        0 if all steps are done, 130 after Ctrl-C.
    """
    config = parse_train(argv)
    from algorithms.trainer import summary
    from algorithms.trainer import train as run

    outcome = run(config)
    if config.run.json:
        print(summary(outcome))  # noqa: T201 - the command's output
        return 0 if outcome.finished else INTERRUPTED
    console = make_console()
    if outcome.finished and not outcome.played:
        console.print(f"Nothing to do: {outcome.directory} has its {outcome.steps} steps.")
        return 0
    console.print(
        f"{outcome.steps} of {config.run.steps} steps done, {outcome.void} void games in this "
        f"session. Run directory: {outcome.directory}"
    )
    if not outcome.finished:
        console.print("Stopped by Ctrl-C; the same command with --resume goes on from here.")
        return INTERRUPTED
    console.print(f"Compare it with: redteam-env crossplay {outcome.directory} base")
    return 0


def parse_train(argv: Sequence[str]) -> TrainConfig:
    """Read the options of ``train``.

    The options come from the config dataclasses, the algorithm's (a plug-in's too) among them.
    With ``--resume``, the run's own configuration takes the place of the defaults.

    Args:
        argv: The command's arguments.

    Returns:
        The configuration.

    Raises:
        RedteamError: If a value is wrong.
        SystemExit: After ``--help`` (0) or an option that does not exist (2).
    """
    stored = _stored(argv)
    algorithm = _value(argv, "--algorithm") or stored.get("algorithm") or RunConfig().algorithm
    learner = load("algorithms", algorithm)
    settings = getattr(learner, "Config", None)
    if not dataclasses.is_dataclass(settings):
        raise RedteamError(
            f"The algorithm {algorithm!r} has no dataclass Config; see redteam_env.protocols."
        )
    parts = {"run": RunConfig, "game": GameConfig, "policy": PolicyConfig, "learner": settings}
    options = dataclasses.make_dataclass(
        "Options",
        [
            (name, kind, dataclasses.field(default=_default(kind, stored)))
            for name, kind in parts.items()
        ],
        frozen=True,
        namespace={"__doc__": "Train an attacker and a defender against each other."},
    )
    found: Any = tyro.cli(
        options,
        args=list(argv),
        prog="redteam-env train",
        description="Train an attacker and a defender against each other.",
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )
    return TrainConfig(run=found.run, game=found.game, policy=found.policy, learner=found.learner)


def _value(argv: Sequence[str], option: str) -> str | None:
    """Return an option's value before the options are parsed."""
    for k, word in enumerate(argv):
        if word == option and k + 1 < len(argv):
            return argv[k + 1]
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None


def _stored(argv: Sequence[str]) -> dict[str, Any]:
    out = _value(argv, "--out")
    if "--resume" not in argv or out is None:
        return {}
    return stored_config(Path(out)) or {}


def _default(kind: Any, stored: dict[str, Any]) -> Any:
    names = {f.name for f in dataclasses.fields(kind)} - {"out", "resume", "json"}
    return kind(**{name: value for name, value in stored.items() if name in names})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class QuickstartConfig:
    """Options of ``quickstart``.

    Attributes:
        model: The base model: smollm2 (fetched once), a model directory or a hub id.
        steps: Training steps.
        games: Games a step.
        seed: Seed of everything random.
        out: The run directory; one that an earlier quickstart wrote is replaced.
        json: Print the result as JSON instead of tables.
    """

    model: str = QUICKSTART_POLICY.model
    steps: int = QUICKSTART_RUN.steps
    games: int = QUICKSTART_RUN.games
    seed: int = QUICKSTART_RUN.seed
    out: str = str(QUICKSTART_RUN.out)
    json: bool = False


def quickstart(argv: Sequence[str]) -> int:
    """Train a small bipolicy on this machine, evaluate it before and after, print the comparison.

    Args:
        argv: The command's arguments.

    Returns:
        0 if all was done, 130 after Ctrl-C.
    """
    options = tyro.cli(
        QuickstartConfig,
        args=list(argv),
        prog="redteam-env quickstart",
        description="Train a small bipolicy on this machine, evaluate it before and after.",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    from algorithms.reinforce_pp import ReinforcePPConfig
    from algorithms.trainer import train as run

    config = TrainConfig(
        run=dataclasses.replace(
            QUICKSTART_RUN,
            steps=options.steps,
            games=options.games,
            seed=options.seed,
            out=options.out,
            json=options.json,
        ),
        game=GameConfig(),
        policy=dataclasses.replace(QUICKSTART_POLICY, model=options.model),
        learner=ReinforcePPConfig(lr=2e-4),
    )
    console = make_console()
    notes = make_console(stderr=True)
    _clear(Path(options.out))
    notes.print(f"1/3 Evaluating the untrained {options.model} on held-out requests.")
    before = _table(config, [BASE])
    notes.print(f"2/3 Training both roles against each other, {options.steps} steps.")
    outcome = run(config)
    if not outcome.finished:
        notes.print(f"Stopped; go on with: redteam-env train --resume --out {options.out}")
        return INTERRUPTED
    notes.print("3/3 Evaluating the trained attacker and defender on the same requests.")
    after = _table(config, [BASE, options.out])
    comparison = compare(_own(before, BASE), _own(after, options.out), seed=options.seed)
    if options.json:
        whole = {"run": options.out, **comparison.to_json(), "crossplay": after.to_json()}
        print(json.dumps(whole))  # noqa: T201 - the command's output
        return 0
    console.print(comparison_report(comparison, ("untrained", "trained")))
    console.print(crossplay_report(after))
    console.print(
        f"Run directory: {options.out} (config.json, metrics.jsonl, episodes/, checkpoints/). "
        "A few steps on a small model show that the loop works, not that training helps: read the "
        "intervals."
    )
    return 0


def _clear(path: Path) -> None:
    """Remove what an earlier quickstart left, and nothing else."""
    if not path.exists():
        return
    stored = stored_config(path)
    if stored is None:
        raise RedteamError(f"{str(path)!r} exists and holds no run; give another --out.")
    if stored.get("rank") != QUICKSTART_POLICY.rank or path.name != "quickstart":
        raise RedteamError(
            f"{str(path)!r} holds a run; quickstart replaces only its own runs/quickstart. Give "
            "another --out."
        )
    shutil.rmtree(path)


def _table(config: TrainConfig, agents: Sequence[str]) -> Any:
    source = resolve_seeds(config.game.seeds)
    judge = resolve_judge(config.game.judge, url=config.game.judge_url)
    pool = AgentPool(
        base=config.policy.model, max_new_tokens=config.policy.max_new_tokens, temperature=0.0
    )
    with progress_bar(visible=not config.run.json) as progress:
        return crossplay(
            {name: pool.agent(name, "attacker") for name in agents},
            {name: pool.agent(name, "defender") for name in agents},
            heldout_setups(source, QUICKSTART_GAMES, config.run.seed),
            judge,
            game=config.game.game(),
            seed=config.run.seed,
            progress=progress,
        )


def _own(table: Any, name: str) -> Matchup:
    found: Matchup = table.cells[name, name]
    return found
