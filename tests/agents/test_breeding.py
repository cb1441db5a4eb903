"""Children of weights: whole layers from one parent each, and noise in proportion."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.lora.past import breed
from redteam_env.game import RedteamError

LAYERS = [f"base_model.model.model.layers.{k}.self_attn.{x}_proj" for k in range(8) for x in "qv"]


def adapter(value):
    return {
        f"{layer}.lora_{factor}.weight": torch.full((3, 4) if factor == "A" else (5, 3), value)
        for layer in LAYERS
        for factor in "AB"
    }


@given(seed=st.integers(min_value=0, max_value=1000))
def test_both_factors_of_a_layer_come_from_one_parent(seed):
    child = breed([adapter(1.0), adapter(2.0)], noise=0.0, path=(seed,))
    for layer in LAYERS:
        found = {
            float(x) for k, t in child.items() if k.startswith(layer + ".") for x in t.flatten()
        }
        assert found in ({1.0}, {2.0})


def test_each_parent_gives_about_half_of_the_layers():
    sources = [
        float(
            breed([adapter(0.0), adapter(1.0)], noise=0.0, path=(k,))[f"{layer}.lora_A.weight"][
                0, 0
            ]
        )
        for k in range(40)
        for layer in LAYERS
    ]
    assert 0.42 < sum(sources) / len(sources) < 0.58


def test_noise_is_in_proportion_to_each_tensor_and_leaves_zeros_alone():
    rng = torch.Generator().manual_seed(0)
    parent = {
        "l.lora_A.weight": torch.randn(200, 200, generator=rng),
        "l.lora_B.weight": torch.zeros(4, 4),
    }
    child = breed([parent], noise=0.1, path=(0,))
    moved = child["l.lora_A.weight"] - parent["l.lora_A.weight"]
    assert float(moved.std() / parent["l.lora_A.weight"].std()) == pytest.approx(0.1, rel=0.05)
    assert not child["l.lora_B.weight"].any()


def test_equal_paths_give_equal_children_and_others_others():
    parents = [adapter(1.0), adapter(2.0)]
    one, two, other = (breed(parents, noise=0.1, path=(k,)) for k in (1, 1, 2))
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert any(not torch.equal(one[k], other[k]) for k in one)


def test_weights_of_different_shapes_have_no_children():
    small = {k: t[:1] for k, t in adapter(1.0).items()}
    with pytest.raises(RedteamError, match="different shapes"):
        breed([adapter(1.0), small], noise=0.0, path=(0,))
