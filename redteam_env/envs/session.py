"""One game at a time, as every face shows it: what is drawn, seen, paid and printed.

The AEC, the parallel and the single-seat face differ only in who calls what when. All they show
comes from here, and all rules from :class:`redteam_env.game.Game`.
"""

import copy
import dataclasses
import json
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring_ascii
from typing import Any

import numpy as np
from gymnasium.spaces import Dict
from gymnasium.utils import seeding

from redteam_env.border import seeds as seeds_border
from redteam_env.border.agents import reply as read_reply
from redteam_env.border.records import demand
from redteam_env.border.records import seed as read_seed
from redteam_env.envs.config import EnvConfig
from redteam_env.envs.spaces import UnicodeText
from redteam_env.faithfulness import measure_of
from redteam_env.game import Episode, GameState, RedteamError, Seed, Turn, Verdict, role_of
from redteam_env.game.values import Unfit, flag, optional, shown, whole
from redteam_env.judges.resolve import resolve_judge
from redteam_env.protocols import Reply
from redteam_env.rollout import apply_reply, finish, judge_all
from redteam_env.seeds.resolve import resolve_seeds
from redteam_env.worlds import build_game, check_fit
from redteam_env.worlds.apothecary import ApothecaryJudge, World

Observation = dict[str, str]
Info = dict[str, Any]

_VERDICT = tuple(field.name for field in dataclasses.fields(Verdict))
_quoted = encode_basestring_ascii  # json.dumps of a str, without what an object needs
JSON_CHAR = 12  # a character beyond U+FFFF is two escapes of six characters in ASCII JSON


class Session:
    """The game behind an environment.

    Attributes:
        config: The settings.
        game: The rules with these settings.
        seeds: The seed source.
        judge: The judge; asked exactly once about every game that was neither forfeited nor
            ended by a seat's error.
        state: The running or finished game, or ``None`` before the first.
        episode: The finished game with its rewards, or ``None`` while it runs.
        printed: How many parts of the game were printed (render mode ``human``).
    """

    def __init__(self, config: EnvConfig) -> None:
        self.config = config
        mix = config.mix_worlds
        check_fit(config.seeds, config.judge, mix=mix)
        self.game = build_game(config)
        self.seeds = resolve_seeds(config.seeds, split=config.split)
        check_fit(config.seeds, config.judge, source=self.seeds, mix=mix)
        self.judge = resolve_judge(config.judge, url=config.judge_url)
        measure_of(self.game, self.judge)
        self.state: GameState | None = None
        self.episode: Episode | None = None
        self.printed = 0

    @property
    def running(self) -> GameState:
        """The game as it stands.

        Raises:
            RedteamError: If none was started.
        """
        if self.state is None:
            raise RedteamError("No game was started; call reset() first.")
        return self.state

    @property
    def world(self) -> World | None:
        """The controlled world, if its judge reads the games and their seeds are its requests."""
        if not isinstance(self.judge, ApothecaryJudge):
            return None
        seeds = seeds_border.all_seeds(self.seeds, self.config.split)
        ours = bool(seeds) and all(self.judge.decode(x.text) for x in seeds)
        return self.judge.language.world if ours else None

    def start(self, rng: np.random.Generator, options: Mapping[str, Any] | None = None) -> None:
        """Draw a seed, decide whether the attacker plays, and start.

        Args:
            rng: The environment's generator: the only randomness.
            options: ``seed`` (a :class:`~redteam_env.game.Seed`) and ``rewritten`` (a bool) fix
                what would be drawn; other keys are for wrappers and ignored.

        Raises:
            RedteamError: If an option is of the wrong type, or the source has no fitting seed.
        """
        fixed = options or {}
        if "seed" not in fixed:
            seed = self._draw(rng)
        elif not isinstance(fixed["seed"], Seed):
            raise RedteamError(
                f'options["seed"] is {shown(fixed["seed"])}; give a redteam_env.Seed.'
            )
        else:
            seed = demand(fixed["seed"], read_seed, 'options["seed"]')
        rewritten = bool(rng.random() < self.config.rewrite_fraction)
        if "rewritten" in fixed:
            rewritten = demand(fixed["rewritten"], flag, 'options["rewritten"]')
        self.state = self.game.start(seed, rewritten=rewritten)
        self.episode = None
        self.printed = 0

    def _draw(self, rng: np.random.Generator) -> Seed:
        harmful = bool(rng.random() >= self.config.benign_fraction)
        split = self.config.split
        return seeds_border.draw(self.seeds, 1, rng, harmful=harmful, split=split)[0]

    def another(self) -> "Session":
        """Return a session with the same rules, seeds and judge, in which no game was started."""
        session = copy.copy(self)
        session.state = session.episode = None
        session.printed = 0
        return session

    def act(self, action: str | Reply) -> None:
        """Let the seat to move act; after the last turn, ask the judge and pay.

        Args:
            action: Any text, or an agent's reply; one with an error ends the game, which is void.

        Raises:
            RedteamError: If the game is over or was not started, or the action is no text. The
                game then stands as it stood.
        """
        state = _acted(self, action)
        episode = None
        if state.to_move is None:
            (reading,) = judge_all(self.judge, self.game, [state])
            episode = finish(self.game, state, reading)
        self.state, self.episode = state, episode

    def observation_space(self, seat: str) -> Dict:
        """Return the space of a seat's observations; its bounds hold in every game."""
        prompts, think = self.game.prompts, self.game.must_think(seat)
        longest = "x" * self.game.max_seed_chars
        instruction = max(
            len(prompts.instruction(role_of(seat), seed, harmful=label, must_think=think))
            for label in (False, True)
            for seed in (None, longest)
        )
        empty = Turn(seat=max(self.game.seats, key=len), text="", visible="")
        dialogue = len(_lines([(empty.seat, "")] * self._most_lines)) + self._most_json
        return Dict({"instruction": UnicodeText(instruction), "dialogue": UnicodeText(dialogue)})

    def action_space(self) -> UnicodeText:
        """Return a new space of actions: no two seats may share one's randomness."""
        return UnicodeText(self.game.max_action_chars)

    def state_space(self) -> UnicodeText:
        """Return a new space of :meth:`transcript` texts."""
        seat = max(self.game.seats, key=len)
        empty = Turn(
            seat=seat, text="", visible="", well_formed=False, forfeit=False, truncated=False
        )
        longest = GameState(
            seed=Seed(id="", text="", harmful=False),
            rewritten=False,
            turns=(empty,) * self._most_lines,
            to_move=seat,
        )
        seed = JSON_CHAR * self.game.max_seed_chars
        return UnicodeText(len(_transcript(longest)) + seed + self._most_json)

    @property
    def _most_lines(self) -> int:
        return max(self.game.exchanges * len(self.game.seats), 2)

    @property
    def _most_json(self) -> int:
        """Most characters of JSON that the texts of a whole dialogue can take."""
        longest = max(self.game.max_seed_chars, self.game.max_action_chars)
        return JSON_CHAR * longest * self._most_lines

    def observe(self, seat: str) -> Observation:
        """Return what a seat sees: its instruction and the public dialogue."""
        lines = [(line.seat, line.text) for line in self.running.dialogue.lines]
        return {
            "instruction": self.game.instruction(self.running, seat),
            "dialogue": _lines(lines),
        }

    def info(self, seat: str) -> Info:
        """Return what else a seat may know: whose turn it is and, at the end, the outcome."""
        state, episode = self.running, self.episode
        mine = state.to_move == seat
        info: Info = {
            "to_move": state.to_move,
            "messages": self.game.messages(state, seat) if mine else [],
        }
        if episode is not None:
            verdict = episode.verdict
            info["verdict"] = {} if verdict is None else _fields(verdict)
            info["components"] = dict(episode.components[seat])
            info["void"] = episode.void
        return info

    def reward(self, seat: str) -> float:
        """Return what the last action earned a seat: nothing before the end."""
        return 0.0 if self.episode is None else float(self.episode.rewards[seat])

    def transcript(self) -> str:
        """Return the whole game, thoughts, seed and label included, as JSON.

        It is for a centralised critic; no seat may see it.
        """
        return _transcript(self.running)


def act_together(sessions: Sequence[Session], actions: Sequence[str | Reply]) -> None:
    """Let the seat to move act in each of several games; a judge is asked once about all that end.

    Args:
        sessions: Games; those of :meth:`Session.another` have one judge.
        actions: As in :meth:`Session.act`, one for each.

    Raises:
        RedteamError: As there; all games then stand as they stood.
    """
    states = [_acted(x, action) for x, action in zip(sessions, actions, strict=True)]
    ended: dict[tuple[int, int], list[int]] = {}
    for k, (session, state) in enumerate(zip(sessions, states, strict=True)):
        if state.to_move is None:
            ended.setdefault((id(session.judge), id(session.game)), []).append(k)
    episodes: dict[int, Episode] = {}
    for group in ended.values():
        judge, rules = sessions[group[0]].judge, sessions[group[0]].game
        readings = judge_all(judge, rules, [states[k] for k in group])
        for k, reading in zip(group, readings, strict=True):
            episodes[k] = finish(rules, states[k], reading)
    for k, (session, state) in enumerate(zip(sessions, states, strict=True)):
        session.state, session.episode = state, episodes.get(k)


def _acted(session: Session, action: Any) -> GameState:
    if isinstance(action, Reply):
        return apply_reply(session.game, session.running, demand(action, read_reply, "The action"))
    return session.game.apply(session.running, action)


def reseed(rng: np.random.Generator | None, seed: int | None) -> np.random.Generator:
    """Return the generator that an environment goes on with after ``reset(seed)``.

    Args:
        rng: The one it has, or ``None`` before the first reset.
        seed: As :func:`whole_seed` takes it; ``None`` goes on with the old generator, or starts an
            unpredictable one.

    Raises:
        RedteamError: If the seed is no such number.
    """
    if rng is not None and seed is None:
        return rng
    return seeding.np_random(whole_seed(seed))[0]


def whole_seed(seed: Any) -> int | None:
    """Return the seed of an environment as Python's own number, or ``None``.

    Args:
        seed: A whole number of at least 0, perhaps one of numpy's; or ``None``.

    Raises:
        RedteamError: If it is neither.
    """
    try:
        own: int | None = optional(whole)(seed)
    except Unfit:
        own = -1
    if own is not None and own < 0:
        raise RedteamError(f"seed is {shown(seed)}; give a whole number of at least 0.")
    return own


def _fields(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as ``dataclasses.asdict`` does, in a tenth of its time."""
    found = {name: getattr(verdict, name) for name in _VERDICT}
    return {**found, "probabilities": dict(verdict.probabilities)}


def _lines(lines: list[tuple[str, str]]) -> str:
    """Write a dialogue as one JSON object a line: no text can pretend to be another turn."""
    return "\n".join(
        f'{{"seat": {_quoted(seat)}, "text": {_quoted(text)}}}' for seat, text in lines
    )


def _transcript(state: GameState) -> str:
    turns = [
        {
            "seat": turn.seat,
            "thought": turn.thought,
            "visible": turn.visible,
            "well_formed": turn.well_formed,
            "forfeit": turn.forfeit,
            "truncated": turn.truncated,
        }
        for turn in state.turns
    ]
    return json.dumps(
        {
            "seed": state.seed.text,
            "harmful": state.seed.harmful,
            "rewritten": state.rewritten,
            "to_move": state.to_move,
            "turns": turns,
        }
    )
