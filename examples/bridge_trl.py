"""TRL's GRPOTrainer trains a defender: the game gives it prompts and a reward function.

python examples/bridge_trl.py [MODEL [STEPS]]   (pip install 'redteam-env[train,bridges]')
"""

import sys

import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from redteam_env.bridges import SeatTask
from redteam_env.bridges.trl import reward_function

model = sys.argv[1] if len(sys.argv) > 1 else "Qwen/Qwen2.5-0.5B-Instruct"
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 100
defender = SeatTask("defender_0", opponent="template", seeds="builtin", judge="seed_labels")
config = GRPOConfig(
    output_dir="runs/trl",
    max_steps=steps,
    per_device_train_batch_size=8,
    num_generations=4,
    max_completion_length=48,
    learning_rate=1e-5,
    logging_steps=1,
    report_to="none",
    bf16=torch.cuda.is_available(),
    use_cpu=not torch.cuda.is_available(),
)
trainer = GRPOTrainer(
    model=model,
    args=config,
    train_dataset=Dataset.from_list([case.row() for case in defender.cases(256)]),
    reward_funcs=reward_function(defender),
)
trainer.train()
print("mean reward:", trainer.state.log_history[0]["reward"])
