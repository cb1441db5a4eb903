"""One training step of ours and of TRL's GRPOTrainer, on the same prompts: ``speed --part trl``."""

import itertools
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from algorithms.grpo import GRPO, GRPOConfig
from algorithms.speed.limits import sizes
from algorithms.speed.policy import NEVER, endless_policy
from algorithms.speed.worker import Turns
from redteam_env.game import ATTACKER, Game, RedteamError
from redteam_env.protocols import Batch, TurnRequest

LR = 1e-5
BETA = 0.01

TOPICS = (
    "how bread is baked at home when there is no yeast in the house",
    "why the sea is salt although all the rivers that feed it are not",
    "what a gardener has to do in the last days of a dry and hot summer",
    "which tools a beginner needs to repair a bicycle on a long journey",
)
"""What prompts are about: a few dozen tokens each, different from their second word on."""

Messages = list[dict[str, str]]


def step_of_ours(spec: Mapping[str, Any], turns: Turns) -> None:
    """Sample and learn with this library: its agent, its GRPO, one adapter."""
    policy = endless_policy(spec, arrangement="attacker_only", length=spec["length"])
    weights = sizes(policy.store.base.model)
    rows = spec["rows"]
    settings = GRPOConfig(lr=LR, kl=BETA, minibatch=rows)
    learner = GRPO(settings, policy=policy, game=Game(), seed=0)
    size = rows // len(spec["prompts"])
    asked = [(messages, k // size) for k, messages in enumerate(_each(spec["prompts"], size))]
    for step in itertools.count():
        turns.begin()
        agent = policy.agent("attacker")
        paths = [("speed", step, k) for k in range(rows)]
        replies = agent.act(
            [
                TurnRequest(seat=ATTACKER, role="attacker", messages=messages, path=path)
                for (messages, _), path in zip(asked, paths, strict=True)
            ]
        )
        batch = Batch.of(
            "attacker",
            [reply.generation for reply in replies],
            [reward(reply.text) for reply in replies],
            groups=[group for _, group in asked],
        )
        learner.update(policy, {"attacker": batch})
        turns.end(
            directory=policy.store.base.model.name_or_path,
            weights=weights,
            prompt_ids=[list(x.prompt_ids) for x in batch.generations[::size]],
            completion_tokens=int(batch.mask.sum()),
        )


def step_of_trl(spec: Mapping[str, Any], turns: Turns) -> None:
    """Sample and learn with TRL: its defaults but for what the comparison fixes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _trl(spec, turns)


def _trl(spec: Mapping[str, Any], turns: Turns) -> None:
    # this side's own libraries; ours runs without them
    from datasets import Dataset  # noqa: PLC0415
    from peft import LoraConfig  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback  # noqa: PLC0415
    from trl import GRPOConfig as TrlConfig  # type: ignore[attr-defined]  # noqa: PLC0415
    from trl import GRPOTrainer  # type: ignore[attr-defined]  # noqa: PLC0415

    class Clock(TrainerCallback):  # type: ignore[misc]  # untyped base
        """Asks for leave before each step and answers after it."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            turns.begin()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            turns.end(completion_tokens=seen.pop())

    seen: list[int] = []

    def paid(completions: list[Any], completion_ids: list[list[int]], **_: Any) -> list[float]:
        seen.append(sum(map(len, completion_ids)))
        return [reward(completion[0]["content"]) for completion in completions]

    torch.set_num_threads(spec["threads"])
    tokenizer = AutoTokenizer.from_pretrained(  # nosec B615 # a directory on this machine
        spec["directory"], trust_remote_code=False
    )
    for messages, ids in zip(spec["prompts"], spec["prompt_ids"], strict=True):
        found = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
        if found != ids:
            raise RedteamError(
                f"TRL would train {spec['model']!r} on other prompts than this library; compare "
                "them on a model whose chat template needs no options."
            )
    model = AutoModelForCausalLM.from_pretrained(  # nosec B615 # the same
        spec["directory"], dtype=torch.float32, trust_remote_code=False, use_safetensors=True
    )
    rows = spec["rows"]
    with tempfile.TemporaryDirectory() as folder:
        settings = TrlConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=spec["checkpointing"],
            per_device_train_batch_size=rows // spec["passes"],
            gradient_accumulation_steps=spec["passes"],
            num_generations=rows // len(spec["prompts"]),
            max_completion_length=spec["length"],
            generation_kwargs={"eos_token_id": [NEVER]},
            learning_rate=LR,
            beta=BETA,
            loss_type="grpo",
            max_steps=1_000_000,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = GRPOTrainer(
            model,
            reward_funcs=paid,
            args=settings,
            train_dataset=Dataset.from_list([{"prompt": x} for x in spec["prompts"]]),
            processing_class=tokenizer,
            peft_config=LoraConfig(
                r=spec["rank"],
                lora_alpha=2 * spec["rank"],
                target_modules="all-linear",
                task_type="CAUSAL_LM",
            ),
            callbacks=[Clock()],
        )
        trainer.eos_token_ids = [NEVER]
        trainer.train()


def reward(text: str) -> float:
    """Pay for different characters: something that costs nothing and differs between samples."""
    return float(len(set(text)))


def prompts(count: int, lead: str) -> list[Messages]:
    """Return prompts that share their instruction.

    Args:
        count: How many.
        lead: The instruction.
    """
    topics = itertools.cycle(TOPICS)
    return [
        [
            {"role": "system", "content": lead},
            {"role": "user", "content": f"Tell me in plain words, please, {next(topics)} ({k})."},
        ]
        for k in range(count)
    ]


def instruction(tokens: int) -> str:
    """Return an instruction of at least so many tokens in any usual vocabulary."""
    return " ".join(
        f"Rule {k}: answer kindly, shortly, in whole words." for k in range(-(-tokens // 9))
    )


def _each(prompts: Sequence[Messages], times: int) -> list[Messages]:
    return [messages for messages in prompts for _ in range(times)]
