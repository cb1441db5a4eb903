"""Train one LoRA adapter a role on one frozen base (anchored bipolicy self-play).

python examples/train_bipolicy.py [MODEL [OUT]]
"""

import sys

from agents.lora.config import PolicyConfig
from algorithms.reinforce_pp import ReinforcePPConfig
from algorithms.training.config import RunConfig, TrainConfig
from algorithms.training.trainer import train
from redteam_env import GameConfig

model = sys.argv[1] if len(sys.argv) > 1 else "smollm2"
out = sys.argv[2] if len(sys.argv) > 2 else "runs/example-bipolicy"
outcome = train(
    TrainConfig(
        run=RunConfig(steps=2, games=8, out=out, resume=True),
        game=GameConfig(seeds="builtin", judge="lexical"),
        policy=PolicyConfig(arrangement="bipolicy", model=model, rank=8, max_new_tokens=16),
        learner=ReinforcePPConfig(attacker_lr=2e-4, defender_lr=1e-4),
    )
)
print(f"{outcome.steps} steps, {outcome.void} void games, in {outcome.directory}")
