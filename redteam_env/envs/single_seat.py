"""The single-seat face: one seat as a Gymnasium environment, the other played by an agent."""

import copy
from collections.abc import Sequence
from typing import Any

import gymnasium

from redteam_env.envs.config import RENDER_MODES, SeatConfig, takes
from redteam_env.envs.render import render
from redteam_env.envs.session import Info, Observation, Session, act_together, whole_seed
from redteam_env.game import JUDGE, Episode, GameState, RedteamError, role_of
from redteam_env.protocols import Agent, Reply, TurnRequest
from redteam_env.randomness import Address
from redteam_env.registry import resolve_agent
from redteam_env.rollout import ask, turn_request
from redteam_env.worlds.apothecary.scripted import demonstrated

OPPONENTS = {"attacker": "template", "defender": "comply"}
"""Who plays a role if nobody is named, in games of text that only a reader can judge."""

MOST_FORFEITS = 100

Outcome = tuple[Observation, float, bool, bool, Info]
MOST_FAILURES = 3


class SingleSeat(gymnasium.Env[Observation, str]):
    """One seat of the game.

    Observations, actions and infos are those of the seat in :mod:`redteam_env.redteam_v0`; the last
    info also carries the finished game as ``redteam_episode``: a record for you, thoughts of the
    opponent included, not for the player (the name ``episode`` belongs to the statistics of
    Gymnasium and Stable-Baselines3). An attacker's view plays rewritten games only. A game that an
    opponent forfeits before the seat could move, or in which it then has no answer to give, is
    dropped and another one is drawn.

    Attributes:
        session: The game behind the environment.
        opponents: Who plays the other seats.
    """

    metadata = {  # noqa: RUF012 - Gymnasium declares it without ClassVar
        "render_modes": list(RENDER_MODES),
        "render_fps": 1,
    }

    def __init__(self, config: SeatConfig) -> None:
        self.session = Session(config)
        self.seat = config.seat
        self.render_mode = config.render_mode
        # Gymnasium types Dict as a space of spaces
        self.observation_space = self.session.observation_space(self.seat)  # type: ignore[assignment]
        self.action_space = self.session.action_space()
        self.opponents: dict[str, Agent] = {}
        for seat in self.session.game.seats:
            if seat != self.seat:
                role = role_of(seat)
                self.opponents[seat] = (
                    default_opponent(self.session, role)
                    if config.opponent is None or seat == JUDGE
                    else resolve_agent(config.opponent, role)
                )
        self._path: Address = ()

    @property
    def request(self) -> TurnRequest | None:
        """What an agent at this seat would be asked now, or ``None`` before and after a game."""
        state = self.session.state
        return None if state is None or state.to_move != self.seat else self.turn()

    def turn(self) -> TurnRequest:
        """Return what the seat to move is asked, whichever it is.

        Raises:
            RedteamError: If nobody is to move.
        """
        return turn_request(self.session.game, self.session.running, self._path)

    @property
    def episode(self) -> Episode | None:
        """The finished game as a record, or ``None`` while it runs."""
        return self.session.episode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Start a game and play it until the seat is to move.

        Args:
            seed: Makes this game and those after it repeatable.
            options: ``seed`` (a :class:`~redteam_env.game.Seed`) and ``rewritten`` (a bool) fix
                the game; other keys are ignored.

        Returns:
            The seat's observation and info.

        Raises:
            RedteamError: If an option is of the wrong type or asks an attacker to watch a raw game,
                or the opponent forfeits 100 games or fails in 3 before the seat could move.
        """
        return reset_together([self], [seed], options)[0]

    def step(self, action: str | Reply) -> tuple[Observation, float, bool, bool, Info]:
        """Act, and let the others play until the seat is to move again or the game is over.

        Args:
            action: Any text, or an agent's reply; one with an error ends the game, which is void.

        Returns:
            Observation, reward, whether the game is over, ``False``, and info.

        Raises:
            RedteamError: If no game runs or the action is no text.
        """
        return step_together([self], [action])[0]

    def render(self) -> str | None:
        """Return the game so far (``ansi``) or print what is new of it (``human``)."""
        return render(self.session, self.render_mode)

    def another(self) -> "SingleSeat":
        """Return the same seat against the same opponents in a game of its own, which is not started."""
        env = copy.copy(self)
        env.session = self.session.another()
        return env

    def resume(self, state: GameState, path: Address) -> None:
        """Go on with a game that was played so far elsewhere.

        Args:
            state: The game; the seat is to move in it.
            path: Where its randomness comes from.
        """
        self.session.state, self.session.episode = state, None
        self._path = path

    def draw(self, options: dict[str, Any]) -> None:
        """Draw a game and start it; nobody has moved in it."""
        self.session.start(self.np_random, options)
        self._path = (int(self.np_random.integers(2**63)),)

    def look(self) -> tuple[Observation, Info]:
        """Return what :meth:`reset` returns of the running game."""
        self._show()
        return self.session.observe(self.seat), self.session.info(self.seat)

    def outcome(self) -> Outcome:
        """Return what :meth:`step` returns of the running or finished game."""
        self._show()
        info = self.session.info(self.seat)
        over = self.session.episode is not None
        if over:
            info["redteam_episode"] = self.session.episode
        reward = self.session.reward(self.seat)
        return self.session.observe(self.seat), reward, over, False, info

    def _show(self) -> None:
        if self.render_mode == "human":
            self.render()


def default_opponent(session: Session, role: str) -> Agent:
    """Return who plays a role if nobody is named.

    In the controlled world it is what the base model was shown, against which some tactics succeed more often than
    others; else a script that never reads what it is told. The judge's seat is played by the judge itself, or
    by ``lexical`` if that is an object or behind a server.

    Args:
        session: The game.
        role: The other seat's role.
    """
    if role == role_of(JUDGE):
        judge, asks = session.config.judge, session.config.judge_url is not None
        by = judge if isinstance(judge, str) and not asks else "lexical"
        return resolve_agent(f"judge:{by}", role)
    if (world := session.world) is not None:
        return demonstrated(role, world)
    return resolve_agent(OPPONENTS[role], role)


def reset_together(
    seats: Sequence[SingleSeat],
    seeds: Sequence[int | None],
    options: dict[str, Any] | None = None,
) -> list[tuple[Observation, Info]]:
    """Start a game at each of several seats; opponents are asked once for all their turns.

    Args:
        seats: Environments of one and the same seat.
        seeds: As in :meth:`SingleSeat.reset`, one for each.
        options: The same for all.

    Returns:
        What :meth:`SingleSeat.reset` returns, for each.

    Raises:
        RedteamError: As there.
    """
    for env, seed in zip(seats, seeds, strict=True):
        super(SingleSeat, env).reset(seed=whole_seed(seed))
    fixed = dict(options or {})
    attacks = any(role_of(x.seat) == "attacker" for x in seats)
    if attacks and fixed.setdefault("rewritten", True) is False:
        raise RedteamError("In a raw game the attacker never moves; play rewritten=True.")
    failures = dict.fromkeys(map(id, seats), 0)
    left = list(seats)
    for _ in range(MOST_FORFEITS):
        for env in left:
            env.draw(fixed)
        _answer(left)
        left = [x for x in left if x.session.episode is not None]
        if not left:
            return [x.look() for x in seats]
        for env in left:
            failures[id(env)] += env.session.running.error is not None
            if failures[id(env)] == MOST_FAILURES:
                raise RedteamError(
                    f"The opponent of {env.seat} failed in {MOST_FAILURES} games before {env.seat} "
                    f"could move; the last was void: {env.session.running.error}."
                )
    raise RedteamError(
        f"The opponent of {left[0].seat} forfeited {MOST_FORFEITS} games before {left[0].seat} could "
        "move; it must keep the think-answer format, or set thinking to optional or none."
    )


def step_together(seats: Sequence[SingleSeat], actions: Sequence[str | Reply]) -> list[Outcome]:
    """Act at each of several seats; opponents are asked once for all their turns.

    Args:
        seats: Environments with a running game.
        actions: As in :meth:`SingleSeat.step`, one for each.

    Returns:
        What :meth:`SingleSeat.step` returns, for each.

    Raises:
        RedteamError: If no game runs somewhere, or an action is no text.
    """
    act_together([x.session for x in seats], actions)
    _answer(seats)
    return [x.outcome() for x in seats]


def _answer(seats: Sequence[SingleSeat]) -> None:
    """Let opponents move until every seat is to move or its game is over."""
    while due := [x for x in seats if x.session.running.to_move not in (x.seat, None)]:
        mover = str(due[0].session.running.to_move)
        agent = due[0].opponents[mover]
        group = [
            x for x in due if x.session.running.to_move == mover and x.opponents[mover] is agent
        ]
        replies = ask(agent, [x.turn() for x in group])
        act_together([x.session for x in group], replies)


@takes(SeatConfig)
def single_seat(config: SeatConfig) -> SingleSeat:
    """Return one seat of the game as a Gymnasium environment."""
    return SingleSeat(config)
