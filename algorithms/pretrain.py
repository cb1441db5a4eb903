"""Pretraining: a small Qwen2 and its word-level tokenizer for a controlled world, from nothing.

Supervised learning on the world's demonstrations, with the loss on the responses only. The result
is a directory that transformers loads like any Qwen2, with a card that says how it was made and
which gates it passed. Sizes and rates come from two trials on one CPU core.
"""

import dataclasses
import hashlib
import json
import math
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from redteam_env.evaluation import AgentPool, Rate
from redteam_env.game import RedteamError
from redteam_env.policies import BASE
from redteam_env.protocols import Progress
from redteam_env.randomness import integer_seed
from redteam_env.worlds.apothecary import Corpus, Demonstration, World, WorldConfig, make_world
from redteam_env.worlds.apothecary.corpus import all_words
from redteam_env.worlds.apothecary.gates import Gate, GateCheck
from redteam_env.worlds.apothecary.grammar import check_vocabulary

CARD = "card.json"
CARD_TEXT = "card.md"
SCHEMA = 1
UNKNOWN, PAD, START, END = "<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_ROLES = ("system", "user", "assistant")
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_STACK = ("redteam-env", "numpy", "torch", "transformers", "tokenizers", "safetensors")
_POOL = 16
_IGNORED = -100
_MAX_BYTES = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainConfig:
    """How the base model is made.

    Attributes:
        steps: Optimiser steps.
        batch: Demonstrations a step.
        lr: Highest learning rate of AdamW.
        warmup: Steps of linear warm-up; behind them the rate falls linearly to 0.
        weight_decay: Of AdamW, on matrices.
        hidden: Width of the model.
        layers: Its layers.
        intermediate: Width of its feed-forward layers.
        heads: Attention heads.
        games: Games behind each gate.
        seed: Seed of the weights, the demonstrations and the gates.
    """

    steps: int = 2400
    batch: int = 96
    lr: float = 3e-3
    warmup: int = 100
    weight_decay: float = 0.01
    hidden: int = 96
    layers: int = 3
    intermediate: int = 288
    heads: int = 4
    games: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "hidden", "layers", "intermediate", "heads", "games"):
            if getattr(self, name) < 1:
                raise RedteamError(f"{name} is {getattr(self, name)}; give at least 1.")
        if self.hidden % (2 * self.heads):
            raise RedteamError(
                f"hidden = {self.hidden} cannot be divided into {self.heads} heads of even width."
            )
        for name in ("lr", "weight_decay", "warmup"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise RedteamError(f"{name} is {value}; give a number of at least 0.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrained:
    """What a pretraining run made.

    Attributes:
        directory: Model, tokenizer and card.
        card: The card.
        gates: The gates.
    """

    directory: Path
    card: dict[str, Any]
    gates: tuple[Gate, ...]

    @property
    def passed(self) -> bool:
        """Whether every gate was passed."""
        return all(gate.passed for gate in self.gates)


def build_tokenizer(world: World) -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token for each word of a world.

    Words are separated by white space. A word that it lacks becomes ``<unk>``, which is an ordinary
    token and not a control token, so that nobody's unknown words vanish from a chat.

    Args:
        world: The world.

    Returns:
        The tokenizer, with Qwen2.5's marks of turns in its chat template.
    """
    words = (UNKNOWN, *sorted({*all_words(world), *CHAT_ROLES}))
    core = Tokenizer(models.WordLevel({w: k for k, w in enumerate(words)}, unk_token=UNKNOWN))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.add_special_tokens([AddedToken(text, special=True) for text in (PAD, START, END)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=END, pad_token=PAD)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def build_model(config: PretrainConfig, tokenizer: Any) -> Qwen2ForCausalLM:
    """Return a fresh model with weights that depend on the seed only."""
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    shape = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden,
        intermediate_size=config.intermediate,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.04,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=pad,
    )
    with torch.random.fork_rng():
        torch.manual_seed(integer_seed((config.seed, "pretrain", "weights")))
        model = Qwen2ForCausalLM(shape)
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=pad)
    return model


def encode(tokenizer: Any, demonstration: Demonstration) -> tuple[list[int], int]:
    """Return a demonstration as token ids and the number of those that are prompt."""
    messages = [{"role": role, "content": text} for role, text in demonstration.messages]
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return _encode_texts(tokenizer, [(prompt, demonstration.response)])[0]


def _encode_texts(tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[int], int]]:
    texts = [text for prompt, response in pairs for text in (prompt, response + END)]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return [(ids[k] + ids[k + 1], len(ids[k])) for k in range(0, len(ids), 2)]


def batches(
    world: World, tokenizer: Any, config: PretrainConfig
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Return an endless stream of (ids, labels); rows of similar length share a batch."""
    stream = Corpus(world).demonstrations((config.seed, "pretrain", "corpus"))
    order = torch.Generator().manual_seed(integer_seed((config.seed, "pretrain", "order")))
    while True:
        rows = [_turns(next(stream)) for _ in range(_POOL * config.batch)]
        pool = sorted(_encode_texts(tokenizer, rows), key=lambda row: len(row[0]))
        for k in torch.randperm(_POOL, generator=order).tolist():
            yield _padded(pool[k * config.batch : (k + 1) * config.batch], tokenizer.pad_token_id)


def _turns(demonstration: Demonstration) -> tuple[str, str]:
    """Write a chat as the template does, which costs much less than rendering it."""
    turns = "".join(f"{START}{role}\n{text}{END}\n" for role, text in demonstration.messages)
    return f"{turns}{START}assistant\n", demonstration.response


def _padded(rows: Sequence[tuple[list[int], int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), width), pad)
    labels = torch.full((len(rows), width), _IGNORED)
    for k, (row, prompt) in enumerate(rows):
        ids[k, : len(row)] = torch.tensor(row)
        labels[k, prompt : len(row)] = torch.tensor(row[prompt:])
    return ids, labels


def fit(
    model: Qwen2ForCausalLM,
    data: Iterator[tuple[torch.Tensor, torch.Tensor]],
    config: PretrainConfig,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Train a model.

    Padding stands behind the text, where causal attention never looks, so it needs no mask.

    Args:
        model: The model, changed in place.
        data: Batches of ids and labels.
        config: Steps and rates.
        progress: Called as ``progress(phase, done, total)``.

    Returns:
        ``tokens`` seen (without padding before the loss is masked), ``loss`` over the last
        twentieth of the steps (nats a token), ``seconds``.
    """
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others}],
        lr=config.lr,
        betas=(0.9, 0.98),
        weight_decay=0.0,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate(step, config))
    model.train()
    started, tokens, losses = time.monotonic(), 0, []
    for step in range(config.steps):
        ids, labels = next(data)
        hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
        wanted = labels[:, 1:] != _IGNORED
        loss = torch.nn.functional.cross_entropy(
            model.lm_head(hidden[wanted]), labels[:, 1:][wanted]
        )
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        tokens += ids.numel()
        losses.append(loss.item())
        if progress:
            progress(f"pretraining, loss {losses[-1]:.3f}", step + 1, config.steps)
    model.eval()
    last = losses[-max(1, config.steps // 20) :]
    return {
        "tokens": tokens,
        "loss": sum(last) / len(last),
        "seconds": time.monotonic() - started,
    }


def rate(step: int, config: PretrainConfig) -> float:
    """Return the factor on the learning rate: linear warm-up, then linear decay to 0."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    return max(0.0, (config.steps - step) / max(1, config.steps - config.warmup))


def check_gates(
    directory: Path, config: WorldConfig, *, games: int, seed: int, progress: Progress | None = None
) -> tuple[Gate, ...]:
    """Play the games behind the gates with a saved model, at temperature 1.

    Args:
        directory: A model directory.
        config: The world.
        games: Games behind each gate.
        seed: Seed of everything random in them.
        progress: Called as ``progress(phase, done, total)``.

    Returns:
        The gates.

    Raises:
        RedteamError: If the model cannot be loaded or its tokenizer lacks a word of the world.
    """
    world = make_world(config)
    check_tokenizer(directory, world)
    pool = AgentPool(base=str(directory), max_new_tokens=48, temperature=1.0)
    attacker, defender = pool.agent(BASE, "attacker"), pool.agent(BASE, "defender")
    return GateCheck(world, attacker, defender, games=games, seed=seed).run(progress)


def check_tokenizer(directory: Path, world: World) -> None:
    """Refuse a model whose tokenizer lacks a word of a world.

    Raises:
        RedteamError: If it does, or there is no tokenizer; the text names the first missing word.
    """
    file = directory / "tokenizer.json"
    try:
        known = Tokenizer.from_file(str(file)).get_vocab()
    except Exception as error:  # tokenizers raises plain Exception
        raise RedteamError(f"Cannot read {str(file)!r}: {error}.") from error
    check_vocabulary(all_words(world), known, repr(str(directory)))


def pretrain(
    out: Path,
    world_config: WorldConfig,
    config: PretrainConfig,
    *,
    command: str,
    progress: Progress | None = None,
) -> Pretrained:
    """Make a base model with its card.

    Nothing is left behind if it is stopped: the directory appears when it is whole.

    Args:
        out: A directory that does not exist yet.
        world_config: The world.
        config: How.
        command: What was typed, for the card.
        progress: Called as ``progress(phase, done, total)``.

    Returns:
        Where it is and what its gates say; a missed gate is no error here.

    Raises:
        RedteamError: If the directory exists.
    """
    if out.exists():
        raise RedteamError(f"{str(out)!r} exists; give another --out, or remove it.")
    world = make_world(world_config)
    tokenizer = build_tokenizer(world)
    model = build_model(config, tokenizer)
    figures = fit(model, batches(world, tokenizer, config), config, progress)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        gates = check_gates(
            folder, world_config, games=config.games, seed=config.seed, progress=progress
        )
        files = {file.name: _sha256(file) for file in sorted(folder.iterdir())}
        size = sum(file.stat().st_size for file in folder.iterdir())
        card = {
            "schema": SCHEMA,
            "world": dataclasses.asdict(world_config),
            "pretraining": dataclasses.asdict(config),
            "command": command,
            "parameters": sum(p.numel() for p in model.parameters()),
            "vocabulary": len(tokenizer),
            "bytes": size,
            **figures,
            "versions": _versions(),
            "threads": torch.get_num_threads(),
            "files": files,
            "gates": [gate_row(gate) for gate in gates],
        }
        write_card(folder, out.name, card)
        folder.chmod(0o755)
        folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Pretrained(directory=out, card=card, gates=gates)


def gate_row(gate: Gate) -> dict[str, Any]:
    """Return a gate as plain JSON, with its 95 % Wilson interval."""
    rate_ = Rate(k=gate.k, n=gate.n).to_json()
    limits = {"low": gate.low, "high": gate.high}
    return {"name": gate.name, **rate_, "limits": limits, "passed": gate.passed}


def write_card(directory: Path, name: str, card: dict[str, Any]) -> None:
    """Write ``card.json`` and the page that a reader sees."""
    (directory / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    lines = [
        f"# {name}",
        "",
        "The base model of the controlled world `apothecary`: a Qwen2 pretrained on its generated "
        "demonstrations. All substances are invented; it knows nothing else.",
        "",
        f"- made by `{card['command']}` in {card['seconds']:.0f} s on {card['threads']} CPU "
        f"thread(s), {card['tokens']:.3g} tokens, last loss {card['loss']:.3f} nats",
        f"- {card['parameters']:,} parameters, {card['vocabulary']} words, "
        f"{card['bytes'] / 1e6:.1f} MB",
        "- configuration, versions and SHA-256 of the files: `card.json`",
        "",
        "Gates, at temperature 1, with 95 % Wilson intervals:",
        "",
        "| gate | wanted | rate | interval | n | |",
        "|---|---|---|---|---|---|",
        *(_gate_line(row) for row in card["gates"]),
        "",
    ]
    (directory / CARD_TEXT).write_text("\n".join(lines), encoding="utf-8")


def limits_text(low: float, high: float) -> str:
    """Return a gate's limits in a few characters."""
    if (low, high) == (0.0, 1.0):
        return "-"
    if high == 1.0:
        return f">= {low:.2f}"
    return f"<= {high:.2f}" if low == 0.0 else f"{low:.2f} to {high:.2f}"


def _gate_line(row: dict[str, Any]) -> str:
    low, high = row["interval"]
    wanted = limits_text(row["limits"]["low"], row["limits"]["high"])
    mark = "passed" if row["passed"] else "MISSED"
    mark = "reported" if wanted == "-" else mark
    value = "-" if row["rate"] is None else f"{row['rate']:.3f}"
    return f"| {row['name']} | {wanted} | {value} | {low:.3f} to {high:.3f} | {row['n']} | {mark} |"


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in _STACK:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found
