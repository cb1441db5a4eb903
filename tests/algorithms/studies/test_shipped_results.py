"""The results that come with the source: every game is judged again, every number computed again."""

from pathlib import Path

import pytest

from redteam_env.cli.main import main

RESULTS = Path(__file__).parents[3] / "examples" / "results"
COMMANDS = {"leaderboard.json": "bench", "experiment.json": "experiment"}
SHIPPED = [
    (command, file.parent)
    for name, command in COMMANDS.items()
    for file in sorted(RESULTS.glob(f"*/{name}"))
]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "results"), SHIPPED, ids=[x.name for _, x in SHIPPED])
def test_shipped_results_hold(command, results):
    assert main([command, "verify", str(results)]) == 0


def test_there_are_some():
    assert {x.name for _, x in SHIPPED} >= {"ladder", "claims", "bench"}
