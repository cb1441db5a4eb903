"""Supervised learning on a world's demonstrations, with the loss on the responses only."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import Qwen2ForCausalLM

from redteam_env.protocols import Progress
from redteam_env.worlds.apothecary import Demonstration
from redteam_env.worlds.pretraining import PretrainConfig

END = "<|im_end|>"
_IGNORED = -100

Batch = tuple[torch.Tensor, torch.Tensor]


def encode(tokenizer: Any, demonstration: Demonstration) -> tuple[list[int], int]:
    """Return a demonstration as token ids and the number of those that are prompt."""
    messages = [{"role": role, "content": text} for role, text in demonstration.messages]
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return encode_texts(tokenizer, [(prompt, demonstration.response)])[0]


def encode_texts(tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[int], int]]:
    """Return prompts with their responses as token ids, each with the number that are prompt."""
    texts = [text for prompt, response in pairs for text in (prompt, response + END)]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return [(ids[k] + ids[k + 1], len(ids[k])) for k in range(0, len(ids), 2)]


def padded(rows: Sequence[tuple[list[int], int]], pad: int) -> Batch:
    """Return rows of ids, each with the number of those that are prompt, as ids and labels."""
    width = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), width), pad)
    labels = torch.full((len(rows), width), _IGNORED)
    for k, (row, prompt) in enumerate(rows):
        ids[k, : len(row)] = torch.tensor(row)
        labels[k, prompt : len(row)] = torch.tensor(row[prompt:])
    return ids, labels


def fit(
    model: Qwen2ForCausalLM,
    data: Iterator[list[Batch]],
    config: PretrainConfig,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Train a model.

    Padding stands behind the text, where causal attention never looks, so it needs no mask.

    Args:
        model: The model, changed in place.
        data: For each step, parts of ids and labels.
        config: Steps and rates.
        progress: Called as ``progress(phase, done, total)``.

    Returns:
        ``tokens`` seen, padding included; mean ``loss`` over the last twentieth of the steps (nats
        for each token of a response); ``seconds`` by the clock and ``cpu_seconds`` of this process.
    """
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others},
    ]
    optimiser = torch.optim.AdamW(
        groups,
        lr=config.lr,
        betas=(0.9, 0.98),
        weight_decay=0.0,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate(step, config))
    model.train()
    started, worked = time.monotonic(), time.process_time()
    tokens = 0
    losses: list[float] = []
    for step in range(config.steps):
        parts = next(data)
        counted = sum(int((labels[:, 1:] != _IGNORED).sum()) for _, labels in parts)
        optimiser.zero_grad()
        losses.append(0.0)
        for ids, labels in parts:
            hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
            wanted = labels[:, 1:] != _IGNORED
            loss = torch.nn.functional.cross_entropy(
                model.lm_head(hidden[wanted]), labels[:, 1:][wanted], reduction="sum"
            )
            (loss / counted).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            losses[-1] += loss.item() / counted
            tokens += ids.numel()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if progress:
            progress(f"pretraining, loss {losses[-1]:.3f}", step + 1, config.steps)
    model.eval()
    last = losses[-max(1, config.steps // 20) :]
    return {
        "tokens": tokens,
        "loss": sum(last) / len(last),
        "seconds": time.monotonic() - started,
        "cpu_seconds": time.process_time() - worked,
    }


def rate(step: int, config: PretrainConfig) -> float:
    """Return the factor on the learning rate: linear warm-up, then linear decay to 0."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    return max(0.0, (config.steps - step) / max(1, config.steps - config.warmup))
