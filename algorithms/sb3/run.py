"""One seat that Stable-Baselines3 trains, with the house's run directory, seeds and checkpoints."""

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import stable_baselines3
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from algorithms.core.ranks import Ranks
from algorithms.sb3.config import DQNConfig, PPOConfig, SB3Config, moves_a_step, moves_an_update
from algorithms.sb3.state import collect, export, give_back, score
from algorithms.sb3.vec_env import SeatGames
from algorithms.training import checkpoint
from algorithms.training.callbacks import Callbacks, UsageMeter
from algorithms.training.config import TrainConfig
from algorithms.training.departures import defaults_of_changed
from algorithms.training.live import run_heartbeat
from algorithms.training.log import make_loggers
from algorithms.training.loop import Outcome, Training, loop, over
from algorithms.training.metrics import episode_metrics, sampled_before
from algorithms.training.plugins import plugins_of
from algorithms.training.rundir import check_room, held_run
from algorithms.training.trainer import closing_callbacks
from redteam_env.border.seeds import all_seeds
from redteam_env.embedders import embedder_name
from redteam_env.envs import SeatConfig, SingleSeat
from redteam_env.envs.moves import read_templates
from redteam_env.envs.wrappers import EmbeddingObservation, default_moves
from redteam_env.evaluation import AgentPool
from redteam_env.evaluation.diversity import entropy
from redteam_env.game import Episode, RedteamError, role_of
from redteam_env.judges.judge import check_ready
from redteam_env.judges.resolve import resolve_judge
from redteam_env.protocols import BASE, AlgorithmState, Row
from redteam_env.provenance import origins, write_config
from redteam_env.randomness import integer_seed
from redteam_env.runs import Run, write_card
from redteam_env.seeds.resolve import resolve_seeds
from redteam_env.utils.heartbeat import Heartbeat

AGENT = "sb3"
_OURS = {field.name for field in dataclasses.fields(SB3Config)} - {"learning_rate", "gamma"}


def run_seat(config: TrainConfig, kind: str, seat: str) -> Outcome:
    """Train a seat until all steps are done or Ctrl-C is pressed.

    Args:
        config: The run.
        kind: The algorithm's class in Stable-Baselines3.
        seat: The seat that learns.

    Returns:
        How it ended.

    Raises:
        RedteamError: If anything is wrong with the game, the opponent or the run directory, before
            anything is overwritten; or if training diverges.
    """
    with held_run(config) as files, run_heartbeat(config, leads=True) as heartbeat:
        return _train(files, config, kind, seat, heartbeat)


def _train(files: Run, config: TrainConfig, kind: str, seat: str, heartbeat: Heartbeat) -> Outcome:
    found = files.latest()
    done = found.step if found else 0
    if over(config, files, done):
        return Outcome(directory=files.path, steps=done, played=0, finished=True, void=0)
    check_room(files)
    loggers = make_loggers(config.logging)
    learner = SeatLearner(config, kind, seat)
    session = learner.seat.session
    for seed in all_seeds(session.seeds, "train"):
        session.game.start(seed, rewritten=True)
    check_ready(session.judge)
    run = Training(
        config=config,
        files=files,
        game=session.game,
        source=session.seeds,
        judge=session.judge,
        policy=learner,
        algorithm=learner,
        callbacks=Callbacks(()),
        ranks=Ranks(),
        resumed=found.path if found else None,
        step=done,
        tokens=sampled_before(files, done),
        heartbeat=heartbeat,
        loggers=loggers,
    )
    named = config.run.opponent or BASE
    asked = {role_of(seat): (named, agent) for seat, agent in learner.seat.opponents.items()}
    usage = UsageMeter({**asked, "judge": (session.judge.name, session.judge)})
    run.callbacks = Callbacks([usage, *closing_callbacks(run)])
    if found:
        state, states = checkpoint.read_state(found)
        learner.load_state(state)
        run.callbacks.load_state(states, found.path)
    write_config(
        files,
        config.flat(),
        policy=learner.describe(),
        source=session.seeds,
        judge=session.judge,
        game=session.game,
        plugins=origins(plugins_of(config)),
        defaults=defaults_of_changed(config),
    )
    return loop(run, learner.take_step)


class SeatLearner:
    """A seat, its features and moves, and the model that learns to play it.

    Args:
        config: The run.
        kind: The algorithm's class in Stable-Baselines3.
        seat: The seat that learns.

    Attributes:
        trainable_roles: The role of the seat.
        seat: The environment without its wrappers.
        model: The model of Stable-Baselines3.
    """

    def __init__(self, config: TrainConfig, kind: str, seat: str) -> None:
        self._config = config
        self._role = role_of(seat)
        self.trainable_roles = (self._role,)
        self._embedder = embedder_name(config.learner.embedder)
        side_by_side = _side_by_side(config)
        seats = _seats(config, seat, side_by_side)
        self.seat = seats[0]
        if config.learner.templates is None:
            self._moves = default_moves(self.seat.session, seat, config.learner.most_tactics)
        else:
            self._moves = read_templates(config.learner.templates)
        self._features = EmbeddingObservation(self.seat, self._embedder).features
        self._games = SeatGames(seats, self._moves, self._features)
        self.model: BaseAlgorithm = getattr(stable_baselines3, kind)(
            "MlpPolicy",
            self._games,
            seed=self._seed("initial"),
            device="cpu",
            policy_kwargs={"net_arch": [config.learner.hidden] * 2},
            **_settings(config, side_by_side),
        )
        self._logger = Logger(folder=None, output_formats=[])
        self.model.set_logger(self._logger)

    def _seed(self, *path: int | str) -> int:
        # NumPy's global seeds end there, and every game side by side adds its number
        return integer_seed((self._config.run.seed, AGENT, *path)) % 2**31

    def take_step(self, run: Training) -> None:
        """Play a step's games, learn from them, and note what there is to log.

        Args:
            run: The run.

        Raises:
            RedteamError: If the policy diverges.
        """
        step, total = run.step, moves_a_step(self._config)
        self.model.set_random_seed(self._seed("step", step))
        self.model.set_env(self._games, force_reset=True)
        row: Row = {}
        if isinstance(self._config.learner, DQNConfig):
            row[f"{self._role}/exploration"] = _explore(self.model, self._config.learner, step)
        watch = _Watch(run.callbacks, total)
        started = time.monotonic()
        try:
            self.model.learn(total, watch, log_interval=None, reset_num_timesteps=False)
            finite = torch.isfinite(score(self.model, watch.seen)).all()
        except ValueError as error:
            if "of distribution" not in str(error):  # how torch refuses one of NaN
                raise
            raise _diverged("a score is not finite") from error
        if not finite:
            raise _diverged("a score is not finite")
        if not all(bool(torch.isfinite(x).all()) for x in self.model.policy.parameters()):
            raise _diverged("a weight is not finite")
        run.episodes = [
            dataclasses.replace(x, path=(self._config.run.seed, "step", step, "game", k), group=k)
            for k, x in enumerate(watch.episodes)
        ]
        row = episode_metrics(run.episodes, self.seat.session.game.seats) | row
        row[f"{self._role}/move_entropy"] = entropy(watch.moves)
        row |= self._losses()
        row["time/play_s"] = watch.played_s
        row["time/update_s"] = time.monotonic() - started - watch.played_s
        run.row = row

    def _losses(self) -> Row:
        """Return what the model recorded of its last update."""
        values = dict(self._logger.name_to_value)
        self._logger.name_to_value.clear()
        return {
            f"{self._role}/{name.removeprefix('train/')}": float(value)
            for name, value in values.items()
            if name.startswith("train/") and isinstance(value, int | float)
        }

    def state(self) -> AlgorithmState:
        """Return everything that a resumed run needs."""
        state = collect(self.model)
        return dataclasses.replace(state, values={**state.values, "embedder": self._embedder})

    def load_state(self, state: AlgorithmState) -> None:
        """Go back to a state that :meth:`state` returned.

        Raises:
            RedteamError: If it is one of another network or embedder.
        """
        if state.values.get("embedder") != self._embedder:
            raise RedteamError(
                f"The run saw texts through the embedder {state.values.get('embedder')!r}, which is "
                f"now {self._embedder!r}; install what it had, or start a new run."
            )
        give_back(self.model, state)

    def save(self, directory: Path) -> None:
        """Write what is needed to play the policy into a new directory."""
        directory.mkdir(parents=True)
        network = export(self.model, directory)
        others = {
            role_of(x): self._config.run.opponent or BASE for x in self.seat.session.game.seats
        }
        del others[self._role]
        more = {**self.describe(), **network, "moves": dict(self._moves.describe())}
        write_card(directory, agent=AGENT, role=self._role, others=others, more=more)

    def describe(self) -> dict[str, Any]:
        """Return what identifies the policy, as plain JSON."""
        return {
            "algorithm": self._config.run.algorithm,
            "stable_baselines3": stable_baselines3.__version__,
            "embedder": self._embedder,
            "views": list(self._features.views),
            "move_names": list(self._moves.names),
            "parameters": sum(x.numel() for x in self.model.policy.parameters()),
        }


class _Watch(BaseCallback):  # type: ignore[misc]  # optional, so not looked into
    """Collects the games and moves of a step, what was seen last and the time; shows progress."""

    def __init__(self, callbacks: Callbacks, total: int) -> None:
        super().__init__()
        self.episodes: list[Episode] = []
        self.moves: list[str] = []
        self.played_s = 0.0
        self.seen: Any = None
        self._callbacks = callbacks
        self._total = total
        self._started = 0.0

    def _on_rollout_start(self) -> None:
        self._started = time.monotonic()

    def _on_rollout_end(self) -> None:
        self.played_s += time.monotonic() - self._started

    def _on_step(self) -> bool:
        self.seen = self.locals["new_obs"]
        for info in self.locals["infos"]:
            self.moves.append(info["move"])
            if "redteam_episode" in info:
                self.episodes.append(info["redteam_episode"])
        self._callbacks.on_progress("moves", len(self.moves), self._total)
        return True


def _side_by_side(config: TrainConfig) -> int:
    """Return how many games are played at a time: updates and whole games divide evenly."""
    common = math.gcd(moves_an_update(config), config.run.games)
    fitting = [k for k in range(1, config.learner.side_by_side + 1) if common % k == 0]
    return max(fitting)


def _seats(config: TrainConfig, seat: str, n: int) -> list[SingleSeat]:
    """Return a seat in each of the games that are played at a time; one opponent plays them all."""
    pool = AgentPool(
        option="--opponent",
        base=config.policy.model,
        max_new_tokens=config.policy.max_new_tokens,
        temperature=config.policy.temperature,
        allow_other_base=config.policy.allow_other_base,
    )
    other = "defender" if role_of(seat) == "attacker" else "attacker"
    opponent = pool.agent(config.run.opponent or BASE, other)
    game = dataclasses.asdict(config.game) | {
        "seeds": resolve_seeds(config.game.seeds),
        "judge": resolve_judge(config.game.judge, url=config.game.judge_url),
        "judge_url": None,
        "mix_worlds": config.run.mix_worlds,
    }
    settings = SeatConfig(seat, opponent=opponent, **game)
    return [SingleSeat(settings) for _ in range(n)]


def _settings(config: TrainConfig, side_by_side: int) -> dict[str, Any]:
    """Return the arguments of the model's class, which counts moves in each game on its own."""
    learner, update = config.learner, moves_an_update(config)
    given = {k: v for k, v in dataclasses.asdict(learner).items() if k not in _OURS}
    given["train_freq" if isinstance(learner, DQNConfig) else "n_steps"] = update // side_by_side
    if isinstance(learner, PPOConfig):
        given["batch_size"] = learner.batch_size or update
    for name in ("exploration_steps", "exploration_final"):
        given.pop(name, None)  # the schedule is ours: it counts training steps
    return given


def _explore(model: Any, learner: DQNConfig, step: int) -> float:
    """Set and return the share of random moves in a step."""
    left = max(0.0, 1 - step / learner.exploration_steps)
    rate = learner.exploration_final + (1 - learner.exploration_final) * left
    model.exploration_schedule = lambda _: rate
    model.exploration_rate = rate
    return rate


def _diverged(reason: str) -> RedteamError:
    return RedteamError(
        f"The policy diverged ({reason}), and nothing of this step was saved. Start another run with "
        "a lower --learning-rate; earlier checkpoints can still be played (--resume takes the same "
        "step again)."
    )
