"""Leagues' mixtures as agents: who plays which game, and what is refused."""

import json
import shutil
from collections import Counter

import pytest

from redteam_env import RedteamError, Reply, TurnRequest
from redteam_env.evaluation import AgentPool, Dispatcher
from redteam_env.evaluation.agents import check_spec, run_defaults
from redteam_env.evaluation.mixture import Draw, load_mixture
from redteam_env.runs import write_league
from redteam_env.utils.files import sha256_of, write_manifest

META = {"attacker": [0.25, 0.0, 0.75], "defender": [1e-17, 1.0]}
NAMES = {
    "attackers": ["attacker@0", "attacker@1", "attacker@2"],
    "defenders": ["defender@0", "defender@2"],
}


class Named:
    def __init__(self, name):
        self.name = name
        self.asked = []

    def act(self, requests):
        self.asked.append(len(requests))
        return [Reply(text=f"{self.name} {request.path}") for request in requests]


def request(game, turn=0):
    address = (0, "game", game)
    path = (*address, "attacker_0", "sample", turn)
    return TurnRequest(seat="attacker_0", role="attacker", messages=(), path=path, game=address)


def mixture(members, shares):
    names = [member.name for member in members]
    return Dispatcher(
        agents=dict(zip(names, members, strict=True)),
        choose=Draw(shares=dict(zip(names, shares, strict=True))),
    )


@pytest.fixture
def run(tmp_path):
    """A run directory with one checkpoint and the frozen versions that it names."""
    run = tmp_path / "run"
    checkpoint = run / "checkpoints" / "step-000004"
    checkpoint.mkdir(parents=True)
    versions = {}
    for name in (*NAMES["attackers"], *NAMES["defenders"]):
        file = run / "opponents" / name / "adapter.bin"
        file.parent.mkdir(parents=True)
        file.write_text(name)
        versions[name] = {file.name: sha256_of(file)}
    record = {"opponents": "psro", "state": {**NAMES, "meta": META}, "versions": versions}
    write_league(checkpoint, {**record, "replay": None})
    write_manifest(checkpoint, {})
    config = {"schema": 1, "config": {"model": "m"}}
    (run / "config.json").write_text(json.dumps(config))
    return run


def load(spec, role):
    return load_mixture(spec, role, lambda place, role: Named(f"{role} {place[-1]}"))


def test_a_checkpoint_taken_out_of_its_run_has_no_members(run, tmp_path):
    place = tmp_path / "elsewhere" / "checkpoints" / "step-000004"
    shutil.copytree(run / "checkpoints" / "step-000004", place)
    with pytest.raises(RedteamError, match="lies in no run"):
        load(f"mixture:{place}", "attacker")


def test_every_game_is_one_members_in_the_shares_of_the_mixture():
    members = [Named("a"), Named("b")]
    agent = mixture(members, [0.25, 0.75])
    first = agent.act([request(k) for k in range(2000)])
    second = agent.act([request(k, turn=1) for k in reversed(range(2000))])
    who = [reply.text[0] for reply in first]
    assert who == [reply.text[0] for reply in reversed(second)]
    assert Counter(who)["a"] == pytest.approx(500, abs=80)
    assert [reply.text[2:] for reply in first] == [str(request(k).path) for k in range(2000)]
    assert [len(member.asked) for member in members] == [2, 2]
    alone = [agent.act([request(k)])[0].text for k in range(20)]
    assert alone == [reply.text for reply in first[:20]]


@pytest.mark.parametrize("place", ["", "/checkpoints/step-000004"])
def test_members_are_the_frozen_versions_that_the_league_ended_with(run, place):
    spec = f"mixture:{run}{place}"
    attacker = load(spec, "attacker")
    assert [member.name for member in attacker.agents.values()] == ["attacker 0", "attacker 2"]
    assert attacker.choose.shares == {"attacker@0": 0.25, "attacker@2": 0.75}
    defender = load(spec, "defender")
    assert [member.name for member in defender.agents.values()] == ["defender 2"]
    assert defender.choose.shares == {"defender@2": 1.0}


def test_a_mixture_has_the_settings_of_its_run(run):
    check_spec(f"mixture:{run}")
    assert run_defaults([f"mixture:{run}"]) == {"model": "m"}


def test_a_member_that_was_altered_is_named(run):
    (run / "opponents/attacker@2/adapter.bin").write_text("other")
    load(f"mixture:{run}", "defender")
    with pytest.raises(
        RedteamError, match=r"'attacker@2' of .* is damaged: .*adapter\.bin' was altered"
    ):
        load(f"mixture:{run}", "attacker")


def test_what_has_no_mixture_is_refused_with_the_cure(run):
    with pytest.raises(RedteamError, match="names no directory; write mixture:RUN"):
        AgentPool().agent("mixture:nowhere", "attacker")
    league = run / "checkpoints/step-000004/league.json"
    record = json.loads(league.read_text())
    del record["state"]["meta"]
    league.write_text(json.dumps(record))
    with pytest.raises(RedteamError, match="altered"):
        load(f"mixture:{run}", "attacker")
    (league.parent / "manifest.json").unlink()
    write_manifest(league.parent, {})
    with pytest.raises(RedteamError, match=r"has no mixture of the attacker .*--opponents psro"):
        load(f"mixture:{run}", "attacker")


def state_of(run, **state):
    """Write a league's state into the checkpoint of a run, as if it had always been there."""
    league = run / "checkpoints/step-000004/league.json"
    record = json.loads(league.read_text())
    record["state"] = state
    league.write_text(json.dumps(record))
    (league.parent / "manifest.json").unlink()
    write_manifest(league.parent, {})


def test_a_mixture_of_nothing_but_the_start_is_refused(run):
    own = {role: [f"{role}@0"] for role in ("attacker", "defender")}
    own["defender"] = ["defender@2"]
    meta = {role: [1.0] for role in own}
    first = {"attacker": "attacker@0", "defender": "defender@0"}
    played = {f"{role}s": names for role, names in own.items()}
    state_of(run, **played, meta=meta, first=first)
    with pytest.raises(RedteamError, match="holds nothing but the weights that the run began with"):
        load(f"mixture:{run}", "attacker")
    assert load(f"mixture:{run}", "defender").choose.shares == {"defender@2": 1.0}
    state_of(run, **played, meta=meta)
    assert load(f"mixture:{run}", "attacker").choose.shares == {"attacker@0": 1.0}


def test_questions_of_a_quiz_are_spread_over_the_members():
    members = [Named("a"), Named("b")]
    agent = mixture(members, [0.5, 0.5])
    paths = [(0, "quiz", k) for k in range(200)]
    agent.act([TurnRequest(seat="attacker_0", role="attacker", messages=(), path=x) for x in paths])
    counts = [sum(member.asked) for member in members]
    assert sum(counts) == 200
    assert min(counts) > 60
