"""Write an algorithm in one file and read where it stands beside a built-in one.

Run: python examples/benchmark_my_algorithm.py [DIRECTORY] (two or three minutes on two cores).
A package announces it as an entry point of redteam_env.algorithms instead of calling register; then
redteam-env bench --algorithms best_only,reinforce_pp finds it by name. The budget here is far too
small to tell the two apart: look at the intervals.
"""

import sys
from dataclasses import dataclass

import numpy as np

from algorithms.core.config import PolicyGradientConfig
from algorithms.core.losses import score_function
from algorithms.core.policy_gradient import PolicyGradient
from redteam_env import register
from redteam_env.cli.main import main


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOnlyConfig(PolicyGradientConfig):
    """Settings: those that all policy-gradient algorithms share, and one of its own.

    Attributes:
        share: Share of a step's games that is imitated.
    """

    share: float = 0.5


class BestOnly(PolicyGradient):
    """Imitates each role's best games of a step and nothing else (reward-ranked fine-tuning)."""

    Config = BestOnlyConfig

    def advantages(self, turns):
        """Return 1 for the tokens of a game that is paid above the bar, else 0."""
        bars = {role: np.quantile(x.rewards, 1 - self.config.share) for role, x in turns.items()}
        return {role: (x.rewards >= bars[role])[:, None] * x.mask for role, x in turns.items()}

    def loss(self, batch):
        """Return -A log pi, summed."""
        return score_function(batch.logprobs, batch.advantages, batch.tokens)


register("algorithms", "best_only", BestOnly)  # here, so that worker processes run it, too

if __name__ == "__main__":
    out = sys.argv[1] if len(sys.argv) > 1 else "runs/my-bench"
    sizes = "--seeds 2 --budget 512 --suite-games 64 --panel-games 64 --cross-games 32"
    words = f"--algorithms best_only,reinforce_pp {sizes} --out {out}"
    sys.exit(main(["bench", "--quick", *words.split()]))
