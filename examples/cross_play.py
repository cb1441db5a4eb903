"""Play every attacker against every defender on the same held-out games, with intervals.

python examples/cross_play.py [AGENT ...]   (run directories, models, scripted agents, base)
"""

import sys

from redteam_env.evaluation import AgentPool, crossplay, heldout_setups
from redteam_env.judges import resolve_judge
from redteam_env.report import crossplay_report
from redteam_env.seeds import resolve_seeds
from redteam_env.utils.console import make_console

names = sys.argv[1:] or ["template", "echo", "comply", "refuse"]
pool = AgentPool(base="smollm2", max_new_tokens=32)
result = crossplay(
    {name: pool.agent(name, "attacker") for name in names},
    {name: pool.agent(name, "defender") for name in names},
    heldout_setups(resolve_seeds("builtin"), games=100, seed=0),
    resolve_judge("lexical"),
)
make_console().print(crossplay_report(result))
