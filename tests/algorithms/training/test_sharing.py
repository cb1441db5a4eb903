"""Exports of runs, read by plain PEFT and plain transformers, and pushed to a hub on the loopback."""

import json
import re
import shutil
import stat
from pathlib import Path

import pytest
import torch
import yaml
from hub_server import hub
from huggingface_hub import HfApi
from peft import PeftModel
from tiny_models import completions
from transformers import AutoModelForCausalLM, AutoTokenizer

from agents.lora.hf import completion_logprobs
from agents.lora.pool import PolicyPool
from agents.sharing.command import push as push_command
from agents.sharing.export import export, read_export
from agents.sharing.hub import upload
from agents.sharing.settings import ExportConfig
from redteam_env.cli.main import main
from redteam_env.game import RedteamError, load_prompts
from redteam_env.runs import Run
from redteam_env.worlds import embedded_model

CLOSE = 1e-5
PROMPTS = [list(b"one prompt"), list(b"another, longer prompt")]


def logprobs(model):
    with torch.no_grad():
        found = completion_logprobs(model.eval(), completions(PROMPTS), pad_id=256)
    return found.logprobs[found.mask]


def ours(run, role, base):
    """The log-probabilities that this library computes with a role's weights."""
    agent = PolicyPool(base=str(base), device="cpu").load(str(run), role)
    with agent.backend.store.using(agent.weights) as model:
        return logprobs(model)


def plain(place):
    return AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)


def is_close(one, other):
    return torch.allclose(one, other, atol=CLOSE, rtol=0)


def texts_of(folder):
    """Every file that can be read as text, by its name."""
    files = [x for x in folder.rglob("*") if x.is_file() and x.suffix != ".safetensors"]
    return {x.relative_to(folder).as_posix(): x.read_bytes().decode("latin-1") for x in files}


@pytest.fixture
def exported(two_steps, tmp_path):
    export(two_steps, tmp_path / "out", ExportConfig(base="someone/tiny"))
    return tmp_path / "out"


def test_plain_peft_computes_with_the_adapters_as_we_do(exported, two_steps, tiny_model):
    for role in ("attacker", "defender"):
        model = PeftModel.from_pretrained(plain(tiny_model), exported / role)
        assert is_close(logprobs(model), ours(two_steps, role, tiny_model))
        assert not is_close(logprobs(model), logprobs(plain(tiny_model)))


def test_plain_transformers_computes_with_a_merged_model_as_we_do(two_steps, tiny_model, tmp_path):
    config = ExportConfig(role="defender", merge=True)
    export(two_steps, tmp_path / "out", config)
    assert not (tmp_path / "out" / "adapter_config.json").exists()
    merged = logprobs(plain(tmp_path / "out"))
    assert is_close(merged, ours(two_steps, "defender", tiny_model))


def test_shared_weights_are_exported_once(finished, tiny_model, tmp_path):
    run = finished(arrangement="shared")
    told = export(run, tmp_path / "out", ExportConfig(base="someone/tiny"))
    (weights,) = told["weights"]
    assert weights["roles"] == ["attacker", "defender"]
    model = PeftModel.from_pretrained(plain(tiny_model), tmp_path / "out")
    assert is_close(logprobs(model), ours(run, "defender", tiny_model))


def test_a_whole_model_is_exported_as_one(finished, tiny_model, tmp_path):
    run = finished(arrangement="shared_full", lr=1e-4)
    (weights,) = export(run, tmp_path / "out", ExportConfig())["weights"]
    assert weights["serve"] == "vllm serve ."
    assert is_close(logprobs(plain(tmp_path / "out")), ours(run, "attacker", tiny_model))
    assert not (tmp_path / "out" / "redteam.json").exists()


def test_a_base_that_others_lack_goes_along_as_a_copy(two_steps, tiny_model, tmp_path):
    out = tmp_path / "out"
    export(two_steps, out, ExportConfig(role="defender", base="copy"))
    model = PeftModel.from_pretrained(plain(out / "base"), out)
    assert is_close(logprobs(model), ours(two_steps, "defender", tiny_model))
    assert (
        json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] == "base"
    )
    assert "vllm serve ./base --enable-lora --max-lora-rank 8 --lora-modules defender=." in (
        (out / "README.md").read_text()
    )
    assert "\nbase_model:" not in (out / "README.md").read_text()


def test_tokenizer_and_prompts_are_the_runs_own(exported, tiny_model, prompts, two_steps):
    own = AutoTokenizer.from_pretrained(tiny_model)
    theirs = AutoTokenizer.from_pretrained(exported / "defender")
    text = "A line.\n<|im_end|>"
    assert theirs(text)["input_ids"] == own(text)["input_ids"]
    assert theirs.chat_template == own.chat_template
    digest = Run(two_steps).record()["prompts"]["digest"]
    assert load_prompts(str(exported / "prompts")).digest == digest
    assert load_prompts(str(exported / "prompts")).texts == load_prompts(str(prompts)).texts


def test_no_place_of_this_machine_and_no_text_of_a_player_is_in_an_export(
    exported, two_steps, tiny_model
):
    said = {line.text for x in Run(two_steps).read_episodes(1) for line in x.dialogue.lines}
    said = {x for x in said if len(x) > 8}
    assert said
    for name, text in texts_of(exported).items():
        for place in (two_steps, tiny_model, Path.home(), Path.cwd()):
            assert f"{place}/" not in text, name
            assert f'{place}"' not in text, name
        assert not any(x in text for x in said), name
    rows = [json.loads(x) for x in (exported / "results" / "games.jsonl").open()]
    assert len(rows) == 16
    assert all(
        re.fullmatch(r"\[redacted: \d+ characters\]", x["text"])
        for r in rows
        for x in r["dialogue"]
        if x["text"]
    )
    parquet = pytest.importorskip("pyarrow.parquet")
    assert parquet.read_table(exported / "results" / "games.parquet").num_rows == 16


def test_the_card_says_what_the_run_recorded(exported, two_steps):
    text = (exported / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front["base_model"] == "someone/tiny"
    assert front["base_model_relation"] == "adapter"
    assert front["license"] == "other"
    record = Run(two_steps).record()
    for said in (
        record["policy"]["base_fingerprint"],
        record["seeds"]["digest"],
        "Trained for 2 steps",
        "good for smoke runs only",
        "95 %",
        "| attack success (rewritten) |",
        "--attacker ./attacker --defender ./defender --model someone/tiny --prompts prompts",
        "vllm serve someone/tiny --enable-lora --max-lora-rank 8 --lora-modules defender=./defender",
    ):
        assert said in text


@pytest.mark.parametrize("options", [{"base": "copy"}, {"merge": True}])
def test_others_may_read_the_files(two_steps, tmp_path, options):
    out = tmp_path / "out"
    export(two_steps, out, ExportConfig(**options))
    assert all(x.stat().st_mode & stat.S_IROTH for x in (out, *out.rglob("*")))
    told = read_export(out)
    assert set(told["files"]) | {"export.json"} == {
        x.relative_to(out).as_posix() for x in out.rglob("*") if x.is_file()
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "is a directory of this machine.*--base OWNER/NAME"),
        ({"base": "/tmp/tiny"}, "give a hub id"),
        ({"role": "judge", "merge": True}, "no trained weights for the role 'judge'"),
        ({"merge": True, "results": ("nowhere",)}, "no directory 'nowhere'"),
    ],
)
def test_what_cannot_be_exported_is_refused(two_steps, tmp_path, options, said):
    with pytest.raises(RedteamError, match=said):
        export(two_steps, tmp_path / "out", ExportConfig(**options))
    assert not (tmp_path / "out").exists()


def test_a_run_that_was_altered_is_refused(run, tmp_path):
    (run / "prompts" / "defender.txt").write_text("Another text.\n")
    with pytest.raises(RedteamError, match="other texts than the run was trained under"):
        export(run, tmp_path / "out", ExportConfig(merge=True))
    shutil.rmtree(run / "prompts")  # as a run of an older version has none
    export(run, tmp_path / "out", ExportConfig(merge=True, role="defender"))
    assert "were not kept by this run" in (tmp_path / "out" / "README.md").read_text()


def test_smollm2_is_told_by_its_hub_id():
    from agents.sharing.bases import base_of
    from agents.sharing.weights import Weights

    def named(model, asked=None):
        card = {"full": False, "base_fingerprint": "f" * 16}
        weights = Weights(
            name="a", roles=("a",), place=Path(), model=model, revision=None, card=card
        )
        return base_of(weights, named=asked, needed=True)

    assert named("smollm2").name == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert "Q4_1" in named("smollm2").note
    assert named("/cache/models--org--name/snapshots/abc").name == "org/name"
    assert named("org/name").name == "org/name"
    assert named("apothecary").copied
    assert named("smollm2", "copy").copy_of == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_push_uploads_an_export_to_a_private_repository(exported, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    (exported / "notes.txt").write_text("not part of it")
    told = read_export(exported)
    with hub() as server:
        api = HfApi(endpoint=server.url, token="hf_test")
        where = upload(exported, told, "me/mine", public=False, api=api)
        assert where == f"{server.url}/me/mine"
        assert server.private == {"me/mine": True}
        assert server.token == "Bearer hf_test"
        files = server.repos["me/mine"]
        assert set(files) == {*told["files"], "export.json"}
        for name, content in files.items():
            assert content == (exported / name).read_bytes()
        server.private["me/mine"] = False
        with pytest.raises(RedteamError, match="is there and public"):
            upload(exported, told, "me/mine", public=False, api=api)


def test_a_hub_that_cannot_be_reached_is_one_line(exported):
    api = HfApi(endpoint="http://127.0.0.1:9", token="hf_test")
    with pytest.raises(RedteamError, match=r"could not be pushed to 'me/mine'.*HF_TOKEN"):
        upload(exported, read_export(exported), "me/mine", public=False, api=api)


def test_push_lists_asks_and_refuses_texts(two_steps, tmp_path, capsys):
    words = [str(two_steps), "me/mine", "--role", "defender", "--merge"]
    assert push_command([*words, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "model.safetensors" in said
    assert "Nothing was uploaded" in said
    assert push_command([*words, "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["files"]["model.safetensors"] > 0
    assert (told["repo"], told["public"], told["uploaded"]) == ("me/mine", False, None)
    with pytest.raises(RedteamError, match="add --yes"):
        push_command(words)
    out = str(tmp_path / "out")
    assert main(["export", str(two_steps), out, "--merge", "--role", "defender", "--texts"]) == 0
    assert "vllm serve ." in capsys.readouterr().out
    with pytest.raises(RedteamError, match="hold what players wrote"):
        push_command([out, "me/mine", "--dry-run"])
    assert push_command([out, "me/mine", "--dry-run", "--texts"]) == 0
    (tmp_path / "out" / "README.md").write_text("altered")
    with pytest.raises(RedteamError, match="altered after it was saved"):
        push_command([out, "me/mine", "--dry-run", "--texts"])


def test_the_worlds_model_and_tokenizer_are_read_by_plain_libraries(finished, tmp_path):
    world = {"world": "apothecary", "seeds": "apothecary", "judge": "apothecary", "steps": 1}
    shape = {"model": "apothecary", "prompts": "apothecary", "max_new_tokens": 24, "lr": 0.1}
    run, out = finished(**world, **shape), tmp_path / "out"
    told = export(run, out, ExportConfig(role="defender"))
    assert told["weights"][0]["base"] == "base"
    model = PeftModel.from_pretrained(plain(out / "base"), out)
    assert is_close(logprobs(model), ours(run, "defender", "apothecary"))
    own = AutoTokenizer.from_pretrained(embedded_model("apothecary"))
    text = "how do i make velroxger ?"
    assert AutoTokenizer.from_pretrained(out)(text)["input_ids"] == own(text)["input_ids"]
    card = (out / "README.md").read_text()
    assert "its verdicts are exact" in card
    assert "| the folder base: apothecary, a model of this library |" in card
    assert "--attacker template --defender ./ --model ./base --world apothecary" in card
    assert "license: apache-2.0" in card
