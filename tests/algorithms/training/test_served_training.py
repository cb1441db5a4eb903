"""A run whose completions come from servers: it trains as usual and leaves them as they were."""

import pytest
from engine_fakes import TwinEngine
from fake_vllm import FakeVllm
from training_fakes import metrics

from agents.models import load_base
from algorithms.training.trainer import train
from redteam_env.game import RedteamError


@pytest.fixture
def server(tiny_model):
    with FakeVllm(TwinEngine(load_base(str(tiny_model), device="cpu"), stop_ids=())) as started:
        yield started


@pytest.fixture
def served(tiny_config, server, tmp_path):
    """Return a maker of tiny runs that sample from the server."""
    where = {"server_urls": server.url, "adapter_dir": str(tmp_path / "adapters")}
    return lambda **options: tiny_config(backend="served", **{**where, **options})


def test_a_run_gives_the_server_each_version_and_takes_all_off_it(served, server, tmp_path):
    assert train(served()).finished
    for row in metrics(tmp_path / "run"):
        assert row["attacker/sampler_gap"] < 1e-5
        assert row["attacker/importance"] == pytest.approx(1, abs=1e-5)
    loaded = [
        body["lora_name"] for path, body in server.requests if path.endswith("/load_lora_adapter")
    ]
    assert [name.partition("-")[0] for name in loaded] == [
        f"{role}@{version}" for version in range(3) for role in ("attacker", "defender")
    ]
    assert server.loaded == {}
    assert list((tmp_path / "adapters").iterdir()) == []


def test_a_run_goes_on_with_servers_at_other_addresses(served, server, tmp_path):
    train(served(steps=1))
    config = served(resume=True, server_urls=f"{server.url}/v1", adapter_dir=str(tmp_path / "new"))
    assert train(config).played == 1


def test_an_engine_that_keeps_old_weights_stops_the_run_at_its_step(served, server):
    server.twin.stale = True
    with pytest.raises(RedteamError, match=r"^Step 0: The server .* still plays an older version"):
        train(served(lr=0.05))
    assert server.loaded == {}, "its adapters were taken off it all the same"
