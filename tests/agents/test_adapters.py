"""Adapters that others saved: loaded as PEFT computes them, or refused with the cause; the base stays."""

import json
import shutil

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
from saved_adapters import outcome, rewrite
from tiny_models import save_tiny
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from agents.lora.adapters import Adaptable, read_adapter
from agents.lora.pool import PolicyPool
from agents.models import fingerprint, load_base
from redteam_env.cli.main import main
from redteam_env.game import RedteamError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

IDS = torch.arange(40).reshape(2, 20)
EXACT = {"atol": 2e-4, "rtol": 0}


def pool(**options):
    return PolicyPool(**{"device": "cpu", "max_new_tokens": 8, **options})


def logprobs(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits.log_softmax(-1)


def of_peft(model, directory):
    """What PEFT computes with a saved adapter, on a base of its own."""
    base = AutoModelForCausalLM.from_pretrained(model)
    return logprobs(PeftModel.from_pretrained(base, directory).eval())


def of_agent(agent, way="using"):
    with getattr(agent.backend.store, way)(agent.weights) as model:
        return logprobs(model)


def of_policy(policy, name, way="using"):
    with getattr(policy.store, way)(name) as model:
        return logprobs(model)


@pytest.fixture
def saved(tiny_model, tmp_path):
    """Return a maker of adapters that PEFT saved on the tiny model, after some training."""

    def make(name="adapter", *, model=tiny_model, kind=LoraConfig, edit=None, **options):
        if kind is LoraConfig:
            options = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", **options}
        config = kind(task_type="CAUSAL_LM", **options)
        torch.manual_seed(3)
        adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(model), config)
        with torch.no_grad():
            for key, tensor in adapted.named_parameters():
                if "lora_" in key:
                    tensor.add_(0.05 * torch.randn(tensor.shape))
        adapted.save_pretrained(tmp_path / name)
        if edit is not None:
            rewrite(tmp_path / name, edit)
        return tmp_path / name

    return make


EXACTLY = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "q and v only": {"target_modules": ["q_proj", "v_proj"]},
    "one block": {"target_modules": ["q_proj", "up_proj"], "layers_to_transform": [1]},
    "without": {
        "target_modules": ["q_proj", "k_proj"],
        "exclude_modules": ["layers.0.self_attn.q_proj"],
    },
    "ranks": {"rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 1}},
    "alphas": {"alpha_pattern": {"^model.layers.0.self_attn.v_proj": 3, "down_proj": 32}},
    "rslora with ranks and alphas": {
        "use_rslora": True,
        "rank_pattern": {"k_proj": 2},
        "alpha_pattern": {"k_proj": 5, r"layers\.1\.mlp\.gate_proj": 16},
    },
    "gaussian": {"init_lora_weights": "gaussian"},
    "orthogonal": {"init_lora_weights": "orthogonal"},
    "mica": {"init_lora_weights": "mica"},
}
DOUBLED = {
    "pissa": {"init_lora_weights": "pissa"},
    "olora": {"init_lora_weights": "olora"},
    "pissa and rslora": {"init_lora_weights": "pissa", "use_rslora": True},
    "pissa with ranks": {
        "init_lora_weights": "pissa",
        "rank_pattern": {"q_proj": 2},
        "alpha_pattern": {"up_proj": 3},
    },
}
"""Adapters that take their first factors out of the base; as plain LoRA they have twice the rank."""


@pytest.mark.parametrize("kind", [*EXACTLY, *DOUBLED])
def test_an_adapter_as_an_agent_computes_what_peft_computes(saved, tiny_model, kind):
    directory = saved(**{**EXACTLY, **DOUBLED}[kind])
    agent = pool(base=str(tiny_model)).load(str(directory), "attacker")
    expected = of_peft(tiny_model, directory)
    for way in ("using", "sampling", "learning"):
        torch.testing.assert_close(of_agent(agent, way), expected, **EXACT)
    plain = logprobs(AutoModelForCausalLM.from_pretrained(tiny_model))
    assert (expected - plain).abs().max() > 0.05


@pytest.mark.parametrize("kind", EXACTLY)
def test_a_policy_that_starts_from_an_adapter_computes_what_peft_computes(
    saved, make_policy, tiny_model, kind
):
    directory = saved(**EXACTLY[kind])
    policy = make_policy(rank=4, alpha=8)
    policy.start_from(directory)
    torch.testing.assert_close(
        of_policy(policy, "attacker", "learning"), of_peft(tiny_model, directory), **EXACT
    )


def test_case_01_rslora_counts_by_the_root_of_the_rank(saved, make_policy, tiny_model):
    directory = saved(use_rslora=True)
    policy = make_policy(rank=4, alpha=8)
    policy.start_from(directory)
    own, theirs = of_policy(policy, "attacker"), of_peft(tiny_model, directory)
    torch.testing.assert_close(own, theirs, **EXACT)
    rewrite(directory, {"use_rslora": False})
    assert (of_peft(tiny_model, directory) - theirs).abs().max() > 0.05


@pytest.mark.parametrize("kind", DOUBLED)
def test_case_03_factors_taken_out_of_the_base_are_subtracted(saved, make_policy, tiny_model, kind):
    directory = saved(**DOUBLED[kind])
    with pytest.raises(RedteamError, match="r: 8 there, 4 here; lora_alpha: 16 there, 8 here"):
        make_policy(rank=4, alpha=8).start_from(directory)
    policy = make_policy(rank=8, alpha=16)
    policy.start_from(directory)
    torch.testing.assert_close(
        of_policy(policy, "defender"), of_peft(tiny_model, directory), **EXACT
    )


@pytest.mark.parametrize(
    "options",
    [
        *DOUBLED.values(),
        {"bias": "all"},
        {"bias": "lora_only"},
        {"modules_to_save": ["norm"]},
        {"use_dora": True},
    ],
)
def test_case_04_the_base_and_other_adapters_stay_as_they_are_to_the_bit(
    saved, tiny_model, options
):
    together = pool(base=str(tiny_model))
    base = together.load("base", "defender")
    first = together.load(str(saved("first")), "attacker")
    model = base.backend.store.base.model
    whole = fingerprint(model, full=True)
    before = {way: (of_agent(base, way), of_agent(first, way)) for way in ("using", "sampling")}
    _, error = outcome(lambda: together.load(str(saved("second", **options)), "attacker"))
    assert (error is None) == ("init_lora_weights" in options), "either way the base stays"
    assert fingerprint(model, full=True) == whole
    for way, (of_base, of_first) in before.items():
        assert torch.equal(of_agent(base, way), of_base)
        assert torch.equal(of_agent(first, way), of_first)


def test_a_base_that_changes_while_an_adapter_is_loaded_is_noticed(saved, make_policy, monkeypatch):
    store = make_policy().store
    add = store.add

    def careless(name, config, *, seed):
        add(name, config, seed=seed)
        with torch.no_grad():
            store.base.model.model.norm.weight[3] += 1e-6

    monkeypatch.setattr(store, "add", careless)
    with pytest.raises(RedteamError, match="changed the weights of the base"):
        store.load("own", saved())


def test_case_06_an_adapter_that_names_another_base_is_refused_unless_it_is_allowed(
    saved, make_policy, tiny_model, other_model
):
    directory = saved(model=other_model)
    refused = rf"made for the base '{other_model}', not for '{tiny_model}'.*--allow-other-base"
    together = pool(base=str(tiny_model))
    with pytest.raises(RedteamError, match=refused):
        together.load(str(directory), "attacker")
    with pytest.raises(RedteamError, match=refused):
        make_policy(rank=4, alpha=8).start_from(directory)
    agent = pool(base=str(tiny_model), allow_other_base=True).load(str(directory), "attacker")
    torch.testing.assert_close(of_agent(agent), of_peft(tiny_model, directory), **EXACT)
    policy = make_policy(rank=4, alpha=8, allow_other_base=True)
    policy.start_from(directory)
    torch.testing.assert_close(
        of_policy(policy, "attacker"), of_peft(tiny_model, directory), **EXACT
    )


def test_case_06_commands_take_it_with_an_option(saved, tiny_model, other_model, capsys):
    place = str(saved(model=other_model))
    world = ["--seeds", "apothecary", "--judge", "apothecary", "--max-new-tokens", "2"]
    command = ["play", "--defender", place, "--model", str(tiny_model), *world]
    assert main(command) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert str(other_model) in error
    assert str(tiny_model) in error
    assert main([*command, "--allow-other-base"]) == 0


def test_a_base_is_known_by_any_of_its_names(saved, tiny_model, tmp_path, monkeypatch):
    directory = saved()
    monkeypatch.chdir(tiny_model.parent)
    link = tmp_path / "link"
    link.symlink_to(tiny_model)
    for name in (tiny_model.name, f"./{tiny_model.name}/", str(link), "", None):
        rewrite(directory, {"base_model_name_or_path": name})
        pool(base=str(tiny_model)).load(str(directory), "attacker")
    cached = tmp_path / "hub/models--Some--Model/snapshots/0123"
    shutil.copytree(tiny_model, cached)
    rewrite(directory, {"base_model_name_or_path": "some/model"})
    pool(base=str(cached)).load(str(directory), "attacker")
    with pytest.raises(RedteamError, match="some/model"):
        pool(base=str(tiny_model)).load(str(directory), "attacker")


def test_own_adapters_are_known_by_their_bases_weights_wherever_these_lie(
    make_policy, tiny_model, other_model, tmp_path
):
    make_policy().write_weights("attacker", tmp_path / "own")
    moved = shutil.copytree(tiny_model, tmp_path / "moved")
    pool(base=str(moved)).load(str(tmp_path / "own"), "attacker")
    with pytest.raises(RedteamError, match="trained on another base"):
        pool(base=str(other_model)).load(str(tmp_path / "own"), "attacker")
    pool(base=str(other_model), allow_other_base=True).load(str(tmp_path / "own"), "attacker")


def test_case_08_another_kind_of_adapter_is_named_in_one_line(saved, make_policy, tiny_model):
    directory = saved(
        kind=IA3Config, target_modules=["q_proj", "down_proj"], feedforward_modules=["down_proj"]
    )
    for load in (
        lambda: pool(base=str(tiny_model)).load(str(directory), "attacker"),
        lambda: make_policy().start_from(directory),
    ):
        with pytest.raises(RedteamError, match="its peft_type is 'IA3'") as caught:
            load()
        assert "\n" not in str(caught.value)


CAUSES = [
    ({"use_dora": True}, "DoRA"),
    (
        {"modules_to_save": ["norm"]},
        r"whole modules of the base \('modules_to_save' is \['norm'\]\)",
    ),
    ({"bias": "all"}, "biases of the base"),
    ({"lora_bias": True, "target_modules": ["q_proj"]}, "adds biases"),
    ({"trainable_token_indices": [1, 2]}, "embeddings of the base"),
    ({"init_lora_weights": "pissa_niter_4"}, "randomly chosen factors"),
    ({"layer_replication": [[0, 2], [1, 2]]}, "repeats layers"),
]


@pytest.mark.parametrize(("options", "cause"), CAUSES)
def test_case_10_what_plain_lora_cannot_hold_is_refused_with_its_cause(
    saved, make_policy, tiny_model, options, cause
):
    directory = saved(**options)
    for load in (
        lambda: pool(base=str(tiny_model)).load(str(directory), "attacker"),
        lambda: make_policy(rank=4, alpha=8).start_from(directory),
    ):
        with pytest.raises(RedteamError, match=cause) as caught:
            load()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tied", [True, False])
def test_case_10_an_adapter_of_the_head_plays_and_starts_a_policy_with_that_target(
    saved, make_policy, tiny_model, tmp_path, tied
):
    model = tiny_model
    if not tied:
        model = shutil.copytree(tiny_model, tmp_path / "untied")
        loaded = AutoModelForCausalLM.from_pretrained(tiny_model)
        loaded.config.tie_word_embeddings = False
        head = loaded.lm_head.weight.detach().clone()
        loaded.lm_head.weight = torch.nn.Parameter(head.flip(0))
        loaded.save_pretrained(model)
    directory = saved(model=model, target_modules=["q_proj", "lm_head"])
    expected = of_peft(model, directory)
    agent = pool(base=str(model)).load(str(directory), "attacker")
    for way in ("using", "sampling", "learning"):
        torch.testing.assert_close(of_agent(agent, way), expected, **EXACT)
    named = make_policy(model=str(model), rank=4, alpha=8, targets="q_proj,v_proj,lm_head")
    named.start_from(directory)
    torch.testing.assert_close(of_policy(named, "attacker"), expected, **EXACT)
    with pytest.raises(RedteamError, match=r"targets here leave out, first 'lm_head'.*--targets"):
        make_policy(model=str(model), rank=4, alpha=8).start_from(directory)


def test_an_adapter_of_the_embeddings_plays_as_peft_computes_it(saved, tiny_model):
    directory = saved(target_modules=["embed_tokens", "v_proj"])
    agent = pool(base=str(tiny_model)).load(str(directory), "attacker")
    expected = of_peft(tiny_model, directory)
    for way in ("using", "sampling", "learning"):
        torch.testing.assert_close(of_agent(agent, way), expected, **EXACT)


def test_layers_that_store_their_weights_transposed_are_adapted_too(tmp_path):
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=264, n_embd=32, n_layer=2, n_head=4))
    config = LoraConfig(
        r=4, target_modules=["c_attn"], fan_in_fan_out=True, init_lora_weights=False
    )
    get_peft_model(model, config).save_pretrained(tmp_path)
    fresh = GPT2LMHeadModel(model.config)
    adapter = read_adapter(tmp_path, Adaptable(fresh))
    assert {x.rank for x in adapter.layers.values()} == {4}
    assert adapter.layers["transformer.h.1.attn.c_attn"].b.shape == (96, 4)


def test_missing_targets_are_fresh_adapters_that_can_be_trained(saved, make_policy):
    policy = make_policy(rank=4, alpha=8)
    policy.start_from(
        saved(target_modules=["q_proj"], rank_pattern={"layers.1.self_attn.q_proj": 2})
    )
    for way in ("learning", "using"):
        with getattr(policy.store, way)("attacker") as model:
            model(input_ids=IDS).logits.square().sum().backward()
    for tensor in policy.parameters("attacker"):
        assert tensor.requires_grad
        assert tensor.grad is not None
    with policy.store.using("attacker") as model:
        layer = model.get_submodule("model.layers.1.self_attn.q_proj")
        a, b = layer.lora_A["attacker"].weight, layer.lora_B["attacker"].weight
    assert (b[:, 2:] == 0).all()
    assert (a[2:] != 0).all()
    assert (b.grad[:, 2:] != 0).any()


def test_a_model_with_an_adapter_in_its_folder_is_no_base(saved, tiny_model, tmp_path):
    both = shutil.copytree(tiny_model, tmp_path / "both")
    for file in saved().iterdir():
        shutil.copy(file, both)
    with pytest.raises(RedteamError, match="holds an adapter"):
        load_base(str(both), device="cpu")


def test_an_adapter_starts_no_whole_model(saved, make_policy):
    with pytest.raises(
        RedteamError, match="holds an adapter, but 'shared_full' trains whole models"
    ):
        make_policy("shared_full").start_from(saved())


@pytest.mark.parametrize("name", ["../other", "/etc", "..", "a/b", "", 3, None])
def test_a_policys_card_names_no_folder_elsewhere(make_policy, tmp_path, name):
    policy = make_policy()
    policy.save(tmp_path / "policy")
    file = tmp_path / "policy" / "policy.json"
    card = json.loads(file.read_text())
    file.write_text(json.dumps(card | {"weights": card["weights"] | {"attacker": name}}))
    with pytest.raises(RedteamError, match="no folder beside it"):
        make_policy().start_from(tmp_path / "policy")


def test_what_a_policy_saves_passes_the_gate(make_policy, tiny_model, tmp_path):
    tiny_base = Adaptable(load_base(str(tiny_model), device="cpu").model)
    for targets in ("all-linear", "q_proj,embed_tokens,lm_head"):
        policy = make_policy(targets=targets)
        policy.write_weights("attacker", tmp_path / targets)
        adapter = read_adapter(tmp_path / targets, tiny_base)
        assert (adapter.rank, adapter.alpha) == (4, 8)


def test_a_model_of_another_size_is_told_from_the_shapes(saved, tmp_path):
    large = save_tiny(tmp_path / "large", hidden=64)
    directory = saved(edit={"base_model_name_or_path": None})
    with pytest.raises(RedteamError, match=r"do not fit this model.*shape"):
        pool(base=str(large)).load(str(directory), "attacker")
