"""``redteam-env judge``: which judges there are, and what each of them is."""

import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import tyro
from rich.table import Table

from redteam_env import registry
from redteam_env.cli.calibrate import calibrate_judge
from redteam_env.utils.console import make_console
from redteam_env.utils.text import safe_text

Json = Annotated[bool, tyro.conf.arg(name="json"), tyro.conf.FlagCreatePairsOff]


def judge(argv: Sequence[str]) -> int:
    """List judges, or measure how far one agrees with people.

    Args:
        argv: The words behind ``redteam-env judge``.

    Returns:
        0: everything else is an error that is raised.

    Raises:
        RedteamError: If a judge is unknown or faulty.
    """
    # each sub-command is a function whose parameters are its options; add one as a line
    tyro.extras.subcommand_cli_from_dict(
        {"list": list_judges, "calibrate": calibrate_judge},
        prog="redteam-env judge",
        description="List the judges, or measure one on dialogues that people labelled.",
        args=list(argv),
    )
    return 0


def list_judges(*, as_json: Json = False) -> None:
    """List all judges, without asking any.

    Args:
        as_json: Print JSON instead of a table.
    """
    rows = [_row(plugin) for plugin in registry.found() if plugin.kind == "judges"]
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    table = Table("judge", "from")
    for row in rows:
        table.add_row(*(safe_text(str(value)) for value in row.values()))
    make_console().print(table)


def _row(plugin: registry.Plugin) -> dict[str, Any]:
    return {"name": plugin.name, "origin": f"{plugin.target} ({plugin.distribution})"}
