"""The command ``capability``: tasks of lm-eval on a run, an adapter or a model.

With ``--out`` the scores of a task are written as soon as it was asked; the same command with the same
directory asks only the tasks that are missing.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from redteam_env.game import Count, RedteamError, check_fields
from redteam_env.usage import need, read
from redteam_env.utils.console import make_console, print_json
from redteam_env.utils.files import read_record, write_text
from redteam_env.utils.lists import listed
from redteam_env.utils.tables import Column, FittedTable
from redteam_env.utils.text import safe_text

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilityOptions:
    """Who is asked what.

    Attributes:
        agent: A run, adapter or model directory, a known model, or a hub id.
        role: Whose weights of a run answer.
        tasks: Tasks of lm-eval with a comma between them; papers stands for arc_challenge, gpqa, mmlu,
            truthfulqa_mc1, bbh, ifeval and gsm8k.
        model: The model that adapters are put on, if it is another place than they name.
        limit: Most questions of each task.
        batch_size: Questions in one pass.
        chat: Put questions into the model's chat template.
        include: Folder with tasks of your own (YAML), which may name local data.
        only_included: Know the tasks of --include only, which saves half a minute.
        out: Directory for the scores, a file a task; a task whose file is there is not asked again.
        json: Print JSON.
    """

    agent: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="AGENT")]
    role: str = "defender"
    tasks: str = "papers"
    model: str | None = None
    limit: Count | None = None
    batch_size: Count = 8
    chat: bool = False
    include: Path | None = None
    only_included: bool = False
    out: Path | None = None
    json: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.only_included and self.include is None:
            raise RedteamError("--only-included needs a folder of tasks; name it with --include.")


def capability(argv: Sequence[str]) -> int:
    """Measure what a model can do.

    Args:
        argv: The command's arguments.

    Returns:
        0.

    Raises:
        RedteamError: If an option is wrong, lm-eval is missing, or a task cannot be asked.
    """
    options = read(
        CapabilityOptions,
        argv,
        prog="redteam-env capability",
        description="Measure what a model can do, on tasks of lm-eval (the extra 'capability').",
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone),
    )
    need("capability", {"lm_eval": "capability", "torch": "train"})
    from agents.capability import task_names  # noqa: PLC0415 - imports torch

    tasks = task_names(listed(options.tasks))
    if not tasks:
        raise RedteamError(f"--tasks {options.tasks!r} names no task; give one, or papers.")
    scores = {task: rows for task in tasks if (rows := _stored(options, task)) is not None}
    _ask(options, [task for task in tasks if task not in scores], scores)
    _print(options, [row for task in tasks for row in scores[task]])
    return 0


def _ask(
    options: CapabilityOptions, tasks: Sequence[str], scores: dict[str, list[dict[str, Any]]]
) -> None:
    """Ask tasks, one after the other, and add their scores."""
    if not tasks:
        return
    from agents.capability import Harness  # noqa: PLC0415 - imports torch
    from agents.lora.agent import ModelAgent  # noqa: PLC0415 - the same
    from agents.lora.backend import HfBackend  # noqa: PLC0415 - the same
    from redteam_env.evaluation.agents import AgentPool  # noqa: PLC0415 - the same

    harness = Harness(options.include, builtin=not options.only_included)
    harness.check(tasks)
    agent = AgentPool(base=options.model, option="AGENT").agent(options.agent, options.role)
    if not isinstance(agent, ModelAgent) or not isinstance(agent.backend, HfBackend):
        raise RedteamError(
            f"{options.agent!r} is no model in this process; name a run, adapter or model directory."
        )
    for task in tasks:
        found = harness.measure(
            agent.backend.store,
            agent.weights,
            task,
            limit=options.limit,
            batch_size=options.batch_size,
            chat=options.chat,
        )
        scores[task] = [score.to_json() for score in found]
        if options.out is not None:
            record = {**_settings(options, task), "scores": scores[task]}
            write_text(_file(options.out, task), f"{json.dumps(record, indent=2)}\n")


def _settings(options: CapabilityOptions, task: str) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "agent": options.agent,
        "role": options.role,
        "model": options.model,
        "task": task,
        "limit": options.limit,
        "chat": options.chat,
    }


def _file(out: Path, task: str) -> Path:
    return out / f"{task.replace('/', '-')}.json"


def _stored(options: CapabilityOptions, task: str) -> list[dict[str, Any]] | None:
    """Return the scores of a task that was asked before, ``None`` if it was not.

    Raises:
        RedteamError: If its file is damaged or of other settings.
    """
    if options.out is None or not (file := _file(options.out, task)).is_file():
        return None
    record = read_record(
        file, schema=SCHEMA, needed=("scores",), remedy="Remove it, and the task is asked again."
    )
    wanted = _settings(options, task)
    differ = [name for name, value in wanted.items() if record.get(name) != value]
    if differ:
        raise RedteamError(
            f"{str(file)!r} holds scores of other settings ({', '.join(differ)}); name a new directory."
        )
    rows: list[dict[str, Any]] = record["scores"]
    return rows


def _print(options: CapabilityOptions, rows: Sequence[dict[str, Any]]) -> None:
    console = make_console()
    if options.json:
        print_json(rows)
        return
    table = FittedTable(
        "task",
        Column(heading="metric", words=True),
        "value [95 % interval]",
        Column(heading="questions", drop=1),
    )
    for row in rows:
        value = f"{row['value']:.3f}"
        if row["interval"]:
            low, high = row["interval"]
            value += f" [{low:.3f}, {high:.3f}]"
        table.row(row["task"], row["metric"], value, str(row["questions"]))
    console.print(safe_text(f"{options.agent} ({options.role})", "bold"))
    console.print(table)
