"""Python's short ways: a seat, a measurement and a cross-play, named as on the command line.

Agents are what ``redteam-env play``, ``evaluate`` and ``crossplay`` take (names, ``base``, runs, adapters,
``endpoint:...``), or objects with ``act``, or functions from chat messages to a text; seeds and judges are
names or values. A run's own settings are the defaults, as they are there.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

from redteam_env.attacks.resolve import is_attack
from redteam_env.border.functions import Answer
from redteam_env.envs.config import EnvConfig, SeatConfig, takes
from redteam_env.envs.single_seat import SingleSeat
from redteam_env.evaluation import AgentPool, CrossPlay, Matchup, heldout_setups, run_defaults
from redteam_env.evaluation import crossplay as _crossplay
from redteam_env.evaluation import evaluate as _evaluate
from redteam_env.evaluation.agents import policy_defaults
from redteam_env.evaluation.inherited import settings_for
from redteam_env.evaluation.matchup import REWRITE_FRACTION
from redteam_env.faithfulness import measure_of
from redteam_env.game import DEFENDER, Game, RedteamError
from redteam_env.judges.judge import check_ready
from redteam_env.judges.resolve import resolve_judge
from redteam_env.protocols import BASE, Agent, GameSetup, Judge, Progress
from redteam_env.registry import resolve_agent
from redteam_env.seeds import resolve_seeds
from redteam_env.worlds import build_game, check_fit

Player = str | Agent | Answer
"""Who can be named to play a seat."""
Side = Player | Sequence[Player] | Mapping[str, Player]
"""Who can be named to play a seat in turn."""


def _of_opponent(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the run that an opponent names; of others nothing."""
    if not isinstance(opponent := given.get("opponent"), str):
        return {}
    found = settings_for([opponent], given, (*_OF_GAME, "model"))
    return {x: y for x, y in found.items() if y is not None}


@takes(SeatConfig, inherited=_of_opponent)
def single_seat(config: SeatConfig) -> SingleSeat:
    """Return one seat of the game as a Gymnasium environment."""
    if not isinstance(config.opponent, str):
        return SingleSeat(config)
    model, mix = _base(config.model, [config.opponent]), config.mix_worlds
    check_fit(config.seeds, config.judge, model=model, agents=[config.opponent], mix=mix)
    judge: Judge | None = None
    if is_attack(config.opponent):
        judge = resolve_judge(config.judge, url=config.judge_url)
    longest = run_defaults([config.opponent]).get("max_new_tokens")
    pool = AgentPool(model, longest, game=build_game(config), judge=judge)
    role = "attacker" if config.seat == DEFENDER else "defender"
    agent = pool.agent(config.opponent, role)
    return SingleSeat(dataclasses.replace(config, opponent=agent))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Games:
    """What is played, and by whom."""

    setups: list[GameSetup]
    judge: Judge
    game: Game
    agents: list[Agent]


def evaluate(
    attacker: Player,
    defender: Player,
    *,
    games: int = 40,
    seed: int = 0,
    batch_size: int | None = 32,
    progress: Progress | None = None,
    **settings: Any,
) -> Matchup:
    """Measure an attacker against a defender on held-out games, as ``redteam-env evaluate`` does.

    Args:
        attacker: An agent, by name or as an object, or a function from chat messages to a text.
        defender: The same.
        games: How many: half harmful, half benign; of each, half rewritten and half raw.
        seed: Chooses the games and all sampling in them.
        batch_size: Most games handed to an agent in one call; ``None`` for all.
        progress: Called as ``progress(phase, done, total)``.
        **settings: Those of :func:`redteam_env.env` (``seeds``, ``judge``, ``world``, ...; texts and seeds
            in a list are held-out ones), and ``model``, ``max_new_tokens``, ``temperature`` and
            ``allow_other_base`` for models; by default the first run's. ``mix_worlds=True`` plays parts that
            do not fit each other.

    Returns:
        Rates with intervals, and the games.

    Raises:
        RedteamError: If an agent or a setting is wrong.
    """
    players = {"attacker": [attacker], "defender": [defender]}
    table = _games(players, games, seed, settings)
    return _evaluate(
        table.agents[0],
        table.agents[1],
        table.setups,
        table.judge,
        game=table.game,
        names=(_name(attacker), _name(defender)),
        batch_size=batch_size,
        progress=progress,
    )


def crossplay(
    attackers: Side,
    defenders: Side,
    *,
    games: int = 40,
    seed: int = 0,
    batch_size: int | None = 32,
    progress: Progress | None = None,
    **settings: Any,
) -> CrossPlay:
    """Measure every attacker against every defender, as ``redteam-env crossplay`` does.

    Args:
        attackers: Agents, in a list or by the names that they are to have in the table; or one.
        defenders: The same; others are compared with the first.
        games: As for :func:`evaluate`.
        seed: The same.
        batch_size: The same.
        progress: The same.
        **settings: The same.

    Returns:
        All matchups and their differences against the first defender.

    Raises:
        RedteamError: If an agent or a setting is wrong, or two on a side have one name.
    """
    sides = {"attacker": _by_name(attackers), "defender": _by_name(defenders)}
    players = {role: list(side.values()) for role, side in sides.items()}
    table = _games(players, games, seed, settings)
    first = len(sides["attacker"])
    return _crossplay(
        dict(zip(sides["attacker"], table.agents[:first], strict=True)),
        dict(zip(sides["defender"], table.agents[first:], strict=True)),
        table.setups,
        table.judge,
        game=table.game,
        seed=seed,
        batch_size=batch_size,
        progress=progress,
    )


_OF_MODELS = ("model", "max_new_tokens", "temperature", "allow_other_base")
_OF_GAME = tuple(
    x.name
    for x in dataclasses.fields(EnvConfig)
    if x.name not in {"judge_seat", "rewrite_fraction", "benign_fraction", "split", "render_mode"}
)


def _games(
    players: Mapping[str, Sequence[Player]], games: int, seed: int, settings: Mapping[str, Any]
) -> _Games:
    """Resolve agents and settings; the agents come in the order of the players."""
    own = {x: y for x, y in settings.items() if x not in _OF_MODELS}
    of_models = {x: settings[x] for x in _OF_MODELS if x in settings}
    specs = [x for side in players.values() for x in side if isinstance(x, str)]
    names = (*_OF_GAME, "model", "max_new_tokens")
    found = settings_for(specs, settings, names)
    kept = {x: found[x] for x in _OF_GAME if found[x] is not None}
    config = _config(**{**kept, **own})
    every = [x for side in players.values() for x in side]
    fits = partial(
        check_fit,
        config.seeds,
        config.judge,
        model=found["model"],
        agents=every,
        mix=config.mix_worlds,
    )
    fits()
    source = resolve_seeds(config.seeds, split="heldout")
    fits(source=source)
    judge = resolve_judge(config.judge, url=config.judge_url)
    check_ready(judge)
    game = build_game(config)
    measure_of(game, judge)
    pool = AgentPool(
        _base(found["model"], specs),
        found["max_new_tokens"],
        **{x: y for x, y in of_models.items() if x not in {"model", "max_new_tokens"}},
        game=game,
        judge=judge,
    )
    setups = heldout_setups(
        source,
        games,
        seed,
        benign_fraction=own.get("benign_fraction"),
        rewrite_fraction=own.get("rewrite_fraction", REWRITE_FRACTION),
    )
    agents = [
        pool.agent(player, role) if isinstance(player, str) else resolve_agent(player, role)
        for role, side in players.items()
        for player in side
    ]
    return _Games(setups=setups, judge=judge, game=game, agents=agents)


@takes(EnvConfig)
def _config(config: EnvConfig) -> EnvConfig:
    return config


def _base(model: str | None, specs: Sequence[str]) -> str | None:
    """Return the model that ``base`` means; runs and adapters name their own."""
    return policy_defaults().model if model is None and BASE in specs else model


def _by_name(side: Side) -> dict[str, Player]:
    if isinstance(side, Mapping):
        return dict(side)
    alone = isinstance(side, str) or callable(side) or hasattr(side, "act")
    players = cast("Sequence[Player]", [side] if alone else side)
    names = [_name(player) for player in players]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise RedteamError(
            f"{twice} is the name of several agents; give them as a mapping from names of your own."
        )
    return dict(zip(names, players, strict=True))


def _name(player: Player) -> str:
    if isinstance(player, str):
        return player
    return getattr(player, "__name__", type(player).__name__)
