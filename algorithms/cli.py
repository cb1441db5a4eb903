"""The commands ``train`` and ``quickstart``; listing the commands imports no torch."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro

from algorithms.config import GameConfig, RunConfig, TrainConfig
from algorithms.rundir import open_run, stored_config
from redteam_env.evaluation import (
    AgentPool,
    CrossPlay,
    MemoAgent,
    compare,
    crossplay,
    heldout_setups,
)
from redteam_env.game import RedteamError
from redteam_env.judges.resolve import resolve_judge
from redteam_env.policies import BASE, PolicyConfig
from redteam_env.registry import load
from redteam_env.report import comparison_report, crossplay_report, make_console, progress_bar
from redteam_env.seeds.resolve import resolve_seeds

INTERRUPTED = 130
QUICKSTART_RUN = RunConfig(steps=5, games=12)
QUICKSTART_OUT = "runs/quickstart"
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
        out: The run directory; by default the first of runs/quickstart, runs/quickstart-2 and so on
            that is free. A quickstart that was interrupted there goes on.
        json: Print the result as JSON instead of tables.
    """

    model: str = QUICKSTART_POLICY.model
    steps: int = QUICKSTART_RUN.steps
    games: int = QUICKSTART_RUN.games
    seed: int = QUICKSTART_RUN.seed
    out: str | None = None
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

    out = options.out or _free_directory(QUICKSTART_OUT)
    config = TrainConfig(
        run=RunConfig(
            steps=options.steps,
            games=options.games,
            checkpoint_every=options.steps,
            seed=options.seed,
            out=out,
            resume=True,
            json=options.json,
        ),
        game=GameConfig(),
        policy=dataclasses.replace(QUICKSTART_POLICY, model=options.model),
        learner=ReinforcePPConfig(lr=2e-4),
    )
    notes = make_console(stderr=True)
    bench = _Bench(config)
    open_run(config)  # a directory that cannot be used is refused before the long work
    notes.print(f"1/3 Evaluating the untrained {options.model} on held-out requests.")
    before = bench.crossplay([BASE])
    notes.print(f"2/3 Training both roles against each other, {options.steps} steps.")
    outcome = run(config)
    if not outcome.finished:
        notes.print(f"Stopped; the same command with --out {out} goes on from here.")
        return INTERRUPTED
    notes.print("3/3 Evaluating the trained attacker and defender on the same requests.")
    after = bench.crossplay([BASE, out])
    comparison = compare(before.cells[BASE, BASE], after.cells[out, out], seed=options.seed)
    if options.json:
        whole = {"run": out, **comparison.to_json(), "crossplay": after.to_json()}
        print(json.dumps(whole))  # noqa: T201 - the command's output
        return 0
    console = make_console()
    console.print(comparison_report(comparison, ("untrained", "trained")))
    console.print(crossplay_report(after))
    console.print(
        f"Run directory: {out} (config.json, metrics.jsonl, episodes/, checkpoints/). "
        "A few steps on a small model show that the loop works, not that training helps: read the "
        "intervals."
    )
    return 0


def _free_directory(name: str) -> str:
    number = 1
    path = name
    while Path(path).exists():
        number += 1
        path = f"{name}-{number}"
    return path


class _Bench:
    """The same held-out games for every agent; what was answered once is not asked again."""

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self._source = resolve_seeds(config.game.seeds)
        self._judge = resolve_judge(config.game.judge, url=config.game.judge_url)
        self._pool = AgentPool(
            base=config.policy.model, max_new_tokens=config.policy.max_new_tokens, temperature=0.0
        )
        self._agents: dict[tuple[str, str], MemoAgent] = {}

    def crossplay(self, names: Sequence[str]) -> CrossPlay:
        """Play all of the named agents against each other."""
        with progress_bar(visible=not self._config.run.json) as progress:
            return crossplay(
                {name: self._agent(name, "attacker") for name in names},
                {name: self._agent(name, "defender") for name in names},
                heldout_setups(self._source, QUICKSTART_GAMES, self._config.run.seed),
                self._judge,
                game=self._config.game.game(),
                seed=self._config.run.seed,
                progress=progress,
            )

    def _agent(self, name: str, role: str) -> MemoAgent:
        if (name, role) not in self._agents:
            self._agents[name, role] = MemoAgent(self._pool.agent(name, role))
        return self._agents[name, role]
