"""Which architectures carry the game: their log-probabilities are transformers' own, or they are refused.

Tiny random models of many architectures of the installed transformers: hybrid ones with recurrent states
or short convolutions, windowed ones, plain ones. What is accepted samples, scores and learns with the
numbers of plain passes over whole rows, through padding, caches and shared prompts.
"""

import dataclasses

import numpy as np
import pytest
import torch
from tiny_models import completions, tiny_tokenizer
from tiny_shapes import DELTA, EXPERTS, SHAPE
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM

from agents.lora import hf, leads, probe
from agents.lora.config import PolicyConfig
from agents.lora.policy import LoraPolicy
from agents.lora.probe import check_model
from agents.models import LoadedModel, fingerprint
from redteam_env.game import RedteamError

OLDER = {"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 512}
MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1}
LATENT = {
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "num_key_value_heads": 4,
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}
WINDOW = {"sliding_window": 6}
TURNS = ["sliding_attention", "full_attention"] * 2
CONVOLUTIONS = ["conv", "full_attention"] * 2

ACCEPTED = {
    "apertus": {},
    "arcee": {},
    "bamba": {**MAMBA, "attn_layer_indices": [1, 3]},
    "cohere": {},
    "cohere2": {**WINDOW, "sliding_window_pattern": 2},
    "deepseek_v3": {**EXPERTS, **LATENT},
    "falcon_h1": {**MAMBA, "mamba_d_ssm": 64, "targets": "q_proj,v_proj"},
    "gemma": {},
    "gemma2": {**WINDOW, "query_pre_attn_scalar": 8},
    "gemma3_text": {**WINDOW, "sliding_window_pattern": 2, "query_pre_attn_scalar": 8},
    "glm": {},
    "glm4": {},
    "gpt2": OLDER,
    "gpt_neo": {
        "num_layers": 4,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 2]],
        "window_size": 6,
    },
    "gpt_neox": {},
    "gpt_oss": {**WINDOW, "num_local_experts": 4, "num_experts_per_tok": 2, "layer_types": TURNS},
    "granite": {},
    "granitemoe": {"num_local_experts": 4},
    "granitemoehybrid": {
        **MAMBA,
        "layer_types": ["mamba", "attention"] * 2,
        "num_local_experts": 4,
        "shared_intermediate_size": 32,
    },
    "helium": {},
    "jamba": {
        "mamba_d_state": 8,
        "mamba_dt_rank": 4,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "num_experts": 2,
        "num_experts_per_tok": 1,
        "use_mamba_kernels": False,
        "targets": "q_proj,v_proj",
    },
    "lfm2": {"block_ff_dim": 64, "block_multiple_of": 8, "layer_types": CONVOLUTIONS},
    "llama": {},
    "mistral": {"sliding_window": None},
    "mistral windows": WINDOW,
    "mixtral": {"sliding_window": None, "num_local_experts": 4},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 4},
    "olmo": {},
    "olmo2": {},
    "olmo3": WINDOW,
    "olmo_hybrid": DELTA,
    "phi": {},
    "phi3": {"sliding_window": None},
    "phi3 windows": WINDOW,
    "qwen2": {},
    "qwen2 windows": {**WINDOW, "use_sliding_window": True, "max_window_layers": 2},
    "qwen2_moe": EXPERTS,
    "qwen3": {},
    "qwen3_moe": EXPERTS,
    "qwen3_next": {**DELTA, **EXPERTS},
    "qwen3_5_text": DELTA,
    "qwen3_5_moe_text": {**DELTA, **EXPERTS},
    "seed_oss": {},
    "smollm3": {},
    "stablelm": {},
    "starcoder2": {"sliding_window": None},
}
STATE = {"state_size": 8, "time_step_rank": 4, "targets": "in_proj"}
REFUSED = {
    "falcon_mamba": (STATE, "off by"),
    "mamba": (STATE, "off by"),
    "minimax": (
        {"num_local_experts": 2, "layer_types": ["linear_attention", "full_attention"] * 2},
        "cache of its own",
    ),
    "recurrent_gemma": (
        {
            "attention_window_size": 6,
            "lru_width": 32,
            "block_types": ["recurrent", "recurrent", "attention"],
        },
        "off by",
    ),
    "rwkv": ({"attention_hidden_size": 32}, "off by"),
}


def load(name: str, **options) -> tuple[LoadedModel, PolicyConfig]:
    """Return a tiny random model of an architecture with norms and biases that matter."""
    kind = name.partition(" ")[0]
    if kind not in CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {kind}")
    targets = options.pop("targets", "all-linear")
    config = AutoConfig.for_model(kind, **{**SHAPE, **options})
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_config(config).eval()
        with torch.no_grad():
            for key, tensor in model.named_parameters():
                if tensor.dim() == 1 and not key.endswith("A_log"):
                    tensor.add_(0.1 * torch.randn(tensor.shape))
    model.requires_grad_(requires_grad=False)
    base = LoadedModel(
        spec=f"tiny {name}",
        model=model,
        tokenizer=tiny_tokenizer(),
        fingerprint=fingerprint(model),
        stop_ids=(258,),
    )
    return base, PolicyConfig(
        arrangement="shared", model="tiny", rank=4, targets=targets, max_new_tokens=6, device="cpu"
    )


def plain(model, prompt, completion):
    """Return log-probabilities of a completion from one pass of transformers over the whole row."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*prompt, *completion]]), use_cache=False).logits
    logprobs = logits[0, len(prompt) - 1 : -1].double().log_softmax(-1)
    return logprobs.gather(-1, torch.tensor(completion)[:, None])[:, 0].tolist()


@pytest.fixture(scope="module")
def prompts():
    """Prompts of unequal lengths, longer than the windows, some equal, with a common beginning."""
    rng = np.random.default_rng(0)
    lead = rng.integers(0, 256, size=9).tolist()
    distinct = [lead + rng.integers(0, 256, size=n).tolist() for n in (1, 12, 4, 20)]
    return [*distinct, distinct[1], distinct[2]]


@pytest.mark.parametrize("name", ACCEPTED)
def test_logprobs_are_those_of_plain_passes_through_padding_caches_and_shared_prompts(
    name, prompts, monkeypatch
):
    base, config = load(name, **ACCEPTED[name])
    model = base.model
    check_model(base, config)
    draws = np.random.default_rng(1).random((len(prompts), 10))
    rows = completions(prompts)
    for worth in (10**9, 1):
        monkeypatch.setattr(leads, "WORTH", worth)
        sampled = hf.sample(model, prompts, draws, stop_ids=range(60), pad_id=256, temperature=1.0)
        for prompt, row in zip(prompts, sampled, strict=True):
            assert row.logprobs == pytest.approx(plain(model, prompt, row.ids), abs=2e-4)
        scored = hf.completion_logprobs(model, rows, pad_id=256).logprobs.tolist()
        for row, found in zip(rows, scored, strict=True):
            wanted = plain(model, row.prompt_ids, row.completion_ids)
            assert found[: len(wanted)] == pytest.approx(wanted, abs=2e-4)
        opened = hf.opening_logprobs(model, prompts, [7], pad_id=256)
        wanted = [plain(model, prompt, [7])[0] for prompt in prompts]
        assert opened == pytest.approx(wanted, abs=2e-4)


@pytest.mark.parametrize("name", ACCEPTED)
def test_an_accepted_architecture_plays_and_learns(name, requests):
    base, config = load(name, **ACCEPTED[name])
    policy = LoraPolicy(config, base, seed=0)
    replies = policy.agent("attacker").act(requests(3))
    generations = [reply.generation for reply in replies]
    before = policy.logprobs("attacker", generations)
    for row, generation in zip(before.logprobs.tolist(), generations, strict=True):
        assert row[: len(generation.logprobs)] == pytest.approx(generation.logprobs, abs=2e-4)
    parameters = policy.parameters("shared")
    optimiser = torch.optim.Adam(parameters, lr=1e-3)
    (-before.logprobs.sum()).backward()
    optimiser.step()
    policy.publish("shared")
    after = policy.logprobs("attacker", generations).logprobs.sum()
    assert after > before.logprobs.sum()
    played = [reply.generation for reply in policy.agent("attacker").act(requests(3))]
    with policy.store.using("shared") as model:
        for turn in played:
            wanted = plain(model, turn.prompt_ids, turn.completion_ids)
            assert turn.logprobs == pytest.approx(wanted, abs=2e-4)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_architecture_that_would_play_from_another_distribution_is_refused(name, dtype):
    options, cause = REFUSED[name]
    base, config = load(name, **options)
    base = dataclasses.replace(base, model=base.model.to(dtype))
    for trained in (config, None):
        with pytest.raises(RedteamError, match=rf"'tiny {name}' \(\w+\).*{cause}") as caught:
            check_model(base, trained)
        assert "\n" not in str(caught.value)


def test_prompts_are_shared_only_where_this_file_compares_them():
    kinds = {name for name, options in ACCEPTED.items() if "sliding_window" not in options}
    windowless = {name for name, options in ACCEPTED.items() if not options.get("sliding_window")}
    assert kinds | windowless >= leads.SHARING


@pytest.mark.parametrize("arrangement", ["shared", "shared_full"])
def test_the_probe_leaves_the_model_as_it_was_and_is_made_once(arrangement, monkeypatch):
    base, config = load("gemma2", **ACCEPTED["gemma2"])
    base = dataclasses.replace(base, model=base.model.to(torch.bfloat16), fingerprint="its own")
    config = dataclasses.replace(config, arrangement=arrangement)
    before = {key: tensor.clone() for key, tensor in base.model.state_dict().items()}
    tree = [(key, type(module)) for key, module in base.model.named_modules()]
    settings = base.model.config.to_dict()
    calls = []
    kept = probe._fault
    monkeypatch.setattr(probe, "_fault", lambda *a, **k: calls.append(k) or kept(*a, **k))
    drawn = torch.get_rng_state()
    check_model(base, config)
    check_model(base, config)
    assert torch.equal(drawn, torch.get_rng_state())
    assert len(calls) == 1, "the small copy was enough, and enough once"
    assert tree == [(key, type(module)) for key, module in base.model.named_modules()]
    assert settings == base.model.config.to_dict()
    after = base.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any(tensor.requires_grad for tensor in base.model.parameters())
    assert all(tensor.grad is None for tensor in base.model.parameters())


def test_logits_that_are_no_numbers_are_refused_by_the_probe():
    base, config = load("llama")
    model = base.model
    model.model.norm.weight.data[3] = float("inf")
    base = dataclasses.replace(base, fingerprint=fingerprint(model))
    with pytest.raises(RedteamError, match=r"'tiny llama' .*NaN"):
        check_model(base, config)


def test_layers_that_carry_no_adapter_are_told_from_a_model_that_cannot_play():
    options = {"num_local_experts": 2, "intermediate_size_mlp": 64}
    base, config = load("llama4_text", **options)
    with pytest.raises(RedteamError, match=r"other layers .*targets = 'all-linear': q_proj,v_proj"):
        check_model(base, config)
    check_model(base, dataclasses.replace(config, targets="q_proj,v_proj"))
