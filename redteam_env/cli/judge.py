"""``redteam-env judge``: which judges there are, what each of them is, and one of them served."""

import os
import socket
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import tyro

from redteam_env import registry
from redteam_env.cli.calibrate import calibrate_judge
from redteam_env.game import RedteamError
from redteam_env.judges.card import ENDING, Card, card_names, read_card
from redteam_env.usage import READING
from redteam_env.utils.console import make_console, print_json
from redteam_env.utils.tables import Column, FittedTable, facts_table
from redteam_env.utils.text import safe_text

Spec = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="JUDGE")]
Json = Annotated[bool, tyro.conf.arg(name="json"), tyro.conf.FlagCreatePairsOff]
Url = Annotated[str | None, tyro.conf.arg(metavar="URL")]
KEY_VARIABLE = "REDTEAM_ENV_SERVE_API_KEY"
"""The environment variable with the key that a served judge asks of everybody."""


def judge(argv: Sequence[str]) -> int:
    """List judges, show what one is, measure one beside people, serve one over HTTP.

    Args:
        argv: The words behind ``redteam-env judge``.

    Returns:
        0: everything else is an error that is raised.

    Raises:
        RedteamError: If a judge is unknown or faulty.
    """
    # each sub-command is a function whose parameters are its options; add one as a line
    tyro.extras.subcommand_cli_from_dict(
        {"list": list_judges, "show": show, "calibrate": calibrate_judge, "serve": serve},
        prog="redteam-env judge",
        description="List the judges, show what one is, measure one on dialogues that people labelled, or "
        "serve one over HTTP.",
        args=list(argv),
        registry=READING,
    )
    return 0


def list_judges(*, as_json: Json = False) -> None:
    """List all judges, without asking any.

    Args:
        as_json: Print JSON instead of a table.
    """
    cards = {name: read_card(name) for name in card_names()}
    rows = [_row(card) for card in cards.values()]
    rows += [
        {
            "name": plugin.name,
            "model": "",
            "asked by": "",
            "licence": "",
            "what": f"{plugin.target} ({plugin.distribution})",
        }
        for plugin in registry.found()
        if plugin.kind == "judges" and plugin.name not in cards
    ]
    if as_json:
        print_json(rows)
        return
    words = [Column(heading=x, words=True) for x in ("asked by", "licence", "what")]
    table = FittedTable("judge", *words)
    for row in rows:
        table.row(*(row[name] for name in ("name", "asked by", "licence", "what")))
    console = make_console()
    console.print(table)
    console.print(
        "All of a card: redteam-env judge show NAME. A card of yours is named by its path (.toml)."
    )


def show(card: Spec, /, *, as_json: Json = False) -> None:
    """Show all of a judge's card, and how it is started.

    Args:
        card: The name of a card, or the path of one of yours.
        as_json: Print JSON instead of tables.
    """
    if card not in card_names() and card in registry.names("judges"):
        raise RedteamError(f"The judge {card!r} has no card; its documentation says what it is.")
    found = read_card(card)
    if as_json:
        print_json(asdict(found))
        return
    console = make_console()
    console.print(safe_text(found.name, "bold"))
    console.print(facts_table(_told(found)))
    console.print(safe_text(found.missing))


def serve(
    judge: Spec,
    /,
    *,
    judge_url: Url = None,
    host: str = "127.0.0.1",
    port: int = 8001,
    name: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None,
) -> None:
    """Serve a judge over POST /classify (Self-RedTeam's protocol) and an OpenAI-compatible /v1.

    Args:
        judge: The judge, as --judge names it.
        judge_url: The server that the judge itself asks, if it asks one.
        host: Where it listens; elsewhere than on this machine it asks for the key in REDTEAM_ENV_SERVE_API_KEY.
        port: The port on which it listens; 0 takes a free one.
        name: The model's name under /v1; by default the judge's.
    """
    from redteam_env.judges.judge import check_ready
    from redteam_env.judges.resolve import resolve_judge
    from redteam_env.judges.server import is_loopback, judge_app

    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not is_loopback(host) and not key:
        raise RedteamError(
            f"Whoever reaches {host} could ask the judge: set a key in {KEY_VARIABLE}, or leave --host out."
        )
    served = resolve_judge(judge, url=judge_url)
    hosts = ["127.0.0.1", "localhost", "[::1]", host] if is_loopback(host) else ["*"]
    head = judge.partition("?")[0]
    model = name or (served.name if head.endswith(ENDING) else head)
    app = judge_app(served, name=model, key=key, hosts=hosts)
    import uvicorn

    check_ready(served)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise RedteamError(
            f"Nothing can listen on {host}, port {port} ({error}); name another --port or --host."
        ) from error
    shown = f"[{host}]" if ":" in host else host
    console = make_console()
    url = f"http://{shown}:{listening.getsockname()[1]}"
    console.print(
        safe_text(f"The judge {served.name!r} answers at {url}/classify and {url}/v1 as ")
        .append_text(safe_text(repr(model)))
        .append(". Ctrl-C ends it.")
    )
    if served.smoke_only:
        console.print(f"{served.name!r} is good for smoke runs only.", style="yellow")
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, limit_concurrency=1024
    )
    with listening:
        uvicorn.Server(config).run(sockets=[listening])


def _row(card: Card) -> dict[str, str]:
    return {
        "name": card.name,
        "model": card.hub,
        "asked by": ", ".join(card.protocols),
        "licence": card.licence,
        "what": card.summary,
    }


def _told(card: Card) -> dict[str, str]:
    """Return what a card says, as a table shows it."""
    sources = (x.source for x in card.questions)
    prompts = {
        f"{x.member} in the package {x.package} {x.version}" if x else "" for x in sources
    } | {"our own words" for x in card.questions if x.template is not None}
    prompts |= {"the model's own chat template" for x in card.questions if x.form == "conversation"}
    guarded = (*card.guard.labels, *card.guard.lines, *card.guard.tokens)
    return {
        "what": card.summary,
        "model": card.hub,
        "licence": card.licence + (" (gated)" if card.gated else ""),
        "validated on": card.validated,
        "asked by": ", ".join(card.protocols),
        "prompt": "; ".join(sorted(filter(None, prompts))),
        "read by": ", ".join(sorted({x.parser for x in card.questions})),
        "thresholds": ", ".join(f"{name} {value:g}" for name, value in card.thresholds.items()),
        "guarded": " ".join(guarded),
        "instead": card.alternative,
    }
