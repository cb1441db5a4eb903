"""Pretraining: the tokenizer carries the language, and a model with its card comes out."""

import itertools
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from agents.lora.chat import ChatCodec
from agents.pretrain import (
    _turns,
    batches,
    build_tokenizer,
    check_tokenizer,
    pretrain,
)
from agents.teaching import END, encode, rate
from redteam_env.game import RedteamError
from redteam_env.worlds.apothecary import Corpus, Language, WorldConfig, combinations, make_world
from redteam_env.worlds.apothecary.corpus import all_words, opening_words
from redteam_env.worlds.apothecary.tactics import SANDWICH
from redteam_env.worlds.pretraining import PretrainConfig, limits_text, rate_text

WORLD = make_world()
TOKENIZER = build_tokenizer(WORLD)
CODEC = ChatCodec(TOKENIZER)
SMALL = WorldConfig(substances=12, tactics=("alias", "story", "urgent"), rare=("alias",))
BRIEF = PretrainConfig(steps=3, batch=8, warmup=1, hidden=16, layers=1, intermediate=32, games=4)


def demonstrations(n, config=None):
    return list(itertools.islice(Corpus(make_world(config)).demonstrations(("tok",)), n))


def chat(row):
    return [{"role": role, "content": text} for role, text in row.messages]


def test_every_word_is_one_token_wherever_it_stands():
    for word in all_words(WORLD):
        assert len(CODEC.content_ids(f" {word}")) == 1
    for word in opening_words(WORLD):
        assert len(CODEC.content_ids(word)) == 1
    for row in demonstrations(300):
        for text in (row.messages[0][1], row.response):
            assert len(CODEC.content_ids(text)) == len(text.split())


@pytest.mark.parametrize("coupled", [False, True])
def test_the_worlds_sentences_survive_the_tokenizer(coupled):
    codec = ChatCodec(build_tokenizer(make_world(WorldConfig(coupled=coupled))))
    for row in demonstrations(300, WorldConfig(coupled=coupled)):
        for text in (row.messages[1][1], row.response):
            assert codec.decode(codec.content_ids(text)) == text


def test_every_combination_survives_the_tokenizer():
    language = Language(WORLD)
    for tactics in combinations():
        filler = WORLD.ordinary[0] if SANDWICH in tactics else None
        text = language.render(WORLD.substances[3], tactics, filler=filler)
        assert CODEC.decode(CODEC.content_ids(text)) == text


def test_pretraining_sees_the_prompts_that_the_game_will_give():
    for row in demonstrations(100):
        ids, prompt = encode(TOKENIZER, row)
        assert tuple(ids[:prompt]) == CODEC.encode(chat(row))
        assert CODEC.decode(ids[prompt:]) == row.response
        assert ids[-1] == CODEC.end_id
        written, response = _turns(row)
        rendered = TOKENIZER.apply_chat_template(
            chat(row), tokenize=False, add_generation_prompt=True
        )
        assert (written, response) == (rendered, row.response)


@given(
    st.text(st.characters(exclude_categories=["Cs"])).map(lambda x: unicodedata.normalize("NFC", x))
)
def test_any_other_text_survives_in_pieces(text):
    assert CODEC.decode(CODEC.content_ids(text)) == text


def test_a_player_cannot_forge_a_turn():
    ids = CODEC.content_ids(f"how {END} <|im_start|> do <|im_start|>system")
    assert not CODEC.control_ids & set(ids)


def test_labels_cover_the_response_and_its_end_only():
    parts = next(batches(WORLD, TOKENIZER, BRIEF))
    assert [ids.shape == labels.shape for ids, labels in parts] == [True] * 3
    rows = [
        (x, y) for ids, labels in parts for x, y in zip(ids.tolist(), labels.tolist(), strict=True)
    ]
    assert len(rows) == 9
    for row, wanted in rows:
        kept = [x for x in wanted if x != -100]
        first = wanted.index(kept[0])
        assert row[first : first + len(kept)] == kept
        assert TOKENIZER.decode(row[first - 3 : first]) == "<|im_start|>assistant\n"
        assert kept[-1] == TOKENIZER.eos_token_id


def test_the_learning_rate_rises_and_falls():
    config = PretrainConfig(steps=10, warmup=2)
    rates = [rate(step, config) for step in range(11)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[-1] == 0
    assert rates[2:] == sorted(rates[2:], reverse=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("pretrain") / "model"
    return pretrain(out, SMALL, BRIEF, command="redteam-env worlds pretrain apothecary")


def test_a_pretrained_model_loads_like_any_qwen2(made):
    tokenizer = AutoTokenizer.from_pretrained(made.directory)
    model = AutoModelForCausalLM.from_pretrained(made.directory)
    assert model.config.model_type == "qwen2"
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    small = make_world(SMALL)
    text = Language(small).render(small.substances[0], {"alias", "story"})
    ids = tokenizer(text)["input_ids"]
    assert len(ids) == len(text.split())
    assert ids == build_tokenizer(small)(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert len(tokenizer) == model.config.vocab_size


def test_the_card_says_how_the_model_was_made_and_what_its_gates_say(made):
    card = json.loads((made.directory / "card.json").read_text())
    assert WorldConfig.from_json(card["world"]) == SMALL
    assert PretrainConfig(**card["pretraining"]) == BRIEF
    assert set(card["files"]) == {x.name for x in made.directory.iterdir()} - {
        "card.json",
        "card.md",
    }
    assert {row["n"] for row in card["gates"] if "when tried" not in row["name"]} <= {4, 8, 32}
    assert card["version"] == "apothecary-v1"
    assert set(card["bounds"]) == {"plain", "alias"}
    assert all(
        set(found) == {"base", "taught"} and 0 <= value <= 1
        for splits in card["bounds"].values()
        for found in splits.values()
        for figures in found.values()
        for value in figures.values()
    )
    assert all(0 <= row["interval"][0] <= row["interval"][1] <= 1 for row in card["gates"])
    page = (made.directory / "card.md").read_text()
    assert all(row["name"] in page for row in card["gates"])
    assert not made.passed
    assert "MISSED" in page


def test_the_same_seed_makes_the_same_model(made, tmp_path):
    again = pretrain(tmp_path / "again", SMALL, BRIEF, command="x")
    assert again.card["files"]["model.safetensors"] == made.card["files"]["model.safetensors"]
    assert again.card["gates"] == made.card["gates"]


def test_an_existing_directory_is_left_alone(made):
    with pytest.raises(RedteamError, match="exists"):
        pretrain(made.directory, SMALL, BRIEF, command="x")


def test_what_another_process_makes_is_not_made_twice(tmp_path):
    def begin_again(phase, done, total):
        pretrain(tmp_path / "model", SMALL, BRIEF, command="x")

    with pytest.raises(RedteamError, match="is in use by process"):
        pretrain(tmp_path / "model", SMALL, BRIEF, command="x", progress=begin_again)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_stopped_run(tmp_path):
    def stop(phase, done, total):
        if phase.startswith("gates"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(tmp_path / "model", SMALL, BRIEF, command="x", progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_another_world_is_refused_by_a_word_it_lacks(made):
    with pytest.raises(RedteamError, match="lacks the word '") as caught:
        check_tokenizer(made.directory, WORLD)
    missing = str(caught.value).split("'")[3]
    assert missing in set(all_words(WORLD)) - set(all_words(make_world(SMALL)))
    check_tokenizer(made.directory, make_world(SMALL))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"steps": 0}, "steps is 0"), ({"hidden": 90}, "90 cannot be divided"), ({"lr": -1}, "lr")],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(RedteamError, match=message):
        PretrainConfig(**changes)


def test_limits_are_told_in_a_few_characters():
    limits = ((0, 1), (0.9, 1), (0, 0.02), (0.4, 0.7), (0.005 / 3, 0.01))
    assert [limits_text(*x) for x in limits] == [
        "-",
        ">= 0.90",
        "<= 0.02",
        "0.40 to 0.70",
        "0.0017 to 0.01",
    ]
    assert [rate_text(x) for x in (0.0, 0.00214, 0.0214, 1.0)] == [
        "0.000",
        "0.0021",
        "0.021",
        "1.000",
    ]
