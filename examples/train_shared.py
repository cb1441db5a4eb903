"""Train one LoRA adapter for both roles (self-play with shared weights).

The lexical judge is for smoke runs; for numbers, start a WildGuard server and use
GameConfig(judge="wildguard", judge_url="http://127.0.0.1:8000").

python examples/train_shared.py [MODEL [OUT]]
"""

import json
import sys
from pathlib import Path

from agents.lora.config import PolicyConfig
from algorithms.reinforce_pp import ReinforcePPConfig
from algorithms.training.config import RunConfig, TrainConfig
from algorithms.training.trainer import train
from redteam_env import GameConfig

model = sys.argv[1] if len(sys.argv) > 1 else "smollm2"
out = sys.argv[2] if len(sys.argv) > 2 else "runs/example-shared"
outcome = train(
    TrainConfig(
        run=RunConfig(steps=2, games=8, out=out, resume=True),
        game=GameConfig(rewards="zero_sum", faithfulness_gate=-1.0, drop_unfaithful=True),
        policy=PolicyConfig(arrangement="shared", model=model, rank=8, max_new_tokens=16),
        learner=ReinforcePPConfig(lr=1e-4, baseline="role"),
    )
)
for line in Path(outcome.directory, "metrics.jsonl").read_text().splitlines():
    row = json.loads(line)
    print(row["step"], row["attacker/reward"], row["defender/reward"], row["defender/kl"])
