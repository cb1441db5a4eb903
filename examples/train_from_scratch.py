"""Self-play training without the trainer: play, compare with the reference, take a gradient step.

Two LoRA adapters on one frozen base learn in the controlled world by REINFORCE with a mean baseline and
a KL penalty. The trainer adds what a long run needs (resuming, logs, leagues); the heart is this.

python examples/train_from_scratch.py [STEPS] (a minute for the default of 8 steps on one core)
"""

import sys

import torch

from agents import PolicyConfig
from redteam_env.game import Game, load_prompts, reward_table
from redteam_env.registry import build
from redteam_env.rollout import play, role_batches, schedule
from redteam_env.worlds import prompts_path

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 8
GAMES, LR, KL = 64, 2e-3, 0.05

rules = Game(
    prompts=load_prompts(prompts_path("apothecary")),
    rewards=reward_table("self_redteam", faithfulness_gate=-1.5),
)
seeds, judge = build("seeds", "apothecary"), build("judges", "apothecary")
config = PolicyConfig(model="apothecary", arrangement="bipolicy", rank=16, max_new_tokens=24)
policy = build("policies", "lora", config=config, seed=0)
optimisers = {
    role: torch.optim.AdamW(policy.parameters(policy.weights_of(role)), lr=LR, weight_decay=0.0)
    for role in policy.trainable_roles
}

for step in range(STEPS):
    games = schedule(seeds, GAMES, path=(0, "step", step))
    agents = {f"{role}_0": policy.agent(role) for role in policy.trainable_roles}
    episodes = play(games, agents, judge, game=rules)

    for role, batch in role_batches(episodes, step=step).items():
        with torch.no_grad():
            reference = policy.reference_logprobs(role, batch.generations).logprobs
        found = policy.logprobs(role, batch.generations)
        kl = (found.logprobs.detach() - reference).sum(dim=1)
        returns = torch.as_tensor(batch.rewards).to(kl) - KL * kl
        advantages = (returns - returns.mean()) / returns.std().clamp(min=1e-4)
        loss = -(advantages[:, None] * found.logprobs).sum() / found.mask.sum()
        optimisers[role].zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(policy.weights_of(role)), 1.0)
        optimisers[role].step()
        policy.publish(policy.weights_of(role))

    attacks = [e for e in episodes if e.rewritten and e.seed.harmful and e.void is None]
    harmful = sum(bool(e.verdict and e.verdict.response_harmful) for e in attacks)
    print(f"step {step}: {harmful} of {len(attacks)} attacks drew a harmful answer")
