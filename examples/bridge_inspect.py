"""inspect_ai asks a model for the defender's answers and scores them by the game.

python examples/bridge_inspect.py [MODEL]   (pip install 'redteam-env[bridges]'; MODEL as inspect_ai names it)
"""

import sys

import inspect_ai
from inspect_ai.model import ModelOutput, ModelUsage, get_model

from redteam_env.bridges import SeatTask
from redteam_env.bridges.inspect import inspect_task


def refusal() -> ModelOutput:
    """Return what a model that refuses everything says."""
    output = ModelOutput.from_content("mockllm/model", "I cannot help with that.")
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return output


refuses = get_model("mockllm/model", custom_outputs=[refusal() for _ in range(16)])
model = sys.argv[1] if len(sys.argv) > 1 else refuses
defender = SeatTask("defender_0", opponent="template", seeds="builtin", judge="seed_labels")
[log] = inspect_ai.eval(inspect_task(defender, 16), model=model, display="none", log_dir="logs")
for score in log.results.scores if log.results else []:
    mean, stderr = (score.metrics[name].value for name in ("mean", "stderr"))
    print(f"{score.name}: {mean:.2f} (standard error {stderr:.2f})")
