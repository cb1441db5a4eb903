"""What adapters' configurations and weights may say: anything gives an adapter or one line, at once."""

import json
import pickle
import shutil
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from saved_adapters import CONFIG, outcome, rewrite
from transformers import AutoModelForCausalLM

from agents.lora.adapter_config import read_config
from agents.lora.adapters import Adaptable, read_adapter
from agents.lora.pool import PolicyPool
from agents.models import load_base
from redteam_env.game import RedteamError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

WEIGHTS = "adapter_model.safetensors"
LORA = LoraConfig(r=4, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM")


@pytest.fixture(scope="module")
def kept(tiny_model, tmp_path_factory):
    """An adapter as PEFT saved it."""
    directory = tmp_path_factory.mktemp("kept")
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), LORA).save_pretrained(
        directory
    )
    return directory


@pytest.fixture
def adapter(kept, tmp_path):
    """A copy of it to be damaged."""
    return shutil.copytree(kept, tmp_path / "adapter")


@pytest.fixture(scope="module")
def doors(tiny_model, make_policy):
    """All ways in for an adapter: as an agent, and as the start of a policy."""
    pool = PolicyPool(base=str(tiny_model), device="cpu")
    policy = make_policy(rank=4, alpha=8)
    return (lambda place: pool.load(str(place), "attacker"), policy.start_from)


@pytest.fixture
def refused(doors):
    """Return a check that every way in refuses an adapter in one short line with its cause."""

    def check(directory, cause):
        for load in doors:
            with pytest.raises(RedteamError, match=cause) as caught:
                load(directory)
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 1500

    return check


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A module that must not be imported."""
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    assert "evil" not in sys.modules


@pytest.mark.parametrize(
    ("edit", "cause"),
    [
        ({"lora_alpha": float("nan")}, "lora_alpha is nan"),
        ({"lora_alpha": float("inf")}, "lora_alpha is inf"),
        ({"lora_alpha": -8}, "lora_alpha is -8"),
        ({"lora_alpha": "8"}, "lora_alpha is '8'"),
        ({"lora_alpha": 10**200}, "lora_alpha is 1000"),
        ({"alpha_pattern": {"q_proj": float("nan")}}, "alpha_pattern is nan"),
        ({"r": 10**9}, "r is 1000000000"),
        ({"r": 0}, "r is 0"),
        ({"r": 4.0}, r"r is 4\.0"),
        ({"r": True}, "r is True"),
        ({"rank_pattern": {"q_proj": 10**9}}, "rank_pattern is 1000000000"),
        ({"target_modules": "(a+)+b"}, "regular expressions are not read"),
        ({"target_modules": ["(.*.*)*x"]}, "literal name"),
        ({"target_modules": []}, "target_modules is"),
        ({"target_modules": None}, "target_modules is None"),
        ({"rank_pattern": {"(.*.*)*x": 4}}, "literal name"),
        ({"alpha_pattern": {"(.*.*)*x": 4}}, "literal name"),
        ({"exclude_modules": "(.*.*)*x"}, "regular expressions are not read"),
        ({"layers_to_transform": [0], "layers_pattern": "(.*.*)*x"}, "literal name"),
        ({"layers_to_transform": ["0"]}, "layers_to_transform is"),
        ({"peft_type": "NO_SUCH_KIND"}, "peft_type is 'NO_SUCH_KIND'"),
        ({"peft_type": None}, "peft_type is None"),
        ({"peft_type": ["LORA"]}, r"peft_type is \['LORA'\]"),
        ({"task_type": "SEQ_CLS"}, "task 'SEQ_CLS'"),
        ({"init_lora_weights": "loftq"}, "changes the base unseen"),
        ({"init_lora_weights": "corda"}, "changes the base unseen"),
        ({"init_lora_weights": {}}, "changes the base unseen"),
        ({"init_lora_weights": 1}, "changes the base unseen"),
        ({"megatron_config": {"a": 1}, "megatron_core": "evil"}, "Megatron"),
        ({"megatron_core": "evil"}, "code to import"),
        ({"auto_mapping": {"base_model_class": "X", "parent_library": "evil"}}, "code to import"),
        ({"auto_mapping": ["evil"]}, "code to import"),
        ({"use_rslora": "yes"}, "use_rslora is 'yes'"),
        ({"use_something_new": True}, r"no such setting \('use_something_new' is True\)"),
        ({"arrow_config": {"top_k": 2}}, "no such setting"),
        ({"base_model_name_or_path": 3}, "base_model_name_or_path is 3"),
        ({"base_model_name_or_path": "x" * 300}, "base_model_name_or_path is"),
        ({"base_model_name_or_path": "~no.such.user/x"}, "base_model_name_or_path is"),
    ],
)
@pytest.mark.usefixtures("trap")
def test_case_a3_a_hostile_configuration_is_one_line_at_once(adapter, refused, edit, cause):
    rewrite(adapter, edit)
    refused(adapter, cause)


def test_what_peft_itself_notes_of_the_base_is_no_code_to_import(adapter, doors):
    mapping = {"base_model_class": "A", "parent_library": "transformers.models.qwen2.nowhere"}
    rewrite(adapter, {"auto_mapping": mapping, "task_type": None, "peft_version": "99.0"})
    for load in doors:
        load(adapter)
    assert mapping["parent_library"] not in sys.modules


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("[" * 100_000, "nested"),
        ('{"r": ' + "9" * 5000 + "}", "digits"),
        ("[]", "no JSON object"),
        ("", "no JSON"),
        ("\0", "no JSON"),
        (" " * 2**25, "bytes"),
    ],
)
def test_a_configuration_that_is_no_json_object_is_one_line(tmp_path, content, cause):
    (tmp_path / CONFIG).write_text(content)
    with pytest.raises(RedteamError, match=cause) as caught:
        read_config(tmp_path)
    assert "\n" not in str(caught.value)


KEY = "base_model.model.model.layers.1.mlp.up_proj.lora_{}.weight"


@pytest.mark.parametrize(
    ("edit", "cause"),
    [
        (lambda w: w.pop(KEY.format("A")), "lack a factor, first 'model.layers.1.mlp.up_proj'"),
        (lambda w: (w.pop(KEY.format("A")), w.pop(KEY.format("B"))), "1 are missing"),
        (lambda w: w[KEY.format("A")].fill_(float("nan")), "finite"),
        (lambda w: w[KEY.format("B")][3].fill_(float("-inf")), "finite"),
        (lambda w: w.update({KEY.format("A"): w[KEY.format("A")].long()}), "finite numbers"),
        (
            lambda w: w.update({KEY.format("A"): torch.full((4, 32), 1e300, dtype=torch.float64)}),
            "finite",
        ),
        (
            lambda w: w.update({KEY.format("A"): torch.zeros(5, 32)}),
            r"shape \(5, 32\), not \(4, 32\)",
        ),
        (lambda w: w.update({KEY.format("A"): torch.zeros(128)}), r"shape \(128,\)"),
        (
            lambda w: w.update({"base_model.model.model.x.lora_A.weight": torch.zeros(4, 32)}),
            "not name",
        ),
        (lambda w: w.update({"code": torch.zeros(1)}), "no factor of LoRA"),
        (
            lambda w: w.update({"base_model.model.model.norm.weight": torch.zeros(32)}),
            "weights of the base's own",
        ),
        (
            lambda w: w.update(
                {"base_model.model.model.embed_tokens.weight": torch.zeros(300, 32)}
            ),
            "weights of the base's own",
        ),
    ],
)
def test_weights_that_are_not_what_the_configuration_says_are_one_line(
    adapter, refused, edit, cause
):
    whole = load_file(adapter / WEIGHTS)
    edit(whole)
    save_file(whole, adapter / WEIGHTS)
    refused(adapter, cause)


def test_weights_of_eight_bits_are_read(adapter, tiny_base):
    whole = load_file(adapter / WEIGHTS)
    save_file({k: x.to(torch.float8_e4m3fn) for k, x in whole.items()}, adapter / WEIGHTS)
    layers = read_adapter(adapter, tiny_base).layers
    key = "model.layers.1.mlp.up_proj"
    assert torch.equal(layers[key].a, whole[KEY.format("A")].to(torch.float8_e4m3fn).float())


def test_an_adapter_that_makes_logits_no_numbers_says_nothing(adapter, tiny_model, requests):
    whole = load_file(adapter / WEIGHTS)
    save_file({k: torch.full_like(x, 1e30) for k, x in whole.items()}, adapter / WEIGHTS)
    agent = PolicyPool(base=str(tiny_model), device="cpu").load(str(adapter), "attacker")
    with pytest.raises(RedteamError, match="logits are no numbers"):
        agent.act(requests(1))


def test_pickled_weights_are_never_read(adapter, refused, tmp_path):
    (adapter / WEIGHTS).unlink()

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    (adapter / "adapter_model.bin").write_bytes(pickle.dumps(Trap()))
    refused(adapter, r"only adapter_model\.bin, and nothing but safetensors")
    assert not (tmp_path / "sprung").exists()


def test_a_folder_in_the_place_of_weights_is_no_other_kind_of_them(adapter, refused):
    (adapter / WEIGHTS).unlink()
    (adapter / WEIGHTS).mkdir()
    refused(adapter, r"must be there \(none\)")


@pytest.fixture(scope="module")
def tiny_base(tiny_model):
    return Adaptable(load_base(str(tiny_model), device="cpu").model)


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"\xff" * 8, (2**63).to_bytes(8, "little"), (40).to_bytes(8, "little") + b"{"],
)
def test_a_damaged_file_of_weights_is_one_line(adapter, tiny_base, content):
    (adapter / WEIGHTS).write_bytes(content)
    with pytest.raises(RedteamError, match="cannot be read as safetensors"):
        read_adapter(adapter, tiny_base)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=8,
)
ENTRIES = [*LORA.to_dict(), "use_something_new"]


@settings(max_examples=200)
@given(
    changes=st.dictionaries(
        st.sampled_from(sorted(ENTRIES)) | st.text(max_size=10), JSON, max_size=3
    )
)
def test_any_entry_gives_an_adapter_or_one_error(kept, tiny_base, changes):
    good = (kept / CONFIG).read_text()
    (kept / CONFIG).write_text(json.dumps(json.loads(good) | changes))
    adapter, error = outcome(lambda: read_adapter(kept, tiny_base))
    (kept / CONFIG).write_text(good)
    if adapter is None:
        assert "\n" not in error
        assert len(error) < 1500
    else:
        assert all(x.a.isfinite().all() and x.b.isfinite().all() for x in adapter.layers.values())


@settings(max_examples=100)
@given(content=JSON)
def test_any_json_is_one_error(tmp_path_factory, content):
    directory = tmp_path_factory.getbasetemp()
    (directory / CONFIG).write_text(json.dumps(content))
    with pytest.raises(RedteamError):
        read_config(directory)


@settings(max_examples=100)
@given(data=st.data())
def test_any_damage_to_the_weights_gives_an_adapter_or_one_error(kept, tiny_base, data):
    good = (kept / WEIGHTS).read_bytes()
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, 900))] = data.draw(st.integers(0, 255))
    (kept / WEIGHTS).write_bytes(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
    adapter, error = outcome(lambda: read_adapter(kept, tiny_base))
    (kept / WEIGHTS).write_bytes(good)
    assert adapter is not None or str(kept) in error
