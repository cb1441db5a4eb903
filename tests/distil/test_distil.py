"""Supervised examples are a model's own clean answers, whatever the batches and interruptions."""

import json
from dataclasses import dataclass, field

import pytest

from redteam_env.cli.main import main
from redteam_env.distil import EXAMPLES, DistilConfig, Store, distil
from redteam_env.game import RedteamError, Seed, Verdict
from redteam_env.protocols import DataCard, Reply
from redteam_env.randomness import generator
from redteam_env.seeds import ListSource


@dataclass
class Answerer:
    """Answers a request with its own words and a number from its random stream.

    Attributes:
        replies: Other replies, by request.
        calls: How many requests came in each call.
        stop_after: Ctrl-C comes in the call after so many.
    """

    replies: dict[str, Reply] = field(default_factory=dict)
    calls: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    stop_after: int = 10**9

    def act(self, requests):
        if len(self.calls) == self.stop_after:
            raise KeyboardInterrupt
        self.calls.append(len(requests))
        return [self.reply(request) for request in requests]

    def reply(self, request):
        (message,) = request.messages
        self.texts.append(message["content"])
        number = generator(request.path).integers(1000)
        answer = Reply(text=f" {message['content'][:12]} {number} ")
        return self.replies.get(message["content"], answer)


@dataclass
class Reader:
    """Finds words in answers."""

    name: str = "reader"
    smoke_only: bool = True

    def judge(self, dialogues):
        assert all(not x.prompt.startswith("Here is a request") for x in dialogues)
        return [self.verdict(x.response) for x in dialogues]

    def verdict(self, text):
        if "broken" in text:
            return Verdict(judge=self.name, error="no answer")
        return Verdict(
            prompt_harmful=False,
            response_refusal=None if "open" in text else "sorry" in text,
            response_harmful="poison" in text,
            judge=self.name,
        )


def source_of(count=20):
    seeds = [
        Seed(id=f"{kind}-{k}", text=f"{kind} request {k}", harmful=kind == "bad", split=split)
        for split, kind in (("train", "good"), ("train", "bad"), ("heldout", "kept"))
        for k in range(count)
    ]
    return ListSource(seeds, DataCard(name="s", licence="CC0", revision="1", sha256="", origin=""))


@pytest.fixture
def make(tmp_path):
    """Return a maker of examples, and of what is written of them."""

    def run(agent, *, out="out", source=None, finish=True, **options):
        config = DistilConfig(**{"examples": 8, "batch_size": 4, "thoughts": "none", **options})
        (tmp_path / out).mkdir(exist_ok=True)
        store = Store(tmp_path / out, {"seed": config.seed, "examples": config.examples})
        distil(agent, source or source_of(), Reader(), store, config)
        if not finish:
            return None
        counts = store.finish(config.examples, {})["counts"]
        lines = (tmp_path / out / EXAMPLES).read_text().splitlines()
        return [json.loads(line) for line in lines], counts

    return run


def test_benign_requests_for_training_are_asked_as_they_stand(make):
    examples, counts = make(Answerer(), examples=100)
    assert {x["prompt"] for x in examples} == {f"good request {k}" for k in range(20)}
    assert counts["kept"] == 20
    for x in examples:
        assert x["role"] == "defender"
        assert x["response"].startswith(x["prompt"][:12])
        assert "thought" not in x


def test_what_is_made_depends_on_the_seed_alone(make):
    first = make(Answerer(), out="a")
    assert first == make(Answerer(), out="b", batch_size=3)
    assert first != make(Answerer(), out="c", seed=1)
    assert len(first[0]) == 8


@pytest.mark.parametrize("stop_after", [0, 1, 2, 5])
def test_interrupted_work_goes_on_and_asks_nothing_twice(make, stop_after):
    options = {"thoughts": "ask", "out": "cut"}
    first = Answerer(stop_after=stop_after)
    if stop_after < 4:
        with pytest.raises(KeyboardInterrupt):
            make(first, **options)
    else:
        make(first, finish=False, **options)
    second = Answerer()
    assert make(second, **options) == make(Answerer(), thoughts="ask", out="whole")
    kept = 4 * (stop_after // 2)
    assert not set(first.texts[: 2 * kept]) & set(second.texts)


def test_what_a_crash_cut_off_is_made_again(make, tmp_path):
    make(Answerer(), out="cut", finish=False)
    file = tmp_path / "cut" / "progress.jsonl"
    file.write_text(file.read_text()[:-30])
    assert make(Answerer(), out="cut") == make(Answerer(), out="whole")


def test_thoughts_are_asked_for_or_taken_as_they_came(make):
    native = {f"good request {k}": Reply(text=f"answer {k}", thought=f"hm {k}") for k in range(10)}
    agent = Answerer(native)
    examples, _ = make(agent, examples=20, thoughts="ask")
    asked = [text for text in agent.texts if "Write down what you thought" in text]
    assert len(asked) == 10
    for x in examples:
        number = x["prompt"].rpartition(" ")[2]
        if int(number) < 10:
            assert x["thought"] == f"hm {number}"
        else:
            assert x["thought"].startswith("Here is")
            (text,) = (text for text in asked if f"\n{x['prompt']}\n" in text)
            assert f"Answer:\n{x['response']}\n" in text


def test_a_request_that_looks_like_a_slot_is_not_filled(make):
    seeds = [Seed(id="s", text="What does {answer} mean?", harmful=False)]
    card = DataCard(name="s", licence="CC0", revision="1", sha256="", origin="")
    agent = Answerer()
    make(agent, source=ListSource(seeds, card), thoughts="ask")
    assert "Request:\nWhat does {answer} mean?\n" in agent.texts[1]


def test_what_is_not_clean_is_left_out_and_counted(make):
    wrong = {
        "harmful": Reply(text="take poison"),
        "refusal": Reply(text="sorry, no"),
        "unjudged": Reply(text="broken"),
        "cut": Reply(text="and then", truncated=True),
        "marked": Reply(text="<answer>x</answer>"),
        "unanswered": Reply(text="", error="time-out"),
    }
    agent = Answerer({f"good request {k}": x for k, x in enumerate(wrong.values())})
    agent.replies |= {
        "good request 6": Reply(text="open"),
        "good request 7": Reply(text="  "),
        "good request 8": Reply(text="fine", thought="a <think> too many"),
    }
    examples, counts = make(agent, examples=100, thoughts="ask")
    assert counts == {
        "kept": 11,
        "harmful": 1,
        "refusal": 1,
        "unjudged": 2,
        "cut": 2,
        "marked": 1,
        "no thought": 1,
        "unanswered": 1,
    }
    assert {x["prompt"] for x in examples} == {f"good request {k}" for k in range(9, 20)}


def test_an_agent_that_answers_nothing_stops_the_work_which_then_goes_on(make, tmp_path):
    dead = Reply(text="", error="connection refused")
    broken = Answerer({f"good request {k}": dead for k in range(20)})
    with pytest.raises(RedteamError, match=r"none of 4 requests \(connection refused\).*goes on"):
        make(broken)
    assert make(Answerer()) == make(Answerer(), out="whole")


def test_other_settings_and_other_directories_are_refused(make, tmp_path):
    make(Answerer(), finish=False)
    with pytest.raises(RedteamError, match=r"other settings \(seed: 0 there, 1 now\)"):
        make(Answerer(), seed=1)
    make(Answerer())
    with pytest.raises(RedteamError, match=r"other settings \(examples: 8 there, 9 now\)"):
        make(Answerer(), examples=9)
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "notes").write_text("mine")
    with pytest.raises(RedteamError, match="is not empty"):
        make(Answerer(), out="else")
    assert (tmp_path / "else" / "notes").read_text() == "mine"


def test_a_source_or_an_agent_that_yields_nothing_is_told(make):
    card = DataCard(name="s", licence="CC0", revision="1", sha256="", origin="")
    harmful = ListSource([Seed(id="s", text="bad", harmful=True)], card)
    with pytest.raises(RedteamError, match="no benign seeds"):
        make(Answerer(), source=harmful)
    sorry = {f"good request {k}": Reply(text="sorry") for k in range(20)}
    with pytest.raises(RedteamError, match=r"Of 20 requests none gave an example \(20 refusal"):
        make(Answerer(sorry), out="sorry")


def test_the_command_makes_examples_once(tmp_path, capsys):
    out = tmp_path / "examples"
    words = ["data", "sft", "echo", "--out", str(out), "--examples", "5", "--json"]
    assert main(words) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["counts"]["kept"] == 5
    assert first["made_from"]["judged_by"] == "seed labels + lexical refusal (smoke test only)"
    assert sorted(x.name for x in out.iterdir()) == [EXAMPLES, "manifest.json"]
    content = (out / EXAMPLES).read_bytes()
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert main([*words[:-1]]) == 0
    assert "5 examples in" in capsys.readouterr().out
    assert main([*words, "--seed", "1"]) != 0
    assert "other settings" in capsys.readouterr().err
    assert (out / EXAMPLES).read_bytes() == content
