"""Train one LoRA adapter a role on one frozen base (anchored bipolicy self-play).

python examples/train_bipolicy.py [MODEL [OUT]]
"""

import sys

import algorithms

outcome = algorithms.train(
    model=sys.argv[1] if len(sys.argv) > 1 else "smollm2",
    arrangement="bipolicy",
    algorithm="reinforce_pp",
    attacker_lr=2e-4,
    defender_lr=1e-4,
    rank=8,
    max_new_tokens=16,
    steps=2,
    games=8,
    out=sys.argv[2] if len(sys.argv) > 2 else "runs/example-bipolicy",
    resume=True,
)
print(f"{outcome.steps} steps, {outcome.void} void games, in {outcome.directory}")
