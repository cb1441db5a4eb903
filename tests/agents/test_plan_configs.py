"""From a name to a shape: plain data, directories, the hub's answer, and what is wrong with a file."""

import hashlib
import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import huggingface_hub
import pytest

from agents.plan.configs import parse_shape, shape_of
from agents.plan.parameters import model_parameters
from agents.plan.shapes import SHAPES
from redteam_env.game import RedteamError

# config.json of Qwen/Qwen2-1.5B-Instruct, as the hub gives it
QWEN2 = {
    "architectures": ["Qwen2ForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "hidden_act": "silu",
    "hidden_size": 1536,
    "initializer_range": 0.02,
    "intermediate_size": 8960,
    "max_position_embeddings": 32768,
    "max_window_layers": 28,
    "model_type": "qwen2",
    "num_attention_heads": 12,
    "num_hidden_layers": 28,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.40.1",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
PATH = "/Qwen/Qwen2-1.5B-Instruct/resolve/main/config.json"
COMMIT = "ba1cf1846d7df0a0591d6c00649f57e798519da8"


def saved(folder, config):
    folder.mkdir(exist_ok=True)
    text = config if isinstance(config, str) else json.dumps(config)
    (folder / "config.json").write_text(text)
    return str(folder)


def error_of(model, **options):
    with pytest.raises(RedteamError) as caught:
        shape_of(model, **options)
    return str(caught.value)


def test_a_directory_is_read(tmp_path):
    assert shape_of(saved(tmp_path / "m", QWEN2)) == SHAPES["Qwen/Qwen2.5-1.5B"]


def test_a_directory_of_a_known_name_is_what_the_trainer_would_load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Qwen").mkdir()
    saved(tmp_path / "Qwen" / "Qwen3-8B", QWEN2)
    assert shape_of("Qwen/Qwen3-8B") == SHAPES["Qwen/Qwen2.5-1.5B"]


def test_older_llama_files_without_the_newer_fields_are_read(tmp_path):
    config = {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "vocab_size": 32000,
        "num_key_value_heads": None,
    }
    for fields in (config, {k: v for k, v in config.items() if v is not None}):
        shape = shape_of(saved(tmp_path / "llama", fields))
        assert (shape.kv_heads, shape.head_dim, shape.tied) == (32, 128, False)
        assert model_parameters(shape) == 6_738_415_616


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub on this machine that knows one file, with the headers that the client goes by."""
    body = json.dumps(QWEN2, indent=2).encode()
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            if self.path.endswith("config.json"):
                seen.append(f"{self.command} {self.path}")
            known = self.path.startswith("/Qwen/Qwen2-1.5B-Instruct/resolve/")
            busy = self.path.startswith("/busy/")
            self.send_response(200 if known else 503 if busy else 404)
            if known:
                self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Content-Length", str(len(body)))
            else:
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
            self.end_headers()
            if known and self.command == "GET":
                self.wfile.write(body)

        def do_GET(self):
            self.do_HEAD()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    monkeypatch.setattr(
        huggingface_hub.constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    yield seen
    server.shutdown()
    server.server_close()
    thread.join()


def test_one_small_file_is_fetched_from_the_hub_and_kept(hub):
    assert shape_of("Qwen/Qwen2-1.5B-Instruct") == SHAPES["Qwen/Qwen2.5-1.5B"]
    assert f"GET {PATH}" in hub
    shape_of("Qwen/Qwen2-1.5B-Instruct")
    assert hub.count(f"GET {PATH}") == 1


def test_a_revision_is_asked_for(hub):
    shape_of("Qwen/Qwen2-1.5B-Instruct", revision="v1")
    assert f"GET {PATH.replace('main', 'v1')}" in hub


def test_a_model_that_the_hub_does_not_have_is_named(hub):
    message = error_of("nobody/nothing")
    assert "'nobody/nothing'" in message
    assert "a directory with its config.json" in message


def test_what_is_looked_for_is_said_before_and_a_hub_that_fails_is_asked_once(hub, capsys):
    assert "503" in error_of("busy/model")
    assert hub == ["HEAD /busy/model/resolve/main/config.json"]
    told = "Looking for the config.json of 'busy/model' on the Hugging Face hub.\n"
    assert capsys.readouterr().err == told
    shape_of("Qwen/Qwen2-1.5B-Instruct")
    capsys.readouterr()
    shape_of("Qwen/Qwen2-1.5B-Instruct")
    assert not capsys.readouterr().err


def test_the_clients_retries_are_not_told(monkeypatch, caplog):
    def unreachable(*_, **__):
        logging.getLogger("huggingface_hub.utils").warning("Retrying in 1s [Retry 1/5].")
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", unreachable)
    assert "no network" in error_of("nobody/nothing")
    assert not caplog.records


def test_a_known_name_with_a_revision_is_asked_for_too(hub):
    assert "'Qwen/Qwen3-8B'" in error_of("Qwen/Qwen3-8B", revision="old")
    assert hub


def test_a_hub_out_of_reach_is_a_clear_error(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    assert "It needs the hub in reach" in error_of("some/model")


def test_known_names_need_no_network(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", None)
    for name in (*SHAPES, "apothecary"):
        assert shape_of(name).layers > 0


@pytest.mark.parametrize(
    "model", ["qwen", "", "a/b/c", "./nowhere", "~/nowhere", "/nowhere/at/all"]
)
def test_an_unknown_model_is_named_with_the_known_ones(model):
    message = error_of(model)
    assert f"Unknown model {model!r}" in message
    assert "smollm2" in message
    assert "a hub id of the form owner/name" in message


def test_the_nearest_known_name_is_guessed():
    assert "Did you mean 'smollm2'?" in error_of("smolm2")


NEEDED = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
)


@pytest.mark.parametrize("field", NEEDED)
def test_a_missing_field_is_named(field, tmp_path):
    folder = saved(tmp_path / "m", {k: v for k, v in QWEN2.items() if k != field})
    message = error_of(folder)
    assert f"has no {field}" in message
    assert folder in message


@pytest.mark.parametrize("field", NEEDED)
@pytest.mark.parametrize("value", [0, -1, 1.5, "12", True, [], {}])
def test_a_field_that_is_no_number_above_0_is_named(field, value):
    with pytest.raises(RedteamError, match=field) as caught:
        parse_shape({**QWEN2, field: value}, "here")
    assert f"{field} in 'here' is {value!r}" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "gpt2"}, "model_type 'gpt2'; the arithmetic knows llama, qwen2, qwen3"),
        ({"model_type": None}, "model_type None"),
        ({"model_type": ["qwen2"]}, "model_type ['qwen2']"),
        ({"model_type": "qwen3"}, "has no head_dim"),
        ({"quantization_config": {"quant_method": "awq"}}, "quantization_config"),
        ({"num_key_value_heads": 5}, "num_key_value_heads = 5 does not divide"),
        ({"num_attention_heads": 22}, "num_attention_heads = 22 does not divide"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings in 'here' is 'yes'"),
        ({"attention_bias": 1}, "attention_bias in 'here' is 1"),
    ],
)
def test_a_configuration_that_cannot_be_counted_says_why(change, words):
    with pytest.raises(RedteamError) as caught:
        parse_shape({**QWEN2, **change}, "here")
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "\x00", "[" * 100_000])
def test_a_file_that_is_no_configuration_is_named(text, tmp_path):
    folder = saved(tmp_path / "m", text)
    assert "config.json" in error_of(folder)


def test_a_directory_without_a_configuration_is_named(tmp_path):
    message = error_of(str(tmp_path))
    assert str(tmp_path) in message
    assert "save_pretrained" in message
