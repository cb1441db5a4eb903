"""Training: play, learn, log, save; interruptible at any time and resumable bit for bit.

Everything random is addressed by (run seed, step, game, seat, turn), so a run that was cut and
resumed equals one that was not. What a step is made of stands in :func:`_take_step`; what
is done beside it (leagues, the log, checkpoints) is done by callbacks (:class:`redteam_env.protocols.Callback`).

Several processes take the same steps as one, up to rounding (:mod:`algorithms.core.ranks`): each plays
its part of the games, all learn from all of them, and process 0 alone writes and speaks.
"""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from algorithms.core.ranks import Ranks, join
from algorithms.training import checkpoint
from algorithms.training.attacking import AttackMeter
from algorithms.training.callbacks import (
    Callbacks,
    Checkpoints,
    DivergenceCheck,
    FixedAgents,
    UsageMeter,
    named_callbacks,
)
from algorithms.training.config import TrainConfig
from algorithms.training.demands import check_credit, check_group
from algorithms.training.departures import defaults_of_changed, departures
from algorithms.training.evaluating import BestCheckpoint, Evaluation
from algorithms.training.given import evaluation_of, judge_of, source_of, with_values
from algorithms.training.league import RunLeague, check_league, warm_start
from algorithms.training.live import LiveTable, model_line, run_heartbeat
from algorithms.training.log import RunLog, make_loggers
from algorithms.training.loop import Outcome, Training, loop, over
from algorithms.training.metrics import episode_metrics, sampled_before
from algorithms.training.plugins import plugins_of
from algorithms.training.preflight import Preflight, preflight
from algorithms.training.processes import (
    check_distributed,
    checksums,
    gather_episodes,
    weights_size,
)
from algorithms.training.replay import UcbReplay
from algorithms.training.rollouts import RunRollout
from algorithms.training.rundir import check_room, held_run
from algorithms.training.stopping import (
    StopOnMetric,
    StopOnVoid,
    UnansweredError,
    mostly_void,
)
from algorithms.training.warning import HealthWarning, LabelWarning, SignalWarning
from redteam_env.border.algorithms import load_state, update
from redteam_env.border.policies import agent_of, check_policy, describe, encode_example, tell
from redteam_env.border.seeds import all_seeds
from redteam_env.evaluation import AgentPool
from redteam_env.game import JUDGE, Game, RedteamError, Seed, role_of
from redteam_env.game.config import SEATS
from redteam_env.game.values import shown
from redteam_env.judges.judge import check_ready
from redteam_env.protocols import (
    Agent,
    Algorithm,
    GameSetup,
    Judge,
    SeedSource,
    TrainablePolicy,
)
from redteam_env.provenance import origins, write_config
from redteam_env.registry import build, load, make, require
from redteam_env.rollout import play, role_batches, schedule
from redteam_env.runs import Checkpoint
from redteam_env.utils.console import make_console
from redteam_env.utils.heartbeat import Heartbeat
from redteam_env.utils.lists import listed
from redteam_env.utils.text import safe_text
from redteam_env.worlds import build_game


def train(
    config: TrainConfig | str | Path | None = None,
    *,
    policy: TrainablePolicy | None = None,
    callbacks: Sequence[Any] = (),
    **options: Any,
) -> Outcome:
    """Train until all steps are done, a callback stops the run, or Ctrl-C is pressed.

    Args:
        config: The run; or leave it out and give options. Or a file of options, which those given here
            stand over.
        policy: What to train, if it exists already; by default it is made from ``config.policy``.
        callbacks: Callbacks, in order: objects with methods of
            :class:`redteam_env.protocols.Callback`.
        **options: Training options by name, as ``redteam-env train`` takes them, such as
            ``arrangement="bipolicy"``, ``steps=20``; what is left out keeps its default, or, with ``resume``
            and the ``out`` of a run, is as it is there. ``seeds`` may be texts and seeds in a list, or texts by
            label, which the run directory keeps; ``judge`` a function or a judge, which is to be given again
            where the run is resumed or evaluated.

    Returns:
        How it ended.

    Raises:
        RedteamError: If anything is wrong with the configuration, the seeds, the judge, the model or
            the run directory, before anything is overwritten; or if training diverges, with the
            step, leaving the checkpoint before it. In a run of several processes an error in one of them
            ends all.
    """
    seeds: str | None = None
    if not isinstance(callbacks, list | tuple):
        raise RedteamError(f"callbacks is {shown(callbacks)}; give a list of your objects.")
    if config is None:
        config, seeds = with_values(options)
    elif isinstance(config, str | Path):
        config, seeds = with_values({"config": str(config), **options})
    elif options:
        raise RedteamError(
            f"train was given a configuration and the options {sorted(options)}; give one or the other."
        )
    ranks = join()
    with ranks.together(), ExitStack() as stack:
        return _train(config, policy, callbacks, seeds, ranks, stack)


def _train(  # noqa: PLR0917 - what train was given
    config: TrainConfig,
    policy: TrainablePolicy | None,
    callbacks: Sequence[Any],
    seeds: str | None,
    ranks: Ranks,
    stack: ExitStack,
) -> Outcome:
    learner = load("algorithms", config.run.algorithm)
    check_distributed(ranks, config.run.algorithm, learner, config.run.games, config.run.group_size)
    own_loop = getattr(learner, "train", None)
    check_league(config, processes=ranks.world, own_loop=callable(own_loop))
    check_credit(config.run.algorithm, learner, config.game)
    if callable(own_loop):
        return _hand_over(own_loop, config, policy, callbacks, seeds)
    game = build_game(config.game)
    source = None if seeds is not None else source_of(config)
    judge = judge_of(config, game)
    check_group(config.run.algorithm, learner, config.run.group_size)
    files = stack.enter_context(held_run(config, leads=ranks.leads, seeds=seeds))
    found = files.latest()
    done = found.step if found else 0
    ranks.same("options or checkpoints", {**config.flat(), "checkpoint": done})
    if over(config, files, done):
        return Outcome(directory=files.path, steps=done, played=0, finished=True, void=0)
    if ranks.leads:
        check_room(files)
    source = source or source_of(config)
    # what is lacking or too long is found out before the model is loaded or a file is written
    setups = _draw(config, source, done)
    for seed in all_seeds(source, "train"):
        game.start(seed, rewritten=True)
    check_ready(judge)
    scripted = _scripted_agents(config, game, judge)
    loggers = make_loggers(config.logging) if ranks.leads else {}
    evaluation = evaluation_of(config, source)
    heartbeat = stack.enter_context(run_heartbeat(config, leads=ranks.leads))
    if policy is None:
        policy = _make_policy(config, stack, heartbeat)
    check_policy(policy)
    _check_prompts(game, policy, [setup.seed for setup in setups])
    _check_roles(config, policy)
    if ranks.leads:
        check_room(files, weights=weights_size(policy))
    if not found:
        warm_start(policy, config.run)
    algorithm = _make_algorithm(learner, config, policy, game)
    run = Training(
        config=config,
        files=files,
        game=game,
        source=source,
        judge=judge,
        policy=policy,
        algorithm=algorithm,
        callbacks=Callbacks(()),
        ranks=ranks,
        resumed=found.path if found else None,
        step=done,
        tokens=sampled_before(files, done),
        loggers=loggers,
        heartbeat=heartbeat,
    )
    run.fixed = _fixed_agents(config, policy, game, judge)
    run.callbacks = Callbacks(_callbacks(run, evaluation, scripted, callbacks))
    if found:
        _restore(run, found)
    if ranks.world > 1:  # from here on process 0 alone reads and writes the run directory
        ranks.same("weights", checksums(policy))
    if heartbeat.beats:
        heartbeat.say(model_line(config, policy))
    checked = _preflight(run) if ranks.leads and files.record() is None else None
    if ranks.leads:
        write_config(
            files,
            config.flat(),
            policy=describe(policy),
            source=source,
            judge=judge,
            game=game,
            plugins=origins(plugins_of(config)),
            processes=ranks.world,
            defaults=defaults_of_changed(config),
            departures=departures(config),
        )
    if checked is not None:
        files.write_preflight(checked.to_json())
    return loop(run, _take_step)


def _make_policy(config: TrainConfig, stack: ExitStack, heartbeat: Heartbeat) -> Any:
    """Return what the run trains; it is closed when the run ends."""
    heartbeat.doing("loading the model")
    policy = build("policies", config.run.policy, config=config.policy, seed=config.run.seed)
    # an engine would go on holding memory, a server adapters
    stack.callback(getattr(policy, "close", lambda: None))
    return policy


def _restore(run: Training, found: Checkpoint) -> None:
    """Go on from a checkpoint."""
    tell(run.policy, "restore", found.policy)
    state, states = checkpoint.read_state(found)
    load_state(run.algorithm, run.config.run.algorithm, state)
    run.callbacks.load_state(states, found.path)


def _preflight(run: Training) -> Preflight | None:
    """Play the turns that a new run is to play first; say what they are like.

    Raises:
        RedteamError: As :meth:`Preflight.check`, unless the run is forced.
    """
    config = run.config
    roles = {x for x in map(role_of, run.game.seats) if x not in run.fixed}
    if config.game.rewrite_fraction == 0:
        roles -= {"attacker"}
    if not config.run.preflight or not roles:
        return None
    console = make_console(stderr=True)
    run.heartbeat.doing("preflight")
    if run.heartbeat.beats:
        run.heartbeat.say(f"Preflight: {config.run.preflight} turns a seat before the first step.")
    found = preflight(
        run.policy,
        run.game,
        run.source,
        turns=config.run.preflight,
        seed=config.run.seed,
        max_new_tokens=getattr(config.policy, "max_new_tokens", None),
        benign_fraction=config.game.benign_fraction,
        roles=roles,
    )
    for line in () if config.run.json else found.lines():
        if run.heartbeat.beats or line.startswith("Warning"):
            console.print(safe_text(line), soft_wrap=True)
    if not config.run.force:
        found.check()
    return found


def _hand_over(
    own_loop: Callable[[TrainConfig], Outcome],
    config: TrainConfig,
    policy: TrainablePolicy | None,
    callbacks: Sequence[Any],
    seeds: str | None,
) -> Outcome:
    """Let an algorithm train in a loop of its own."""
    named = bool(callbacks) or bool(listed(config.run.callback))
    unused = {
        "the policy": policy is not None,
        "the callbacks": named,
        "seeds that are no file": seeds is not None,
    }
    if given := [what for what, there in unused.items() if there]:
        raise RedteamError(
            f"{config.run.algorithm} trains in a loop of its own and cannot use {' and '.join(given)} "
            "that were given; leave that out."
        )
    return own_loop(config)


def _callbacks(
    run: Training,
    evaluation: Evaluation | None,
    scripted: Mapping[str, Mapping[str, Agent]],
    given: Sequence[Any],
) -> list[Any]:
    """Return all callbacks of a run in order: those of its settings around those that were given."""
    config, policy = run.config, run.policy
    named = {role: (str(config.run.opponent), agent) for role, agent in run.fixed.items()}
    for role, agents in scripted.items():
        for number, (spec, agent) in enumerate(agents.items(), start=1):
            named[f"scripted_{role}_{number}"] = (spec, agent)
    result: list[Any] = [DivergenceCheck()]
    if config.replay.seed_replay != "none":
        seeds = all_seeds(run.source, "train")
        result.append(UcbReplay(config.replay, policy.trainable_roles, seeds, seed=config.run.seed))
    if evaluation is not None:
        result.append(evaluation)
    result += [*named_callbacks(config.run.callback, config.callbacks), *given]
    league = RunLeague(
        config,
        policy=policy,
        game=run.game,
        source=run.source,
        judge=run.judge,
        directory=run.directory,
        scripted=scripted,
        resumed=run.resumed,
    )
    usage = UsageMeter({**named, "judge": (run.judge.name, run.judge)})
    attacks = AttackMeter([agent for _, agent in named.values()])
    result += [FixedAgents(run.fixed), league, usage, attacks]
    if evaluation is not None:
        result.append(BestCheckpoint(config.evaluation))
    return [*result, *closing_callbacks(run)]


def closing_callbacks(run: Training) -> list[Any]:
    """Return the callbacks that every run ends its steps with: rules for stopping, log, checkpoints."""
    config = run.config
    found: list[Any] = []
    if config.stopping.stop_metric is not None:
        found.append(StopOnMetric(config.stopping))
    if config.stopping.void_steps:
        found.append(StopOnVoid(config.stopping.void_steps))
    silent, console = config.run.json or not run.leads, make_console(stderr=True)
    if not silent:
        found.append(SignalWarning(run.policy.trainable_roles, console))
        found.append(HealthWarning([role_of(seat) for seat in run.game.seats], console))
        found.append(LabelWarning(console))
    return [
        *found,
        RunLog(config.logging, run.loggers, console),
        LiveTable(
            config.run.steps,
            run.step,
            console=console,
            quiet=silent or config.run.quiet,
            heartbeat=run.heartbeat,
        ),
        Checkpoints(),
    ]


def _check_roles(config: TrainConfig, policy: TrainablePolicy) -> None:
    """Refuse what does not fit the roles that the policy trains."""
    trained = policy.trainable_roles
    if config.run.opponent is not None and len(trained) != 1:
        raise RedteamError(
            f"opponent is {config.run.opponent!r}, but this policy trains {' and '.join(trained)}; train "
            "one seat alone, or leave the opponent out."
        )
    if config.evaluation.eval_every and "defender" not in trained:
        raise RedteamError(
            "eval_every asks for an evaluation of the defender, which this run does not train; leave it "
            "out."
        )


def _fixed_agents(
    config: TrainConfig, policy: TrainablePolicy, game: Game, judge: Judge
) -> dict[str, Agent]:
    """Return who was named to play the roles that are not trained."""
    named: dict[str, str | None] = dict.fromkeys(map(role_of, SEATS), config.run.opponent)
    if JUDGE in game.seats:
        named[role_of(JUDGE)] = config.run.judge_player
    pool = _pool(config, "--opponent", game, judge)
    return {
        role: pool.agent(spec, role)
        for role, spec in named.items()
        if spec is not None and role not in policy.trainable_roles
    }


def _scripted_agents(config: TrainConfig, game: Game, judge: Judge) -> dict[str, dict[str, Agent]]:
    """Return the scripted opponents of each role, by specification; a bad one is refused here."""
    pool = _pool(config, "--scripted-{role}s", game, judge)
    return {
        role: {spec: pool.agent(spec, role) for spec in specs}
        for role, specs in config.scripted.specs.items()
    }


def _pool(config: TrainConfig, option: str, game: Game, judge: Judge) -> AgentPool:
    """Return what makes agents that sample as the run's policy does."""
    return AgentPool(
        base=getattr(config.policy, "model", None),
        max_new_tokens=getattr(config.policy, "max_new_tokens", None),
        temperature=getattr(config.policy, "temperature", 1.0),
        allow_other_base=getattr(config.policy, "allow_other_base", False),
        option=option,
        game=game,
        judge=judge,
    )


def _make_algorithm(
    factory: Any, config: TrainConfig, policy: TrainablePolicy, game: Game
) -> Algorithm:
    name = config.run.algorithm
    options = {"policy": policy, "game": game, "seed": config.run.seed}
    algorithm: Algorithm = make("algorithms", name, factory, config.learner, **options)
    for method in ("update", "state", "load_state"):
        require(algorithm, method, f"algorithm {name!r}")
    return algorithm


def _check_prompts(game: Game, policy: TrainablePolicy, seeds: Sequence[Seed]) -> None:
    """Tokenise first prompts of both seats, so that instructions over the limit are found out."""
    for seed in seeds:
        for rewritten in (True, False):
            state = game.start(seed, rewritten=rewritten)
            seat = str(state.to_move)
            messages = game.messages(state, seat)
            encode_example(policy, role_of(seat), messages, seed.text, prefill=game.prefill(seat))


def _draw(config: TrainConfig, source: SeedSource, step: int) -> list[GameSetup]:
    return schedule(
        source,
        config.run.games,
        path=(config.run.seed, "step", step),
        benign_fraction=config.game.benign_fraction,
        rewrite_fraction=config.game.rewrite_fraction,
        group_size=config.run.group_size,
    )


def _play(
    run: Training, setups: Sequence[GameSetup], agents: Mapping[str, Agent]
) -> Mapping[str, float]:
    """Play a step's games, again while they are mostly void; return what waiting took.

    Raises:
        UnansweredError: If they are so ``void_steps`` times.
    """
    most = run.config.stopping.void_steps
    for tries in itertools.count(1):
        started = time.monotonic()
        own = play(
            run.ranks.part(setups),
            agents,
            run.judge,
            game=run.game,
            batch_size=run.config.generation_batch,
            progress=run.callbacks.on_progress,
        )
        run.episodes, waited = gather_episodes(run.ranks, own, time.monotonic() - started)
        reason = mostly_void(run.episodes) if most else None
        if reason is None:
            break
        run.void += sum(x.void is not None for x in run.episodes)
        if tries == most:
            raise UnansweredError(
                f"step {run.step} was played {tries} times, and more than half of the games were void "
                f"({reason}). It is not spent: once the cause is gone, --resume takes it"
            )
    return waited


def _take_step(run: Training) -> None:
    """Play a step's games, learn from them, and note what there is to log."""
    started = time.monotonic()
    setups = run.callbacks.setups(run.step, _draw(run.config, run.source, run.step))
    agents: dict[str, Agent] = {}
    for role, seat in ((role_of(seat), seat) for seat in run.game.seats):
        agents[seat] = run.callbacks.agent(role, setups) or agent_of(run.policy, role)
    waited = _play(run, setups, agents)
    played = time.monotonic()
    lessons = run.callbacks.on_episodes(run.step, run.episodes)
    run.row = episode_metrics(run.episodes, run.game.seats, lessons, scripted=run.scripted)
    run.batches = role_batches(lessons, step=run.step)
    run.callbacks.on_progress("update", 0, 1)
    rollout = RunRollout(run)
    name = run.config.run.algorithm
    run.row |= update(run.algorithm, name, run.policy, run.batches, rollout)
    run.row |= rollout.row()
    run.row["time/play_s"] = played - started
    run.row["time/update_s"] = time.monotonic() - played
    if run.ranks.world > 1:
        run.row |= waited
        run.ranks.same("weights after the update", checksums(run.policy))
