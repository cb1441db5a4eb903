"""What a policy may be made from, checked before a model is loaded."""

import dataclasses

import pytest

from agents.lora.config import LARGEST_ENGINE_RANK, WEIGHTS, PolicyConfig
from redteam_env.game import RedteamError
from redteam_env.protocols import BASE


def test_the_defaults_are_those_of_anchored_bipolicy_self_play():
    config = PolicyConfig()
    assert (config.arrangement, config.rank, config.targets) == ("bipolicy", 32, "all-linear")
    assert dict(config.weights) == {"attacker": "attacker", "defender": "defender"}


def test_every_arrangement_gives_every_role_its_weights():
    assert set(WEIGHTS) == {
        "shared",
        "shared_full",
        "bipolicy",
        "independent",
        "attacker_only",
        "defender_only",
    }
    for arrangement in WEIGHTS:
        config = PolicyConfig(arrangement=arrangement)
        assert set(config.weights) == {"attacker", "defender"}
        assert config.full == (arrangement in ("shared_full", "independent"))
    assert PolicyConfig(arrangement="attacker_only").weights["defender"] == BASE
    assert PolicyConfig(arrangement="defender_only").weights["attacker"] == BASE
    shared = PolicyConfig(arrangement="shared").weights
    assert shared["attacker"] == shared["defender"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("rank", 0),
        ("rank", -3),
        ("alpha", 0),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("dropout", float("nan")),
        ("max_new_tokens", 0),
        ("max_prompt_tokens", 0),
        ("generation_batch", 0),
        ("temperature", -1.0),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("model", " "),
    ],
)
def test_a_value_out_of_range_is_an_error_that_names_it_and_the_cure(option, value):
    with pytest.raises(RedteamError, match=rf"^{option} is .*(give|name) "):
        PolicyConfig(**{option: value})


def test_an_unknown_arrangement_is_an_error_that_lists_those_there_are():
    with pytest.raises(RedteamError, match=r"'both'.*bipolicy.*shared_full"):
        PolicyConfig(arrangement="both")


@pytest.mark.parametrize("dtype", ["int8", "half", "no_such"])
def test_an_unknown_number_format_is_an_error_that_lists_those_there_are(dtype):
    with pytest.raises(RedteamError, match=r"bfloat16.*float32"):
        PolicyConfig(dtype=dtype)


@pytest.mark.parametrize("arrangement", ["shared_full", "independent"])
@pytest.mark.parametrize(
    "engine", [{"backend": "vllm"}, {"backend": "served", "server_urls": "http://127.0.0.1:8000"}]
)
def test_an_engine_that_plays_whole_models_has_no_largest_rank(arrangement, engine):
    assert PolicyConfig(arrangement=arrangement, rank=LARGEST_ENGINE_RANK + 1, **engine).full
    with pytest.raises(RedteamError, match=r"vLLM takes adapters up to rank"):
        PolicyConfig(arrangement="bipolicy", rank=LARGEST_ENGINE_RANK + 1, **engine)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"backend": "vlm"}, r"'vlm'.*vllm"),
        ({"backend": "served"}, r"names no server.*--server-urls"),
        ({"backend": "served", "server_urls": " , "}, r"names no server.*--server-urls"),
        ({"server_urls": "http://127.0.0.1:8000"}, r"backend is 'hf'.*--backend served"),
        ({"backend": "vllm", "kv_cache_gb": 0}, r"kv_cache_gb is 0.*give"),
        ({"backend": "vllm", "rank": 513}, r"rank is 513.*up to rank 512"),
    ],
)
def test_settings_of_a_backend_that_do_not_fit_are_named(options, named):
    with pytest.raises(RedteamError, match=named):
        PolicyConfig(**options)


def test_servers_are_listed_with_commas_and_count_once():
    config = PolicyConfig(backend="served", server_urls="http://a:1, http://b:2,http://a:1,")
    assert config.servers == ("http://a:1", "http://b:2")


def test_it_cannot_be_changed_after_it_was_checked():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PolicyConfig().rank = 0
