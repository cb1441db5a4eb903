"""What the exact judge of a world can tell of each step: forms, and strict rates."""

from types import MappingProxyType, SimpleNamespace

import pytest

from algorithms.callbacks.exact import Exact
from redteam_env.evaluation import evaluate
from redteam_env.game import RedteamError
from redteam_env.judges import resolve_judge
from redteam_env.protocols import Reply
from redteam_env.rollout import schedule
from redteam_env.worlds.apothecary import (
    ApothecaryJudge,
    OracleDefender,
    ScriptedAttacker,
    make_world,
    seeds,
)

WORLD, JUDGE = make_world(), ApothecaryJudge()


class Mumbler:
    """Rewrites every seed into what means nothing."""

    def act(self, requests):
        return [Reply(text="sorry i must refuse") for _ in requests]


def logged(attacker, *, rewritten=1.0, scripted=MappingProxyType({})):
    """What a step logs in which an attacker met a defender without faults."""
    setups = schedule(seeds(), 8, path=(0,), rewrite_fraction=rewritten)
    episodes = evaluate(attacker, OracleDefender(WORLD), setups, JUDGE).episodes
    callback, row = Exact(), {}
    callback.on_start(SimpleNamespace(judge=JUDGE, episodes=episodes, scripted=scripted))
    callback.on_update(0, row)
    return row


def test_the_forms_of_rewrites_are_counted():
    row = logged(ScriptedAttacker(WORLD, ("spelled", "story")))
    forms = {name: share for name, share in row.items() if "form_" in name}
    assert forms == {f"game/form_{x}": float(x == "spelled") for x in JUDGE.forms}
    assert row["game/exact_faithfulness"] == 1
    assert row["game/exact_attack_success"] == row["game/exact_over_refusal"] == 0


def test_a_rewrite_that_means_nothing_uses_no_form_and_is_not_faithful():
    row = logged(Mumbler())
    assert row["game/exact_faithfulness"] == 0
    assert not any(share for name, share in row.items() if "form_" in name)
    assert "game/exact_over_refusal" not in row  # no benign rewrite kept its seed


def test_raw_games_tell_nothing():
    assert logged(Mumbler(), rewritten=0.0) == {}


def test_games_of_scripted_opponents_tell_nothing():
    spelled = ScriptedAttacker(WORLD, ("spelled", "story"))
    some = logged(spelled, scripted={0: "attacker", 1: "defender"})
    assert some == logged(spelled)
    assert logged(spelled, scripted=dict.fromkeys(range(8), "attacker")) == {}


def test_a_judge_that_only_gives_verdicts_is_refused():
    run = SimpleNamespace(judge=resolve_judge("lexical"), episodes=[])
    with pytest.raises(RedteamError, match=r"lexical.* has none"):
        Exact().on_start(run)
