"""A leaderboard in the format of marl-eval, so that its tools and others' plots read it.

The format (Gorsane et al., arXiv 2209.10485; github.com/instadeepai/marl-eval) nests environment, task,
algorithm, run, and in a run the evaluations ``step_0``, ``step_1`` and so on with their ``step_count``,
and ``absolute_metrics`` of the policy that the run ended with. Every metric is a list of numbers. All
algorithms of an environment must have the same tasks, runs and evaluations; its tools look environments
and tasks up in small letters. A benchmark measures the
end of a run only, so there is one evaluation, equal to the absolute metrics; ``step_count`` is in games.
"""

from collections.abc import Mapping
from typing import Any

Figures = Mapping[str, Any]
Export = dict[str, dict[str, dict[str, dict[str, Any]]]]


def marl_eval(figures: Figures, *, world: str) -> Export:
    """Return what a leaderboard says of trained cells in marl-eval's format.

    Args:
        figures: The leaderboard.
        world: What was played; each score is an environment ``WORLD_SCORE`` and what the score is
            measured on its tasks, since scores differ in tasks and in the cells that have them.

    Returns:
        Environments, whose runs are called ``seed_0`` and so on. A cell that lacks a task which others
        have is left out of that environment, as the format asks for.
    """
    cells = [cell for cell in figures["cells"] if cell["trained"] and cell["reason"] is None]
    names = dict.fromkeys(name for cell in cells for name in cell["scores"])
    found = {f"{world}_{name}".lower(): _environment(cells, name) for name in names}
    return {name: tasks for name, tasks in found.items() if tasks}


def _environment(cells: list[Figures], name: str) -> dict[str, dict[str, dict[str, Any]]]:
    having = [cell for cell in cells if name in cell["scores"]]
    tasks = list(dict.fromkeys(task for cell in having for task in cell["scores"][name]["tasks"]))
    whole = [cell for cell in having if set(cell["scores"][name]["tasks"]) == set(tasks)]
    return {
        task.lower(): {
            f"{cell['label']}.{cell['arrangement']}": {
                f"seed_{seed}": _run(name, row[k], games)
                for (seed, row), games in zip(
                    enumerate(cell["scores"][name]["by_seed"]),
                    cell["cost"]["games"]["by_seed"],
                    strict=True,
                )
                for k in [cell["scores"][name]["tasks"].index(task)]
            }
            for cell in whole
        }
        for task in tasks
        if whole
    }


def _run(name: str, value: float, games: int) -> dict[str, Any]:
    return {
        "step_0": {"step_count": int(games), name: [value]},
        "absolute_metrics": {name: [value]},
    }
