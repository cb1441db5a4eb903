"""``redteam-env data``: which seed sources there are, what is in one, and examples made from one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import tyro

from redteam_env import registry
from redteam_env.cli.sft import SftOptions, make_examples
from redteam_env.protocols import SeedSource
from redteam_env.seeds import SPLITS, ListSource, cards_of, resolve_seeds
from redteam_env.seeds.archives import ARCHIVES
from redteam_env.seeds.builtin import builtin
from redteam_env.seeds.source import every_seed
from redteam_env.utils.console import make_console, print_json
from redteam_env.utils.packages import cached_path
from redteam_env.utils.tables import Column, FittedTable, facts_table
from redteam_env.utils.text import safe_text

Spec = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
Json = Annotated[bool, tyro.conf.arg(name="json"), tyro.conf.FlagCreatePairsOff]


def data(argv: Sequence[str]) -> int:
    """List seed sources, fetch and check one, or make supervised examples from one.

    Args:
        argv: The words behind ``redteam-env data``.

    Returns:
        0: everything else is an error that is raised.

    Raises:
        RedteamError: If a source is unknown or faulty, or as :func:`redteam_env.cli.sft.make_examples`.
    """
    found = tyro.extras.subcommand_cli_from_dict(
        {"list": list_sources, "get": get_source, "sft": SftOptions},
        prog="redteam-env data",
        description="List the seed sources, fetch and check one, or make supervised examples from one.",
        args=list(argv),
    )
    if isinstance(found, SftOptions):
        make_examples(found)
    return 0


def list_sources(*, as_json: Json = False) -> None:
    """List all seed sources, without fetching any.

    Args:
        as_json: Print JSON instead of a table.
    """
    rows = [_row(plugin) for plugin in registry.found() if plugin.kind == "seeds"]
    if as_json:
        print_json(rows)
        return
    words = [Column(heading=x, words=True) for x in ("licence", "here", "from")]
    table = FittedTable("source", "harmful", "benign", *words)
    for row in rows:
        table.row(*(_cell(value) for value in row.values()))
    console = make_console()
    console.print(table)
    console.print(
        "Fetch and check one: redteam-env data get NAME. Several are joined by commas: "
        "strongreject,builtin?only=benign"
    )


def get_source(spec: Spec, /, *, as_json: Json = False) -> None:
    """Fetch a seed source, check it, and count its seeds.

    Files and data sets take the options text, context, label, harmful, benign, all, category, where, lines,
    split, heldout, max_chars and layout, files also rows, data sets config, hf_split and revision; every
    source takes only=harmful or only=benign.

    Args:
        spec: A source, such as builtin, 'a.csv?text=ask&all=harmful' or hub:OWNER/NAME; several between commas.
        as_json: Print JSON instead of tables.
    """
    source = resolve_seeds(spec)
    summary = _summary(source)
    if as_json:
        print_json(summary)
        return
    console = make_console()
    for card in summary["cards"]:
        console.print(safe_text(card["name"], "bold"))
        console.print(facts_table(card))
        console.print()
    counts = FittedTable("split", "harmful", "benign")
    for split, labels in summary["counts"].items():
        counts.row(split, str(labels["harmful"]), str(labels["benign"]))
    console.print(counts)
    console.print(
        f"{len(summary['categories'])} categories; {summary['duplicates']} duplicates and "
        f"{summary['contradictions']} texts with both labels left out."
    )


def _row(plugin: registry.Plugin) -> dict[str, Any]:
    """What is known of a source without fetching it; ``None`` is unknown."""
    row: dict[str, Any] = {"name": plugin.name, "harmful": None, "benign": None}
    row |= {"licence": None, "here": None}
    if plugin.target == "redteam_env.seeds.builtin:builtin":
        source = builtin()
        total = Counter(seed.harmful for seed in every_seed(source))
        row |= {"harmful": total[True], "benign": total[False], "here": True}
        row |= {"licence": source.card.licence, "origin": source.card.origin}
    elif plugin.target == f"redteam_env.seeds.archives:{plugin.name}":
        archive = ARCHIVES[plugin.name]
        here = cached_path(archive.member).exists()
        row |= {"harmful": archive.rows, "benign": 0, "here": here}
        row |= {"licence": archive.licence, "origin": archive.card(plugin.name).origin}
    elif plugin.target == "redteam_env.seeds.files:from_file":
        row["origin"] = "a file of yours: file:PATH, or just PATH"
    elif plugin.target == "redteam_env.seeds.hub:from_hub":
        row["origin"] = "a data set of the hub or a folder: hub:ID, hub:FOLDER"
    else:
        row["origin"] = f"{plugin.target} ({plugin.distribution})"
    return row


def _cell(value: str | int | bool | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "not yet"
    return str(value)


def _summary(source: SeedSource) -> dict[str, Any]:
    counts = {split: {"harmful": 0, "benign": 0} for split in SPLITS}
    categories: Counter[str] = Counter()
    for seed in every_seed(source):
        counts[seed.split]["harmful" if seed.harmful else "benign"] += 1
        categories[seed.category] += 1
    return {
        "cards": [asdict(card) for card in cards_of(source)],
        "counts": counts,
        "categories": dict(categories),
        "duplicates": source.duplicates if isinstance(source, ListSource) else 0,
        "contradictions": source.contradictions if isinstance(source, ListSource) else 0,
    }
