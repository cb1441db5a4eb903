"""``redteam-env evaluate`` and ``redteam-env crossplay``: rates on fixed held-out games.

With ``--suite`` it is benchmark suites that are played (:mod:`redteam_env.cli.suites`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Group, RenderableType

from redteam_env.cli.keeping import Keeping, keeping, plan_of
from redteam_env.cli.main import version
from redteam_env.cli.options import (
    OFTEN,
    GameOptions,
    Table,
    of_game,
    parse,
    say_models,
    set_table,
    shown_as,
)
from redteam_env.cli.results import exit_code
from redteam_env.cli.spent import Spent
from redteam_env.embedders import embedder_name, resolve_embedder
from redteam_env.evaluation import crossplay as play_all
from redteam_env.evaluation import evaluate as play_pair
from redteam_env.evaluation import heldout_setups, measure
from redteam_env.evaluation.agents import ATTEMPTS
from redteam_env.evaluation.attacked import attack_record
from redteam_env.evaluation.matchup import REWRITE_FRACTION, matchup
from redteam_env.evaluation.rewrites import variety
from redteam_env.game import Count, Episode, RedteamError, Share, at_least
from redteam_env.protocols import GameSetup
from redteam_env.report import (
    MOST_LOST,
    attack_lines,
    crossplay_report,
    queries_lines,
    rates_report,
    usage_lines,
    varieties_report,
    variety_report,
)
from redteam_env.seeds import cards_of
from redteam_env.utils.console import make_console, print_json

SCHEMA = 1
FRACTIONS = ("rewrite_fraction", "benign_fraction")


@dataclass(frozen=True, kw_only=True)
class MeasureOptions(GameOptions):
    """How much to play, and where results go.

    Attributes:
        games: Held-out games for each pairing: by default half harmful, half benign; of each, half
            rewritten and half raw.
        batch_size: Most games handed to an agent at once.
        embedder: What measures how far rewrites are from each other and from their seeds: minilm,
            hashing, or an installed one.
        out: Directory for report.json and the games as JSON lines; it must be new or empty.
        allow_void: Share of games that may be void or forfeited; with more, the exit code is 3.
    """

    games: Count = 40
    rewrite_fraction: Annotated[Share, of_game("rewrite_fraction")] = REWRITE_FRACTION
    benign_fraction: Annotated[
        Share | None, of_game("benign_fraction"), shown_as("FLOAT", "0.5, if there are both")
    ] = None
    batch_size: Count = 32
    embedder: Annotated[str | None, shown_as("NAME", "none")] = None
    out: Annotated[Path | None, shown_as("DIR")] = None
    allow_void: Annotated[Share, shown_as("SHARE")] = MOST_LOST


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(MeasureOptions):
    """Who is measured.

    Attributes:
        agent: Plays both seats: a run, adapter or model directory, a hub id, base, a scripted
            agent, endpoint:MODEL@URL or endpoint:FILE.toml.
        attacker: Plays the attacker, instead of AGENT; with --attack it writes the messages.
        defender: Plays the defender, instead of AGENT.
        attack: A standing attack on the defender: best_of_n, crescendo, goat, pair, pyrit, run, tap,
            template, or an installed one; METHOD:AGENT names who writes for it, METHOD?key=value sets its options. The
            figures are those of the best attempt.
        suite: Ask the requests of suites instead of playing games: names of cards, groups or registered
            suites, or paths of your own cards (.toml), with a comma between them; NAME=FILE reads a card's
            requests from a local file of the same shape.
        limit: Most requests of each suite, drawn at random; of a registered one, so many are made, by
            default --games.
        attempts: How often each request is asked; with --attack the most attempts at each, which end with a
            success. Without --attack more than once needs a temperature above 0.
    """

    agent: Annotated[str | None, tyro.conf.Positional, shown_as("[AGENT]")] = None
    attacker: Annotated[str | None, shown_as("AGENT")] = None
    defender: Annotated[str | None, shown_as("AGENT")] = None
    attack: Annotated[str | None, shown_as("METHOD")] = None
    suite: Annotated[str | None, shown_as("NAME,...")] = None
    limit: Annotated[Count | None, shown_as("INT", "all")] = None
    attempts: Annotated[Count | None, shown_as("INT", f"1; with --attack, {ATTEMPTS}")] = None
    temperature: Annotated[
        float | None, at_least(0), shown_as("FLOAT", "0; with --suite, the suite's")
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.suite is None and (self.limit is not None or (self.tries > 1 and not self.attack)):
            raise RedteamError(
                "--limit and --attempts are about the requests of a suite; name one with --suite, or "
                "leave them out. (--attempts is about those of an --attack, too.)"
            )
        if self.suite is not None and self.embedder is not None and self.attack is None:
            raise RedteamError(
                "--embedder measures rewrites, and of a suite only what an attack makes of its requests; "
                "name one with --attack, or leave --embedder out."
            )

    @property
    def tries(self) -> int:
        """Most attempts at each request."""
        return self.attempts or (ATTEMPTS if self.attack is not None else 1)

    def defended(self) -> str:
        """Return the specification of the defender.

        Raises:
            RedteamError: If it is missing.
        """
        defender = self.defender or self.agent
        if defender is None:
            raise RedteamError("No defender is named; give --defender, or an agent.")
        return defender

    def seats(self) -> tuple[str, str]:
        """Return the specifications of attacker and defender.

        Raises:
            RedteamError: If one is missing.
        """
        attacker, defender = self.attacker or self.agent, self.defender or self.agent
        if attacker is None or defender is None:
            missing = "attacker" if attacker is None else "defender"
            raise RedteamError(
                f"No {missing} is named; give --{missing}, or one agent for both seats."
            )
        return attacker, defender


@dataclass(frozen=True, kw_only=True)
class CrossplayOptions(MeasureOptions):
    """Who plays whom.

    Attributes:
        agents: Each plays both seats: run, adapter or model directories, hub ids, base, scripted
            agents, endpoint:MODEL@URL or endpoint:FILE.toml.
        attackers: The attackers, instead of AGENTS.
        defenders: The defenders, instead of AGENTS; the others are compared with the first.
    """

    agents: Annotated[tuple[str, ...], tyro.conf.Positional, shown_as("[AGENT ...]")] = ()
    attackers: Annotated[tuple[str, ...], shown_as("AGENT ...")] = ()
    defenders: Annotated[tuple[str, ...], shown_as("AGENT ...")] = ()

    def sides(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the specifications of all attackers and all defenders.

        Raises:
            RedteamError: If a side is empty or names an agent twice.
        """
        sides = self.attackers or self.agents, self.defenders or self.agents
        for name, side in zip(("attackers", "defenders"), sides, strict=True):
            if not side:
                raise RedteamError(f"No {name} are named; give --{name}, or agents for both seats.")
            twice = sorted({spec for spec in side if side.count(spec) > 1})
            if twice:
                raise RedteamError(f"Among the {name}, {twice} are named twice; name each once.")
        return sides


def evaluate(argv: Sequence[str]) -> int:
    """Measure one attacker against one defender on held-out games, or a defender on suites.

    Args:
        argv: The command's arguments.

    Returns:
        0; 1 if every game was void, so that nothing was measured; 3 if more games were void or
        forfeited than ``--allow-void`` allows.

    Raises:
        RedteamError: If an argument is wrong.
    """
    text = "Measure one attacker against one defender on held-out games, or a defender on suites."
    often = ("agent", "attacker", "defender", "attack", "suite", "attempts", *OFTEN, "games", "out")
    choices = {"attacker": "agents", "attack": "attacks"}
    options = parse(EvaluateOptions, argv, "evaluate", text, often=often, choices=choices)
    if options.suite is not None:
        from redteam_env.cli.suites import evaluate_suites

        return evaluate_suites(options)
    with keeping(options.out) as kept:
        play = _evaluate if options.attack is None else _evaluate_attack
        return play(options, kept)


def _evaluate(options: EvaluateOptions, kept: Keeping) -> int:
    """Play one attacker against one defender."""
    names = options.seats()
    table = set_table(options, names)
    embedder = None if options.embedder is None else resolve_embedder(options.embedder)
    setups = _setups(options, table)
    players = {"attackers": names[:1], "defenders": names[1:]}
    spent = kept.begin(_plan("evaluate", table, players, setups), table)
    seats = list(zip(names, ("attacker", "defender"), strict=True))
    attacker, defender = table.pool.agents(seats)
    with kept.playing() as progress:
        say_models(table, progress)
        result = play_pair(
            attacker,
            defender,
            setups,
            table.judge,
            game=table.game,
            names=names,
            batch_size=options.batch_size,
            progress=progress,
            kept=kept.games,
        )
    report = _report("evaluate", options, spent, result.to_json(), kept)
    varied = variety(result.episodes, embedder, name=embedder_name(options.embedder or ""))
    report["result"]["rewrites"] = varied and varied.to_json()
    tables = [rates_report(result), *([variety_report(varied)] if varied else [])]
    _deliver(options, report, Group(*tables), {"episodes.jsonl": result.episodes}, kept)
    return exit_code(result.rates, options.allow_void)


def _evaluate_attack(options: EvaluateOptions, kept: Keeping) -> int:
    """Let a standing attack play the attacker's seat in held-out games."""
    from redteam_env.cli.attacks import AttackedParts, attack_of, attacker_of, under_attack

    attack, writer, defender = str(options.attack), attacker_of(options), options.defended()
    table = set_table(options, [defender, *filter(None, [writer])])
    embedder = None if options.embedder is None else resolve_embedder(options.embedder)
    setups = _setups(options, table)
    players = {"attackers": list(filter(None, [writer])), "defenders": [defender]}
    more = {"attack": attack, "attempts": options.tries}
    spent = kept.begin(_plan("evaluate", table, players, setups, **more), table)
    made = attack_of(options, table)
    agent = table.pool.agent(defender, "defender")
    with kept.playing() as progress:
        say_models(table, progress)
        attacking = under_attack(options, table, made, agent, table.game, progress=progress)
        parts = AttackedParts(kept.games, "attempts")
        found = attacking.games(setups, kept=kept.games, search=partial(parts.attack, attacking))
    # not corrected for the judge's errors: it errs more often in the best of several attempts than in one
    result = matchup(found.episodes, table.judge, (attack, defender), calibration=None)
    record = attack_record(attack, options.tries, attacking.queries, found.tried, table.judge)
    record |= {"attacker": writer}
    varied = variety(result.episodes, embedder, name=embedder_name(options.embedder or ""))
    report = _report("evaluate", options, spent, {**result.to_json(), "attacked": record}, kept)
    report["result"]["rewrites"] = varied and varied.to_json()
    files = {
        "episodes.jsonl": result.episodes,
        "attempts.jsonl": [episode for own in found.tried for episode in own],
    }
    tables = [rates_report(result), *([variety_report(varied)] if varied else [])]
    _deliver(options, report, Group(*tables, attack_lines(record)), files, kept)
    return exit_code(result.rates, options.allow_void)


def crossplay(argv: Sequence[str]) -> int:
    """Measure every attacker against every defender on the same held-out games.

    Args:
        argv: The command's arguments.

    Returns:
        0; 1 if every game was void, so that nothing was measured; 3 if more games were void or
        forfeited than ``--allow-void`` allows.

    Raises:
        RedteamError: If an argument is wrong.
    """
    text = "Measure every attacker against every defender on the same held-out games."
    often = ("agents", "attackers", "defenders", *OFTEN, "games", "out")
    choices = {"attackers": "agents"}
    options = parse(CrossplayOptions, argv, "crossplay", text, often=often, choices=choices)
    with keeping(options.out) as kept:
        return _crossplay(options, kept)


def _crossplay(options: CrossplayOptions, kept: Keeping) -> int:
    """Play every attacker against every defender."""
    attackers, defenders = options.sides()
    every = list(dict.fromkeys((*options.agents, *attackers, *defenders)))
    table = set_table(options, every, "--{role}s")
    seats = [*((x, "attacker") for x in attackers), *((x, "defender") for x in defenders)]
    embedder = None if options.embedder is None else resolve_embedder(options.embedder)
    setups = _setups(options, table)
    players = {"attackers": attackers, "defenders": defenders}
    spent = kept.begin(_plan("crossplay", table, players, setups), table)
    agents = table.pool.agents(seats)
    with kept.playing() as progress:
        say_models(table, progress)
        result = play_all(
            dict(zip(attackers, agents[: len(attackers)], strict=True)),
            dict(zip(defenders, agents[len(attackers) :], strict=True)),
            setups,
            table.judge,
            game=table.game,
            seed=options.seed,
            batch_size=options.batch_size,
            progress=progress,
            kept=kept.games,
        )
    report = _report("crossplay", options, spent, result.to_json(), kept)
    varied = result.varieties(embedder, name=embedder_name(options.embedder or ""))
    report["result"]["rewrites"] = [{"attacker": x, **own.to_json()} for x, own in varied.items()]
    files = {
        f"episodes/attacker-{attackers.index(a)}-defender-{defenders.index(d)}.jsonl": cell.episodes
        for (a, d), cell in result.cells.items()
    }
    tables = [crossplay_report(result), *([varieties_report(varied)] if varied else [])]
    _deliver(options, report, Group(*tables), files, kept)
    return exit_code(measure(result.played), options.allow_void)


def _setups(options: MeasureOptions, table: Table) -> list[GameSetup]:
    """Return the games that are played."""
    return heldout_setups(
        table.source,
        options.games,
        options.seed,
        benign_fraction=options.benign_fraction,
        rewrite_fraction=options.rewrite_fraction,
    )


def _plan(
    command: str,
    table: Table,
    players: Mapping[str, Sequence[str]],
    setups: Sequence[GameSetup],
    **more: Any,
) -> dict[str, Any]:
    """Return what the games depend on."""
    own = {"prompts": table.game.prompts.digest, "judge": table.judge.name}
    searched = {"attack": None, "attempts": 1, **more}
    return plan_of(command, table.settings, players, setups, **own, **searched)


def _report(
    command: str,
    options: MeasureOptions,
    spent: Spent,
    result: Mapping[str, Any],
    kept: Keeping,
) -> dict[str, Any]:
    """Return a report with everything needed to repeat it, and no text of any player."""
    table, usage, queries = spent.table, spent.usage(), spent.queries()
    return {
        "schema": SCHEMA,
        "command": command,
        "version": version(),
        "settings": {
            **table.settings,
            **{x: getattr(options, x) for x in ("games", *FRACTIONS, "batch_size")},
        },
        "seeds": [asdict(card) for card in cards_of(table.source)],
        "judge": spent.judge(),
        "result": result,
        **({"usage": usage} if usage else {}),
        **({"attack_queries": queries} if queries else {}),
        **({"from_earlier_calls": kept.games.found} if kept.games.found else {}),
    }


def _deliver(
    options: MeasureOptions,
    report: Mapping[str, Any],
    tables: RenderableType,
    files: Mapping[str, Sequence[Episode]],
    kept: Keeping,
) -> None:
    """Write the result to its directory and print it, also if it cannot be written."""
    try:
        kept.write(report, files)
    finally:
        if options.json:
            print_json(report)
        else:
            console = make_console()
            console.print(tables)
            if "usage" in report:
                console.print(usage_lines(report["usage"]), soft_wrap=True)
            if "attack_queries" in report:
                console.print(queries_lines(report["attack_queries"]), soft_wrap=True)
