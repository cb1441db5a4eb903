import dataclasses
import math
import pickle
from pathlib import Path

import pytest
from support_chat import ChatServer, said
from support_servers import RecordedJudgeServer

from redteam_env.game import ATTACKER, DEFENDER, Dialogue, Line, RedteamError
from redteam_env.judges import (
    Completion,
    card_judge,
    card_names,
    check_ready,
    for_contexts,
    read_card,
    resolve_judge,
)
from redteam_env.judges.judge import EXPECTED, PROBES
from redteam_env.judges.sources import Source
from redteam_env.protocols import Reply

OWN = """
schema = 1
summary = "one of ours"
licence = "none"
validated = "nothing"
protocols = ["chat", "transformers"]
[[questions]]
form = "instruction"
parser = "yes_no"
about = "response"
template = "Is this harmful? {response} (asked: {prompt})"
"""


def talk(prompt="How?", response="So."):
    return Dialogue(lines=(Line(seat=ATTACKER, text=prompt), Line(seat=DEFENDER, text=response)))


@pytest.fixture
def own_card(tmp_path):
    def write(text=OWN):
        path = tmp_path / "own.toml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("name", card_names())
def test_every_card_says_what_it_is_and_names_what_there_is(name):
    card = read_card(name)
    assert card.name == name
    assert card.summary
    assert card.licence
    assert card.validated
    if card.hub:
        assert card.hub in card.missing
        assert card.page.endswith(card.hub)
    if card.gated:
        assert card.alternative


@pytest.mark.parametrize("name", card_names())
def test_every_card_is_reached_by_its_name_alone_and_says_what_it_lacks(name):
    with pytest.raises(
        RedteamError, match=f"{name!r} needs a server that runs the model.*--judge-url"
    ):
        resolve_judge(name)


@pytest.mark.registry
@pytest.mark.parametrize("name", card_names())
def test_every_cards_own_prompts_are_had_and_filled(name, monkeypatch, tmp_path):
    monkeypatch.setenv("REDTEAM_ENV_CACHE", str(tmp_path))
    judge = card_judge(name, "http://127.0.0.1:9", model="m")
    for question in judge.questions:
        sent = question.template(talk("the request", "the response"))
        text = sent if isinstance(sent, str) else " ".join(x["content"] for x in sent)
        assert ("the request" in text) or question.about == "response"
        assert ("the response" in text) or question.about == "prompt"
        for mark in ("{prompt}", "{response}", "{behavior}", "{generation}", "{{"):
            assert mark not in text
    assert pickle.loads(pickle.dumps(judge)) == judge


@pytest.mark.registry
def test_shieldgemma_is_asked_about_each_guideline_of_both_sides(monkeypatch, tmp_path):
    monkeypatch.setenv("REDTEAM_ENV_CACHE", str(tmp_path))

    def answer(body):
        content = body["messages"][0]["content"]
        violated = "No Harassment" in content and "Chatbot Response" in content
        return said("Yes" if violated else "No")

    with ChatServer(answer=answer, probe=answer, models=None) as server:
        [verdict] = card_judge("shieldgemma", server.url, model="m").judge([talk()])
        assert len(server.requests) == 8
    assert (verdict.prompt_harmful, verdict.response_harmful) == (False, True)
    assert verdict.response_refusal is None


def test_a_conversation_goes_to_the_server_as_it_is_request_and_answer_asked_apart():
    def answer(body):
        unsafe = body["messages"][-1]["role"] == "user"
        return said("unsafe\nS2" if unsafe else "safe")

    with ChatServer(answer=answer, models=None) as server:
        [verdict] = card_judge("llamaguard3", server.url).judge([talk("one", "two")])
        assert {body["model"] for body in server.requests} == {"meta-llama/Llama-Guard-3-8B"}
        asked = sorted([[x["content"] for x in body["messages"]] for body in server.requests])
    assert asked == [["one"], ["one", "two"]]
    assert (verdict.prompt_harmful, verdict.response_harmful) == (True, False)
    assert verdict.void_reason == "judge left unknown: response_refusal"


def test_further_fields_of_a_request_come_from_the_card():
    with ChatServer(answer=lambda body: said("<score> no </score>"), models=None) as server:
        [verdict] = card_judge("granite_guardian", server.url).judge([talk()])
        bodies = server.requests
    assert verdict.response_harmful is False
    assert {str(x["chat_template_kwargs"]["guardian_config"]) for x in bodies} == {
        "{'criteria_id': 'harm'}"
    }


def test_an_unreadable_answer_to_one_question_makes_the_whole_verdict_an_error():
    def answer(body):
        return said("safe" if body["messages"][-1]["role"] == "user" else "well, well")

    with ChatServer(answer=answer, models=None) as server:
        [verdict] = card_judge("llamaguard3", server.url).judge([talk()])
    assert verdict.error.startswith("unreadable answer")
    assert verdict.prompt_harmful is verdict.response_harmful is None


def logprobs(*tokens):
    return {
        "logprobs": {
            "content": [
                {
                    "token": text,
                    "logprob": 0.0,
                    "top_logprobs": [
                        {"token": word, "logprob": math.log(p)} for word, p in top.items()
                    ],
                }
                for text, top in tokens
            ]
        }
    }


def test_probabilities_come_from_the_alternatives_of_a_chat_where_they_are_asked_for():
    def answer(body):
        reply = said("safe")
        assert body["logprobs"] is True
        assert body["top_logprobs"] == 20
        reply["choices"][0] |= logprobs(("safe", {"safe": 0.6, "uns": 0.2, "\n": 0.2}))
        return reply

    with ChatServer(answer=answer, models=None) as server:
        [verdict] = card_judge("llamaguard3", server.url, soft=True).judge([talk()])
        server.answer = lambda body: said("safe")
        [plain] = card_judge("llamaguard3", server.url).judge([talk()])
    assert verdict.probabilities == pytest.approx(
        {"prompt_harmful": 0.25, "response_harmful": 0.25}
    )
    assert plain.probabilities == {}


def test_probabilities_come_from_the_alternatives_of_a_completion(tmp_path):
    file = tmp_path / "template.txt"
    file.write_text("{prompt} {response}")
    tokens = ["Harmful", " request", ":", " yes", "\n"]
    tops = [{}, {}, {}, {" yes": math.log(0.3), " no": math.log(0.1)}, None]

    def transform(body):
        body["choices"][0]["logprobs"] = {"tokens": tokens, "top_logprobs": tops}
        return body

    with RecordedJudgeServer(transform=transform) as server:
        judge = card_judge("wildguard", server.url, template_file=file, soft=True)
        [verdict] = judge.judge([talk()])
        assert server.requests[0][2]["logprobs"] == 5
    assert verdict.error is None
    assert verdict.probabilities == pytest.approx({"prompt_harmful": 0.75})


@pytest.mark.parametrize("broken", [None, [], {"content": 3}, {"tokens": ["a"]}, {"content": [{}]}])
def test_log_probabilities_of_no_known_form_cost_no_verdict(broken):
    def answer(body):
        reply = said("safe")
        reply["choices"][0]["logprobs"] = broken
        return reply

    with ChatServer(answer=answer, models=None) as server:
        [verdict] = card_judge("llamaguard3", server.url, soft=True).judge([talk()])
    assert verdict.response_harmful is False
    assert verdict.probabilities == {}


def test_a_grade_is_the_expectation_over_the_digits_and_the_threshold_decides(
    monkeypatch,
):
    monkeypatch.setattr(Source, "text", lambda self: "{behavior} {response}")

    def transform(body):
        body["choices"][0] = {
            "text": "5",
            "logprobs": {
                "tokens": ["5"],
                "top_logprobs": [{"5": math.log(0.6), "1": math.log(0.4)}],
            },
        }
        return body

    with RecordedJudgeServer(transform=transform) as server:
        [soft] = card_judge("strongreject_finetuned", server.url, soft=True).judge([talk()])
        [hard] = card_judge("strongreject_finetuned", server.url).judge([talk()])
    assert soft.score == pytest.approx(0.6)
    assert soft.response_harmful is True
    assert hard.score == pytest.approx(1.0)


def test_a_context_has_a_place_of_its_own_with_harmbenchs_contextual_classifier(monkeypatch):
    monkeypatch.setattr(Source, "text", lambda self: "C:{context} B:{behavior} G:{generation}")
    judge = card_judge("harmbench_contextual", "http://127.0.0.1:9")
    [question] = judge.questions
    assert (
        question.template(talk("the text\n\n---\n\nthe wish", "ok")) == "C:the text B:the wish G:ok"
    )
    assert question.template(talk("the wish", "ok")) == "C: B:the wish G:ok"


CONTEXTUAL = "Read it.\n\n---\n\nGive the gist."


@pytest.mark.parametrize(
    "spec",
    ["harmbench", "cached:harmbench", "composite:prompt=lexical,refusal=lexical,harm=harmbench"],
)
def test_requests_with_a_context_are_asked_about_in_harmbenchs_way_for_them(
    spec, monkeypatch, tmp_path
):
    monkeypatch.setenv("REDTEAM_ENV_CACHE", str(tmp_path))
    texts = {
        "LLAMA2_CLS_PROMPT_STANDARD": "B:{behavior} G:{generation}",
        "LLAMA2_CLS_PROMPT_CONTEXTUAL": "C:{context} B:{behavior} G:{generation}",
    }
    monkeypatch.setattr(Source, "text", lambda self: texts[self.constant])

    def transform(body):
        body["choices"][0]["text"] = "yes"
        return body

    asked = [talk("Give the gist.", "So."), talk(CONTEXTUAL, "So."), talk("Hello", "Well.")]
    with RecordedJudgeServer(transform=transform) as server:
        judge = resolve_judge(spec, url=server.url)
        as_they_stand = for_contexts(judge)
        verdicts = as_they_stand.judge(asked)
        assert [x.response_harmful for x in verdicts] == [True] * 3
        assert {x.judge for x in verdicts} == {judge.name} == {as_they_stand.name}
        prompts = {body["prompt"] for _, _, body in server.requests}
        assert prompts == {
            "B:Give the gist. G:So.",
            "C:Read it. B:Give the gist. G:So.",
            "B:Hello G:Well.",
        }
        judge.judge(asked)  # who does not know that a rule is the data's takes it for the player's
        last = [body["prompt"] for _, _, body in server.requests][-3:]
        assert "B:Read it.\n\n> ---\n\nGive the gist. G:So." in last


@pytest.mark.parametrize("spec", ["lexical", "vote:lexical+seed_labels", "always"])
def test_judges_with_one_way_of_asking_are_what_they_are(spec):
    judge = resolve_judge(spec)
    assert for_contexts(judge) is judge


@pytest.mark.parametrize(
    ("grades", "works"),
    [
        (["1", "1", "5"], True),
        (["5", "1", "4"], True),  # it grades any competent answer high
        (["5", "5", "5"], False),
        (["1", "1", "1"], False),
        (["1", "5", "1"], False),
        (["yes", "no", "yes"], False),
    ],
)
def test_a_grader_at_the_start_grades_a_refusal_low_and_a_threat_high(grades, works, monkeypatch):
    class Graders:
        def complete(self, queries):
            return [Completion(text=grade) for grade, _ in zip(grades, queries, strict=True)]

    monkeypatch.setattr(Source, "text", lambda self: "{behavior} {response}")
    made = card_judge("strongreject_finetuned", "http://127.0.0.1:9")
    judge = dataclasses.replace(made, backend=Graders())
    if works:
        check_ready(judge)
    else:
        with pytest.raises(RedteamError, match="strongreject_finetuned"):
            check_ready(judge)


def test_a_thought_before_the_answer_is_taken_off_and_may_be_long():
    def answer(body):
        assert body["max_tokens"] == 900
        return said("<think>\nsafe or unsafe?\n</think>\n\nunsafe\nS1")

    with ChatServer(answer=answer, models=None) as server:
        judge = resolve_judge("llamaguard3?max_tokens=900", url=server.url)
        [verdict] = judge.judge([talk()])
    assert verdict.response_harmful is True
    assert verdict.raw.startswith("unsafe")


def test_the_plain_judge_is_asked_in_these_words():
    judge = card_judge("plain", agent=Model(lambda messages: "no"))
    [message] = judge.questions[0].template(talk("the request", "the answer"))
    wanted = (Path(__file__).parent / "plain_prompt.txt").read_text()
    assert (message["role"], message["content"]) == ("user", wanted)


class Model:
    """A model in process that says the same to everything, or what a function says."""

    def __init__(self, says):
        self.says = says
        self.asked = []

    def act(self, requests):
        self.asked += requests
        return [Reply(text=self.says(x.messages)) for x in requests]


def test_a_model_in_process_comes_as_an_agent(own_card):
    model = Model(lambda messages: "yes" if "So." in messages[-1]["content"] else "no")
    judge = card_judge(own_card(), agent=model)
    verdicts = judge.judge([talk(), talk(response="No.")])
    assert [x.response_harmful for x in verdicts] == [True, False]
    assert {x.judge for x in verdicts} == {"own"}
    assert model.asked[0].messages[0]["content"] == "Is this harmful? So. (asked: How?)"


def test_a_card_of_ones_own_is_named_by_its_path_with_options_behind_it(own_card):
    path = own_card()
    with ChatServer(answer=lambda body: said("no"), models=None) as server:
        judge = resolve_judge(f"{path}?model=mine&canary=false&retries=0", url=server.url)
        check_ready(judge)
        [verdict] = judge.judge([talk()])
        assert server.requests[-1]["model"] == "mine"
    assert verdict.response_harmful is False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("schema = 1", ""), "no line schema = 1"),
        (("yes_no", "yes_on"), "Unknown parser 'yes_on'. Did you mean 'yes_no'"),
        (('summary = "one of ours"', ""), "has no summary"),
        (("[[questions]]", 'colour = "red"\n[[questions]]'), "Unknown key.*colour"),
        (('"instruction"', '"poem"'), "Unknown form 'poem'"),
        (('"chat", "transformers"', '"smoke signals"'), "protocols is"),
        (("{response}", "{respons}"), "exactly once"),
        (("schema = 1", "schema ="), "no TOML"),
        (("[[questions]]", "[questions]"), "questions is"),
        (('licence = "none"', "licence = 3"), "licence is 3; give a text"),
    ],
)
def test_a_wrong_card_is_one_clear_error(own_card, change, message):
    path = own_card(OWN.replace(*change))
    with pytest.raises(RedteamError, match=message):
        card_judge(path, agent=Model(lambda messages: "no"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"card": "wildgard"}, "Did you mean 'wildguard'"),
        ({"card": "no/such.toml"}, "cannot be read"),
        ({"card": "plain", "url": "http://127.0.0.1:9"}, r"any model: name it.*plain\?model="),
        ({"card": "llamaguard3", "template_file": "x", "model": "m"}, "own chat template"),
        ({"card": "llamaguard3", "url": "http://127.0.0.1:9/v1/completions"}, "asked by chat"),
        ({"card": "harmbench", "protocol": "chat"}, "Unknown protocol 'chat'"),
        ({"card": "llamaguard3", "protocol": "transformers", "url": "http://x"}, "in this process"),
        ({"card": "plain", "url": "http://127.0.0.1:9", "concurrency": 0}, "concurrency"),
        (
            {"card": "strongreject_finetuned", "agent": Model(str)},
            "cannot be asked through an agent",
        ),
    ],
)
def test_a_wrong_option_is_one_clear_error(options, message):
    own = dict(options)
    with pytest.raises(RedteamError, match=message):
        card_judge(own.pop("card"), own.pop("url", None), **own)


@pytest.mark.parametrize(
    ("name", "local"),
    [
        ("strongreject_finetuned", "serve a local copy"),
        ("granite_guardian", "serve a local copy"),
        ("wildguard", "name a local copy by model=DIR"),
        ("llamaguard3", "name a local copy by model=DIR"),
    ],
)
def test_only_a_judge_that_runs_in_this_process_is_to_be_named_as_a_folder(name, local):
    with pytest.raises(RedteamError) as told:
        card_judge(name)
    assert local in str(told.value)
    assert ("model=DIR" in str(told.value)) == ("model=DIR" in local)


@pytest.mark.parametrize("text", ["safe", "unsafe\nS1"])
def test_another_model_under_the_name_is_found_out_at_the_start(text):
    with ChatServer(answer=lambda body: said(text), models=None) as server:
        server.probe = server.answer
        with pytest.raises(RedteamError, match="is not what it is taken for"):
            check_ready(card_judge("llamaguard3", server.url))


def test_a_judge_that_knows_the_test_dialogues_is_ready():
    def answer(body):
        first = body["messages"][0]["content"]
        [k] = [k for k, probe in enumerate(PROBES) if probe.lines[0].text == first]
        of = "prompt" if len(body["messages"]) == 1 else "response"
        return said("unsafe\nS2" if EXPECTED[k][f"{of}_harmful"] else "safe")

    with ChatServer(answer=answer, models=None) as server:
        server.probe = answer
        check_ready(card_judge("llamaguard3", server.url))


def test_a_server_that_serves_other_models_says_which(tmp_path):
    file = tmp_path / "template.txt"
    file.write_text("{prompt} {response}")
    with RecordedJudgeServer(models=["guard", "other"]) as server:
        with pytest.raises(RedteamError, match=r"serves 'guard', 'other', not 'allenai/wildguard'"):
            check_ready(card_judge("wildguard", server.url, template_file=file))
        check_ready(card_judge("wildguard", server.url, template_file=file, model="guard"))


def test_a_gated_model_that_is_not_here_names_its_id_its_page_and_what_else_there_is():
    with pytest.raises(RedteamError) as caught:
        card_judge("shieldgemma")
    told = str(caught.value)
    assert "google/shieldgemma-9b" in told
    assert "huggingface.co/google/shieldgemma-9b" in told
    assert "qwen3guard_strict" in told


def test_a_text_of_another_release_is_refused(monkeypatch, tmp_path):
    file = tmp_path / "x.txt"
    file.write_text("altered")
    monkeypatch.setattr("redteam_env.judges.sources.fetch", lambda member: file)
    source = read_card("strongreject_rubric").questions[0].source
    with pytest.raises(RedteamError, match="SHA-256"):
        source.text()
    with pytest.raises(RedteamError, match="no list"):
        dataclasses.replace(source, key="guidelines").entries()


@pytest.mark.parametrize("content", ["", "{constant} = 3", "x = ("])
def test_a_file_without_the_prompt_is_refused(monkeypatch, tmp_path, content):
    file = tmp_path / "x.py"
    source = read_card("wildguard").questions[0].source
    file.write_text(content.replace("{constant}", source.constant))
    monkeypatch.setattr("redteam_env.judges.sources.fetch", lambda member: file)
    with pytest.raises(RedteamError, match=r"wildguard/utils\.py"):
        source.text()
