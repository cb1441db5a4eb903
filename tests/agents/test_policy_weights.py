"""Arrangements of weights, and weights that are saved and read back."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from agents.lora.config import WEIGHTS, PolicyConfig
from agents.lora.policy import lora
from agents.models import fingerprint, load_base
from redteam_env.game import RedteamError
from redteam_env.protocols import BASE


def disturbed(policy):
    with torch.no_grad():
        for name in policy.names:
            for k, tensor in enumerate(policy.parameters(name)):
                tensor.add_(0.01 * (k + 1))
            policy.publish(name)
    return policy


def tensors(policy) -> dict[str, list[torch.Tensor]]:
    return {n: [t.detach().clone() for t in policy.parameters(n)] for n in policy.names}


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(x, y) for n in a for x, y in zip(a[n], b[n], strict=True)
    )


@pytest.mark.parametrize(
    ("arrangement", "names", "trainable"),
    [
        ("bipolicy", ("attacker", "defender"), ("attacker", "defender")),
        ("shared", ("shared",), ("attacker", "defender")),
        ("shared_full", ("shared",), ("attacker", "defender")),
        ("independent", ("attacker", "defender"), ("attacker", "defender")),
        ("attacker_only", ("attacker",), ("attacker",)),
        ("defender_only", ("defender",), ("defender",)),
    ],
)
def test_each_arrangement_has_its_weights(make_policy, arrangement, names, trainable):
    policy = make_policy(arrangement)
    assert policy.names == names
    assert policy.trainable_roles == trainable
    described = policy.describe()
    base = described["base_parameters"]
    assert set(described["trainable_parameters"]) == set(names)
    for count in described["trainable_parameters"].values():
        assert count == base if arrangement in ("shared_full", "independent") else 0 < count < base
    json.dumps(described)


def test_two_adapters_hold_different_tensors_and_whole_models_do_not_share_any(make_policy):
    for arrangement in ("bipolicy", "independent"):
        policy = make_policy(arrangement)
        places = [{t.data_ptr() for t in policy.parameters(name)} for name in policy.names]
        base = {
            p.data_ptr()
            for key, p in policy.store.base.model.named_parameters()
            if "lora_" not in key
        }
        assert not places[0] & places[1]
        assert not (places[0] | places[1]) & base


def test_rank_alpha_targets_and_dropout_reach_the_adapter(make_policy):
    policy = make_policy(rank=3, alpha=7, targets="q_proj, v_proj", dropout=0.25)
    config = policy.store._peft.peft_config["attacker"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (3, 7, 0.25)
    layers = policy.store.base.model.config.num_hidden_layers
    assert len(policy.parameters("attacker")) == layers * 2 * 2
    assert make_policy(rank=3).store._peft.peft_config["attacker"].lora_alpha == 6


def test_by_default_every_linear_layer_but_the_head_gets_an_adapter(make_policy):
    policy = make_policy()
    model = policy.store.base.model
    linear = [
        n for n, m in model.named_modules() if type(m).__name__ == "Linear" and "base_layer" in n
    ]
    assert len(policy.parameters("attacker")) == 2 * len(linear) == 2 * 7 * 2
    assert not any("lm_head" in name for name in linear)


def test_the_seed_decides_the_initial_adapters(make_policy):
    a, b, c = (tensors(make_policy(seed=seed)) for seed in (0, 0, 1))
    assert same(a, b)
    assert not same(a, c)
    assert not any(
        torch.equal(x, y) for x, y in zip(a["attacker"][::2], a["defender"][::2], strict=True)
    )


def test_adapters_are_double_the_precision_of_a_half_precision_base(tiny_model):
    policy = lora(
        PolicyConfig(model=str(tiny_model), rank=2, dtype="bfloat16", device="cpu"), seed=0
    )
    assert policy.store.base.model.dtype == torch.bfloat16
    assert {t.dtype for name in policy.names for t in policy.parameters(name)} == {torch.float32}


@pytest.mark.parametrize(
    ("arrangement", "dtype", "loaded"),
    [
        ("independent", "auto", "float32"),
        ("shared_full", "auto", "float32"),
        ("bipolicy", "auto", "auto"),
        ("bipolicy", "bfloat16", "bfloat16"),
    ],
)
def test_whole_models_are_trained_in_full_precision_unless_told_otherwise(
    monkeypatch, tiny_model, arrangement, dtype, loaded
):
    """On a GPU auto is bfloat16, in which a whole model's small steps would vanish."""
    asked = []

    def load(spec, **options):
        asked.append(options["dtype"])
        return load_base(spec, device="cpu")

    monkeypatch.setattr("agents.lora.policy.load_base", load)
    lora(PolicyConfig(arrangement=arrangement, model=str(tiny_model), dtype=dtype), seed=0)
    assert asked == [loaded]


def test_making_a_policy_leaves_the_global_generator_alone(make_policy):
    before = torch.random.get_rng_state()
    make_policy()
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("arrangement", sorted(WEIGHTS))
def test_weights_and_versions_come_back_as_they_were_saved(make_policy, tmp_path, arrangement):
    policy = disturbed(make_policy(arrangement))
    policy.publish(policy.names[0])
    policy.save(tmp_path / "saved")
    again = make_policy(arrangement, seed=9)
    kept = [again.parameters(name) for name in again.names]
    again.restore(tmp_path / "saved")
    assert same(tensors(again), tensors(policy))
    assert again.store.versions == policy.store.versions
    assert again.store.versions[again.names[0]] == 2
    for name, before in zip(again.names, kept, strict=True):
        assert all(x is y for x, y in zip(again.parameters(name), before, strict=True)), (
            "an optimiser made before restoring must go on holding the same tensors"
        )


def test_restored_weights_play_as_the_saved_ones_did(make_policy, requests, tmp_path):
    policy = disturbed(make_policy())
    policy.save(tmp_path / "saved")
    again = make_policy(seed=9)
    again.restore(tmp_path / "saved")
    for role in ("attacker", "defender"):
        expected = [r.generation for r in policy.agent(role).act(requests(3, role))]
        assert [r.generation for r in again.agent(role).act(requests(3, role))] == expected


@pytest.mark.parametrize("arrangement", sorted(WEIGHTS))
def test_no_pickle_is_written(make_policy, tmp_path, arrangement):
    make_policy(arrangement).save(tmp_path / "saved")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".jinja"}
    assert any(path.suffix == ".safetensors" for path in files)


def test_weights_of_another_base_are_refused(make_policy, other_model, tmp_path):
    make_policy(model=str(other_model)).save(tmp_path / "saved")
    policy = make_policy()
    before = tensors(policy)
    with pytest.raises(RedteamError, match=r"another base.*other.*--model"):
        policy.restore(tmp_path / "saved")
    assert same(tensors(policy), before)


def test_weights_of_another_rank_are_refused(make_policy, tmp_path):
    make_policy(rank=8).save(tmp_path / "saved")
    with pytest.raises(RedteamError, match="do not fit this model and rank"):
        make_policy(rank=4).restore(tmp_path / "saved")


def test_weights_of_another_arrangement_are_refused(make_policy, tmp_path):
    make_policy("shared").save(tmp_path / "saved")
    with pytest.raises(RedteamError, match=r"'shared'.*'bipolicy'"):
        make_policy("bipolicy").restore(tmp_path / "saved")


@pytest.mark.parametrize("damage", ["no card", "no adapter", "garbled adapter", "tensor left out"])
def test_damaged_weights_are_an_error_that_names_the_file(make_policy, tmp_path, damage):
    saved = tmp_path / "saved"
    make_policy().save(saved)
    file = saved / "defender" / "adapter_model.safetensors"
    if damage == "no card":
        file = saved / "policy.json"
        file.unlink()
    elif damage == "no adapter":
        file.unlink()
    elif damage == "garbled adapter":
        file.write_bytes(b"no tensors at all")
    else:
        whole = load_file(file)
        del whole[min(whole)]
        save_file(whole, file)
        file = file.parent
    with pytest.raises(RedteamError) as caught:
        make_policy().restore(saved)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("content", ["[]", "{}", '{"base_fingerprint": 3}', "no json"])
def test_a_garbled_card_is_an_error(make_policy, tmp_path, content):
    saved = tmp_path / "saved"
    make_policy().save(saved)
    (saved / "policy.json").write_text(content)
    with pytest.raises(RedteamError):
        make_policy().restore(saved)


def test_targets_that_do_not_exist_are_an_error_that_names_them(make_policy):
    with pytest.raises(RedteamError, match="no_such_layer"):
        make_policy(targets="no_such_layer")


def test_completions_that_leave_no_room_in_the_context_are_refused(make_policy):
    with pytest.raises(RedteamError, match=r"max_new_tokens = 2048.*context of 2048"):
        make_policy(max_new_tokens=2048)
    assert make_policy(max_new_tokens=1000, max_prompt_tokens=5000).codec.max_prompt_tokens == 1048


def test_names_of_weights_are_used_once_and_unknown_ones_are_refused(make_policy):
    store = make_policy().store
    with pytest.raises(RedteamError, match=r"'attacker' exist"):
        store.add("attacker", store._peft.peft_config["attacker"], seed=0)
    with pytest.raises(RedteamError, match=r"'nobody'.*attacker, base, defender"):
        store.parameters("nobody")
    assert store.parameters(BASE) == []


def test_adapters_do_not_change_what_identifies_the_base(make_policy, tiny_model):
    plain = load_base(str(tiny_model), device="cpu").model
    for arrangement in ("bipolicy", "shared_full"):
        policy = disturbed(make_policy(arrangement))
        base = policy.store.base
        assert fingerprint(base.model, full=True) == fingerprint(plain, full=True)
        assert fingerprint(base.model) == base.fingerprint == fingerprint(plain)


def test_saved_whole_models_are_models_of_their_own(make_policy, requests, tmp_path):
    policy = disturbed(make_policy("shared_full", temperature=1.0))
    policy.save(tmp_path / "saved")
    alone = make_policy("attacker_only", model=str(tmp_path / "saved" / "shared"))
    expected = [r.text for r in policy.agent("attacker").act(requests(3))]
    assert [r.text for r in alone.agent("attacker").act(requests(3))] == expected


def test_saved_weights_do_not_depend_on_where_they_lie(make_policy, tmp_path):
    policy = disturbed(make_policy())
    policy.save(tmp_path / "first")
    shutil.move(tmp_path / "first", tmp_path / "second")
    again = make_policy(seed=4)
    again.restore(tmp_path / "second")
    assert same(tensors(again), tensors(policy))


def test_a_saved_adapter_is_the_same_bytes_in_every_process(make_policy, tmp_path):
    make_policy("bipolicy").save(tmp_path / "saved")
    for file in (tmp_path / "saved").rglob("adapter_config.json"):
        layers = json.loads(file.read_text())["target_modules"]
        assert layers == sorted(layers)
        assert len(layers) > 1
