"""``redteam-env evaluate --suite``: a defender on the requests of benchmark suites.

With ``--out`` games are written part by part. The same command with the same directory goes on with those that
are missing.
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from redteam_env.cli.attacks import AttackedParts, attack_of, attacker_of, under_attack
from redteam_env.cli.evaluate import SCHEMA, EvaluateOptions
from redteam_env.cli.keeping import stoppable
from redteam_env.cli.main import version
from redteam_env.cli.options import Table, say_models, set_table
from redteam_env.cli.results import reserve, suites_exit_code
from redteam_env.cli.spent import Spent, spent_in
from redteam_env.embedders import embedder_name, resolve_embedder
from redteam_env.evaluation.attacked import attack_record
from redteam_env.evaluation.kept import KeptGames
from redteam_env.evaluation.rewrites import Variety, variety
from redteam_env.evaluation.stored import GAMES, REPORT, read_games
from redteam_env.evaluation.suite_play import (
    SuiteResult,
    direct,
    long_enough,
    play_suite,
    suite_result,
)
from redteam_env.evaluation.suite_scores import Tried
from redteam_env.evaluation.suites import RegisteredSuite, registered_suite
from redteam_env.faithfulness import check_compared
from redteam_env.game import Episode, RedteamError
from redteam_env.judges import for_contexts
from redteam_env.protocols import Attack
from redteam_env.report import attack_lines, suites_report, usage_lines, variety_report
from redteam_env.seeds.source import normalise
from redteam_env.suites import Entry, Suite, check_data, load_suite, resolve_entries
from redteam_env.utils.console import Shown, make_console, print_json
from redteam_env.utils.files import read_record, write_text
from redteam_env.utils.locks import held
from redteam_env.utils.text import escape_controls, safe_text
from redteam_env.worlds import check_fit

_REMEDY = "Remove the file, and the suite is played again."


def evaluate_suites(options: EvaluateOptions) -> int:
    """Play suites and print their table.

    Args:
        options: The command's options, which name a suite.

    Returns:
        0; 1 if no answer was judged, so that nothing was measured; 3 if more answers are missing in
        their suite's own metric than ``--allow-void`` allows.

    Raises:
        RedteamError: If an option is wrong, or data of a suite are missing.
    """
    defender = options.defended()
    if options.attack is not None:
        attacker_of(options)
    elif options.attacker is not None:
        raise RedteamError(
            "A suite's requests are asked as they stand; leave --attacker out, name an --attack, or leave "
            "--suite out to play games."
        )
    entries = resolve_entries(options.suite or "")
    _check_sampling(options, entries)
    suites = _loaded(entries)
    if options.out is None:
        return _evaluate(options, defender, entries, suites)
    with held(options.out):
        try:
            return _evaluate(options, defender, entries, suites)
        except KeyboardInterrupt:
            kept = f"What {escape_controls(str(options.out))} holds is kept"
            sys.stderr.write(f"{kept}; the same command goes on from there.\n")
            raise


def _evaluate(
    options: EvaluateOptions,
    defender: str,
    entries: Sequence[Entry],
    loaded: Mapping[str, Suite],
) -> int:
    writer = attacker_of(options) if options.attack is not None else None
    table = set_table(options, [defender, *filter(None, [writer])])
    suites = {x.name: loaded.get(x.name) or _registered(x.name, options, table) for x in entries}
    for name, suite in suites.items():
        check_fit(
            name,
            table.judge,
            source=suite.seeds,
            model=table.settings["model"],
            agents=[defender, *filter(None, [writer])],
            mix=table.mix_worlds,
            option="suite",
        )
    attack = attack_of(options, table) if options.attack is not None else None
    embedder = None if options.embedder is None else resolve_embedder(options.embedder)
    plan = _plan(options, defender, table, suites)
    reserve(options.out, plan)
    results = []
    spent = Spent(table)
    kept = KeptGames()
    if options.out is not None:
        kept.folder = options.out / GAMES
        spent = spent_in(options.out, table, begun=any(kept.folder.glob("*.jsonl")))
        kept.beside = spent.write
    with stoppable(keeps=options.out is not None) as (progress, kept.stopping):
        for name, suite in suites.items():
            if kept.stopping():
                raise KeyboardInterrupt
            result = _played(name, suite, options, defender, table, attack, progress, kept)
            kept.write(name, partial(_store, result))
            results.append(result)
    measured = embedder_name(options.embedder or "")
    varied = {
        x.name: variety(x.episodes, embedder, name=measured)
        for x in results
        if x.attacked is not None
    }
    report = _report(options, plan, spent, results, varied)
    try:
        if options.out is not None:
            for result in results:  # what the disk did not take before
                _store(result, options.out / GAMES / f"{result.name}.jsonl")
            text = json.dumps(report, indent=2, allow_nan=False)
            write_text(options.out / REPORT, f"{text}\n")
    except OSError as error:
        raise RedteamError(f"--out {str(options.out)!r} could not be written: {error}.") from error
    finally:
        _print(options, table, results, report, varied)
    return suites_exit_code(results, options.allow_void)


def _registered(name: str, options: EvaluateOptions, table: Table) -> Suite:
    """Return a registered suite.

    Raises:
        RedteamError: If it cannot be made, or has an attacker of its own beside what only others can do, or
            whose messages nobody reads.
    """
    suite = registered_suite(
        name,
        source=table.source,
        games=options.limit or options.games,
        seed=options.seed,
        max_tokens=table.settings["max_new_tokens"],
    )
    if not any(x.rewritten for x in suite.made.setups):
        return suite
    check_compared(table.game, table.judge)
    if options.attack is not None or options.tries > 1:
        raise RedteamError(
            f"The suite {name!r} has an attacker of its own, which plays each game once; leave --attack "
            "and --attempts out."
        )
    return suite


def _check_sampling(options: EvaluateOptions, entries: Sequence[Entry]) -> None:
    if options.tries == 1 or options.attack is not None:
        return
    for entry in entries:
        if not _temperature(options, 0.0 if entry.card is None else entry.card.temperature):
            raise RedteamError(
                f"--attempts {options.tries} of the suite {entry.name!r} would all be the same, at "
                "temperature 0; give --temperature above 0, such as 1."
            )


def _temperature(options: EvaluateOptions, own: float) -> float:
    return own if options.temperature is None else options.temperature


def _loaded(entries: Sequence[Entry]) -> dict[str, Suite]:
    """Return the suites of cards with their requests.

    Raises:
        RedteamError: If data are missing: what is certain without asking the hub is told of all suites at
            once, before any is fetched; after a set that cannot be had, the others of the hub are named.
    """
    missing = []
    cards = [(entry, entry.card) for entry in entries if entry.card is not None]
    for entry, card in cards:
        try:
            check_data(card, entry.files)
        except RedteamError as error:
            missing.append(error)
    if len(missing) > 1:
        raise RedteamError(" ".join(map(str, missing))) from missing[0]
    if missing:
        raise missing[0]
    suites: dict[str, Suite] = {}
    for k, (entry, card) in enumerate(cards):
        try:
            suites[entry.name] = load_suite(card, entry.files)
        except RedteamError as error:
            later = [y for x, y in cards[k + 1 :] if not x.files]
            sets = {part.hub: None for y in later for part in y.data if part.hub}
            if not sets or entry.files:
                raise
            more = f" Not tried yet, of the hub, too: {', '.join(map(str, sets))}."
            raise RedteamError(f"{error}{more}") from error
    return suites


def _played(  # noqa: PLR0917 - what it takes to play one suite
    name: str,
    suite: Suite,
    options: EvaluateOptions,
    defender: str,
    table: Table,
    attack: Attack | None,
    progress: Shown,
    kept: KeptGames,
) -> SuiteResult:
    """Return a suite's result, from its file of games if it was played before."""
    same: dict[str, Any] = {
        "name": name,
        "judge": table.judge.name,
        "seed": options.seed,
        "attempts": options.tries,
        "calibration": table.calibration,
    }
    file = kept.file(name)
    if file is not None and file.is_file():
        tried = _read_games(file, suite, options, name)
        if attack is not None:
            known = read_record(_attacked(file), schema=SCHEMA, remedy=f"Remove {file}.")
            same["attacked"] = known["attacked"]
        return suite_result(suite, tried, **same)
    agent = table.pool.agent(defender, "defender", **_decoding(options, suite))
    judge = for_contexts(table.judge) if suite.card.form == "context" else table.judge
    say_models(table, progress)

    def titled(phase: str, done: int, total: int) -> None:
        progress(f"{name}: {phase}", done, total)

    if attack is not None:
        setups = suite.setups(path=(options.seed, "suite", name), limit=options.limit)
        game = long_enough(table.game, setups)
        attacking = under_attack(options, table, attack, agent, game, judge=judge, progress=titled)
        tried = AttackedParts(kept, _part(name)).attack(attacking, setups)
        same["attacked"] = attack_record(
            str(options.attack), options.tries, attacking.queries, tried, judge
        )
        return suite_result(suite, tried, **same)
    make = direct(
        agent,
        judge,
        game=table.game,
        attempts=options.tries,
        attacker=suite.attacker() if isinstance(suite, RegisteredSuite) else None,
        batch_size=options.batch_size,
        progress=titled,
        kept=(kept, _part(name)),
    )
    return play_suite(suite, make, limit=options.limit, **same)


def _decoding(options: EvaluateOptions, suite: Suite) -> dict[str, Any]:
    return {
        "temperature": _temperature(options, suite.card.temperature),
        "max_new_tokens": options.max_new_tokens or suite.card.max_tokens,
    }


def _plan(
    options: EvaluateOptions, defender: str, table: Table, suites: dict[str, Suite]
) -> dict[str, Any]:
    """Return everything that the games depend on."""
    settings = {x: y for x, y in table.settings.items() if x not in {"seeds", "temperature"}}
    del settings["max_new_tokens"]
    return {
        "schema": SCHEMA,
        "command": "evaluate",
        "version": version(),
        "settings": {
            **settings,
            "defender": defender,
            "limit": options.limit,
            "attempts": options.tries,
            "attack": options.attack,
            "attacker": attacker_of(options) if options.attack is not None else None,
            "prompts": table.game.prompts.digest,
        },
        "judge": {"name": table.judge.name, "smoke_only": table.judge.smoke_only},
        "suites": {
            name: {
                **_decoding(options, suite),
                "form": suite.card.form,
                "metric": dict(suite.card.metric),
                "requests": len(suite.seeds),
                "requests_sha256": _digest(suite),
                "data": [asdict(card) for card in suite.sources],
            }
            for name, suite in suites.items()
        },
    }


def _digest(suite: Suite) -> str:
    texts = json.dumps([[seed.text, seed.harmful] for seed in suite.seeds])
    return hashlib.sha256(texts.encode()).hexdigest()


def _store(result: SuiteResult, file: Path) -> None:
    """Write a suite's games, unless they are there, and remove what was kept while they were played."""
    if file.is_file():
        return
    if result.attacked is not None:
        record = {"schema": SCHEMA, "attacked": dict(result.attacked)}
        write_text(_attacked(file), f"{json.dumps(record)}\n")
    write_text(file, "".join(f"{x.to_json()}\n" for x in result.episodes))
    file.with_name(f"{_part(result.name)}.jsonl").unlink(missing_ok=True)


def _attacked(file: Path) -> Path:
    return file.with_suffix(".attack.json")


def _part(name: str) -> str:
    return f"{name}.part"


def _read_games(file: Path, suite: Suite, options: EvaluateOptions, name: str) -> Tried:
    """Return a suite's games from its file, one list for each request."""
    setups = suite.setups(path=(options.seed, "suite", name), limit=options.limit)
    tried: list[list[Episode]] = [[] for _ in setups]
    for number, episode in enumerate(read_games(file, _REMEDY), 1):
        k = episode.group
        if not 0 <= k < len(setups) or episode.seed.text != setups[k].seed.text:
            raise RedteamError(
                f"Line {number} of {str(file)!r} is a game of another request than the suite's. {_REMEDY}"
            )
        tried[k].append(episode)
    if not all(tried):
        raise RedteamError(f"{str(file)!r} lacks games of some requests. {_REMEDY}")
    return tried


def _report(
    options: EvaluateOptions,
    plan: dict[str, Any],
    spent: Spent,
    results: Sequence[SuiteResult],
    varied: Mapping[str, Variety | None],
) -> dict[str, Any]:
    table, usage = spent.table, spent.usage()
    trained = {normalise(seed.text) for seed in table.source.seeds("train")}
    rows = []
    for result in results:
        known = sum(normalise(games[0].seed.text) in trained for games in result.tried)
        row = {**result.to_json(), "in_training_split": known}
        if result.name in varied:
            own = varied[result.name]
            row["rewrites"] = own and own.to_json()
        rows.append(row)
    return {
        **plan,
        "judge": spent.judge(),
        "settings": {
            **plan["settings"],
            "suite": options.suite,
            "batch_size": options.batch_size,
            "seeds": table.settings["seeds"],
        },
        "result": rows,
        **({"calibration": table.calibration.to_json()} if table.calibration is not None else {}),
        **({"usage": usage} if usage else {}),
    }


def _print(
    options: EvaluateOptions,
    table: Table,
    results: Sequence[SuiteResult],
    report: dict[str, Any],
    varied: Mapping[str, Variety | None],
) -> None:
    if options.json:
        print_json(report)
        return
    console = make_console()
    console.print(
        suites_report(
            results,
            defender=options.defended(),
            judge=table.judge.name,
            smoke_only=table.judge.smoke_only,
            attempts=options.tries,
            calibration=table.calibration,
        )
    )
    for result in results:
        if result.attacked is not None:
            console.print(safe_text(f"{result.suite.card.title}:"), attack_lines(result.attacked))
        if (own := varied.get(result.name)) is not None:
            console.print(variety_report(own))
    for row in report["result"]:
        if row["in_training_split"]:
            console.print(
                f"{row['in_training_split']} requests of {row['name']} stand in the training split of "
                f"{report['settings']['seeds']}.",
                markup=False,
            )
    if "usage" in report:
        console.print(usage_lines(report["usage"]), soft_wrap=True)
