"""Pretraining: a small Qwen2 and its tokenizer with one token a word, for a controlled world, from nothing.

Supervised learning on the world's demonstrations, with the loss on the responses only. The result
is a directory that transformers loads like any Qwen2, with a card that says how it was made and
which gates it passed. Sizes and rates come from two trials on one CPU core.
"""

import dataclasses
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer
from transformers.utils import logging as transformers_logging

from agents.bounds import defence_bounds
from agents.rendering import CHATML
from agents.teaching import END, Batch, encode_texts, fit, padded
from redteam_env.evaluation import AgentPool, Rate
from redteam_env.game import RedteamError
from redteam_env.protocols import BASE, Progress
from redteam_env.randomness import integer_seed
from redteam_env.utils.files import LOCK, sha256_of, write_aside
from redteam_env.utils.locks import held
from redteam_env.utils.packages import versions
from redteam_env.worlds.apothecary import Corpus, Demonstration, World, WorldConfig, make_world
from redteam_env.worlds.apothecary.corpus import all_words, opening_words
from redteam_env.worlds.apothecary.gates import Gate, GateCheck
from redteam_env.worlds.apothecary.grammar import check_vocabulary
from redteam_env.worlds.apothecary.levels import APOTHECARY, versioned
from redteam_env.worlds.page import card_page
from redteam_env.worlds.pretraining import PretrainConfig

CARD = "card.json"
CARD_TEXT = "card.md"
SCHEMA = 1
PAD, START = "<|endoftext|>", "<|im_start|>"
CHAT_ROLES = ("system", "user", "assistant")
_STACK = ("redteam-env", "numpy", "torch", "transformers", "tokenizers", "safetensors")
_POOL = 16
_PARTS = 3
_MOST_TOKENS = 100_000


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


def build_tokenizer(world: World) -> Qwen2Tokenizer:
    """Return a tokenizer of Qwen2's own kind with one token for each word of a world.

    transformers and vLLM load the tokenizer of every Qwen2 as byte-level BPE with Qwen2's own
    splitting, whatever its file says; a word-level one would come back broken. So the merges are
    learned from the world's words until each of them, with the space before it, is one token; so
    are the words that a message begins with, without the space. Any other text falls into pieces
    and bytes, and nothing is lost.

    Args:
        world: The world.

    Returns:
        The tokenizer, with Qwen2.5's marks of turns in its chat template.
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = Qwen2Tokenizer().backend_tokenizer.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=_MOST_TOKENS,
        min_frequency=1,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    words = [f" {word}" for word in all_words(world)]
    core.train_from_iterator([*words, *opening_words(world), *CHAT_ROLES], trainer)
    learned = json.loads(core.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=learned["vocab"],
        merges=[tuple(pair) for pair in learned["merges"]],
        unk_token=PAD,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=[START],
    )
    tokenizer.chat_template = CHATML
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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(integer_seed((config.seed, "pretrain", "weights")))
        model = Qwen2ForCausalLM(shape)
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=pad)
    return model


def batches(world: World, tokenizer: Any, config: PretrainConfig) -> Iterator[list[Batch]]:
    """Return an endless stream of steps: parts of (ids, labels), each of rows of similar length.

    Rows of similar length need little padding, but a step of them alone would teach one kind of
    demonstration; so a step has several parts, drawn at random.
    """
    corpus = Corpus(world)
    practice = corpus.demonstrations(
        (config.seed, "pretrain", "practice"), rare_share=config.practised
    )
    after = corpus.demonstrations((config.seed, "pretrain", "corpus"))
    practised = round(config.practice * config.steps)
    order = torch.Generator().manual_seed(integer_seed((config.seed, "pretrain", "order")))
    rows = -(-config.batch // _PARTS)
    for start in itertools.count(step=_POOL):
        stream = practice if start < practised else after
        texts = [_turns(next(stream)) for _ in range(_POOL * _PARTS * rows)]
        pool = sorted(encode_texts(tokenizer, texts), key=lambda row: len(row[0]))
        for picks in torch.randperm(_POOL * _PARTS, generator=order).view(_POOL, _PARTS).tolist():
            parts = [pool[k * rows : (k + 1) * rows] for k in picks]
            yield [padded(part, tokenizer.pad_token_id) for part in parts]


def _turns(demonstration: Demonstration) -> tuple[str, str]:
    """Write a chat as the template does, which costs much less than rendering it."""
    turns = "".join(f"{START}{role}\n{text}{END}\n" for role, text in demonstration.messages)
    return f"{turns}{START}assistant\n", demonstration.response


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
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:
        raise RedteamError(f"Cannot read {str(file)!r}: {error}.") from error
    words = all_words(world)
    pieces = tokenizer.encode_batch([f" {word}" for word in words], add_special_tokens=False)
    known = {word for word, found in zip(words, pieces, strict=True) if len(found.ids) == 1}
    check_vocabulary(words, known, repr(str(directory)))


def pretrain(
    out: Path,
    world_config: WorldConfig,
    config: PretrainConfig,
    *,
    command: str,
    name: str = APOTHECARY,
    progress: Progress | None = None,
) -> Pretrained:
    """Make a base model with its card.

    Nothing is left behind if it is stopped: the directory appears when it is whole.

    Args:
        out: A directory that does not exist yet.
        world_config: The world.
        config: How.
        command: What was typed, for the card.
        name: The world's name, for the card.
        progress: Called as ``progress(phase, done, total)``.

    Returns:
        Where it is and what its gates say; a missed gate is no error here.

    Raises:
        RedteamError: If the directory exists, another process makes it, or it cannot be made.
    """
    if out.exists():
        raise RedteamError(f"{str(out)!r} exists; give another --out, or remove it.")
    with held(out.with_name(f".{out.name}{LOCK}")), write_aside(out, shared=True) as folder:
        world = make_world(world_config)
        tokenizer = build_tokenizer(world)
        model = build_model(config, tokenizer)
        figures = fit(model, batches(world, tokenizer, config), config, progress)
        _save(model, tokenizer, folder)
        gates = check_gates(
            folder, world_config, games=config.games, seed=config.seed, progress=progress
        )
        files = {file.name: sha256_of(file) for file in sorted(folder.iterdir())}
        size = sum(file.stat().st_size for file in folder.iterdir())
        card = {
            "schema": SCHEMA,
            "version": versioned(name),
            "world": dataclasses.asdict(world_config),
            "pretraining": dataclasses.asdict(config),
            "command": command,
            "parameters": sum(p.numel() for p in model.parameters()),
            "vocabulary": len(tokenizer),
            "bytes": size,
            **figures,
            "versions": versions(_STACK),
            "threads": torch.get_num_threads(),
            "files": files,
            "gates": [gate_row(gate) for gate in gates],
            "bounds": defence_bounds(folder, world, seed=config.seed, progress=progress),
        }
        write_card(folder, out.name, card)
    return Pretrained(directory=out, card=card, gates=gates)


def gate_row(gate: Gate) -> dict[str, Any]:
    """Return a gate as plain JSON, with its 95 % Wilson interval."""
    rate_ = Rate(k=gate.k, n=gate.n).to_json()
    limits = {"low": gate.low, "high": gate.high}
    return {"name": gate.name, **rate_, "limits": limits, "passed": gate.passed}


def write_card(directory: Path, name: str, card: dict[str, Any]) -> None:
    """Write ``card.json`` and the page that a reader sees."""
    (directory / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    (directory / CARD_TEXT).write_text(card_page(name, card), encoding="utf-8")


def _save(model: Qwen2ForCausalLM, tokenizer: Any, folder: Path) -> None:
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
    for file in folder.iterdir():
        file.chmod(0o644)
