"""A process of its own for test_plan_measured: trains, prints peaks of resident memory.

Takes the settings as one JSON object; prints one with bytes: ``start`` after the imports, and the peak
of each phase.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_models import tiny_tokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM

from agents.lora.config import PolicyConfig
from agents.lora.hf import sample
from agents.lora.policy import LoraPolicy
from agents.models import LoadedModel, load_base
from algorithms.reinforce_pp import ReinforcePP, ReinforcePPConfig
from redteam_env.game import Game, Generation
from redteam_env.protocols import Batch

RESET_PEAK = "5"  # see proc(5), clear_refs


def resident(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(key)


def load(model: str, shape: dict[str, int]) -> LoadedModel:
    if model != "random":
        return load_base(model, device="cpu")
    config = Qwen2Config(**shape, tie_word_embeddings=True, bos_token_id=None, eos_token_id=258)
    made = Qwen2ForCausalLM(config).eval().requires_grad_(requires_grad=False)
    return LoadedModel(
        spec=model, model=made, tokenizer=tiny_tokenizer(), fingerprint="", stop_ids=(258,)
    )


def prompts(rng, rows: int, length: int, vocab: int) -> list[list[int]]:
    """Prompts without a common lead, some a token shorter than the rest."""
    return [[k, *rng.integers(vocab, size=length - 1 - k % 2).tolist()] for k in range(rows)]


def role_batch(role: str, rng, rows: int, lengths: tuple[int, int], vocab: int) -> Batch:
    generations = []
    for prompt in prompts(rng, rows, lengths[0], vocab):
        completion = tuple(rng.integers(vocab, size=lengths[1]).tolist())
        generations.append(
            Generation(
                prompt_ids=tuple(prompt),
                completion_ids=completion,
                logprobs=(-3.0,) * len(completion),
                adapter=role,
                version=0,
                temperature=1.0,
                finished=True,
            )
        )
    return Batch.of(role, generations, rng.normal(size=rows).tolist())


def main(settings: dict) -> dict[str, int]:
    torch.set_num_threads(1)
    peaks = {"start": resident("VmRSS")}
    base = load(settings["model"], settings.get("shape", {}))
    config = PolicyConfig(
        arrangement=settings["arrangement"],
        rank=settings["rank"],
        gradient_checkpointing=settings["gradient_checkpointing"],
    )
    policy = LoraPolicy(config, base, seed=0)
    rows, vocab = settings["rows"], base.model.config.vocab_size
    limits = {"minibatch": 4 * rows, "micro_batch": rows, "micro_tokens": 2**40}
    algorithm = ReinforcePP(ReinforcePPConfig(**limits), policy=policy, game=Game(), seed=0)
    rng = np.random.default_rng(0)

    lengths = settings["prompt"], settings["completion"]

    def play() -> None:
        for role in policy.trainable_roles:
            with policy.store.sampling(policy.weights_of(role)) as model:
                sample(
                    model,
                    prompts(rng, settings["generation"], lengths[0], vocab),
                    rng.random((settings["generation"], lengths[1])),
                    stop_ids=(vocab,),  # none: completions of full length
                    pad_id=0,
                    temperature=1.0,
                )

    def train(rows: int, lengths: tuple[int, int]) -> None:
        roles = policy.trainable_roles
        algorithm.update(policy, {r: role_batch(r, rng, rows, lengths, vocab) for r in roles})

    train(2, (4, 2))  # the optimiser's moments are there from now on
    phases = {
        "sampling": play,
        "training": lambda: train(2 * rows, lengths),
        "saving": algorithm.state,
    }
    for phase, work in phases.items():
        Path("/proc/self/clear_refs").write_text(RESET_PEAK)
        work()
        peaks[phase] = resident("VmHWM")
    return peaks


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
