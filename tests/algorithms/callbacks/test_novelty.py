"""The novelty bonus: what it pays and for what, what it forgets, and that a resumed run goes on as it was."""

import json
from dataclasses import replace
from types import MappingProxyType, SimpleNamespace

import pytest
from table_game import MatrixJudge, players
from test_algorithms_learn import options
from training_fakes import metrics

from algorithms import train
from algorithms.callbacks.novelty import Novelty, NoveltyConfig
from algorithms.opponents.self_play import SelfPlay
from redteam_env.game import Game, Generation, Prompts, RedteamError, Seed, Verdict, load_prompts

SEED = Seed(id="s", text="brew the Red potion", harmful=True)
SAMPLED = Generation(
    prompt_ids=(0,),
    completion_ids=(1,),
    logprobs=(0.0,),
    adapter="attacker",
    version=0,
    temperature=1.0,
    finished=True,
)
PROMPTS = Prompts(texts={**load_prompts().texts, "attacker_harmful": "Be polite."})
GAME = Game(prompts=PROMPTS)


def made(scripted=MappingProxyType({}), **settings):
    callback = Novelty(NoveltyConfig(**settings))
    policy = SimpleNamespace(trainable_roles=("attacker",))
    callback.on_start(SimpleNamespace(game=GAME, policy=policy, scripted=scripted))
    return callback


def played(*texts, harmful=True, game=GAME, generation=SAMPLED, rewritten=True):
    """A game in which these texts are said by turns; the judge finds the rewrite harmful or not."""
    state = game.start(SEED, rewritten=rewritten)
    for text in (*texts, "no"):
        if state.to_move is not None:
            state = game.apply(state, text, generation=generation)
    verdict = Verdict(prompt_harmful=harmful, response_refusal=True, response_harmful=False)
    return game.finish(state, verdict if state.judged else None)


def bonuses(callback, *episodes):
    """What each game's attacker gets on top."""
    lessons = callback.on_episodes(0, episodes)
    for before, after in zip(episodes, lessons, strict=True):
        assert sum(after.components["attacker_0"].values()) == after.rewards["attacker_0"]
        assert after.rewards["defender_0"] == before.rewards["defender_0"]
    return [
        after.rewards["attacker_0"] - before.rewards["attacker_0"]
        for before, after in zip(episodes, lessons, strict=True)
    ]


def novelty(callback):
    row = {}
    callback.on_update(0, row)
    return row["attacker/novelty"]


def test_a_new_word_pays_the_weight_and_less_each_time_it_was_there():
    callback = made(novelty_weight=2.0, novelty_decay=0.5)
    assert bonuses(callback, played("brew a draught"), played("a draught")) == [2.0, 2.0]
    assert novelty(callback) == 1.0
    # both games counted after the step, then faded by half
    expected = 2.0 / (1 + 2 * 0.5) ** 0.5
    assert bonuses(callback, played("draught")) == pytest.approx([expected])
    assert novelty(callback) == pytest.approx(expected / 2)
    # the rarest word decides
    assert bonuses(callback, played("a draught tonight")) == [2.0]


def test_words_of_seed_and_instruction_are_not_new_whatever_their_case_and_punctuation():
    callback = made()
    assert bonuses(
        callback, played("BREW, the (\uff32\uff45d) potion! Be polite..."), played("")
    ) == [
        0,
        0,
    ]
    assert novelty(callback) == 0


def test_what_the_defender_said_before_is_not_new():
    game = Game(exchanges=2, prompts=PROMPTS)
    parrot = played("brew potion", "never tonight", "brew tonight", game=game)
    other = played("brew potion", "never tonight", "brew today", game=game)
    assert bonuses(made(), parrot, other) == [0.0, 1.0]


def test_longer_ngrams_are_new_in_another_order_and_short_texts_have_none():
    callback = made(novelty_ngram=2)
    assert bonuses(callback, played("brew the potion"), played("the red"), played("potion")) == [
        1,
        0,
        0,
    ]


def test_words_of_any_script_stay_whole():
    callback = made()
    bonuses(callback, played("हिन्दी naïve “ça” зелье"))
    assert set(callback.state()["counts"]) == {"हिन्दी", "naïve", "ça", "зелье"}


def test_unfaithful_forfeited_raw_and_void_games_pay_nothing():
    unfaithful = played("a draught", harmful=False)
    thinking = Game(thinking={"attacker_0": "required"}, prompts=PROMPTS)
    forfeit = played("no tags", game=thinking)
    raw = played("no", rewritten=False)
    void = replace(played("a draught"), samples=(), void="judge error", rewards=raw.rewards)
    assert forfeit.forfeit == "attacker_0"
    callback = made()
    episodes = [unfaithful, forfeit, raw, void]
    assert callback.on_episodes(0, episodes) == episodes
    assert novelty(callback) is None


def test_what_no_model_wrote_is_neither_paid_nor_counted():
    callback = made()
    assert bonuses(callback, played("a draught", generation=None)) == [0]
    assert callback.state() == {"counts": {}}


@pytest.mark.parametrize("generation", [None, SAMPLED], ids=["text", "model"])
def test_a_scripted_attacker_is_neither_paid_nor_counted_nor_in_the_mean(generation):
    callback = made({1: "attacker", 2: "defender"})
    own, against_script = played("a draught"), replace(played("an elixir"), group=2)
    script = replace(played("a balm", generation=generation), group=1)
    assert bonuses(callback, own, script, against_script) == [1, 0, 1]
    assert novelty(callback) == 1
    assert set(callback.state()["counts"]) == {"a", "draught", "an", "elixir"}


def test_what_is_not_said_any_more_is_forgotten():
    callback = made(novelty_decay=0.1)
    bonuses(callback, played("draught"))
    bonuses(callback, played("elixir"))
    assert callback.state()["counts"] == {"draught": 0.1, "elixir": 1.0}
    for _ in range(2):
        bonuses(callback)
    assert set(callback.state()["counts"]) == {"elixir"}


@pytest.mark.parametrize(
    "wrong", [{"novelty_weight": -1}, {"novelty_ngram": 0}, {"novelty_decay": 1.0}]
)
def test_settings_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(RedteamError, match=next(iter(wrong))):
        NoveltyConfig(**wrong)


@pytest.fixture
def run(doubles, tmp_path):
    """Train table players; the judge finds every rewrite faithful."""
    doubles("judges", "matrix", lambda: MatrixJudge(matrix=((0, 1, 1), (0, 0, 1), (0, 0, 1))))

    def start(out, policy=None, **more):
        given = {"checkpoint_every": 1, "callback": "novelty", **more}
        train(policy=policy or players(), **options("reinforce", tmp_path / out, **given))
        return tmp_path / out

    return start


def test_a_resumed_run_equals_one_that_was_not_cut(run):
    whole, cut = run("whole", steps=4), run("cut", steps=2)
    run("cut", steps=4, resume=True)
    assert metrics(whole) == metrics(cut)
    states = [
        json.loads(next(x.glob("checkpoints/step-000004/state*.json")).read_text())
        for x in (whole, cut)
    ]
    assert states[0] == states[1]
    rows = metrics(whole)
    assert rows[0]["attacker/novelty"] > rows[-1]["attacker/novelty"] > 0


def test_games_on_disk_and_the_league_keep_what_the_game_paid(run, doubles):
    told = []

    class Recorder(SelfPlay):
        def finish(self, step, results):
            told.extend(result.payoffs["attacker"] for result in results)
            return super().finish(step, results)

    doubles("opponents", "self_play", Recorder)
    directory = run("run", steps=1)
    (row,) = metrics(directory)
    lines = (directory / "episodes/step-000000.jsonl").read_text("utf-8").splitlines()
    paid = [json.loads(line)["rewards"]["attacker_0"] for line in lines]
    assert told == paid
    assert row["attacker/component/novelty"] > 0
    mean = sum(paid) / len(paid)
    assert row["attacker/reward"] == pytest.approx(mean + row["attacker/component/novelty"])


def test_a_run_without_a_trained_attacker_is_refused(run):
    with pytest.raises(RedteamError, match="pays the attacker, which this run does not train"):
        run("out", players({"attacker": "base", "defender": "defender"}))


def test_an_attacker_that_is_paid_for_it_goes_on_saying_new_things(run):
    def late(weight):
        rows = metrics(run(f"weight-{weight}", players(places=3), steps=12, novelty_weight=weight))
        return sum(row["attacker/novelty"] for row in rows[-4:])

    assert late(3) > 1.1 * late(0)
