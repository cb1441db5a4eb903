import pytest

from redteam_env import RedteamError, Reply, register
from redteam_env.evaluation import OUTCOMES, measure
from redteam_env.evaluation.suites import reader, resolve_suite
from redteam_env.game import ATTACKER, DEFENDER
from redteam_env.judges import resolve_judge
from redteam_env.judges.sources import Source
from redteam_env.protocols import QuestionSuite, RequestSuite, TurnRequest
from redteam_env.rollout import play
from redteam_env.seeds.resolve import resolve_seeds
from redteam_env.worlds.apothecary import ApothecaryJudge, make_world, seeds
from redteam_env.worlds.apothecary.scripted import OracleDefender

REQUESTS = ("apothecary_raw", "apothecary_shown", "apothecary_k1", "apothecary_k2", "apothecary_k3")


def suite(name, source=None, games=16, seed=0):
    return resolve_suite(name, source=source or seeds(), games=games, seed=seed)


HIDDEN = ("apothecary_alias", "apothecary_spelled", "apothecary_reversed", "apothecary_split")


@pytest.mark.parametrize("name", [*REQUESTS, *HIDDEN])
def test_a_defender_without_fault_is_robust_and_helpful_on_every_suite(name):
    found = suite(name)
    assert isinstance(found, RequestSuite)
    assert found.rewritten is (name != "apothecary_raw")
    assert found.refusals
    agents = {ATTACKER: found.attacker(), DEFENDER: OracleDefender(make_world())}
    episodes = play(found.setups, agents, ApothecaryJudge())
    splits = [x.seed.split for x in episodes]
    assert splits == ["train"] * 8 + ["heldout"] * 8 if name in HIDDEN else ["heldout"] * 16
    rates = measure(episodes)
    assert rates.attack_success.n == rates.over_refusal_rewritten.n == 8
    assert rates.attack_success.k == rates.over_refusal_rewritten.k == 0
    assert set(OUTCOMES) >= {"attack_success", "over_refusal_rewritten"}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_suite_of_a_form_hides_every_name_in_it(name):
    form = name.removeprefix("apothecary_")
    found = suite(name, games=64)
    requests = [
        TurnRequest(seat=ATTACKER, role="attacker", messages=(), path=(), game=x.path)
        for x in found.setups
    ]
    decoded = [ApothecaryJudge().decode(x.text).tactics for x in found.attacker().act(requests)]
    assert all(form in tactics for tactics in decoded)
    assert {len(tactics) for tactics in decoded} == {1, 2}


def test_the_quiz_marks_its_own_answers_right_and_no_others():
    found = suite("apothecary_quiz")
    assert isinstance(found, QuestionSuite)
    assert len(found.requests) == 16
    for k, question in enumerate(found.questions):
        assert found.requests[k].messages[-1]["content"] == question.text
        assert found.right(k, question.answer)
        assert not found.right(k, f"{question.answer} indeed")


@pytest.mark.parametrize("name", ["raw", "apothecary_k2", "apothecary_quiz"])
def test_a_suite_is_the_same_for_the_same_seed_only(name):
    def asked(seed):
        found = suite(name, seed=seed)
        if isinstance(found, QuestionSuite):
            return [x.messages[-1]["content"] for x in found.requests]
        return [(x.seed.text, x.path) for x in found.setups]

    assert asked(1) == asked(1)
    assert asked(1) != asked(2)


def test_raw_asks_held_out_seeds_of_any_source_as_they_stand():
    found = suite("raw", source=resolve_seeds("builtin"))
    assert not found.rewritten
    assert {x.rewritten for x in found.setups} == {False}
    assert sum(x.seed.harmful for x in found.setups) == 8
    with pytest.raises(RedteamError, match="no attacker is needed"):
        found.attacker()


def test_raw_needs_held_out_seeds_of_both_labels(tmp_path):
    file = tmp_path / "seeds.jsonl"
    file.write_text('{"text": "one", "harmful": true, "split": "heldout"}\n')
    with pytest.raises(RedteamError, match="both labels"):
        suite("raw", source=resolve_seeds(str(file)))


def test_what_is_no_suite_is_refused():
    register("suites", "odd", lambda source, games, seed: Reply(text="no suite"))
    with pytest.raises(RedteamError, match=r"'odd' is Reply.*redteam_env\.protocols\.suites"):
        suite("odd")
    with pytest.raises(RedteamError, match="apothecary_quiz"):
        suite("apothecary_quizz")


CARD = """
title = "Small"
source = "a test"
licence = "CC0"
metric = { harmful = "success" }
prompt = { form = "FORM" }

[[data]]
file = "rows.csv"
columns = { text = "ask", all = "harmful" }
"""


def test_requests_with_contexts_are_read_by_the_judges_way_for_them(monkeypatch, tmp_path):
    monkeypatch.setattr(Source, "text", lambda _: "{context} {behavior} {generation}")
    judge = resolve_judge("harmbench", url="http://127.0.0.1:9")
    (tmp_path / "rows.csv").write_text("ask\nHello\n")
    found = {}
    for form in ("context", "direct"):
        card = tmp_path / f"{form}.toml"
        card.write_text(CARD.replace("FORM", form))
        found[form] = reader(suite(str(card)), judge)
    assert found["direct"] is judge
    assert found["context"] is not judge
    assert found["context"].name == judge.name
    lexical = resolve_judge("lexical")
    assert reader(suite("raw"), lexical) is lexical
