import json

import pytest

from redteam_env import registry
from redteam_env.evaluation import AgentPool, check_spec, run_defaults
from redteam_env.game import RedteamError
from redteam_env.protocols import Usage


@pytest.fixture
def policy(say):
    made = []

    class Policy:
        def __init__(self, **options):
            self.options, self.loaded, self.sampling = options, [], []
            made.append(self)

        def load(self, spec, role, **sampling):
            self.loaded.append((spec, role))
            self.sampling.append(sampling)
            return say(lambda _: spec)

    registry.register("agents", "policy", Policy, replace=True)
    return made


def run_directory(root, name="run", schema=1, **config):
    run = root / name
    (run / "checkpoints" / "step-2").mkdir(parents=True)
    data = {"schema": schema, "config": {"model": "tiny", **config}}
    (run / "config.json").write_text(json.dumps(data))
    return run


def test_scripted_agents_need_no_policy(policy):
    agent = AgentPool().agent("refuse", "defender")
    assert callable(agent.act)
    assert policy == []


def test_models_share_one_policy_pool_with_the_options(policy, tmp_path):
    pool = AgentPool(base="some/model", max_new_tokens=9, temperature=0.5)
    pool.agent("base", "attacker")
    pool.agent(str(tmp_path), "defender")
    pool.agent("smollm2", "defender")
    pool.agent("Qwen/Qwen2.5-0.5B-Instruct", "attacker")
    (made,) = policy
    assert made.options == {"base": "some/model", "max_new_tokens": 9, "temperature": 0.5}
    assert made.loaded[0] == ("base", "attacker")
    assert len(made.loaded) == 4


def test_an_agent_may_sample_otherwise_than_its_pool(policy):
    pool = AgentPool(base="some/model", max_new_tokens=9, temperature=0.5)
    pool.agent("base", "attacker")
    pool.agent("base", "defender", temperature=0, max_new_tokens=3)
    (made,) = policy
    assert made.sampling == [
        {"max_new_tokens": 9, "temperature": 0.5},
        {"max_new_tokens": 3, "temperature": 0.0},
    ]


def test_base_is_loaded_after_the_agents_that_may_define_it(policy, tmp_path):
    seats = [("base", "attacker"), (str(tmp_path), "defender"), ("echo", "attacker")]
    agents = AgentPool().agents(seats)
    assert [spec for spec, _ in policy[0].loaded] == [str(tmp_path), "base"]
    assert agents[0].say(None) == "base"
    assert agents[1].say(None) == str(tmp_path)


@pytest.mark.parametrize("spec", ["refusee", "policy", "no/such/place", "./nowhere", "../a", ""])
def test_an_unknown_specification_lists_what_is_allowed(spec, policy):
    with pytest.raises(RedteamError) as caught:
        AgentPool().agent(spec, "defender")
    for word in (repr(spec), "refuse", "base", "smollm2", "run, adapter or model", "owner/name"):
        assert word in str(caught.value)
    assert policy == []


def test_a_mistyped_path_is_not_taken_for_a_hub_id(policy, tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RedteamError, match="Unknown agent 'runs/bipolcy'"):
        check_spec("runs/bipolcy")
    check_spec("elsewhere/model")


def test_checking_a_specification_loads_nothing(policy, tmp_path):
    for spec in ("echo", "base", "smollm2", "owner/name", str(tmp_path)):
        check_spec(spec)
    (tmp_path / "file").write_text("no agent")
    with pytest.raises(RedteamError, match="Unknown agent"):
        check_spec(str(tmp_path / "file"))
    assert policy == []


def test_defaults_come_from_the_first_run(tmp_path):
    one = run_directory(tmp_path, "one", judge="wildguard", exchanges=2)
    two = run_directory(tmp_path, "two", judge="lexical")
    assert run_defaults(["base", str(one), str(two)])["judge"] == "wildguard"
    assert run_defaults([str(two), str(one)])["judge"] == "lexical"


def test_a_checkpoint_stands_for_its_run(tmp_path):
    run = run_directory(tmp_path, seeds="strongreject")
    assert run_defaults([str(run / "checkpoints" / "step-2")])["seeds"] == "strongreject"


def test_model_and_adapter_directories_imply_nothing(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["Qwen2ForCausalLM"]}))
    assert run_defaults([str(tmp_path), "base", "refuse", "owner/name"]) == {}


def test_a_run_of_another_schema_is_refused(tmp_path):
    run = run_directory(tmp_path, schema=99)
    with pytest.raises(RedteamError, match=r"config\.json' has schema 99.*reads 1"):
        run_defaults([str(run)])


@pytest.mark.parametrize("content", ["{", "\udcff"])
def test_a_damaged_configuration_is_named(tmp_path, content):
    run = run_directory(tmp_path)
    (run / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(RedteamError, match=r"config\.json' cannot be read.*Restore it"):
        run_defaults([str(run)])


class Api:
    """An agent behind an API: it says whether it is ready and what it took."""

    def __init__(self, argument="", max_new_tokens=0):
        self.argument, self.max_new_tokens = argument, max_new_tokens
        self.asked, self.usage = 0, Usage(requests=3, cost=0.5)

    def act(self, requests):
        return []

    def ready(self):
        self.asked += 1
        if self.argument == "down":
            raise RedteamError("No server answers.")


def test_an_agent_with_an_argument_is_made_once_a_role_and_asked_whether_it_is_ready(policy):
    registry.register(
        "agents", "api", lambda role, argument, max_new_tokens: Api(argument, max_new_tokens)
    )
    pool = AgentPool(max_new_tokens=9, temperature=0.5)
    one, other = pool.agents([("api:m@x", "attacker"), ("api:m@x", "defender")])
    assert pool.agent("api:m@x", "attacker") is one
    assert one is not other
    assert (one.argument, one.max_new_tokens, one.asked) == ("m@x", 9, 1)
    rows = pool.usage()
    assert [(x["agent"], x["role"]) for x in rows] == [
        ("api:m@x", r) for r in ("attacker", "defender")
    ]
    assert (rows[0]["requests"], rows[0]["cost"]) == (3, 0.5)
    assert policy == []


def test_a_registered_agent_is_made_once_for_each_temperature_and_its_usage_is_summed(policy):
    registry.register(
        "agents", "api", lambda role, argument, temperature: Api(argument, temperature)
    )
    pool = AgentPool()
    cold, warm = (pool.agent("api:m@x", "attacker", temperature=t) for t in (0, 1))
    assert (cold.max_new_tokens, warm.max_new_tokens) == (0.0, 1.0)  # what it was made with
    assert pool.agent("api:m@x", "attacker", temperature=1.0) is warm
    (row,) = pool.usage()
    assert (row["agent"], row["role"], row["requests"], row["cost"]) == (
        "api:m@x",
        "attacker",
        6,
        1.0,
    )


def test_an_agent_that_is_not_ready_is_not_handed_out(policy):
    registry.register("agents", "api", lambda role, argument="": Api(argument))
    pool = AgentPool()
    with pytest.raises(RedteamError, match="No server answers"):
        pool.agent("api:down", "attacker")
    assert pool.usage() == []


def test_checking_an_argument_makes_nothing(policy):
    registry.register("agents", "api", Api)
    check_spec("api:anything at all")
    assert run_defaults(["api:anything at all"]) == {}
    with pytest.raises(RedteamError, match="Unknown agent 'apy:anything'"):
        check_spec("apy:anything")


def test_agents_without_usage_are_not_listed():
    pool = AgentPool()
    pool.agent("refuse", "defender")
    assert pool.usage() == []
