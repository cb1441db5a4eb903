"""The training loop: play, learn, log, save; interruptible at any time and resumable bit for bit.

Everything random is addressed by (run seed, step, game, seat, turn), so a run that was cut and
resumed equals one that was not. Ctrl-C finishes the step, saves and stops; a second one stops at
once and loses that step only.

Several processes take the same steps as one, up to rounding (:mod:`algorithms.core.ranks`): each plays
its part of the games, all learn from all of them, and process 0 alone writes and speaks.
"""

import inspect
import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from algorithms.core.divergence import check_update
from algorithms.core.ranks import PeerError, Ranks, current, join
from algorithms.training import checkpoint
from algorithms.training.config import TrainConfig, check_group
from algorithms.training.league import RunLeague, check_league, start_from
from algorithms.training.live import LiveTable
from algorithms.training.metrics import (
    MetricsLog,
    Row,
    check_counted,
    episode_metrics,
    sampled_before,
    step_tokens,
)
from algorithms.training.rundir import open_run
from algorithms.training.shared_run import check_distributed, checksums, gather_episodes
from algorithms.training.usage import Meters
from redteam_env.evaluation import AgentPool
from redteam_env.game import Episode, Game, RedteamError, Seed, role_of
from redteam_env.judges.judge import check_ready
from redteam_env.judges.resolve import resolve_judge
from redteam_env.protocols import Agent, Algorithm, Judge, SeedSource, TrainablePolicy
from redteam_env.registry import build, load, require
from redteam_env.rollout import play, role_batches, schedule
from redteam_env.runs import Run
from redteam_env.seeds.resolve import resolve_seeds
from redteam_env.worlds import build_game


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call of :func:`train` ended.

    Attributes:
        directory: The run directory.
        steps: Training steps done in all.
        played: Training steps done in this call.
        finished: Whether all steps are done, or as many tokens sampled as the run may.
        void: Void games in this call.
        interrupted: Whether Ctrl-C was pressed, perhaps in the last step.
        usage: What agents and judge behind an API took in this call, an entry for each and role.
    """

    directory: Path
    steps: int
    played: int
    finished: bool
    void: int
    interrupted: bool = False
    usage: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a run is played with."""

    game: Game
    source: SeedSource
    judge: Judge
    policy: TrainablePolicy
    algorithm: Algorithm
    opponents: Mapping[str, Agent]
    league: RunLeague


def train(config: TrainConfig, *, policy: TrainablePolicy | None = None) -> Outcome:
    """Train until all steps are done or Ctrl-C is pressed.

    Args:
        config: The run.
        policy: What to train, if it exists already; by default it is made from ``config.policy``.

    Returns:
        How it ended.

    Raises:
        RedteamError: If anything is wrong with the configuration, the seeds, the judge, the model or
            the run directory, before anything is overwritten; or if training diverges, with the
            step, leaving the checkpoint before it. In a run of several processes an error in one of them
            ends all.
    """
    ranks = join()
    with ranks.together(), ExitStack() as stack:
        return _train(config, policy, ranks, stack)


def _train(
    config: TrainConfig, policy: TrainablePolicy | None, ranks: Ranks, stack: ExitStack
) -> Outcome:
    learner = load("algorithms", config.run.algorithm)
    check_distributed(ranks, config.run.algorithm, learner, config.run.games, config.run.group_size)
    own_loop = getattr(learner, "train", None)
    check_league(config, processes=ranks.world, own_loop=callable(own_loop))
    if callable(own_loop):
        return _hand_over(own_loop, config, policy)
    game = build_game(config.game)
    source = resolve_seeds(config.game.seeds)
    judge = resolve_judge(config.game.judge, url=config.game.judge_url)
    check_group(config.run.algorithm, learner, config.run.group_size)
    run = open_run(config)
    found = run.latest()
    done = found.step if found else 0
    ranks.same("options or checkpoints", {**config.flat(), "checkpoint": done})
    if over(config, run, done):
        return Outcome(directory=run.path, steps=done, played=0, finished=True, void=0)
    # what is lacking or too long is found out before the model is loaded or a file is written
    setups = _setups(config, source, done)
    for seed in source.seeds("train"):
        game.start(seed, rewritten=True)
    check_ready(judge)
    if policy is None:
        policy = build("policies", config.run.policy, config=config.policy, seed=config.run.seed)
        # an engine would go on holding memory, a server adapters
        stack.callback(getattr(policy, "close", lambda: None))
    _check_prompts(game, policy, [setup.seed for setup in setups])
    league = RunLeague(
        config, policy=policy, game=game, source=source, judge=judge, directory=run.path
    )
    if config.run.init_from is not None and not found:
        start_from(policy, config.run.init_from)
    algorithm = _make_algorithm(learner, config, policy, game)
    if found:
        policy.restore(found.policy)
        algorithm.load_state(checkpoint.read_state(found))
        league.restore(found.path)
    opponents = _opponents(config, policy, game)
    if ranks.world > 1:  # nobody looks at the run directory any more
        ranks.same("weights", checksums(policy))
    if ranks.leads:
        run.write_config(
            config.flat(),
            policy=policy.describe(),
            source=source,
            judge=judge,
            game=game,
            processes=ranks.world,
        )
    parts = _Parts(game, source, judge, policy, algorithm, opponents, league)

    def play_step(step: int, live: LiveTable) -> tuple[list[Episode], Row]:
        return _step(config, parts, step, live, ranks)

    def save_policy(place: Path) -> None:
        policy.save(place)
        league.save(place.parent)

    def save(step: int) -> None:
        checkpoint.write(run, step, save_policy, algorithm.state())
        league.tidy()

    asked = {role: (str(config.run.opponent), agent) for role, agent in opponents.items()}
    meters = Meters({**asked, "judge": (judge.name, judge)})
    return loop(config, run, done, play_step, save, meters=meters)


def _hand_over(
    own_loop: Callable[[TrainConfig], Outcome], config: TrainConfig, policy: TrainablePolicy | None
) -> Outcome:
    """Let an algorithm train in a loop of its own."""
    if policy is not None:
        raise RedteamError(
            f"{config.run.algorithm} makes its own policy and cannot train the one that was given; "
            "leave it out."
        )
    return own_loop(config)


def _opponents(config: TrainConfig, policy: TrainablePolicy, game: Game) -> dict[str, Agent]:
    """Return the named opponent for each role that is not trained."""
    if config.run.opponent is None:
        return {}
    pool = AgentPool(
        base=config.policy.model,
        max_new_tokens=config.policy.max_new_tokens,
        temperature=config.policy.temperature,
    )
    return {
        role: pool.agent(config.run.opponent, role)
        for role in map(role_of, game.seats)
        if role not in policy.trainable_roles
    }


def over(config: TrainConfig, run: Run, done: int) -> bool:
    """Whether nothing is left to do for a run after so many steps.

    Raises:
        RedteamError: If tokens are limited and those of earlier steps are not known.
    """
    most = config.run.max_tokens
    if most:
        check_counted(run.path, done)
    return done >= config.run.steps or 0 < most <= sampled_before(run.path, done)


def loop(
    config: TrainConfig,
    run: Run,
    done: int,
    play_step: Callable[[int, LiveTable], tuple[list[Episode], Row]],
    save: Callable[[int], None],
    *,
    meters: Meters,
) -> Outcome:
    """Play and learn step by step, log, save, and stop cleanly on Ctrl-C.

    Args:
        config: The run.
        run: Its directory, with ``config.json`` written.
        done: Steps done before, from the checkpoint the run goes on from.
        play_step: Plays the games of a step and learns from them; returns them and the step's row.
        save: Writes the checkpoint after so many steps.
        meters: Tells what was asked of an API.

    Returns:
        How it ended.

    Raises:
        RedteamError: What a step raises, with the step's number.
    """
    void = 0
    step = done
    interrupted = ended = False
    tokens = sampled_before(run.path, done)
    ranks = current()
    with ExitStack() as stack:
        log = _open_log(run, done, stack) if ranks.leads else None
        pressed = stack.enter_context(_interrupts())
        quiet = config.run.json or not ranks.leads
        live = stack.enter_context(LiveTable(config.run.steps, done, quiet=quiet))
        while not ended and not interrupted:
            try:
                episodes, row = play_step(step, live)
            except PeerError:
                raise
            except RedteamError as error:
                raise RedteamError(f"Step {step}: {error}") from error
            row |= meters.row()
            if log is not None:
                run.write_episodes(step, episodes)
                log.add(step, row)
            void += int(row["game/void"] or 0)
            step += 1
            tokens += step_tokens(row)
            ended = step == config.run.steps or 0 < config.run.max_tokens <= tokens
            live.show(step, row)
            interrupted = ranks.any(bool(pressed))
            if step % config.run.checkpoint_every == 0 or ended or interrupted:
                live.phase("checkpoint", 0, 1)
                if ranks.leads:
                    save(step)
    ranks.gather(None)  # the last checkpoint is written before any process goes on
    return Outcome(
        directory=run.path,
        steps=step,
        played=step - done,
        finished=ended,
        void=void,
        interrupted=interrupted or bool(pressed),
        usage=meters.session(),
    )


def _open_log(run: Run, done: int, stack: ExitStack) -> MetricsLog:
    run.drop_episodes(done)
    log = MetricsLog(run.path, done=done)
    stack.callback(log.close)
    return log


def _make_algorithm(
    factory: Any, config: TrainConfig, policy: TrainablePolicy, game: Game
) -> Algorithm:
    what = f"algorithm {config.run.algorithm!r}"
    options = {"policy": policy, "game": game, "seed": config.run.seed}
    try:
        inspect.signature(factory).bind(config.learner, **options)
    except TypeError as error:
        raise RedteamError(
            f"The {what} cannot be made as factory(config, policy=..., game=..., seed=...): {error}."
        ) from error
    algorithm: Algorithm = factory(config.learner, **options)
    for method in ("update", "state", "load_state"):
        require(algorithm, method, what)
    return algorithm


def _check_prompts(game: Game, policy: TrainablePolicy, seeds: Sequence[Seed]) -> None:
    """Tokenise first prompts of both seats, so that instructions over the limit are found out."""
    for seed in seeds:
        for rewritten in (True, False):
            state = game.start(seed, rewritten=rewritten)
            seat = str(state.to_move)
            messages = game.messages(state, seat)
            policy.encode_example(role_of(seat), messages, seed.text, prefill=game.prefill(seat))


def _setups(config: TrainConfig, source: SeedSource, step: int) -> Any:
    return schedule(
        source,
        config.run.games,
        path=(config.run.seed, "step", step),
        benign_fraction=config.game.benign_fraction,
        rewrite_fraction=config.game.rewrite_fraction,
        group_size=config.run.group_size,
    )


def _step(
    config: TrainConfig, parts: _Parts, step: int, live: LiveTable, ranks: Ranks
) -> tuple[list[Episode], Row]:
    started = time.monotonic()
    setups = parts.league.setups(step, _setups(config, parts.source, step))
    agents: dict[str, Agent] = {}
    for seat in parts.game.seats:
        role = role_of(seat)
        agents[seat] = parts.opponents.get(role) or parts.league.agent(role, setups)
    own = play(
        ranks.part(setups),
        agents,
        parts.judge,
        game=parts.game,
        batch_size=config.policy.generation_batch,
        progress=live.phase,
    )
    episodes, waited = gather_episodes(ranks, own, time.monotonic() - started)
    played = time.monotonic()
    lessons = parts.league.learnable(episodes)
    row = episode_metrics(lessons, parts.game.seats)
    live.phase("update", 0, 1)
    batches = role_batches(lessons, step=step)
    row.update(parts.algorithm.update(parts.policy, batches))
    check_update(parts.policy, batches)
    row["time/play_s"] = played - started
    row["time/update_s"] = time.monotonic() - played
    row.update(parts.league.finish(step, episodes))
    if ranks.world > 1:
        row.update(waited)
        ranks.same("weights after the update", checksums(parts.policy))
    return episodes, row


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Turn the first Ctrl-C into a note in the list; the second one raises as usual."""
    noted: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        noted.append(number)
        # a shell's background jobs start with the signal ignored; a second one must stop them, too
        signal.signal(signal.SIGINT, before if callable(before) else signal.default_int_handler)

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # not in the main thread: the caller's own handling stays
        yield noted
        return
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def summary(outcome: Outcome) -> str:
    """Return an outcome as one JSON object."""
    return json.dumps(
        {
            "run": str(outcome.directory),
            "steps": outcome.steps,
            "played": outcome.played,
            "finished": outcome.finished,
            "void": outcome.void,
            **({"usage": list(outcome.usage)} if outcome.usage else {}),
        }
    )
