"""``redteam-env play``: watch games, or take a seat."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from rich.console import Console

from redteam_env.cli.options import OFTEN, GameOptions, Table, of_game, parse, set_table, shown_as
from redteam_env.envs.render import story
from redteam_env.game import (
    ATTACKER,
    DEFENDER,
    JUDGE,
    Count,
    Episode,
    GameConfig,
    GameState,
    RedteamError,
    Share,
    role_of,
)
from redteam_env.protocols import Agent
from redteam_env.protocols.agents import PersonLeftError, TakenBackError
from redteam_env.protocols.rollouts import GameSetup
from redteam_env.report import judge_line, usage_lines
from redteam_env.rollout import play as play_games
from redteam_env.rollout import schedule
from redteam_env.utils.console import make_console, write_answer
from redteam_env.utils.text import safe_text

HUMAN = "human"


@dataclass(frozen=True, kw_only=True)
class PlayOptions(GameOptions):
    """Who plays, and how many games.

    Attributes:
        attacker: Who attacks: human, an agent of the list, base, a run, a directory or a hub id; an adapter's
            or a model's directory will do, and endpoint:MODEL@URL or endpoint:FILE.toml.
        defender: Who defends: human, an agent of the list, base, a run, a directory or a hub id.
        judge_player: Who plays the judge's seat, beside the judge: human, judge:NAME, or as the others; by
            default there is no such seat.
        games: Number of games.
    """

    attacker: str = "template"
    defender: str = "refuse"
    judge_player: Annotated[str | None, shown_as("AGENT")] = None
    games: Count = 3
    rewrite_fraction: Annotated[Share, of_game("rewrite_fraction")] = 1.0
    benign_fraction: Annotated[Share, of_game("benign_fraction")] = GameConfig().benign_fraction

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.json and HUMAN in {self.attacker, self.defender, self.judge_player}:
            raise RedteamError("--json leaves no room for a person's questions; leave it out.")


def play(argv: Sequence[str]) -> int:
    """Watch games between agents, or take a seat yourself (--attacker human).

    Args:
        argv: The command's arguments.

    Returns:
        0 when all games were played.

    Raises:
        RedteamError: If an argument is wrong.
    """
    often = ("attacker", "defender", "games", *OFTEN, "exchanges", "max_new_tokens")
    options = parse(
        PlayOptions,
        argv,
        "play",
        "Watch games between agents, or take a seat.",
        often=often,
        choices={"attacker": "agents"},
    )
    specs = {ATTACKER: options.attacker, DEFENDER: options.defender}
    if options.judge_player is not None:
        specs[JUDGE] = options.judge_player
    table = set_table(options, list(specs.values()), judge_seat=JUDGE in specs)
    made = table.pool.agents([(spec, role_of(seat)) for seat, spec in specs.items()])
    agents = dict(zip(specs, made, strict=True))
    setups = schedule(
        table.source,
        options.games,
        path=(options.seed, "play"),
        benign_fraction=options.benign_fraction,
        rewrite_fraction=options.rewrite_fraction,
    )
    console = make_console()
    for number, setup in enumerate(setups, start=1):
        if not options.json:
            console.print(f"--- game {number} of {len(setups)} ---", style="bold")
        try:
            episode = _played(setup, agents, table, console)
        except PersonLeftError:
            console.print("This game is left out.")
            break
        if options.json:
            write_answer(f"{episode.to_json()}\n")
        else:
            _show(console, episode)
    usage = table.pool.usage()
    if options.json:
        if usage:  # stdout holds games only
            sys.stderr.write(f"{json.dumps({'usage': usage})}\n")
        return 0
    console.print(judge_line(table.judge.name, table.judge.smoke_only))
    if usage:
        console.print(usage_lines(usage), soft_wrap=True)
    return 0


def _played(
    setup: GameSetup, agents: Mapping[str, Agent], table: Table, console: Console
) -> Episode:
    """Play a game; again from its start whenever a person takes a message back."""
    while True:
        try:
            (episode,) = play_games([setup], agents, table.judge, game=table.game)
        except TakenBackError:
            console.print("Taken back.")
        else:
            return episode


def _show(console: Console, episode: Episode) -> None:
    """Print a finished game; a viewer sees thoughts too, and every text is made safe."""
    state = GameState(
        seed=episode.seed, rewritten=episode.rewritten, turns=episode.turns, to_move=None
    )
    for part in story(state, episode):
        console.print(safe_text(part.text, part.style), soft_wrap=True)
    console.print()
