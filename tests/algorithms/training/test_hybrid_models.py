"""Models with recurrent states beside attention train as others do."""

import pytest
import torch
from tiny_models import tiny_tokenizer
from tiny_shapes import DELTA, EXPERTS, SHAPE
from training_fakes import metrics
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from algorithms.training.trainer import train
from redteam_env.cli.main import main


@pytest.mark.parametrize("kind", ["qwen3_next", "qwen3_5_text"])
def test_case_12_a_hybrid_model_trains(kind, tiny_config, tmp_path):
    if kind not in CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {kind}")
    directory = tmp_path / "hybrid"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**SHAPE, **EXPERTS, **DELTA))
    model.save_pretrained(directory)
    tiny_tokenizer().save_pretrained(directory)
    assert main(["models", "get", str(directory)]) == 0
    assert train(tiny_config(model=str(directory))).finished
    assert len(metrics(tmp_path / "run")) == 2
