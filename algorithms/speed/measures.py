"""The measuring behind ``redteam-env speed``: each function times one thing the way a run does it."""

import dataclasses
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from algorithms.speed.advantages import advantage_seconds
from algorithms.speed.rows import Measured, SpeedConfig
from algorithms.training.config import TrainConfig
from algorithms.training.memory import peak_gb
from algorithms.training.trainer import train
from redteam_env.equilibria.solve import equilibrium
from redteam_env.evaluation import evaluate, heldout_setups
from redteam_env.game import ATTACKER, DEFENDER, Dialogue, Line
from redteam_env.judges.cached import cached
from redteam_env.protocols import Progress, TrainablePolicy
from redteam_env.registry import build
from redteam_env.runs import Run
from redteam_env.worlds import build_game
from redteam_env.worlds.apothecary import (
    TACTICS,
    ApothecaryJudge,
    Language,
    combinations,
    make_world,
    seeds,
)
from redteam_env.worlds.apothecary.grammar import PHRASINGS, REFUSALS, answer
from redteam_env.worlds.apothecary.tabular.game import TacticsGame
from redteam_env.worlds.apothecary.tactics import SANDWICH

ARRANGEMENTS = ("bipolicy", "shared")
RUN = 120
"""Steps of the run whose length is projected."""
TWIN = 64
"""Strategies of the attacker in the game that is solved."""
REPEATS = 5
ADVANTAGES = "grpo"
"""The algorithm whose advantages are timed: it standardises within groups."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A run and what it took, in seconds.

    Attributes:
        policy: The policies after it.
        config: Its settings.
        load_s: Loading the model and making the weights.
        step_s: Median step: games and update.
        whole_s: Mean step with everything: records, metrics, checkpoint.
        tokens_per_s: Tokens sampled in a second of play, judging included.
    """

    policy: TrainablePolicy
    config: TrainConfig
    load_s: float
    step_s: float
    whole_s: float
    tokens_per_s: float


def measure(options: SpeedConfig, progress: Progress) -> Iterable[Measured]:
    """Measure everything, one thing after the other.

    Args:
        options: The sizes.
        progress: Called as ``progress(phase, done, total)``.

    Yields:
        What was measured, as soon as it is.
    """
    total = len(ARRANGEMENTS) + 4
    started, busy = time.perf_counter(), time.process_time()
    with _threads(options.threads):
        runs: dict[str, Trained] = {}
        for k, name in enumerate(ARRANGEMENTS):
            progress(f"training {name}", k, total)
            runs[name] = train_some(options, name)
            step_s = runs[name].step_s
            yield Measured(what=f"training step, {name}", value=step_s, unit="s", budget=0.6)
        both, shared = (runs[name] for name in ARRANGEMENTS)
        yield Measured(what="bipolicy / shared", value=both.step_s / shared.step_s, unit="")
        yield Measured(
            what="sampling, bipolicy", value=both.tokens_per_s, unit="tokens/s", more=True
        )
        progress("evaluation", total - 4, total)
        evaluation_s = evaluate_once(both, options.evaluation_games)
        whole_s = both.load_s + RUN * both.whole_s + evaluation_s
        what = f"{RUN} steps with evaluation, projected"
        yield Measured(what=what, value=whole_s, unit="s", budget=110.0)
        yield Measured(what="peak memory of this process", value=peak_gb(), unit="GB", budget=1.5)
        progress("judge", total - 3, total)
        cold, warm = verdicts_per_s(options.dialogues)
        stored = stored_per_s(options.dialogues)
        for what, value, budget in (
            ("judge, texts not seen before", cold, 50_000.0),
            ("judge, texts seen before", warm, 50_000.0),
            ("cached judge, verdicts in its store", stored, 20_000.0),
        ):
            yield Measured(what=what, value=value, unit="verdicts/s", budget=budget, more=True)
        progress("equilibrium", total - 2, total)
        solved_s = solve_twin()
        yield Measured(
            what=f"equilibrium of a {TWIN} x 16 twin", value=solved_s, unit="s", budget=1.0
        )
        progress("advantages", total - 1, total)
        advantages_s = advantages(options.tokens)
        fewer_s = advantages(max(1, options.tokens // 10))
    share = (time.process_time() - busy) / (time.perf_counter() - started)
    yield Measured(
        what=f"advantages of {options.tokens:,} tokens, {ADVANTAGES}",
        value=advantages_s,
        unit="s",
        budget=1.0,
    )
    yield Measured(
        what="a token among these / among a tenth of them",
        value=advantages_s / options.tokens / (fewer_s / max(1, options.tokens // 10)),
        unit="",
    )
    yield Measured(what="cores this process had", value=share, unit="", more=True)


def train_some(options: SpeedConfig, arrangement: str) -> Trained:
    """Train for a few steps in the controlled world, into a directory that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        steps = options.steps + 1
        own = {"arrangement": arrangement, "games": options.games, "device": "cpu"}
        length = {"steps": steps, "checkpoint_every": steps, "out": str(out), "json": True}
        config = TrainConfig.from_flat({"world": "apothecary", **own, **length})
        load_s, policy = _timed(
            lambda: build("policies", config.run.policy, config=config.policy, seed=0)
        )
        all_s, _ = _timed(lambda: train(config, policy=policy))
        rows = Run(out).rows()
    timed = rows[1:]  # the first step makes what later ones find made
    tokens = sum(
        row.get(f"{role}/turns", 0) * row.get(f"{role}/length", 0)
        for row in timed
        for role in ("attacker", "defender")
    )
    return Trained(
        policy=policy,
        config=config,
        load_s=load_s,
        step_s=statistics.median(row["time/play_s"] + row["time/update_s"] for row in timed),
        whole_s=all_s / steps,
        tokens_per_s=tokens / sum(row["time/play_s"] for row in timed),
    )


def evaluate_once(run: Trained, games: int) -> float:
    """Return the seconds of an evaluation of both trained roles on held-out games."""
    attacker, defender = (run.policy.agent(role) for role in ("attacker", "defender"))
    setups = heldout_setups(seeds(), games, 0)
    judge, game = ApothecaryJudge(), build_game(run.config.game)
    size = run.config.policy.generation_batch
    return _timed(lambda: evaluate(attacker, defender, setups, judge, game=game, batch_size=size))[
        0
    ]


def verdicts_per_s(dialogues: int) -> tuple[float, float]:
    """Return how many verdicts a second the exact judge gives, on new texts and on known ones.

    Half of the answers are right, half are refusals; requests use every combination of tactics.
    """
    asked = list(itertools.islice(_dialogues(), dialogues))
    cold: list[float] = []
    warm: list[float] = []
    for _ in range(REPEATS):
        judge = ApothecaryJudge()
        for times in (cold, warm):
            times.append(_timed(partial(judge.judge, asked))[0])
    return len(asked) / statistics.median(cold), len(asked) / statistics.median(warm)


def stored_per_s(dialogues: int) -> float:
    """Return how many verdicts a second the judge ``cached`` finds in its store."""
    asked = list(itertools.islice(_dialogues(), dialogues))
    with tempfile.TemporaryDirectory() as folder:
        judge = cached("lexical", file=Path(folder) / "verdicts.sqlite")
        judge.judge(asked)
        times = [_timed(partial(judge.judge, asked))[0] for _ in range(REPEATS)]
        judge.store.close()
    return len(asked) / statistics.median(times)


def _dialogues() -> Iterator[Dialogue]:
    language = Language(make_world())
    substances = language.world.substances
    ordinary = next(x for x in substances if not x.restricted)
    looks = itertools.product(combinations(tuple(TACTICS)), range(len(PHRASINGS)), substances)
    for k, (tactics, phrasing, substance) in enumerate(looks):
        filler = ordinary if SANDWICH in tactics else None
        request = language.render(substance, tactics, phrasing=phrasing, filler=filler)
        told = (filler, substance) if filler else (substance,)
        response = answer(told) if k % 2 else REFUSALS[k // 2 % len(REFUSALS)]
        yield Dialogue(
            lines=(Line(seat=ATTACKER, text=request), Line(seat=DEFENDER, text=response))
        )


def solve_twin() -> float:
    """Return the seconds to solve a general-sum part of the twin.

    Every rule of the defender against evenly spread strategies of the attacker, under Self-RedTeam's
    rewards, half of the games raw.
    """
    game = TacticsGame().bimatrix("self_redteam", rewrite_fraction=0.5)
    rows = np.linspace(0, len(game.rows) - 1, TWIN).round().astype(int)
    return statistics.median(
        _timed(lambda: equilibrium(game.attacker[rows], game.defender[rows]))[0]
        for _ in range(REPEATS)
    )


def advantages(tokens: int) -> float:
    """Return the seconds that the advantages of so many completion tokens take, without a model."""
    return statistics.median(advantage_seconds(ADVANTAGES, tokens) for _ in range(REPEATS))


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result
