"""Doing one task of a benchmark: train, measure, play all against all, attack a frozen defender."""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from algorithms.bench.config import BenchConfig, Cell, listed
from algorithms.bench.tasks import (
    ATTACK,
    MEASURE,
    RATE,
    RESPOND,
    TRAIN,
    BenchTask,
    able,
    response_directory,
    run_directory,
    trains,
)
from algorithms.config import TrainConfig
from algorithms.experiments.tables import (
    CROSS,
    QUIZ,
    RESPONSE,
    SUITE,
    Who,
    game_rows,
    quiz_row,
    write_table,
)
from algorithms.rundir import stored_config, write_text
from algorithms.trainer import train
from algorithms.workers import DONE, INTERRUPTED
from redteam_env.evaluation import AgentPool, MemoAgent
from redteam_env.game import ATTACKER, DEFENDER, RedteamError
from redteam_env.judges.resolve import resolve_judge
from redteam_env.policies import BASE
from redteam_env.protocols import Agent
from redteam_env.rollout import GameSetup, play, schedule
from redteam_env.seeds.resolve import resolve_seeds
from redteam_env.suites import QuestionSuite, resolve_suite

PANEL_ATTACKER, PANEL_DEFENDER = "panel attacker", "panel defender"
FRESH = "fresh attacker"
Rows = list[dict[str, Any]]
_SAMPLE_S = 0.05
_TIMES = ("time/play_s", "time/update_s", "time/league_s")


def do(config: BenchConfig, root: Path, task: BenchTask) -> str:
    """Do a task.

    Args:
        config: The benchmark's options.
        root: Its directory.
        task: What to do; what it needs exists.

    Returns:
        ``done``, or ``interrupted`` if training was stopped by Ctrl-C after a whole step.

    Raises:
        RedteamError: If something is wrong with a run; the text names the task.
    """
    try:
        if task.kind in {TRAIN, ATTACK}:
            return train_recorded(_run_config(config, root, task), root / task.output)
        meter = _Meter(config, root, task.seed)
        found = {cell.name: cell for cell in able(config)}
        rows: Rows = []
        if task.kind == MEASURE:
            rows = meter.measure(found[task.cell])
        elif task.kind == RATE:
            rows = meter.rate(list(found.values()))
        elif task.kind == RESPOND:
            rows = meter.respond(found[task.cell])
        write_table(root / task.output, rows)
    except RedteamError as error:
        raise RedteamError(f"{task.title}: {error}") from error
    return DONE


def _run_config(config: BenchConfig, root: Path, task: BenchTask) -> TrainConfig:
    run = run_directory(root, task.cell, task.seed)
    if task.kind == ATTACK:
        return config.response(run, task.seed, response_directory(root, task.cell, task.seed))
    cell = next(x for x in able(config) if x.name == task.cell)
    return config.options(cell, task.seed, run)


def train_recorded(config: TrainConfig, output: Path) -> str:
    """Train a run and write what it cost.

    Args:
        config: The run.
        output: The JSON file: games, sampled tokens, seconds and the peak of memory.

    Returns:
        ``done``, or ``interrupted`` after Ctrl-C; then nothing is written.
    """
    with _peak() as peak:
        outcome = train(config)
    if not outcome.finished:
        return INTERRUPTED
    text = (outcome.directory / "metrics.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    seconds = sum(float(row.get(x) or 0) for row in rows for x in _TIMES)
    write_text(
        output,
        json.dumps(
            {
                "config": {**(stored_config(outcome.directory) or {}), "opponent": None},
                "steps": outcome.steps,
                "games": outcome.steps * config.run.games,
                "extra_games": round(sum(row.get("league/payoff_games") or 0 for row in rows)),
                "tokens": round(sum(map(_tokens, rows))),
                "seconds": round(seconds, 2),
                "peak_memory_gb": round(peak[0] / 1e9, 3),
            }
        ),
    )
    return DONE


def _tokens(row: Mapping[str, Any]) -> float:
    """Return the tokens that were sampled in a step, by both seats."""
    return sum(
        float(row.get(f"{role}/turns") or 0) * float(row.get(f"{role}/length") or 0)
        for role in ("attacker", "defender")
    )


@contextmanager
def _peak() -> Iterator[list[int]]:
    """Yield a list whose one entry becomes the most memory held meanwhile, in bytes.

    Sampled every twentieth of a second: a worker does many tasks, and the system's own peak is that
    of its whole life.
    """
    process, stop = psutil.Process(), threading.Event()
    peak = [process.memory_info().rss]

    def watch() -> None:
        while not stop.wait(_SAMPLE_S):
            peak[0] = max(peak[0], process.memory_info().rss)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


@dataclass(frozen=True, slots=True)
class _Side:
    """Somebody at a seat.

    Attributes:
        name: A cell's or a panel member's name.
        seed: The training seed; -1 for the panel.
        agent: Who plays.
    """

    name: str
    seed: int
    agent: Agent


class _Meter:
    def __init__(self, config: BenchConfig, root: Path, seed: int) -> None:
        self._config = config
        self._root = root
        self._seed = seed
        like = config.options(able(config)[0], seed, Path("unused"))
        self._game = like.game.game()
        self._source = resolve_seeds(config.source)
        self._judge = resolve_judge(config.judge)
        length = like.policy.max_new_tokens
        # attackers sample, as they did in training; defenders answer greedily
        self._attackers = AgentPool(base=config.model, max_new_tokens=length, temperature=1.0)
        self._defenders = AgentPool(base=config.model, max_new_tokens=length)

    def measure(self, cell: Cell) -> Rows:
        rows: Rows = []
        if trains(cell, "defender"):
            defender = self._defender(cell)
            for name in listed(self._config.suites):
                rows += self._asked(name, defender)
            for spec in listed(self._config.panel_attackers):
                attacker = _Side(spec, -1, self._attackers.agent(spec, "attacker"))
                setups = self._setups(self._config.panel_games, "panel", spec)
                rows += self._played(PANEL_ATTACKER, attacker, defender, setups)
        if trains(cell, "attacker"):
            attacker = self._attacker(cell)
            setups = self._setups(self._config.panel_games, "panel", "defenders")
            for spec in listed(self._config.panel_defenders):
                member = _Side(spec, -1, self._defenders.agent(spec, "defender"))
                rows += self._played(PANEL_DEFENDER, attacker, member, setups)
        return rows

    def rate(self, every: Sequence[Cell]) -> Rows:
        base = Cell(label=BASE, arrangement=BASE)
        attackers = [self._attacker(x) for x in every if trains(x, "attacker")]
        defenders = [self._defender(x) for x in every if trains(x, "defender")]
        attackers.append(_Side(base.label, -1, self._attackers.agent(BASE, "attacker")))
        defenders.append(_Side(base.label, -1, self._defenders.agent(BASE, "defender")))
        setups = self._setups(self._config.cross_games, "rate", self._seed)
        rows: Rows = []
        for attacker in attackers:
            rewrites = _Side(attacker.name, attacker.seed, MemoAgent(attacker.agent))
            for defender in defenders:
                rows += self._played(CROSS, rewrites, defender, setups)
        return rows

    def respond(self, cell: Cell) -> Rows:
        run = response_directory(self._root, cell.name, self._seed)
        attacker = _Side(FRESH, self._seed, self._attackers.agent(str(run), "attacker"))
        setups = self._setups(self._config.panel_games, "respond", self._seed)
        return self._played(RESPONSE, attacker, self._defender(cell), setups)

    def _attacker(self, cell: Cell) -> _Side:
        run = run_directory(self._root, cell.name, self._seed)
        return _Side(cell.name, self._seed, self._attackers.agent(str(run), "attacker"))

    def _defender(self, cell: Cell) -> _Side:
        run = run_directory(self._root, cell.name, self._seed)
        return _Side(cell.name, self._seed, self._defenders.agent(str(run), "defender"))

    def _setups(self, games: int, *address: int | str) -> list[GameSetup]:
        path = (self._config.measure_seed, "bench", *address)
        return schedule(self._source, games, path=path, rewrite_fraction=1.0, split="heldout")

    def _asked(self, name: str, defender: _Side) -> Rows:
        suite = resolve_suite(
            name,
            source=self._source,
            games=self._config.suite_games,
            seed=self._config.measure_seed,
        )
        if isinstance(suite, QuestionSuite):
            who = self._who(QUIZ, "", -1, defender, name)
            replies = defender.agent.act(suite.requests)
            return [
                {
                    **quiz_row(
                        who,
                        name,
                        str(suite.requests[k].messages[-1]["content"]),
                        reply.text,
                        right=suite.right(k, reply.text),
                    ),
                    "seed_id": str(k),
                }
                for k, reply in enumerate(replies)
            ]
        agents = {DEFENDER: defender.agent}
        if any(setup.rewritten for setup in suite.setups):
            agents[ATTACKER] = suite.attacker()
        episodes = play(suite.setups, agents, self._judge, game=self._game)
        return game_rows(self._who(SUITE, name, -1, defender, name), episodes, void=True)

    def _played(
        self, kind: str, attacker: _Side, defender: _Side, setups: Sequence[GameSetup]
    ) -> Rows:
        agents = {ATTACKER: attacker.agent, DEFENDER: defender.agent}
        episodes = play(setups, agents, self._judge, game=self._game)
        who = self._who(kind, attacker.name, attacker.seed, defender)
        return game_rows(who, episodes, void=True)

    @staticmethod
    def _who(kind: str, attacker: str, seed: int, defender: _Side, suite: str = "") -> Who:
        return Who(
            kind=kind,
            attacker=attacker,
            defender=defender.name,
            attacker_seed=seed,
            defender_seed=defender.seed,
            step=0,
            suite=suite,
        )
