"""A tiny random model, made once into the cache: what ``--scale tiny`` trains.

Its tokenizer knows bytes and the marks of Qwen's chat template, its weights are drawn from a seeded
generator. It says nothing of sense: it is there to find out whether a run works.
"""

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from redteam_env.game import RedteamError
from redteam_env.utils.files import write_aside
from redteam_env.utils.packages import CACHE_VARIABLE, cache_directory

TINY = "tiny-random"
VERSION = 1
"""Raised when the model changes."""
SEED = 0
CONTEXT = 4096
_PAD, _START, _END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def tiny_directory() -> Path:
    """Return where the model is, or would be, in the cache."""
    return cache_directory() / "models" / f"{TINY}-{VERSION}"


def get_tiny() -> Path:
    """Make the model, once.

    Returns:
        A directory that transformers loads.

    Raises:
        RedteamError: If it cannot be written.
    """
    target = tiny_directory()
    if target.is_dir():
        return target
    try:
        with write_aside(target, shared=True) as folder:
            tokenizer = _tokenizer()
            _model(tokenizer).save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except OSError as error:
        if not target.is_dir():  # another process may have finished first
            raise RedteamError(
                f"The model {TINY!r} cannot be written to {str(target)!r}: {error}. The environment variable "
                f"{CACHE_VARIABLE} names another place."
            ) from error
    return target


def _tokenizer() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={char: k for k, char in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(x, special=True) for x in (_PAD, _START, _END)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=_END, pad_token=_PAD)
    tokenizer.chat_template = _TEMPLATE
    return tokenizer


def _model(tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    config = Qwen2Config(
        vocab_size=264,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.15,
    )
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        return Qwen2ForCausalLM(config).eval()
