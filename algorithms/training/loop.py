"""A run while it trains: what it is made of, its loop, and how it ends.

The trainer and the algorithms that bring a loop of their own share it. Ctrl-C finishes the step, saves
and stops; a second one stops at once and loses that step only.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from algorithms.core.ranks import PeerError, Ranks
from algorithms.training import checkpoint
from algorithms.training.callbacks import Callbacks
from algorithms.training.config import SELF_PLAY, TrainConfig
from algorithms.training.metrics import check_counted, sampled_before, step_tokens
from algorithms.training.stopping import UnansweredError
from redteam_env.border.algorithms import state_of
from redteam_env.border.policies import tell
from redteam_env.game import Episode, Game, RedteamError
from redteam_env.protocols import Agent, Batch, Judge, Logger, Row, SeedSource
from redteam_env.runs import POLICY, Run
from redteam_env.utils.heartbeat import Heartbeat
from redteam_env.utils.interrupts import noted_interrupts

FINISHING = "Ctrl-C: finishing this step; again to stop now."


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call of :func:`algorithms.train` ended.

    Attributes:
        directory: The run directory.
        steps: Training steps done in all.
        played: Training steps done in this call.
        finished: Whether the run did its work: all steps are done, as many tokens sampled as it may, or
            a callback stopped it as asked.
        void: Void games in this call.
        interrupted: Whether Ctrl-C was pressed, perhaps in the last step.
        stopped: Why a callback stopped the run; ``None`` if none did.
        usage: What agents and judge behind an API took in this call, an entry for each and role.
    """

    directory: Path
    steps: int
    played: int
    finished: bool
    void: int
    interrupted: bool = False
    stopped: str | None = None
    usage: Sequence[Mapping[str, Any]] = ()


@dataclass(slots=True, kw_only=True)
class Training:
    """A run while it trains: :class:`redteam_env.protocols.TrainingRun`, and what its loop needs.

    Attributes:
        config: All settings.
        files: The run directory.
        game: The rules.
        source: Where seeds come from.
        judge: Who reads the games.
        policy: What is trained.
        algorithm: What learns.
        callbacks: All callbacks, in order.
        ranks: This process among those that train together.
        resumed: The checkpoint that the run goes on from.
        step: Steps done; within a step, its number.
        tokens: Tokens that were sampled in the steps before this one.
        episodes: The games of this step.
        scripted: The groups of its games in which a scripted opponent plays, and the role that it plays.
        batches: What was learned from in this step, by role.
        row: What this step logs.
        loggers: Where it is logged, by name; nothing in processes that do not lead.
        fixed: Who plays the roles that are not trained, where a run names somebody.
        interrupted: Whether Ctrl-C was pressed in any process.
        stopped: Why a callback stopped the run.
        failed: Whether it stopped because the run could not do its work.
        void: Void games in this call.
        heartbeat: Tells of its phases, and answers Ctrl-C.
    """

    config: TrainConfig
    files: Run
    game: Game
    source: SeedSource
    judge: Judge
    policy: Any
    algorithm: Any
    callbacks: Callbacks
    ranks: Ranks
    resumed: Path | None
    step: int
    tokens: float
    episodes: Sequence[Episode] = ()
    scripted: Mapping[int, str] = field(default_factory=dict)
    batches: Mapping[str, Batch] = field(default_factory=dict)
    row: Row = field(default_factory=dict)
    loggers: Mapping[str, Logger] = field(default_factory=dict)
    fixed: Mapping[str, Agent] = field(default_factory=dict)
    interrupted: bool = False
    stopped: str | None = None
    failed: bool = False
    void: int = 0
    heartbeat: Heartbeat = field(default_factory=lambda: Heartbeat(lambda _: None))
    _wanted: list[str | None] | None = None

    @property
    def directory(self) -> Path:
        """The run directory."""
        return self.files.path

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.ranks.leads

    @property
    def done(self) -> bool:
        """Whether the work is done after this step, as far as steps and tokens go."""
        most = self.config.run.max_tokens
        return self.step + 1 >= self.config.run.steps or (
            0 < most <= self.tokens + step_tokens(self.row)
        )

    @property
    def ending(self) -> bool:
        """Whether this step is the last of this call."""
        return self.done or self.interrupted or self.stopped is not None

    def stop(self, reason: str, *, failed: bool = False) -> None:
        """End the run after this step; the first reason counts."""
        if self.stopped is None:
            self.stopped, self.failed = reason, failed

    def save(self, name: str | None = None) -> None:
        """Have the run written after this step, once all callbacks have seen it.

        Args:
            name: What the checkpoint is called; by default by its step.

        Raises:
            RedteamError: Outside of a step: what was learned and what was counted would not fit.
        """
        if self._wanted is None:
            raise RedteamError("A run can be saved in on_update only, when a step has been taken.")
        if name not in self._wanted:
            self._wanted.append(name)

    def agree(self, pressed: bool) -> None:
        """Let all processes know of an interruption, and of the first reason to stop that any has."""
        found = self.ranks.gather([pressed, self.stopped, self.failed])
        self.interrupted = any(one for one, _, _ in found)
        for _, reason, failed in found:
            if reason is not None:
                self.stopped, self.failed = reason, failed
                break

    def show(self) -> None:
        """Show the step to all callbacks; in it they may ask for checkpoints."""
        self._wanted = []
        self.callbacks.on_update(self.step, self.row)

    def write(self) -> None:
        """Write the checkpoints that were asked for in this step, and one if it is the last."""
        wanted, self._wanted = self._wanted or [], None
        if self.ending and None not in wanted:
            wanted.append(None)
        for name in wanted if self.leads else ():
            self._write(self.step + 1, name)

    def keep(self) -> None:
        """Write a checkpoint of the steps before this one, which was played and not learned from.

        A league that has chosen this step's opponents has moved on; such a run goes on from the
        checkpoint that it has, and takes the steps since then in the same way.
        """
        moved = self.config.run.opponents != SELF_PLAY or self.config.scripted.scripted_share
        there = {x.step for x in self.files.checkpoints()}
        if self.leads and self.step and self.step not in there and not moved:
            self._write(self.step, None)

    def _write(self, steps: int, name: str | None) -> None:
        self.callbacks.on_progress("checkpoint", 0, 1)
        checkpoint.write(
            self.files,
            steps,
            self._write_more,
            state_of(self.algorithm, self.config.run.algorithm),
            self.callbacks.state(),
            name=name,
        )

    def _write_more(self, folder: Path) -> None:
        tell(self.policy, "save", folder / POLICY)
        self.callbacks.on_checkpoint(folder)


def over(config: TrainConfig, run: Run, done: int) -> bool:
    """Whether nothing is left to do for a run after so many steps.

    Raises:
        RedteamError: If tokens are limited and those of earlier steps are not known.
    """
    most = config.run.max_tokens
    if most:
        check_counted(run, done)
    return done >= config.run.steps or 0 < most <= sampled_before(run, done)


def loop(run: Training, take_step: Callable[[Training], None]) -> Outcome:
    """Take step after step until the run is done, stopped or interrupted.

    Args:
        run: The run, with ``config.json`` written.
        take_step: Plays the games of a step and learns from them; sets the run's ``episodes``,
            ``batches`` and ``row``.

    Returns:
        How it ended.

    Raises:
        RedteamError: What a step raises, with the step's number.
    """
    outcome: Outcome | None = None
    before = run.step
    with ExitStack() as stack:
        stack.callback(lambda: run.callbacks.on_end(outcome))
        pressed = stack.enter_context(noted_interrupts(partial(run.heartbeat.at_once, FINISHING)))
        run.callbacks.on_start(run)
        run.agree(bool(pressed))
        while run.stopped is None and not run.interrupted and run.step < run.config.run.steps:
            try:
                take_step(run)
                run.show()
                run.agree(bool(pressed))
                run.write()
            except PeerError:
                raise
            except UnansweredError as failure:
                run.stop(str(failure), failed=True)
                run.keep()
                finished = False
                break
            except RedteamError as error:
                raise RedteamError(f"Step {run.step}: {error}") from error
            run.void += int(run.row["game/void"] or 0)
            finished = run.done
            run.tokens += step_tokens(run.row)
            run.step += 1
            if finished:
                break
        else:
            finished = run.stopped is not None and not run.failed
        run.ranks.gather(None)  # the last checkpoint is written before any process goes on
        outcome = Outcome(
            directory=run.directory,
            steps=run.step,
            played=run.step - before,
            finished=finished,
            void=run.void,
            interrupted=run.interrupted or bool(pressed),
            stopped=run.stopped,
            usage=run.callbacks.usage(),
        )
    return outcome
