"""The turns before the first step: what they are measured by, what is refused, and that they leave no trace."""

import dataclasses
import json

import pytest
from training_fakes import contents, metrics, words_source

from algorithms import preflight
from algorithms.training.config import TrainConfig
from algorithms.training.preflight import SeatPreflight
from algorithms.training.trainer import train
from redteam_env.game import Game, Generation, Prompts, RedteamError, load_prompts
from redteam_env.protocols import Reply
from redteam_env.runs import Run

RULES = load_prompts().rules("defender", harmful=True, must_think=False)


def generation(length, *, finished=True):
    return Generation(
        prompt_ids=(1,),
        completion_ids=(2,) * length,
        logprobs=(0.0,) * length,
        adapter="base",
        version=0,
        temperature=1.0,
        finished=finished,
    )


@dataclasses.dataclass
class Speaker:
    """Says some texts in turn, a word a token."""

    texts: list[str]
    limit: int
    asked: list = dataclasses.field(default_factory=list)

    def _generations(self, requests, limit):
        for request in requests:
            words = self.texts[request.path[-4] % len(self.texts)].split()
            yield request, words[:limit], len(words) <= limit

    def act(self, requests):
        self.asked += requests
        return [
            Reply(
                text=" ".join(words),
                generation=generation(len(words), finished=done),
            )
            for _, words, done in self._generations(requests, self.limit)
        ]


class Drafting(Speaker):
    """The same, and can say how long it would be."""

    def drafts(self, requests, *, max_new_tokens):
        found = self._generations(requests, max_new_tokens)
        return [generation(len(words), finished=done) for _, words, done in found]


class Speakers:
    """A policy of which only the agents are needed."""

    def __init__(self, **agents):
        self._agents = agents

    def agent(self, role):
        return self._agents[role]


def looked_at(*texts, limit=100, kind=Drafting, game=None, role="defender", turns=8):
    policy = Speakers(**{role: kind(list(texts), limit)})
    found = preflight(
        policy, game or Game(), words_source(), turns=turns, max_new_tokens=limit, roles=[role]
    )
    return found, found.seats[role]


def test_turns_that_copy_the_instruction_are_told_from_those_that_do_not():
    _, seat = looked_at(RULES, "A plain answer of my own that tells you what you wanted to know.")
    assert seat.echoed == 0.5
    assert seat.copied == pytest.approx(0.5)


def test_a_few_words_in_common_are_no_echo():
    _, seat = looked_at("You are a helpful person. Answer harmless requests.")
    assert (seat.echoed, seat.copied) == (0, 0)


def test_the_players_text_in_a_framed_instruction_is_no_echo():
    texts = {
        **load_prompts().texts,
        "defender": "Say something kind about what follows: {request} Begin at once.",
    }
    game = Game(prompts=Prompts(texts))
    _, seat = looked_at("Say something kind about what follows: yes.", game=game)
    assert seat.echoed == 1


def test_refusals_and_broken_formats_are_counted():
    _, seat = looked_at(
        "I cannot help with that.", "<think>hm</think> no answer", "Sure, here.", "Yes."
    )
    assert (seat.refused, seat.malformed) == (0.25, 0.25)


def test_the_budget_fits_nine_of_ten_turns():
    texts = ["word " * n for n in (3, 4, 5, 6, 7, 8, 9, 10, 11, 50)]
    found, seat = looked_at(*texts, turns=10)
    assert (seat.cut, seat.budget) == (0, 11)
    found, seat = looked_at(*texts, turns=10, limit=5)
    assert (seat.cut, seat.budget) == (0.7, 11)
    assert found.short() == ["defender"]
    assert "max_new_tokens is 5" in "\n".join(found.lines())
    assert "fitting 90% of them takes 11 tokens." in "\n".join(found.lines())


def test_what_is_longer_than_was_tried_is_said_to_be():
    _, seat = looked_at("word " * 5000, limit=6)
    assert (seat.budget, seat.needed) == (None, "more than 256")
    _, seat = looked_at("word " * 5000, limit=6, kind=Speaker)
    assert (seat.budget, seat.needed) == (None, "more than 6")


def test_an_agent_without_tokens_has_no_budget():
    class Plain(Speaker):
        def act(self, requests):
            return [Reply(text=x.text, truncated=True) for x in super().act(requests)]

    found, seat = looked_at("word " * 9, limit=5, kind=Plain)
    assert (seat.cut, seat.needed) == (1, "unknown")
    assert found.short() == []


def test_turns_that_failed_are_counted_apart():
    class Failing(Speaker):
        def act(self, requests):
            replies = super().act(requests)
            return [Reply(text="", error="no answer"), *replies[1:]]

    _, seat = looked_at("I cannot help with that.", kind=Failing)
    assert (seat.turns, seat.failed, seat.refused) == (8, 1, 1)


def test_the_attacker_rewrites_and_the_defender_answers_raw_seeds():
    agents = {"attacker": Drafting(["a"], 9), "defender": Drafting(["d"], 9)}
    preflight(Speakers(**agents), Game(), words_source(), turns=4)
    assert [len(x.asked) for x in agents.values()] == [4, 4]
    assert {x.seed.harmful for x in agents["attacker"].asked} == {True, False}
    assert all(x.path[:2] == (0, "preflight") for y in agents.values() for x in y.asked)


def required(**changes):
    game = Game(thinking={"attacker_0": "required", "defender_0": "required"})
    return looked_at("word " * 30, limit=8, game=game, **changes)[0]


def test_required_thoughts_need_their_tokens():
    with pytest.raises(
        RedteamError, match=r"max_new_tokens = 8 .*Give --max-new-tokens 30, or --force"
    ):
        required().check()
    looked_at("word " * 30, limit=8)[0].check()  # nothing is forfeit
    looked_at("word " * 30, limit=30, game=Game(thinking={"defender_0": "required"}))[0].check()


def test_where_the_need_is_not_known_twice_what_was_tried_is_to_be_given():
    with pytest.raises(RedteamError, match=r"--max-new-tokens 16,"):
        required(kind=Speaker).check()


def test_a_run_is_the_same_with_and_without_a_preflight(tiny_options, tmp_path):
    for name, turns in (("with", 8), ("without", 0)):
        options = {**tiny_options, "preflight": turns, "out": str(tmp_path / name)}
        train(TrainConfig.from_flat(options))
    folders = ("episodes", "checkpoints")
    assert contents(tmp_path / "with", *folders) == contents(tmp_path / "without", *folders)
    assert metrics(tmp_path / "with") == metrics(tmp_path / "without")
    assert Run(tmp_path / "without").preflight() is None
    stored = Run(tmp_path / "with").preflight()
    assert stored["max_new_tokens"] == 6
    seats = {role: SeatPreflight(**seat) for role, seat in stored["seats"].items()}
    assert {role: seat.turns for role, seat in seats.items()} == {"attacker": 8, "defender": 8}
    for seat in seats.values():  # random weights hardly ever end a turn
        assert seat.cut > 0.5
        assert seat.budget is None or seat.budget > 6


def test_a_resumed_run_has_no_second_preflight(tiny_options, tmp_path):
    options = {**tiny_options, "preflight": 2, "out": str(tmp_path / "run")}
    train(TrainConfig.from_flat(options))
    before = (tmp_path / "run" / "preflight.json").read_bytes()
    more = {**options, "preflight": 4, "steps": 3, "resume": True}
    assert train(TrainConfig.from_flat(more)).played == 1
    assert (tmp_path / "run" / "preflight.json").read_bytes() == before


def test_a_run_that_would_forfeit_its_turns_is_refused_before_anything_is_written(
    tiny_options, tmp_path
):
    out = tmp_path / "run"
    options = {**tiny_options, "preflight": 4, "thinking": "required", "steps": 1, "out": str(out)}
    with pytest.raises(RedteamError, match=r"thinking is required.*--force"):
        train(TrainConfig.from_flat(options))
    assert not (out / "config.json").exists()
    assert train(TrainConfig.from_flat({**options, "force": True})).finished
    assert json.loads((out / "preflight.json").read_text())["seats"]["attacker"]["must_think"]


def test_roles_that_others_play_are_not_looked_at(tiny_options, tmp_path):
    out = tmp_path / "run"
    own = {"arrangement": "attacker_only", "opponent": "comply", "preflight": 2, "steps": 1}
    train(TrainConfig.from_flat({**tiny_options, **own, "rewrite_fraction": 1.0, "out": str(out)}))
    assert list(Run(out).preflight()["seats"]) == ["attacker"]
    raw = {"rewrite_fraction": 0.0, "preflight": 2, "steps": 1, "out": str(tmp_path / "raw")}
    train(TrainConfig.from_flat({**tiny_options, **raw}))
    assert list(Run(tmp_path / "raw").preflight()["seats"]) == ["defender"]
