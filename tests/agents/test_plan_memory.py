"""The arithmetic of memory against the tensors that autograd saves, and its own laws."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny_tokenizer
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

from agents.lora import store
from agents.lora.config import PolicyConfig
from agents.lora.policy import LoraPolicy
from agents.models import LoadedModel
from agents.plan import passes
from agents.plan.configs import parse_shape, shape_of
from agents.plan.fit import GPUS, fits, memory_of, smallest_gpu, suggest
from agents.plan.memory import Batch, count, predict
from agents.plan.parameters import adapted_layers
from agents.plan.passes import Passes
from redteam_env.game import Generation, RedteamError

ROWS, PROMPT, COMPLETION = 4, 30, 12
BATCH = Batch(prompt_tokens=512, new_tokens=64, generation_batch=32, rows=4)
QWEN = shape_of("Qwen/Qwen2.5-14B-Instruct")
ARRANGEMENTS = ("shared", "bipolicy", "shared_full", "independent", "attacker_only")


def made(family, dtype, kv_heads):
    config = {"qwen2": Qwen2Config, "qwen3": Qwen3Config, "llama": LlamaConfig}[family](
        vocab_size=300,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=kv_heads,
        head_dim=12,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=258,
        pad_token_id=None,
    )
    model = AutoModelForCausalLM.from_config(config).to(dtype).eval()
    return LoadedModel(
        spec="made",
        model=model.requires_grad_(requires_grad=False),
        tokenizer=tiny_tokenizer(),
        fingerprint="",
        stop_ids=(258,),
    )


def generations():
    """Prompts without a common lead, rows of different lengths."""
    return [
        Generation(
            prompt_ids=(k, *range(PROMPT - 1 - k % 2)),
            completion_ids=tuple(range(COMPLETION - k % 3)),
            logprobs=(0.0,) * (COMPLETION - k % 3),
            adapter="attacker",
            version=0,
            temperature=1.0,
            finished=True,
        )
        for k in range(ROWS)
    ]


def saved_bytes(policy):
    """Bytes that a backward pass would need, but for the weights themselves."""
    weights = [*policy.store.base.model.parameters()]
    weights += [p for name in policy.names for p in policy.parameters(name)]
    own = {p.untyped_storage().data_ptr() for p in weights}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        policy.logprobs("attacker", generations())
    return sum(storage.nbytes() for storage in kept.values())


def predicted_bytes(config, policy):
    shape = parse_shape(config.to_dict(), "made")
    full = policy.config.full
    found = Passes(
        shape=shape,
        adapted={} if full else adapted_layers(shape, policy.config.targets),
        rank=policy.config.rank,
        size=torch.finfo(config.dtype).bits // 8,
        checkpointing=policy.config.gradient_checkpointing,
        shared_keys=not full,
    )
    logprobs = ROWS * COMPLETION * shape.vocab * 4  # saved, too; counted among the logits
    return found.training(ROWS, PROMPT, COMPLETION)[0] + logprobs + found.folded_in_training


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kv_heads", [2, 4])
@pytest.mark.parametrize(
    "options",
    [
        {"arrangement": "bipolicy", "rank": 3},
        {"arrangement": "bipolicy", "rank": 32},  # not small beside its layers: folded in float32
        {"arrangement": "shared_full"},
    ],
    ids=["adapters", "large adapters", "whole models"],
)
def test_activations_are_what_autograd_saves(family, dtype, kv_heads, options):
    base = made(family, dtype, kv_heads)
    base.model.config.dtype = dtype
    policy = LoraPolicy(PolicyConfig(model="made", **options), base, seed=0)
    assert predicted_bytes(base.model.config, policy) == pytest.approx(
        saved_bytes(policy), rel=0.02
    )


@pytest.mark.parametrize("arrangement", ["bipolicy", "shared_full"])
def test_checkpointed_activations_are_the_layers_inputs(arrangement):
    base = made("qwen2", torch.float32, 2)
    base.model.config.dtype = torch.float32
    config = PolicyConfig(
        model="made", arrangement=arrangement, rank=3, gradient_checkpointing=True
    )
    policy = LoraPolicy(config, base, seed=0)
    # autograd does not see the rotary embedding that each layer is given again
    rotary = 2 * 12 * 4 * ROWS * (PROMPT + COMPLETION)
    found = saved_bytes(policy)
    assert predicted_bytes(base.model.config, policy) - rotary == pytest.approx(found, rel=0.02)


def test_weights_are_folded_in_under_the_stores_own_limits():
    assert passes.FOLD_LIMIT == store._FOLD_LIMIT
    assert passes.FOLD_RATIO == store._FOLD_RATIO


def of(arrangement, batch=BATCH, device="cuda", shape=QWEN, **options):
    policy = PolicyConfig(arrangement=arrangement, model="planned", **options)
    return predict(shape, policy, batch, device=device)


def test_one_base_serves_every_adapter_and_the_reference():
    shared, bipolicy = of("shared"), of("bipolicy")
    assert bipolicy.weights == shared.weights == 14_770_033_664 * 2
    assert bipolicy.reference == shared.reference == 0
    assert bipolicy.adapters == 2 * shared.adapters == 2 * 137_625_600 * 4
    assert bipolicy.optimiser == 2 * bipolicy.adapters
    assert bipolicy.gradients == shared.gradients == shared.adapters


def test_whole_models_carry_a_frozen_reference_and_two_moments_of_each_copy():
    one, two = of("shared_full"), of("independent")
    assert one.weights == one.reference == one.gradients == 14_770_033_664 * 4
    assert two.weights == 2 * one.weights
    assert two.optimiser == 2 * two.weights
    assert two.gradients == one.gradients
    assert of("shared_full", dtype="bfloat16").weights == one.weights / 2


def test_one_seat_alone_needs_what_a_shared_adapter_needs():
    assert of("attacker_only") == of("defender_only") == of("shared")


def test_checkpointing_saves_activations_and_nothing_else():
    plain, saving = of("bipolicy"), of("bipolicy", gradient_checkpointing=True)
    assert saving.activations < plain.activations / 10
    assert (saving.resident, saving.sampling) == (plain.resident, plain.sampling)


def test_logits_are_held_on_completion_tokens_alone():
    shape = shape_of("Qwen/Qwen2.5-0.5B")
    short, longer = (dataclasses.replace(BATCH, prompt_tokens=n) for n in (32, 64))
    work = [of("bipolicy", batch, shape=shape).training_work for batch in (short, longer)]
    logits = BATCH.rows * BATCH.new_tokens * shape.vocab
    assert work[0] == work[1] == (logits + 2 * 2**21) * 4


def test_the_optimisers_copies_for_a_checkpoint_count_on_a_cpu_only():
    assert of("independent").saving == 0
    found = of("independent", device="cpu")
    assert found.saving == found.optimiser


SIZES = ("prompt_tokens", "new_tokens", "generation_batch", "rows")


@given(
    st.sampled_from(ARRANGEMENTS),
    st.sampled_from(["cuda", "cpu"]),
    st.booleans(),
    st.sampled_from(SIZES),
    st.lists(st.integers(1, 600), min_size=2, max_size=2).map(sorted),
)
def test_more_of_anything_never_needs_less(arrangement, device, checkpointing, name, sizes):
    shape = shape_of("smollm2")
    found = [
        of(
            arrangement,
            dataclasses.replace(BATCH, **{name: size}),
            device,
            shape,
            gradient_checkpointing=checkpointing,
        )
        for size in sizes
    ]
    assert found[0].resident == found[1].resident
    assert found[0].sampling <= found[1].sampling
    assert found[0].training <= found[1].training


def test_the_number_format_of_auto_is_the_one_that_training_takes():
    assert of("bipolicy", device="cpu").weights == 2 * of("bipolicy", device="cuda").weights
    assert of("shared_full", device="cpu").weights == of("shared_full", device="cuda").weights


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_parameters_in_all_are_those_of_every_copy(arrangement):
    policy = PolicyConfig(arrangement=arrangement, model="planned")
    found = count(QWEN, policy)
    copies = 2 if arrangement in ("bipolicy", "independent") else 1
    assert found.total == copies * found.each
    assert (found.each == found.model) == policy.full


@settings(max_examples=15)
@given(st.floats(28, 300), st.booleans())
def test_suggested_batches_fit_and_twice_as_much_does_not(gib, checkpointing):
    policy = PolicyConfig(model="planned", gradient_checkpointing=checkpointing)
    available = memory_of(None, gib)
    found = suggest(QWEN, policy, BATCH, device="cuda", available=available, minibatch=10**6)
    least = dataclasses.replace(BATCH, generation_batch=1, rows=1)
    if found is None:
        assert not fits(predict(QWEN, policy, least, device="cuda"), available)
        return
    both = dataclasses.replace(
        BATCH, generation_batch=found.generation_batch, rows=found.micro_batch
    )
    assert fits(predict(QWEN, policy, both, device="cuda"), available)
    assert found.micro_tokens // (BATCH.prompt_tokens + BATCH.new_tokens) == found.micro_batch
    over = [dataclasses.replace(both, rows=found.micro_batch + 1)]
    if found.generation_batch < 1024:
        over.append(dataclasses.replace(both, generation_batch=2 * found.generation_batch))
    for batch in over:
        assert not fits(predict(QWEN, policy, batch, device="cuda"), available)


def test_a_pass_never_has_more_samples_than_an_optimiser_step():
    policy = PolicyConfig(model="planned")
    found = suggest(shape_of("smollm2"), policy, BATCH, device="cuda", available=2**37, minibatch=6)
    assert found.micro_batch == 6


def test_gpus_are_sorted_and_the_smallest_that_holds_is_named():
    assert list(GPUS.values()) == sorted(GPUS.values())
    assert smallest_gpu(of("independent")) is None
    name = smallest_gpu(of("bipolicy"))
    assert fits(of("bipolicy"), memory_of(name, None))
    below = list(GPUS)[list(GPUS).index(name) - 1]
    assert GPUS[below] == GPUS[name] or not fits(of("bipolicy"), memory_of(below, None))


@pytest.mark.parametrize(
    ("gpu", "gib", "words"),
    [
        ("h100", None, "Unknown GPU 'h100'. Did you mean 'h100-80gb'?"),
        (None, -5.0, "memory is -5.0 GiB; give a number above 0"),
        (None, 0.0, "memory is 0.0 GiB"),
        (None, float("nan"), "memory is nan GiB"),
        (None, float("inf"), "memory is inf GiB"),
        ("h100-80gb", 80.0, "give one"),
    ],
)
def test_a_memory_that_makes_no_sense_is_named(gpu, gib, words):
    with pytest.raises(RedteamError) as caught:
        memory_of(gpu, gib)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", SIZES)
def test_a_batch_below_one_is_named(name):
    with pytest.raises(RedteamError, match=f"{name} is 0; give a whole number >= 1"):
        dataclasses.replace(BATCH, **{name: 0})
