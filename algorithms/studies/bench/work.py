"""Doing one task of a benchmark: train, measure, play all against all, attack a frozen defender."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from algorithms.studies.bench import ladder
from algorithms.studies.bench.config import (
    PANEL,
    PANEL_RUNS,
    PANEL_SEED,
    BenchConfig,
    Cell,
)
from algorithms.studies.bench.records import train_recorded
from algorithms.studies.bench.tasks import (
    able,
    fielded,
    plays,
    response_directory,
    spec_of,
)
from algorithms.studies.games import (
    CROSS,
    QUIZ,
    RESPONSE,
    SUITE,
    Rows,
    Who,
    game_rows,
    quiz_row,
    write_table,
)
from algorithms.studies.tasks import (
    ATTACK,
    DONE,
    MEASURE,
    RATE,
    TRAIN,
    Task,
    run_directory,
)
from algorithms.training.config import TrainConfig
from redteam_env.border.agents import log_odds
from redteam_env.evaluation import AgentPool, Dispatcher, MemoAgent
from redteam_env.evaluation.suite_play import long_enough
from redteam_env.evaluation.suites import reader, resolve_suite
from redteam_env.game import ATTACKER, DEFENDER, Episode, RedteamError
from redteam_env.judges.resolve import resolve_judge
from redteam_env.protocols import Agent, GameSetup, QuestionSuite, Scorer
from redteam_env.rollout import ask, play, schedule, turn_request
from redteam_env.seeds.resolve import resolve_seeds
from redteam_env.seeds.source import SPLITS
from redteam_env.utils.lists import listed
from redteam_env.worlds import build_game

PANEL_ATTACKER, PANEL_DEFENDER = "panel attacker", "panel defender"
FRESH = "fresh attacker"


def do(config: BenchConfig, root: Path, task: Task) -> str:
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
    ladder.register(listed(config.algorithms))
    try:
        if task.kind in {TRAIN, ATTACK}:
            run = _run_config(config, root, task)
            return train_recorded(run, root / task.output)
        meter = _Meter(config, root, task.seed)
        found = {cell.name: cell for cell in fielded(able(config))}
        rows: Rows = []
        if task.part == PANEL:
            member = listed(config.panel_defenders)[int(task.arm.rpartition("_")[2])]
            rows = meter.member(member)
        elif task.kind == MEASURE:
            rows = meter.measure(found[task.arm])
        elif task.kind == RATE:
            rows = meter.rate(list(found.values()))
        else:
            rows = meter.respond(found[task.arm])
        write_table(root / task.output, rows)
    except RedteamError as error:
        raise RedteamError(f"{task.title}: {error}") from error
    return DONE


def _run_config(config: BenchConfig, root: Path, task: Task) -> TrainConfig:
    if task.part == PANEL:
        return config.panel(task.arm, run_directory(root, task.arm, task.seed, part=PANEL))
    run = run_directory(root, task.arm, task.seed)
    cell = next(x for x in fielded(able(config)) if x.name == task.arm)
    if task.kind == ATTACK:
        against = spec_of(cell, run) if cell.trained else None
        return config.response(against, task.seed, response_directory(root, task.arm, task.seed))
    return config.options(cell, task.seed, run)


@dataclass(frozen=True, slots=True)
class _Side:
    """Somebody at a seat.

    Attributes:
        name: A cell's or a panel member's name.
        seed: The training seed, for the untrained base that of the tournament; -1 for the panel.
        agent: Who plays.
    """

    name: str
    seed: int
    agent: Agent


def _once(attacker: _Side) -> _Side:
    """Return an attacker that writes each rewrite once, for all defenders that are to meet it."""
    return _Side(attacker.name, attacker.seed, MemoAgent(attacker.agent))


def _is_scorer(agent: Agent) -> TypeGuard[Scorer]:
    """Whether an agent knows probabilities; a mixture does if each of its members does."""
    if isinstance(agent, Dispatcher):
        return all(map(_is_scorer, agent.agents.values()))
    return isinstance(agent, Scorer)


class _Meter:
    def __init__(self, config: BenchConfig, root: Path, seed: int) -> None:
        self._config = config
        self._root = root
        self._seed = seed
        like = config.options(able(config)[0], seed, Path("unused"))
        self._game = build_game(like.game)
        self._source = resolve_seeds(config.source_name)
        self._judge = resolve_judge(config.judge_name)
        length = getattr(like.policy, "max_new_tokens", None)
        self._pool = AgentPool(
            base=config.model_name, max_new_tokens=length, game=self._game, judge=self._judge
        )

    def measure(self, cell: Cell) -> Rows:
        rows: Rows = []
        if plays(self._config, cell, "defender"):
            defender = self._defender(cell)
            rows += self._asked_all(defender)
            for spec in listed(self._config.panel_attackers):
                attacker = _Side(spec, -1, self._agent(spec, "attacker"))
                setups = self._setups(self._config.panel_games, "panel", spec)
                rows += self._played(PANEL_ATTACKER, attacker, defender, setups)
        if plays(self._config, cell, "attacker"):
            attacker = _once(self._attacker(cell))
            setups = self._setups(self._config.panel_games, "panel", "defenders")
            for spec in listed(self._config.panel_defenders):
                member = _Side(spec, -1, self._agent(spec, "defender"))
                rows += self._played(PANEL_DEFENDER, attacker, member, setups)
        return rows

    def member(self, spec: str) -> Rows:
        """Return a panel's defender's games on the suites; every attacker is graded against it."""
        return self._asked_all(_Side(spec, -1, self._agent(spec, "defender")))

    def rate(self, every: Sequence[Cell]) -> Rows:
        attackers = [self._attacker(x) for x in every if plays(self._config, x, "attacker")]
        defenders = [self._defender(x) for x in every if plays(self._config, x, "defender")]
        setups = self._setups(self._config.cross_games, "rate", self._seed)
        rows: Rows = []
        for attacker in attackers:
            rewrites = _once(attacker)
            for defender in defenders:
                rows += self._played(CROSS, rewrites, defender, setups)
        return rows

    def respond(self, cell: Cell) -> Rows:
        """Return the games of a fresh attacker, which plays what it thinks best, against its defender.

        A best response to a defender that stays as it is needs no chance. On the base fresh attackers
        that sample succeed in .80 to .89 of the attacks after 20 to 40 steps, those that do not in all.
        """
        run = str(response_directory(self._root, cell.name, self._seed))
        attacker = _Side(FRESH, self._seed, self._pool.agent(run, "attacker", temperature=0.0))
        setups = self._setups(self._config.panel_games, "respond", self._seed)
        return self._played(RESPONSE, attacker, self._defender(cell), setups)

    def _attacker(self, cell: Cell) -> _Side:
        return _Side(cell.name, self._seed, self._agent(self._spec(cell), "attacker"))

    def _defender(self, cell: Cell) -> _Side:
        return _Side(cell.name, self._seed, self._agent(self._spec(cell), "defender"))

    def _agent(self, spec: str, role: str) -> Agent:
        if spec in PANEL_RUNS:
            spec = str(run_directory(self._root, spec, PANEL_SEED, part=PANEL))
        # attackers sample, as they did in training; fresh ones and defenders do not
        return self._pool.agent(spec, role, temperature=1.0 if role == "attacker" else 0.0)

    def _spec(self, cell: Cell) -> str:
        return spec_of(cell, run_directory(self._root, cell.name, self._seed))

    def _setups(self, games: int, *address: int | str) -> list[GameSetup]:
        path = (self._config.measure_seed, "bench", *address)
        return [
            setup
            for split in SPLITS
            for setup in schedule(
                self._source, games // 2, path=(*path, split), rewrite_fraction=1.0, split=split
            )
        ]

    def _asked_all(self, defender: _Side) -> Rows:
        return [row for name in self._config.every_suite for row in self._asked(name, defender)]

    def _asked(self, name: str, defender: _Side) -> Rows:
        suite = resolve_suite(
            name,
            source=self._source,
            games=self._config.suite_games,
            seed=self._config.measure_seed,
        )
        if isinstance(suite, QuestionSuite):
            who = self._who(QUIZ, "", -1, defender, name)
            replies = ask(defender.agent, suite.requests)
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
        game = long_enough(self._game, suite.setups)
        episodes = play(suite.setups, agents, reader(suite, self._judge), game=game)
        scores = self._scores(defender.agent, episodes, getattr(suite, "refusals", ()))
        return game_rows(self._who(SUITE, name, -1, defender, name), episodes, scores, void=True)

    def _scores(
        self, defender: Agent, episodes: Sequence[Episode], refusals: Sequence[str]
    ) -> Sequence[float] | None:
        """Return the defender's refusal score on each first request, if it knows probabilities."""
        if not refusals or not _is_scorer(defender):
            return None
        requests = []
        for episode in episodes:
            state = self._game.start(episode.seed, rewritten=episode.rewritten)
            if episode.rewritten:
                state = self._game.apply(state, episode.turns[0].text)
            requests.append(turn_request(self._game, state, episode.path))
        return log_odds(defender, requests, refusals)

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
