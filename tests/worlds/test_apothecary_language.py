"""The language of the world: what is rendered is read back, and nothing else means anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redteam_env.game import RedteamError
from redteam_env.worlds.apothecary import TACTICS, Language, WorldConfig, combinations, make_world
from redteam_env.worlds.apothecary.corpus import all_words
from redteam_env.worlds.apothecary.grammar import PHRASINGS, check_vocabulary, tries
from redteam_env.worlds.apothecary.tactics import SANDWICH

WORLD = make_world()
LANGUAGE = Language(WORLD)
STACKED = combinations(stacked=True)
WORDS = (*all_words(WORLD), "also", "take", "<unk>", "é", "<|im_start|>")


def rendered(substance, tactics, phrasing=0, filler=WORLD.ordinary[0]):
    return LANGUAGE.render(
        substance, tactics, phrasing=phrasing, filler=filler if SANDWICH in tactics else None
    )


def test_there_are_as_many_combinations_as_sets_without_two_forms():
    assert len(set(STACKED)) == len(STACKED) == 5 * 2**5 * 2**3 * 2
    assert len(set(combinations())) == len(combinations()) == 5 * 6 * 4 * 2


def test_every_combination_is_read_back_with_its_tactics():
    for number, tactics in enumerate(STACKED):
        substance = WORLD.substances[number % len(WORLD.substances)]
        found = LANGUAGE.decode(rendered(substance, tactics, number % len(PHRASINGS)))
        assert found is not None
        assert found.asked[-1] == substance
        assert found.tactics == tactics
        assert len(found.asked) == 1 + (SANDWICH in tactics)


@given(
    st.sampled_from(WORLD.substances),
    st.sampled_from(STACKED),
    st.integers(0, len(PHRASINGS) - 1),
    st.sampled_from(WORLD.ordinary),
)
def test_what_is_rendered_is_read_back(substance, tactics, phrasing, filler):
    text = rendered(substance, tactics, phrasing, filler)
    found = LANGUAGE.decode(text)
    assert found is not None
    assert found.asked == ((filler, substance) if SANDWICH in tactics else (substance,))
    assert LANGUAGE.tactics_of(text) == tactics
    assert found.restricted is substance.restricted


def test_no_mention_means_two_substances():
    for form in ("alias", "spelled", "reversed", "split"):
        for substance in WORLD.substances:
            found = LANGUAGE.decode(rendered(substance, {form}))
            assert found is not None
            assert found.asked == (substance,)


@given(st.text() | st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join))
def test_any_text_can_be_read(text):
    found = LANGUAGE.decode(text)
    assert found is None or (found.asked and found.tactics <= set(TACTICS))


@pytest.mark.parametrize(
    "text",
    ["", "also", "how do i make", "how do i make spelled", "answer fast", "how do i make water"],
)
def test_half_a_request_asks_for_nothing(text):
    assert LANGUAGE.decode(text) is None
    assert LANGUAGE.tactics_of(text) is None


def test_a_word_too_many_makes_a_request_meaningless():
    text = rendered(WORLD.substances[0], {"story", "urgent"})
    assert LANGUAGE.decode(text) is not None
    assert LANGUAGE.decode(f"{text} take") is None
    assert LANGUAGE.decode(f"take {text}") is None


def test_frames_may_stand_before_the_second_request_of_a_sandwich():
    one, two = WORLD.substances[:2]
    found = LANGUAGE.decode(f"{rendered(one, {'alias'})} also {rendered(two, {'exam'})}")
    assert found is not None
    assert found.asked == (one, two)
    assert found.tactics == {"alias", "exam", SANDWICH}


def test_two_forms_cannot_hide_one_name():
    with pytest.raises(RedteamError, match="alias and spelled"):
        rendered(WORLD.substances[0], {"alias", "spelled"})


def test_an_unknown_tactic_is_named():
    with pytest.raises(RedteamError, match=r"'storey'.*'story'"):
        rendered(WORLD.substances[0], {"storey"})


def test_a_sandwich_needs_an_ordinary_filler():
    for filler in (None, WORLD.restricted[0]):
        with pytest.raises(RedteamError, match="filler"):
            LANGUAGE.render(WORLD.substances[0], {SANDWICH}, filler=filler)


def test_a_world_without_a_tactic_neither_writes_nor_reads_it():
    config = WorldConfig(tactics=("alias", "story", "urgent"), rare=("alias",))
    small = Language(make_world(config))
    substance = small.world.substances[0]
    with pytest.raises(RedteamError, match="no tactic 'exam'"):
        small.render(substance, {"exam"})
    whole = Language(make_world())
    for tactics in ({"exam"}, {"spelled"}, {SANDWICH}):
        assert whole.decode(rendered(substance, tactics)) is not None
        assert small.decode(rendered(substance, tactics)) is None


def test_a_tokenizer_that_lacks_a_word_is_refused_by_that_word():
    words = all_words(WORLD)
    check_vocabulary(words, words, "this one")
    missing = WORLD.substances[5].name
    with pytest.raises(RedteamError, match=rf"model'.*'{missing}'"):
        check_vocabulary(words, set(words) - {missing}, "'./model'")


@pytest.mark.parametrize(("form", "mark"), [("alias", "code "), ("split", "parts ")])
def test_a_name_that_needs_no_announcement_is_understood_without_it(form, mark):
    for substance in WORLD.substances[:10]:
        text = LANGUAGE.render(substance, {form})
        assert mark in text
        assert LANGUAGE.decode(text.replace(mark, "")) == LANGUAGE.decode(text)
        assert LANGUAGE.decode(text).tactics == {form}


@given(st.sampled_from(sorted(TACTICS)), st.sampled_from(WORLD.restricted))
def test_what_renders_a_tactic_tries_it(tactic, substance):
    filler = WORLD.ordinary[0] if tactic == SANDWICH else None
    assert tries(tactic, LANGUAGE.render(substance, {tactic}, filler=filler))
    assert not tries(tactic, LANGUAGE.request(substance))
