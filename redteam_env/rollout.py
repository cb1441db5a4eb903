"""Many games at once, phase by phase: one ``act`` call a phase or chunk, one judge call at the end.

A judge that works elsewhere (``concurrent = True``, such as one behind HTTP) gets one call a chunk
instead: it reads the games that the chunk ended while agents answer in the next one.

Which games a step plays is decided by :func:`schedule`, and every turn's randomness by the game's
path; so results do not depend on how many games are played together or in which order.
"""

import itertools
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from redteam_env.border import agents as agents_border
from redteam_env.border import judges as judges_border
from redteam_env.border import seeds as seeds_border
from redteam_env.border.calls import Games, game_name, games_of
from redteam_env.border.records import address, demand
from redteam_env.border.records import setups as read_setups
from redteam_env.faithfulness import compare, measure_of
from redteam_env.game import (
    JUDGE,
    Episode,
    Game,
    GameConfig,
    GameState,
    RedteamError,
    Seed,
    Verdict,
    role_of,
)
from redteam_env.game.values import whole
from redteam_env.protocols import (
    Agent,
    Batch,
    GameSetup,
    Judge,
    Progress,
    Reply,
    SeedSource,
    TurnRequest,
)
from redteam_env.randomness import Address, generator
from redteam_env.utils.threads import Background

_DEFAULT = GameConfig()


def schedule(
    source: SeedSource,
    games: int,
    *,
    path: Address,
    benign_fraction: float = _DEFAULT.benign_fraction,
    rewrite_fraction: float = _DEFAULT.rewrite_fraction,
    split: str = "train",
    group_size: int = 1,
) -> list[GameSetup]:
    """Decide which games a step plays.

    Labels and rewriting are spread evenly over the game numbers, so a step of any size holds the
    wanted shares up to rounding (Self-RedTeam's code: half benign, within each label half raw). With
    groups they are spread over the groups: all games of a group have one seed and are all rewritten
    or all raw; only their paths, and so the sampling, differ.

    Args:
        source: Where seeds come from.
        games: Number of games, at least 1.
        path: Address of the step, such as ``(run_seed, "step", 3)``.
        benign_fraction: Share of benign seeds, in [0, 1].
        rewrite_fraction: Share of games in which the attacker plays, within each label, in [0, 1].
        split: ``train`` or ``heldout``.
        group_size: Games that share a seed, one after the other; ``games`` is a multiple of it.

    Returns:
        ``games`` setups; the k-th has the path ``(*path, "game", k)`` and the group
        ``k // group_size``.

    Raises:
        RedteamError: If a number is out of range or the source lacks a label that is needed.
    """
    path = demand(path, address, "path")
    if games < 1:
        raise RedteamError(f"games is {games}; play at least 1.")
    for name, value in (
        ("benign_fraction", benign_fraction),
        ("rewrite_fraction", rewrite_fraction),
    ):
        if not 0 <= value <= 1:
            raise RedteamError(f"{name} is {value}; give a share between 0 and 1.")
    if group_size < 1 or games % group_size:
        raise RedteamError(
            f"group_size is {group_size}; give at least 1, and a multiple of it as games ({games})."
        )
    groups = games // group_size
    benign = _spread(groups, benign_fraction)
    rewritten = [False] * groups
    seeds: list[Seed | None] = [None] * groups
    for label in (False, True):
        members = [k for k in range(groups) if benign[k] is label]
        drawn = (
            seeds_border.draw(
                source,
                len(members),
                generator((*path, "seeds", "benign" if label else "harmful")),
                harmful=not label,
                split=split,
            )
            if members
            else []
        )
        plays = _spread(len(members), rewrite_fraction)
        for k, seed, plays_attacker in zip(members, drawn, plays, strict=True):
            seeds[k], rewritten[k] = seed, plays_attacker
    return [
        GameSetup(
            seed=seed, rewritten=rewritten[k], path=(*path, "game", k * group_size + n), group=k
        )
        for k, seed in enumerate(seeds)
        if seed is not None
        for n in range(group_size)
    ]


def _spread(n: int, share: float) -> list[bool]:
    """Mark ``share`` of ``n`` places, evenly spread, the remainder rounded to the nearest."""
    marks = [int((k + 1) * share + 0.5) - int(k * share + 0.5) for k in range(n)]
    return [mark == 1 for mark in marks]


def play(
    setups: Sequence[GameSetup],
    agents: Mapping[str, Agent],
    judge: Judge,
    *,
    game: Game | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> list[Episode]:
    """Play many games phase by phase.

    Args:
        setups: The games, from :func:`schedule` or made by hand.
        agents: The agent of each seat that will have to move. Without one for the judge's seat the games
            are played without that seat.
        judge: Reads all finished dialogues in one call; with ``concurrent = True`` those of each
            chunk in one call, from another thread, one call after the other.
        game: The rules; by default :class:`~redteam_env.game.Game` as it stands.
        batch_size: Most games handed to an agent in one call; by default all.
        progress: Called as ``progress(phase, done, total)``.

    Returns:
        One episode for each setup, in order.

    Raises:
        RedteamError: If a seat without agent is to move, or an agent or judge raises or returns anything
            else than an answer to each question; the game is named.
    """
    rules = Game() if game is None else game
    if JUDGE in rules.seats and JUDGE not in agents:
        rules = rules.without_judge()
    setups = demand(setups, read_setups, "setups")
    agents = {
        seat: agents_border.facing(agent, agents, f"agent of {seat}")
        for seat, agent in agents.items()
    }
    if batch_size is not None and demand(batch_size, whole, "batch_size") < 1:
        raise RedteamError(f"batch_size is {batch_size}; give at least 1, or None for all.")
    measure_of(rules, judge)  # whether rewrites can be compared is found out before anybody plays
    states = [rules.start(setup.seed, rewritten=setup.rewritten) for setup in setups]
    with _Judging(judge, rules, states, [setup.path for setup in setups]) as judging:
        while movers := [k for k, state in enumerate(states) if state.to_move is not None]:
            seat = next(s for s in rules.seats if any(states[k].to_move == s for k in movers))
            members = [k for k in movers if states[k].to_move == seat]
            if seat not in agents:
                raise RedteamError(f"{seat} is to move but has no agent; given: {sorted(agents)}.")
            size = batch_size or len(members)
            for start in range(0, len(members), size):
                chunk = members[start : start + size]
                requests = [turn_request(rules, states[k], setups[k].path) for k in chunk]
                replies = ask(agents[seat], requests)
                for k, reply in zip(chunk, replies, strict=True):
                    states[k] = apply_reply(rules, states[k], reply)
                judging.played(chunk)
                if progress:
                    progress(seat, start + len(chunk), len(members))
        readings = judging.readings()
    if progress:
        progress("judge", len(states), len(states))
    return [
        finish(rules, state, found, path=setup.path, group=setup.group)
        for setup, state, found in zip(setups, states, readings, strict=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was found out about a finished game.

    Attributes:
        verdicts: A verdict on each of :meth:`Game.dialogues`, none of a forfeited or failed game.
        content: How far each of :meth:`Game.rewrites` asks for what the seed asks for.
    """

    verdicts: tuple[Verdict, ...] = ()
    content: tuple[float | None, ...] = ()


def finish(
    rules: Game,
    state: GameState,
    reading: Reading,
    *,
    path: Address = (),
    group: int = 0,
) -> Episode:
    """Pay the seats and close a game.

    Args:
        rules: The game.
        state: A finished game.
        reading: What :func:`judge_all` gave for it.
        path: As in :meth:`Game.finish`.
        group: The same.
    """
    last = reading.verdicts[-1] if reading.verdicts else None
    earlier, content = reading.verdicts[:-1], reading.content
    try:
        return rules.finish(state, last, earlier=earlier, content=content, path=path, group=group)
    except RedteamError as error:
        where = game_name(path, state.seed)
        raise RedteamError(f"{error} It was asked about {where}.") from (error.__cause__ or error)


def turn_request(rules: Game, state: GameState, path: Address) -> TurnRequest:
    """Return what the seat to move is asked.

    Args:
        rules: The game.
        state: A state in which somebody is to move.
        path: The path of the game; the turn's own path adds the seat and the turn's number.

    Returns:
        The request.

    Raises:
        RedteamError: If nobody is to move.
    """
    seat = state.to_move
    if seat is None:
        raise RedteamError("The game is over; nobody is to move.")
    role = role_of(seat)
    return TurnRequest(
        seat=seat,
        role=role,
        messages=rules.messages(state, seat),
        path=(*path, seat, "sample", len(state.turns)),
        game=path,
        prefill=rules.prefill(seat),
        seed=state.seed if role == "attacker" else None,
    )


def apply_reply(rules: Game, state: GameState, reply: Reply) -> GameState:
    """Let the seat to move act as an agent replied.

    Raises:
        RedteamError: As :meth:`Game.apply`.
    """
    return rules.apply(
        state,
        reply.text,
        generation=reply.generation,
        error=reply.error,
        truncated=reply.truncated,
        thought=reply.thought,
        neutralised=reply.neutralised,
    )


def ask(agent: Agent, requests: Sequence[TurnRequest]) -> Sequence[Reply]:
    """Return an agent's replies, one for each request.

    Args:
        agent: Who is asked.
        requests: At least one; they name one and the same seat.

    Raises:
        RedteamError: If it returns anything else than as many replies as there are requests.
    """
    return agents_border.act(agent, requests)


def judge_all(
    judge: Judge, rules: Game, states: Sequence[GameState], paths: Sequence[Address] = ()
) -> list[Reading]:
    """Ask a judge about everything that is to be read of finished games, in one call.

    Args:
        judge: The judge; one that is to be told the seeds is told.
        rules: The game, which says what is to be read.
        states: Finished games.
        paths: Their paths, for messages.

    Returns:
        What was found out about each game.

    Raises:
        RedteamError: If the judge, or who compares rewrites with their seeds, raises or returns anything
            else than an answer to each question.
    """
    due = [rules.dialogues(state) for state in states]
    said = [rules.rewrites(state) for state in states]

    def names(texts: Sequence[Sequence[object]]) -> Games:
        def name(place: int) -> str:
            k = [k for k, own in enumerate(texts) for _ in own][place]
            return game_name(paths[k] if paths else (), states[k].seed)

        return games_of(name, sum(map(len, texts)))

    def seeds(texts: Sequence[Sequence[object]]) -> list[Seed]:
        return [states[k].seed for k, own in enumerate(texts) for _ in own]

    verdicts = judges_border.verdicts(
        judge, [*itertools.chain.from_iterable(due)], names(due), seeds=seeds(due)
    )
    texts = [*itertools.chain.from_iterable(said)]
    scores = compare(rules, judge, seeds(said), texts, names(said))
    readings: list[Reading] = []
    judged = compared = 0
    for own, rewrites in zip(due, said, strict=True):
        readings.append(
            Reading(
                verdicts=tuple(verdicts[judged : judged + len(own)]),
                content=tuple(scores[compared : compared + len(rewrites)]),
            )
        )
        judged, compared = judged + len(own), compared + len(rewrites)
    return readings


class _Judging(ExitStack):
    """Has a list of games read while these are played."""

    def __init__(
        self, judge: Judge, rules: Game, states: Sequence[GameState], paths: Sequence[Address]
    ) -> None:
        super().__init__()
        self._judge = judge
        self._rules = rules
        self._states = states
        self._paths = paths
        self._asked: list[Sequence[int]] = []
        self._aside: Background[list[Reading]] | None = None
        if judges_border.is_concurrent(judge):
            self._aside = self.enter_context(Background("judge"))

    def played(self, chunk: Sequence[int]) -> None:
        """Hand the games that ended in a chunk to a judge that may be asked meanwhile."""
        if self._aside is None:
            return
        if over := [k for k in chunk if self._states[k].to_move is None]:
            self._asked.append(over)
            self._aside.submit(self._judged, over)
        self._aside.check()

    def readings(self) -> list[Reading]:
        """Return what was found out about each game, in order."""
        if self._aside is None:
            return self._judged(range(len(self._states)))
        result = [Reading()] * len(self._states)
        for over, readings in zip(self._asked, self._aside.results(), strict=True):
            for k, found in zip(over, readings, strict=True):
                result[k] = found
        return result

    def _judged(self, games: Sequence[int]) -> list[Reading]:
        states, paths = [self._states[k] for k in games], [self._paths[k] for k in games]
        return judge_all(self._judge, self._rules, states, paths)


def role_batches(episodes: Sequence[Episode], *, step: int = 0) -> dict[str, Batch]:
    """Gather what each role may learn from.

    Args:
        episodes: Played games; those that are void give nothing.
        step: The training step.

    Returns:
        For each role with samples, its batch, in the order of the episodes. Turns without a
        generation (scripted or frozen third-party agents) and empty completions are left out.
        Where the games pay by exchange (``Episode.exchanges``), each turn has the number of a game of
        its own, and the groups are those of one seed and one exchange: so turns are compared with
        turns at the same place, which is AT-GRPO's grouping by agent and turn (arXiv 2510.11062).
        Simplified: its tree sampling, which gives all of a group one prompt, is not done.
    """
    rows: dict[str, list[tuple[int, int]]] = {}
    for k, episode in enumerate(episodes):
        for place, turn in enumerate(episode.turns):
            if turn.generation is None or turn.seat not in episode.samples:
                continue
            if turn.generation.completion_ids:
                rows.setdefault(role_of(turn.seat), []).append((k, place))
    return {role: _batch(role, own, tuple(episodes), step) for role, own in rows.items()}


def _batch(
    role: str, rows: Sequence[tuple[int, int]], episodes: tuple[Episode, ...], step: int
) -> Batch:
    turns = [episodes[k].turns[place] for k, place in rows]
    units, groups = [k for k, _ in rows], [episodes[k].group for k, _ in rows]
    if most := max(len(episode.exchanges) for episode in episodes):
        at = [min(episodes[k].exchange_of(place), most - 1) for k, place in rows]
        units = [k * most + exchange for k, exchange in zip(units, at, strict=True)]
        groups = [k * most + exchange for k, exchange in zip(groups, at, strict=True)]
    numbers = {unit: number for number, unit in enumerate(dict.fromkeys(units))}
    return Batch.of(
        role,
        [turn.generation for turn in turns if turn.generation is not None],
        [episodes[k].credit(place) for k, place in rows],
        games=[numbers[unit] for unit in units],
        groups=groups,
        turns=turns,
        episodes=episodes,
        episode_index=[k for k, _ in rows],
        turn_index=[place for _, place in rows],
        step=step,
    )
