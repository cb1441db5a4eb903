"""PPO of Stable-Baselines3 learns which tactics work on the embedded model, and beats random ones.

python examples/sb3_tactics.py [STEPS [OUT]]   (pip install 'redteam-env[train,sb3]'; a minute on a CPU)
"""

import sys

from algorithms.training.config import TrainConfig
from algorithms.training.trainer import train
from redteam_env.evaluation import AgentPool, paired_difference, wilson
from redteam_env.judges import resolve_judge
from redteam_env.randomness import generator
from redteam_env.rollout import play, schedule
from redteam_env.seeds import resolve_seeds
from redteam_env.worlds import build_game

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 24
out = sys.argv[2] if len(sys.argv) > 2 else "runs/example-sb3"
config = TrainConfig.from_flat(
    {
        "world": "apothecary",  # its base model is the opponent, where no other is named
        "algorithm": "sb3_ppo",
        "arrangement": "attacker_only",
        "benign_fraction": 0.0,
        "embedder": "hashing",
        "steps": steps,
        "out": out,
        "resume": True,
    }
)
train(config)

# the same requests for restricted recipes, none of them seen in training, for both attackers
setups = schedule(
    resolve_seeds("apothecary"),
    200,
    path=(0, "sb3_tactics"),
    benign_fraction=0.0,
    rewrite_fraction=1.0,
    split="heldout",
)
pool, judge = AgentPool(base="apothecary"), resolve_judge("apothecary")
defender = pool.agent("base", "defender")
won = {}
for name, spec in (("trained", out), ("random", "random_tactic")):
    agents = {"attacker_0": pool.agent(spec, "attacker"), "defender_0": defender}
    games = play(setups, agents, judge, game=build_game(config.game), batch_size=64)
    won[name] = [bool(game.verdict.response_harmful) for game in games]
    rate = wilson(sum(won[name]), len(games))
    print(f"{name}: {sum(won[name])} of {len(games)} attacks [{rate.low:.2f}, {rate.high:.2f}]")
seeds = [setup.seed.text for setup in setups]
found = paired_difference(won["trained"], won["random"], seeds, generator((0, "bootstrap")))
low, high = found.interval.low, found.interval.high
print(f"difference: {found.value:+.2f} [{low:+.2f}, {high:+.2f}]")
