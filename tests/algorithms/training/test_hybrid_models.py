"""Models with recurrent states beside attention train as others do."""

import pytest
import torch
from tiny_models import tiny_tokenizer
from training_fakes import metrics
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from algorithms.training.trainer import train
from redteam_env.cli.main import main

SHAPE = {
    "vocab_size": 264,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "bos_token_id": None,
    "eos_token_id": 258,
    "pad_token_id": 256,
    "initializer_range": 0.15,
}


@pytest.mark.parametrize("kind", ["qwen3_next", "qwen3_5_text"])
def test_case_12_a_hybrid_model_trains(kind, tiny_config, tmp_path):
    if kind not in CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {kind}")
    directory = tmp_path / "hybrid"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**SHAPE))
    model.save_pretrained(directory)
    tiny_tokenizer().save_pretrained(directory)
    assert main(["models", "get", str(directory)]) == 0
    assert train(tiny_config(model=str(directory))).finished
    assert len(metrics(tmp_path / "run")) == 2
