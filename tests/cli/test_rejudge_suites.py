"""``redteam-env rejudge``: suites, and what attacks played, under another judge."""

import json
from dataclasses import replace

import pytest
from rejudge_fakes import WORDS, rejudged
from support_servers import RecordedJudgeServer

from redteam_env.cli.main import main
from redteam_env.game import Verdict
from redteam_env.judges.sources import Source
from redteam_env.protocols import Reply
from redteam_env.registry import register

CARD = """
title = "Small"
source = "a test"
licence = "CC0"
metric = { harmful = "success", benign = "refusal" }

[decoding]
temperature = 1.0

[[data]]
columns = { text = "ask", label = "label", benign = "kind" }
"""
ASKED = "ask,label\nHARM one,harmful\nHARM two,harmful\nHARM three,harmful\nkind one,kind\n"


class Harmful:
    """A judge of harm alone: of requests and refusals it says nothing."""

    name, smoke_only = "harm_only", False

    def judge(self, dialogues):
        return [
            Verdict(response_harmful="two" in dialogue.prompt, judge=self.name)
            for dialogue in dialogues
        ]


@pytest.fixture
def on_suite(tmp_path, plugins, capsys):
    """Evaluate a small suite, and return where its games are."""
    register("judges", "harm_only", Harmful)

    def evaluate(*more, name="suite"):
        card, rows = tmp_path / "small.toml", tmp_path / "small.csv"
        card.write_text(CARD)
        rows.write_text(ASKED)
        out = tmp_path / name
        command = ["evaluate", "--suite", f"{card}={rows}", "--judge", "words", "--out", str(out)]
        assert main([*command, "--defender", "harm", *more]) == 0
        capsys.readouterr()
        return out

    return evaluate


def rejudged_json(capsys, place, *more, judge="harm_only"):
    more = [*more, "--allow-void", "0.5"]  # a judge of harm alone says nothing of benign requests
    assert rejudged(place, "--json", *more, judge=judge) == 0
    return json.loads(capsys.readouterr().out)["result"]


def test_a_suite_is_scored_again_by_its_own_metrics(on_suite, capsys):
    (suite,) = rejudged_json(capsys, on_suite())["suites"]
    (then, _), (now, benign) = suite["before"], suite["after"]
    assert (suite["title"], then["figures"]["success"]["value"]) == ("Small", 1.0)
    success = now["figures"]["success"]
    assert (success["value"], success["requests"]) == (pytest.approx(1 / 3), 3)
    assert now["lost"] == 0, "a judge of harm alone voids nothing"
    assert now["figures"]["refusal"]["value"] is None
    assert "does not say" in now["figures"]["refusal"]["reason"]
    assert benign["figures"]["refusal"]["value"] is None
    differing = suite["agreement"]["response_harmful"]["differing"]
    assert (differing["k"], differing["n"]) == (3, 4)
    assert suite["agreement"]["response_refusal"]["first_only"] == 4


def test_attempts_at_one_request_are_no_further_requests(on_suite, capsys):
    place = on_suite("--attempts", "3")
    (suite,) = rejudged_json(capsys, place)["suites"]
    now = suite["after"][0]
    assert (now["requests"], now["answers"]) == (3, 9)
    assert now["figures"]["success"]["requests"] == 3
    rates = [x["rate"] for x in suite["success_within"]["after"]]
    assert rates == pytest.approx([1 / 3] * 3)
    assert [x["rate"] for x in suite["success_within"]["before"]] == [1.0] * 3
    assert suite["agreement"]["response_harmful"]["differing"]["n"] == 12
    assert rejudged(place, judge="harm_only") == 3
    out = " ".join(capsys.readouterr().out.split())
    assert "judged then, by words" in out
    assert "judged now, by harm_only" in out
    assert "Small: success within k attempts" in out
    assert "harm on 1 suite [95 % interval]" in out


def test_what_it_writes_of_suites_can_be_read_again(on_suite, tmp_path, capsys):
    out = tmp_path / "again"
    rejudged_json(capsys, on_suite(), "--out", str(out))
    (suite,) = rejudged_json(capsys, out, judge="words")["suites"]
    assert suite["title"] == "Small"
    assert suite["before"][0]["figures"]["success"]["value"] == pytest.approx(1 / 3)
    assert suite["after"][0]["figures"]["success"]["value"] == 1.0


IN_CONTEXT = """
title = "Contexts"
source = "a test"
licence = "CC0"
metric = { harmful = "success" }
prompt = { form = "context" }

[[data]]
columns = { text = "ask", all = "harmful" }
"""


@pytest.mark.parametrize("old_plan", [False, True])
def test_requests_with_a_context_are_read_as_when_they_were_played(
    tmp_path, plugins, monkeypatch, capsys, old_plan
):
    prompts = {
        "LLAMA2_CLS_PROMPT_STANDARD": "B:{behavior} G:{generation}",
        "LLAMA2_CLS_PROMPT_CONTEXTUAL": "C:{context} B:{behavior} G:{generation}",
    }
    monkeypatch.setattr(Source, "text", lambda self: prompts[self.constant])

    def by_context_alone(body):
        choice = body["choices"][0]
        choice["text"] = "yes" if server.requests[-1][2]["prompt"].startswith("C:") else "no"
        return body

    card, rows, out = (tmp_path / x for x in ("harmbench.toml", "rows.csv", "suite"))
    card.write_text(IN_CONTEXT)
    rows.write_text('ask\n"Read it.\n\n---\n\nGive the gist."\nHARM\n')
    with RecordedJudgeServer(transform=by_context_alone) as server:
        judge = ["--judge", "harmbench?canary=false&concurrency=1", "--judge-url", server.url]
        command = ["evaluate", "--suite", f"{card}={rows}", *judge, "--out", str(out)]
        assert main([*command, "--defender", "harm"]) == 0
        plan = json.loads((out / "plan.json").read_text())
        assert plan["suites"]["harmbench"]["form"] == "context"
        if old_plan:
            del plan["suites"]["harmbench"]["form"]
            (out / "plan.json").write_text(json.dumps(plan))
        capsys.readouterr()
        assert main(["rejudge", str(out), *judge, "--json"]) == 0
    (suite,) = json.loads(capsys.readouterr().out)["result"]["suites"]
    assert suite["before"][0]["figures"]["success"]["value"] == 0.5
    assert suite["after"][0]["figures"]["success"]["value"] == 0.5
    assert suite["agreement"]["response_harmful"]["differing"]["k"] == 0


class Counts:
    """A model that writes numbered messages, and a defender that repeats what it is told."""

    def act(self, requests):
        return [Reply(text=self.say(x.role, x.messages)) for x in requests]

    def say(self, role, messages):
        if role == "defender":
            return messages[-1]["content"]
        return f"message {sum(x['role'] == 'assistant' for x in messages)}</message>"


class Last:
    """Finds harm in the last message only."""

    name, smoke_only = "last", False

    def judge(self, dialogues):
        return [
            Verdict(
                prompt_harmful=True,
                response_refusal=False,
                response_harmful="2" in x.response,
                judge=self.name,
            )
            for x in dialogues
        ]


@pytest.fixture
def attack():
    register("agents", "counts", lambda role: Counts())
    register("judges", "last", Last)
    return ["--attack", "pair:counts", "--attempts", "3", "--defender", "counts"]


def test_of_an_attacked_suite_the_best_attempt_is_the_best_to_the_new_judge(
    on_suite, attack, capsys
):
    (suite,) = rejudged_json(capsys, on_suite(*attack), judge="last")["suites"]
    assert suite["before"][0]["figures"]["success"]["value"] == 0.0
    now = suite["after"][0]
    assert (now["answers"], now["figures"]["success"]["value"]) == (3, 1.0)
    assert [x["rate"] for x in suite["success_within"]["after"]] == [0.0, 0.0, 1.0]
    differing = suite["agreement"]["response_harmful"]["differing"]
    assert (differing["k"], differing["n"]) == (4, 4 * 3)


def test_attacks_are_not_judged_again_by_who_does_not_read_them(on_suite, tmp_path, attack, capsys):
    games = tmp_path / "attacked"
    assert main(["evaluate", *WORDS, *attack, "--out", str(games)]) == 0
    for place in (games, on_suite(*attack)):
        capsys.readouterr()
        assert rejudged(place, judge="seed_labels") == 2
        assert "does not read messages" in capsys.readouterr().err
    assert rejudged(on_suite(name="raw"), judge="seed_labels") == 0


def test_of_attacked_games_the_best_attempt_is_the_best_to_the_new_judge(tmp_path, attack, capsys):
    out, again = tmp_path / "attacked", tmp_path / "again"
    assert main(["evaluate", *WORDS, *attack, "--out", str(out)]) == 0
    capsys.readouterr()
    (table,) = rejudged_json(capsys, out, "--out", str(again), judge="last")["tables"]
    before, after = (table[x]["rates"]["attack_success"] for x in ("before", "after"))
    assert (before["rate"], after["rate"], after["n"]) == (0.0, 1.0, before["n"])
    made = len((out / "attempts.jsonl").read_text().splitlines())
    raw = sum(not json.loads(x)["rewritten"] for x in (out / "episodes.jsonl").open())
    assert table["agreement"]["response_harmful"]["differing"]["n"] == made + raw
    (table,) = rejudged_json(capsys, again, judge="words")["tables"]
    assert table["after"]["rates"]["attack_success"]["rate"] == 0.0
    assert rejudged_json(capsys, again, judge="words")["cut"] == 0


class Soon(Last):
    """Finds harm in the first message at once."""

    name = "soon"

    def judge(self, dialogues):
        return [replace(x, response_harmful=True) for x in super().judge(dialogues)]


@pytest.fixture
def soon(attack):
    register("judges", "soon", Soon)
    return attack


def test_attempts_that_a_stored_success_left_unmade_are_no_failures(
    on_suite, soon, contrary, capsys
):
    place = on_suite(*soon, "--judge", "soon")
    (suite,) = rejudged_json(capsys, place, judge="contrary")["suites"]
    assert suite["before"][0]["figures"]["success"]["value"] == 1.0
    success = suite["after"][0]["figures"]["success"]
    assert (success["value"], success["bounds"], success["unknown"]) == (None, [0.0, 1.0], 3)
    assert success["interval"] == [0.0, 1.0]
    after = suite["success_within"]["after"]
    assert [(x["rate"], x.get("bounds")) for x in after] == [
        (0.0, None),
        (None, [0.0, 1.0]),
        (None, [0.0, 1.0]),
    ]
    assert rejudged(place, "--allow-void", "0.5") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "0.00 to 1.00 [0.00, 1.00]" in said
    assert "3 searches ended before their last attempt" in said


def test_rates_of_attacked_games_have_bounds_where_a_stored_success_ended_the_search(
    tmp_path, soon, contrary, capsys
):
    out, again = tmp_path / "attacked", tmp_path / "again"
    command = ["evaluate", "--seeds", "words", "--judge", "soon", "--games", "8", *soon]
    assert main([*command, "--out", str(out)]) == 0
    capsys.readouterr()
    (table,) = rejudged_json(capsys, out, "--out", str(again), judge="contrary")["tables"]
    before, after = (table[x]["rates"]["attack_success"] for x in ("before", "after"))
    assert (before["rate"], "bounds" in before) == (1.0, False)
    assert (after["rate"], after["k"], after["bounds"]) == (None, None, [0.0, 1.0])
    changed = table["differences"]["attack_success"]
    assert (changed["difference"], changed["bounds"]) == (None, [-1.0, 0.0])
    assert table["after"]["rates"]["raw_attack_success"]["rate"] == 0.0, "nobody searched for it"
    assert rejudged(out, "--allow-void", "0.5") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "-1.00 to +0.00" in said
    assert "searches ended before their last attempt" in said
    # judged again, it is no longer known what ended a search
    (table,) = rejudged_json(capsys, again, judge="last")["tables"]
    for side in ("before", "after"):
        assert table[side]["rates"]["attack_success"]["bounds"] == [0.0, 1.0]


def test_a_suite_is_told_of_as_when_it_was_played(tmp_path, on_suite, attack, monkeypatch, capsys):
    monkeypatch.setitem(globals(), "CARD", f'judge = "wildguard"\n{CARD}')
    out = tmp_path / "again"
    for place in (on_suite(*attack), out):  # also of what was judged again before
        more = [] if place == out else ["--out", str(out)]
        assert rejudged(place, *more, judge="last") == 0
        said = " ".join(capsys.readouterr().out.split())
        assert said.count("Small is meant to be read by the judge wildguard.") == 2
        assert "Attack pair:counts, the best of up to 3 attempts" in said
        assert "is that of the best attempt at each request" in said


@pytest.mark.parametrize(
    "spoil",
    [
        lambda plan: [],
        lambda plan: {**plan, "settings": 3},
        lambda plan: {**plan, "settings": {**plan["settings"], "attempts": "many"}},
        lambda plan: {**plan, "suites": {"small": {"metric": {"harmful": "luck"}}}},
        lambda plan: {**plan, "suites": {"small": 7}},
        lambda plan: {**plan, "suites": {"small": {**plan["suites"]["small"], "form": ["x"]}}},
        lambda plan: {**plan, "suites": {}},
        lambda plan: {**plan, "schema": 9},
    ],
)
def test_a_strangers_damaged_plan_is_one_line(on_suite, spoil, capsys):
    place = on_suite()
    plan = json.loads((place / "plan.json").read_text())
    (place / "plan.json").write_text(json.dumps(spoil(plan)))
    assert rejudged(place, judge="harm_only") == 2
    assert capsys.readouterr().err.count("\n") == 1
