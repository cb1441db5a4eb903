"""Train one LoRA adapter for both roles (self-play with shared weights), and look on.

A callback sees every step; redteam_env.protocols.Callback lists what it may do. The lexical judge is
for smoke runs; for numbers, start a WildGuard server and give judge="wildguard" and
judge_url="http://127.0.0.1:8000".

python examples/train_shared.py [MODEL [OUT]]
"""

import sys

import algorithms


class Printer:
    """Prints what both roles were paid."""

    def on_update(self, step, row):
        print(step, row["attacker/reward"], row["defender/reward"], row["defender/kl"])


algorithms.train(
    model=sys.argv[1] if len(sys.argv) > 1 else "smollm2",
    arrangement="shared",
    rewards="zero_sum",
    faithfulness_gate=-1.0,
    drop_unfaithful=True,
    lr=1e-4,
    rank=8,
    max_new_tokens=16,
    steps=2,
    games=8,
    out=sys.argv[2] if len(sys.argv) > 2 else "runs/example-shared",
    resume=True,
    callbacks=[Printer()],
)
