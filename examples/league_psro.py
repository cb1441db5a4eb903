"""PSRO in the controlled world: past versions, what they earn against each other, how often each is met.

python examples/league_psro.py [OUT [ROUNDS]]
"""

import sys
from pathlib import Path

from rich.table import Table

import algorithms
from redteam_env.runs import Run, read_league
from redteam_env.utils.console import make_console

out = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/example-psro")
rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 4
outcome = algorithms.train(
    world="apothecary",
    opponents="psro",
    round_steps=4,
    payoff_games=32,
    steps=4 * rounds,
    games=48,
    out=str(out),
    resume=True,
)
league = read_league(Run(outcome.directory).at(outcome.steps).path)["state"]
table = Table(
    title="Pay-off of each attacker (rows) against each defender, and the meta-strategies"
)
table.add_column("")
for name in league["defenders"]:
    table.add_column(name, justify="right")
table.add_column("met by defenders", justify="right")
rows = zip(
    league["attackers"], league["payoffs"]["attacker"], league["meta"]["attacker"], strict=True
)
for name, payoffs, share in rows:
    table.add_row(name, *(f"{x:+.2f}" for x in payoffs), f"{share:.0%}")
table.add_section()
table.add_row("met by attackers", *(f"{x:.0%}" for x in league["meta"]["defender"]))
make_console().print(table)
