import sys

import pytest

import redteam_env
from redteam_env import RedteamError, registry
from redteam_env.registry import build, require, resolve_agent

GOOD = """
class Shout:
    def act(self, requests):
        from redteam_env import Reply
        return [Reply(text="HEY") for _ in requests]

def shout(role):
    return Shout()
"""


def test_our_own_plugins_are_found_by_name():
    assert {"refuse", "comply", "template", "random", "echo"} <= set(registry.names("agents"))
    assert {"lexical", "wildguard"} <= set(registry.names("judges"))
    assert "builtin" in registry.names("seeds")


def test_an_installed_plugin_stands_beside_ours(installed):
    installed(GOOD, "[redteam_env.agents]\nshout = dummy_plugins:shout\n")
    assert "shout" in registry.names("agents")
    (reply,) = resolve_agent("shout", "defender").act([None])
    assert reply.text == "HEY"
    found = {plugin.name: plugin for plugin in registry.found() if plugin.kind == "agents"}
    assert found["shout"].distribution == "dummy-plugins 1.2"
    assert found["shout"].target == "dummy_plugins:shout"


def test_looking_at_plugins_imports_none(installed):
    installed("raise SystemExit(3)", "[redteam_env.agents]\nbad = dummy_plugins:bad\n")
    assert "bad" in registry.names("agents")
    assert any(plugin.name == "bad" for plugin in registry.found())
    assert "dummy_plugins" not in sys.modules


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise SystemExit(3)", "SystemExit"),
        ("1 / 0", "ZeroDivisionError"),
        ("import no_such_library", "Install what provides 'no_such_library'"),
        ("", "AttributeError"),
    ],
)
def test_a_broken_plugin_is_named_and_the_others_go_on(installed, code, told):
    installed(code, "[redteam_env.agents]\nbad = dummy_plugins:bad\n")
    with pytest.raises(RedteamError) as caught:
        registry.load("agents", "bad")
    assert told in str(caught.value)
    assert "'bad'" in str(caught.value)
    assert "dummy-plugins" in str(caught.value)
    assert resolve_agent("refuse", "defender")


def test_an_unknown_name_gets_a_guess_and_the_group():
    with pytest.raises(RedteamError, match="Did you mean 'refuse'") as caught:
        registry.load("agents", "refus")
    assert "redteam_env.agents" in str(caught.value)


def test_an_unknown_kind_is_named():
    for ask in (lambda: registry.names("agent"), lambda: registry.load("agent", "x")):
        with pytest.raises(RedteamError, match="Did you mean 'agents'"):
            ask()
    with pytest.raises(RedteamError, match="agent"):
        redteam_env.register("agent", "x", dict)


def test_a_registered_factory_is_used_and_hides_an_installed_one():
    class Mine:
        def act(self, requests):
            return []

    with pytest.raises(RedteamError, match=r"'refuse' is a built-in agent.*replace=True"):
        redteam_env.register("agents", "refuse", lambda role: Mine())
    redteam_env.register("agents", "refuse", lambda role: Mine(), replace=True)
    assert isinstance(resolve_agent("refuse", "attacker"), Mine)
    assert any(p.distribution == "-" and p.name == "refuse" for p in registry.found())


def test_only_callables_can_be_registered():
    with pytest.raises(RedteamError, match="callable"):
        redteam_env.register("agents", "mine", 3)


def test_options_that_a_factory_refuses_are_named():
    redteam_env.register("judges", "mine", lambda strict: strict)
    with pytest.raises(RedteamError, match=r"judge 'mine' .*\['lenient'\]"):
        build("judges", "mine", lenient=True)


def test_an_object_without_the_method_is_named():
    with pytest.raises(RedteamError, match=r"no method act\(\)"):
        resolve_agent(object(), "attacker")
    thing = object()
    with pytest.raises(RedteamError, match="protocols"):
        require(thing, "judge", "judge")


def test_a_factory_that_returns_no_agent_is_named():
    redteam_env.register("agents", "nothing", lambda role: None)
    with pytest.raises(RedteamError, match="'nothing'"):
        resolve_agent("nothing", "attacker")


def test_case_n2_anothers_agents_package_is_not_taken_for_ours(tmp_path, monkeypatch):
    package = tmp_path / "agents"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "scripted.py").write_text("def refuse(role): return None")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "agents"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(RedteamError, match="openai-agents") as caught:
        registry.load("agents", "refuse")
    assert str(package) in str(caught.value)
    assert "environment of its own" in str(caught.value)


WRONG = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Config:
    lr: float = 0.1

@dataclass(frozen=True)
class Needy:
    lr: float

thing = 3
def nothing(): ...
def any_options(**options): ...

class Bare:
    def __init__(self, config, *, policy, game, seed): ...

class Unsettled(Bare):
    Config = dict

class Undecided(Bare):
    Config = Needy

class Forgetful(Bare):
    Config = Config
    def update(self, policy, batches): ...

class Unfinished(Forgetful):
    state = load_state = Forgetful.update
    def __init__(self, config): ...

class Loop:
    Config = Config
    train = any_options

class Mute:
    def __init__(self, role): ...

def nameless(model, /): ...
def settled(*, role, argument, max_new_tokens, temperature): ...
def with_key(*, argument, key): ...
def of_model(*, model): ...

class Forwarding(Mute):
    def __getattr__(self, name): ...
"""


@pytest.mark.parametrize(
    ("kind", "target", "reason"),
    [
        ("agents", "thing", "is no agent: it is int, which cannot be called"),
        ("agents", "nothing", r"is no agent: it cannot be called as factory\(role=...\)"),
        ("agents", "Mute", r"is no agent: it has no method act\(\)"),
        ("judges", "Mute", r"is no judge: it has no method judge\(\)"),
        ("judges", "nameless", r"is no judge: its option model cannot be given by name"),
        ("seeds", "Mute", r"is no seed source: it has no method draw\(\)"),
        ("suites", "nothing", r"it cannot be called as factory\(source=..., games=..., seed=...\)"),
        ("embedders", "thing", "is no embedder"),
        ("commands", "nothing", r"is no command: it cannot be called as factory\(argv\)"),
        ("opponents", "nothing", "is no opponent: it has no dataclass Config"),
        ("policies", "nothing", "it has no dataclass Config"),
        ("algorithms", "Bare", "is no algorithm: it has no dataclass Config"),
        ("algorithms", "Unsettled", "it has no dataclass Config"),
        ("algorithms", "Undecided", "its Config has no default for lr"),
        ("algorithms", "Forgetful", r"it has no method state\(\)"),
        (
            "algorithms",
            "Unfinished",
            r"called as factory\(config, policy=..., game=..., seed=...\)",
        ),
    ],
)
def test_what_cannot_be_a_plugin_of_its_kind_is_refused_with_the_reason(
    installed, kind, target, reason
):
    installed(WRONG, f"[redteam_env.{kind}]\nodd = dummy_plugins:{target}\n")
    told = rf"^The plug-in 'odd' \(dummy_plugins:{target} of dummy-plugins\) .*{reason}"
    with pytest.raises(RedteamError, match=told):
        registry.load(kind, "odd")


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("algorithms", "Loop"),
        *((kind, "any_options") for kind in ("agents", "judges", "suites")),
        ("agents", "settled"),
        ("agents", "Forwarding"),
        ("seeds", "with_key"),
        ("judges", "of_model"),
    ],
)
def test_what_may_be_a_plugin_is_loaded(installed, kind, target):
    installed(WRONG, f"[redteam_env.{kind}]\nodd = dummy_plugins:{target}\n")
    assert callable(registry.load(kind, "odd"))


def test_all_of_our_own_plugins_have_the_shape_of_their_kind():
    for plugin in registry.found():
        if plugin.distribution.startswith("redteam-env "):
            assert callable(registry.load(plugin.kind, plugin.name)), plugin


def test_what_is_registered_inside_a_block_is_forgotten_after_it():
    registry.register("agents", "outer", lambda role: None)
    with registry.isolated():
        registry.register("agents", "inner", lambda role: None)
        registry.register("agents", "outer", print)
        assert registry.load("agents", "inner")
    assert "inner" not in registry.names("agents")
    assert registry.load("agents", "outer") is not print


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_it_is_forgotten_after_an_error_as_well(error):
    def fail():
        with registry.isolated():
            registry.register("agents", "inner", lambda role: None)
            raise error

    with pytest.raises(error):
        fail()
    assert "inner" not in registry.names("agents")
