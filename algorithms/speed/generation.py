"""Sampling beside transformers' ``generate``: ``speed --part generation``."""

import dataclasses
import statistics
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from algorithms.speed.limits import clock, decoding_seconds, machine_rates, sizes
from algorithms.speed.policy import NEVER, endless_policy
from algorithms.speed.rows import Measured, SpeedConfig
from algorithms.speed.worker import Turns, side
from redteam_env.protocols import BASE, Progress
from redteam_env.worlds.embedded import MODELS

PART = "generation"
EMBEDDED = next(iter(MODELS))
_OWN = 24
_CALLS = 4
"""Rows of a small batch, one batch after the other: what they share is there to be used."""
_WEIGHTS = {"adapter": "attacker", "base": BASE}


def generations(spec: Mapping[str, Any], turns: Turns) -> None:
    """Sample on both sides of a comparison in one process, in turns.

    Each piece of work is one batch size with one length of the shared lead, once with a LoRA adapter
    (PEFT's on transformers' side) and once with the plain base.
    """
    policy = endless_policy(spec, arrangement="attacker_only", length=spec["sampled"])
    base = policy.store.base.model
    theirs = _theirs(base.name_or_path, spec["rank"])
    _disturb(policy.parameters("attacker"))
    weights = sizes(theirs[BASE])
    agent = policy.agent("attacker")
    for rows, lead in spec["cases"]:
        backend = dataclasses.replace(agent.backend, batch=rows)
        prompts = _prompts(base.config.get_text_config().vocab_size, max(rows, _CALLS), lead)
        steps = spec["sampled"]
        found: dict[str, dict[str, list[float]]] = {
            kind: {"ours": [], "theirs": []} for kind in _WEIGHTS
        }
        turns.begin()
        for lap in range(spec["repeats"]):
            paths = [("speed", lap, k) for k in range(len(prompts))]
            options = {"max_new_tokens": steps, "temperature": 1.0}
            for kind, name in _WEIGHTS.items():
                ours = partial(backend.generate, name, prompts, paths, **options)
                found[kind]["ours"].append(_timed(ours, spec["threads"]))
                other = partial(_generate, theirs[name], prompts, rows, steps)
                found[kind]["theirs"].append(_timed(other, spec["threads"]))
        medians = {
            kind: {name: statistics.median(times) for name, times in both.items()}
            for kind, both in found.items()
        }
        turns.end(
            times=medians,
            tokens=len(prompts) * steps,
            batches=-(-len(prompts) // rows),
            weights=weights,
        )


def _prompts(words: int, count: int, lead: int) -> list[tuple[int, ...]]:
    rng = np.random.default_rng(0)
    shared = rng.integers(words, size=lead).tolist()
    return [tuple(shared + rng.integers(words, size=_OWN).tolist()) for _ in range(count)]


def _theirs(directory: str, rank: int) -> dict[str, Any]:
    """Return transformers' model plain, and with an adapter of PEFT's on it."""
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415 - not to be imported by the parent
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - the same

    plain, adapted = (
        AutoModelForCausalLM.from_pretrained(  # nosec B615 # a directory on this machine
            directory, dtype=torch.float32, trust_remote_code=False, use_safetensors=True
        ).eval()
        for _ in range(2)
    )
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = get_peft_model(adapted, config).eval()
    _disturb([x for name, x in adapted.named_parameters() if "lora_" in name])
    return {BASE: plain, "attacker": adapted}


def _disturb(tensors: Sequence[torch.Tensor]) -> None:
    with torch.no_grad():
        for tensor in tensors:
            tensor.add_(0.001)


def _generate(model: Any, prompts: Sequence[tuple[int, ...]], rows: int, steps: int) -> None:
    for start in range(0, len(prompts), rows):
        ids = torch.tensor(prompts[start : start + rows])
        model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=steps,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            eos_token_id=[NEVER],
            pad_token_id=0,
        )


def _timed(work: Callable[[], Any], threads: int) -> float:
    now = clock(threads)
    started = now()
    work()
    return now() - started


def measure(options: SpeedConfig, progress: Progress) -> Iterable[Measured]:
    """Measure both models at all batch sizes, with and without a long shared lead.

    Args:
        options: The sizes.
        progress: Called as ``progress(phase, done, total)``.

    Yields:
        Ratios of transformers' time to ours, more is better; and the share of the least possible
        time of decoding that ours reaches.
    """
    cases = [(rows, lead) for lead in (0, options.lead) for rows in options.batches]
    models = list(dict.fromkeys((options.model, EMBEDDED)))
    common = {"threads": options.threads, "rank": options.rank, "sampled": options.sampled}
    with side("the machine's rates", machine_rates, common) as machine:
        rates = machine.lap().facts
    for number, model in enumerate(models):
        spec = {**common, "model": model, "repeats": options.repeats, "cases": cases}
        with side(f"generation with {model}", generations, spec) as one:
            for k, (rows, lead) in enumerate(cases):
                phase = f"{model}, batch {rows}" + f", {lead} shared" * (lead > 0)
                progress(phase, number * len(cases) + k, len(models) * len(cases))
                found = one.lap().facts
                yield from _rows(phase, lead, found)
                if not lead:
                    least = decoding_seconds(
                        found["weights"],
                        rates,
                        rows=rows,
                        steps=options.sampled * found["batches"],
                    )
                    reached = least / found["times"]["adapter"]["ours"]
                    what = f"{phase}: share of the least time of decoding"
                    yield Measured(what=what, value=reached, more=True, part=PART)


def _rows(phase: str, lead: int, found: Mapping[str, Any]) -> list[Measured]:
    rows = []
    for kind, times in found["times"].items():
        rows.append(
            Measured(
                what=f"{phase}, {kind}: time of generate / ours",
                value=times["theirs"] / times["ours"],
                budget=1.5 if lead else 1.0,
                more=True,
                part=PART,
            )
        )
    ours = found["times"]["adapter"]["ours"]
    speed = Measured(
        what=f"{phase}, adapter: ours",
        value=found["tokens"] / ours,
        unit="tokens/s",
        more=True,
        part=PART,
    )
    return [*rows, speed]
