"""Tiny random models with real tokenizers and chat templates, made in a second on the CPU."""

from pathlib import Path

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from redteam_env.game import Generation

QWEN = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SMOLLM = (
    "{% for m in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are helpful.<|im_end|>\\n' }}{% endif %}"
    "{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + "
    "'<|end_header_id|>\\n\\n' + m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
    "{% endif %}"
)
NO_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}"
    "{% endif %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SPECIAL = {
    "qwen": (QWEN, ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), None, "<|im_end|>"),
    "smollm": (
        SMOLLM,
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        "<|im_start|>",
        "<|im_end|>",
    ),
    "llama3": (
        LLAMA3,
        ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|begin_of_text|>",
        "<|eot_id|>",
    ),
    "no_system": (
        NO_SYSTEM,
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        None,
        "<|im_end|>",
    ),
}


def tiny_tokenizer(style: str = "qwen") -> PreTrainedTokenizerFast:
    """A byte-level tokenizer (every byte is a token) with a chat template of the given style."""
    template, special, bos, eos = SPECIAL[style]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={char: k for k, char in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(text, special=True) for text in special])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=bos, eos_token=eos, pad_token=special[0]
    )
    tokenizer.chat_template = template
    return tokenizer


def tiny_qwen(
    seed: int = 0, *, layers: int = 2, hidden: int = 32, scale: float = 0.02, tied: bool = True
) -> Qwen2ForCausalLM:
    """A random Qwen2 of a few thousand parameters.

    ``scale`` is the spread of its initial weights: at transformers' 0.02 its output is all but
    uniform and stays so (the embeddings that bound the logits are frozen); at 0.3 it has opinions
    and can learn new ones.
    """
    config = Qwen2Config(
        vocab_size=264,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=tied,
        bos_token_id=None,
        eos_token_id=258,
        initializer_range=scale,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Qwen2ForCausalLM(config).eval()


def save_tiny(directory: Path, seed: int = 0, style: str = "qwen", **shape: float) -> Path:
    """Write a tiny model with its tokenizer as transformers does; returns the directory."""
    tiny_qwen(seed, **shape).save_pretrained(directory)
    tiny_tokenizer(style).save_pretrained(directory)
    return directory


def save_prompts(directory: Path) -> Path:
    """Write instruction texts of a few bytes, since every byte is a token here."""
    directory.mkdir(parents=True, exist_ok=True)
    texts = {
        "attacker_harmful": "Rewrite, harmful.",
        "attacker_benign": "Rewrite, benign.",
        "attacker_request": "Seed: {seed}",
        "defender": "Answer.",
        "thinking": "Think.",
    }
    for name, text in texts.items():
        (directory / f"{name}.txt").write_text(text)
    return directory


def completions(prompts) -> list[Generation]:
    """Return a random completion of a few tokens for each prompt, the same each time."""
    rng = np.random.default_rng(4)
    sizes = rng.integers(1, 12, size=len(prompts))
    return [
        Generation(
            prompt_ids=tuple(prompt),
            completion_ids=tuple(rng.integers(0, 256, size=n).tolist()),
            logprobs=(0.0,) * int(n),
            adapter="base",
            version=0,
            temperature=1.0,
            finished=True,
        )
        for prompt, n in zip(prompts, sizes, strict=True)
    ]
