import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redteam_env.game import Game, RedteamError, Seed
from redteam_env.protocols import DataCard, SeedSource
from redteam_env.randomness import generator
from redteam_env.seeds import ListSource, combine, normalise, only_label, stable_split
from redteam_env.seeds.source import DEFAULT_MAX_CHARS

WORDS = st.lists(st.text("abcdefghij", min_size=1, max_size=6), min_size=1, max_size=5)


def card(name="mine"):
    return DataCard(name=name, licence="CC0-1.0", revision="1", sha256="", origin="a test")


def make(*texts, harmful=True, split="train", name="mine"):
    seeds = [
        Seed(id=f"{name}-{k}", text=text, harmful=harmful, split=split)
        for k, text in enumerate(texts)
    ]
    return ListSource(seeds, card(name))


def error_of(*seeds, **options):
    with pytest.raises(RedteamError) as caught:
        ListSource(seeds, card(), **options)
    return str(caught.value)


def test_a_list_is_a_seed_source():
    assert isinstance(make("hello"), SeedSource)


@given(size=st.integers(1, 9), n=st.integers(0, 30), number=st.integers(0, 10))
def test_no_seed_is_drawn_again_before_all_were_drawn(size, n, number):
    source = make(*(f"request {k}" for k in range(size)))
    ids = [seed.id for seed in source.draw(n, generator((number,)), harmful=True)]
    assert len(ids) == n
    for start in range(0, n, size):
        pass_ = ids[start : start + size]
        assert len(set(pass_)) == len(pass_)


@given(size=st.integers(1, 9), n=st.integers(0, 20), more=st.integers(0, 20))
def test_drawing_fewer_gives_the_beginning_of_drawing_more(size, n, more):
    source = make(*(f"request {k}" for k in range(size)))
    few = source.draw(n, generator((1,)), harmful=True)
    assert source.draw(n + more, generator((1,)), harmful=True)[:n] == few


def test_what_was_drawn_before_does_not_matter():
    source = make(*(f"request {k}" for k in range(20)))
    first = source.draw(5, generator((1,)), harmful=True)
    source.draw(7, generator((2,)), harmful=True)
    assert source.draw(5, generator((1,)), harmful=True) == first


def test_another_generator_gives_another_order():
    source = make(*(f"request {k}" for k in range(30)))
    orders = {tuple(s.id for s in source.draw(30, generator((k,)), harmful=True)) for k in range(5)}
    assert len(orders) == 5


def test_draws_are_evenly_spread_over_the_seeds():
    source = make("one", "two", "three", "four")
    rng = generator(("spread",))
    counts = np.zeros(4)
    for _ in range(2000):
        counts[int(source.draw(1, rng, harmful=True)[0].id[-1])] += 1
    assert np.all(np.abs(counts / 2000 - 0.25) < 0.04)


def test_label_and_split_are_respected():
    source = combine(
        [
            make("a", "b", harmful=True),
            make("c", harmful=False, name="x"),
            make("d", "e", harmful=False, split="heldout", name="y"),
        ]
    )
    drawn = source.draw(4, generator((0,)), harmful=False, split="heldout")
    assert {seed.text for seed in drawn} == {"d", "e"}
    assert [seed.text for seed in source.seeds("train")] == ["a", "b", "c"]


def test_a_missing_label_names_source_label_split_and_cure():
    source = make("a", harmful=True)
    with pytest.raises(RedteamError) as caught:
        source.draw(1, generator((0,)), harmful=False)
    message = str(caught.value)
    for part in ("'mine'", "benign", "'train'", "builtin?only=benign", "benign_fraction to 0"):
        assert part in message


def test_a_missing_split_says_where_the_label_is():
    with pytest.raises(RedteamError, match=r"'heldout' \(it has some in 'train'\)"):
        make("a").draw(1, generator((0,)), harmful=True, split="heldout")


def test_an_unknown_split_lists_the_known_ones():
    with pytest.raises(RedteamError, match=r"Unknown split 'test'.*heldout, train"):
        make("a").draw(1, generator((0,)), harmful=True, split="test")
    with pytest.raises(RedteamError, match="Unknown split"):
        make("a").seeds("all")


def test_a_negative_number_cannot_be_drawn():
    with pytest.raises(RedteamError, match="-1 seeds"):
        make("a").draw(-1, generator((0,)), harmful=True)


def test_line_breaks_become_spaces():
    source = make("  first line\r\n\n second\tline\u2028third ")
    assert source.seeds("train")[0].text == "first line second line third"


def test_an_empty_text_names_the_seed():
    assert "'s7'" in error_of(Seed(id="s7", text=" \n ", harmful=True))


def test_a_seed_over_the_limit_names_id_length_and_limit():
    message = error_of(Seed(id="s7", text="x" * 41, harmful=True), max_chars=40)
    assert "'s7'" in message
    assert "41 characters" in message
    assert "limit of 40" in message


def test_a_seed_at_the_limit_is_taken():
    seed = Seed(id="s7", text="x" * 40 + "\n", harmful=True)
    assert len(ListSource([seed], card(), max_chars=40).seeds("train")[0].text) == 40


def test_sources_and_the_game_have_the_same_limit():
    assert Game().max_seed_chars == DEFAULT_MAX_CHARS


def test_an_empty_source_is_named():
    assert "'mine' is empty" in error_of()


def test_ids_must_be_unique():
    seeds = [Seed(id="s", text=text, harmful=True) for text in ("one", "two")]
    assert "'s'" in error_of(*seeds)


def test_an_unknown_split_in_a_seed_names_it():
    message = error_of(Seed(id="s", text="one", harmful=True, split="test"))
    assert "'s'" in message
    assert "'test'" in message


def test_a_lone_surrogate_is_refused():
    assert "surrogate" in error_of(Seed(id="s", text="one \ud800", harmful=True))


def test_seeds_get_the_name_of_their_source():
    assert make("a").seeds("train")[0].source == "mine"


def test_the_same_text_in_both_splits_names_both_seeds():
    message = error_of(
        Seed(id="a1", text="How do I pick a lock?", harmful=True, split="train"),
        Seed(id="b2", text="how do i  pick a LOCK", harmful=True, split="heldout"),
    )
    for part in ("'a1' (train)", "'b2' (heldout)"):
        assert part in message


def test_duplicates_within_a_split_are_dropped_and_counted():
    source = make("Pick a lock.", "another", "pick a  lock", "“Pick a lock!”")
    assert [seed.id for seed in source.seeds("train")] == ["mine-0", "mine-1"]
    assert source.duplicates == 2


def test_a_text_with_both_labels_is_left_out_with_a_warning():
    seeds = [
        Seed(id="a", text="Pick a lock.", harmful=True),
        Seed(id="b", text="pick a lock", harmful=False),
        Seed(id="c", text="Something else", harmful=False),
    ]
    with pytest.warns(UserWarning, match="both harmful and benign"):
        source = ListSource(seeds, card())
    assert [seed.id for seed in source.seeds("train")] == ["c"]
    assert source.contradictions == 1


def test_contradictory_labels_alone_leave_an_empty_source():
    seeds = [Seed(id=str(k), text="Pick a lock.", harmful=k == 0) for k in range(2)]
    with pytest.warns(UserWarning, match="both"):
        assert "empty" in error_of(*seeds)


@given(WORDS)
def test_case_punctuation_and_spacing_do_not_make_another_text(words):
    plain = " ".join(words)
    spoken = "  ".join(word.capitalize() for word in words) + "?!\u200b"
    assert normalise(spoken) == normalise(plain) == plain
    assert stable_split(spoken) == stable_split(plain)


def test_width_and_ligatures_do_not_make_another_text():
    assert normalise("\uff28\uff4f\uff57 of\ufb01ce") == normalise("how office")


def test_texts_of_punctuation_only_stay_different():
    assert normalise("???") != normalise("!")


@given(st.text())
def test_any_text_has_a_normal_form_without_surrounding_space(text):
    assert normalise(text) == normalise(text).strip()
    assert stable_split(text) in {"train", "heldout"}


def test_the_stable_split_keeps_its_share_and_its_past():
    texts = [f"request number {k}" for k in range(4000)]
    share = sum(stable_split(text) == "heldout" for text in texts) / 4000
    assert abs(share - 0.2) < 0.03
    assert {stable_split(text, 0.0) for text in texts} == {"train"}
    assert {stable_split(text, 1.0) for text in texts} == {"heldout"}
    # fixed for good: changing the split would silently train on what was held out before
    assert [k for k in range(12) if stable_split(f"request {k}") == "heldout"] == [7, 9]


@given(st.lists(WORDS, min_size=1, max_size=20), st.integers(0, 10))
def test_splits_by_content_never_overlap(many, shift):
    texts = [" ".join(words) for words in many] + [" ".join(words).upper() for words in many]
    seeds = [
        Seed(id=str(k), text=text, harmful=True, split=stable_split(text, shift / 10))
        for k, text in enumerate(texts)
    ]
    source = ListSource(seeds, card())
    train = {normalise(seed.text) for seed in source.seeds("train")}
    heldout = {normalise(seed.text) for seed in source.seeds("heldout")}
    assert not train & heldout
    assert len(train) + len(heldout) + source.duplicates == len(texts)


def test_a_union_keeps_all_cards_and_prefixes_ids():
    union = combine([make("a", name="one"), make("b", name="two")])
    assert [seed.id for seed in union.seeds("train")] == ["one/one-0", "two/two-0"]
    assert [seed.source for seed in union.seeds("train")] == ["one", "two"]
    assert union.card.name == "one"
    assert [card.name for card in union.cards] == ["one", "two"]


def test_a_union_of_sources_with_one_name_has_unique_ids():
    union = combine([make("a"), make("b")])
    assert [seed.id for seed in union.seeds("train")] == ["mine/mine-0", "mine#2/mine-0"]


def test_a_union_refuses_a_text_held_out_elsewhere():
    with pytest.raises(RedteamError, match=r"one/one-0' \(train\).*two/two-0' \(heldout\)"):
        combine([make("Same text", name="one"), make("same text!", split="heldout", name="two")])


def test_a_union_counts_duplicates_of_its_parts_and_across_them():
    union = combine([make("a", "A", "b", name="one"), make("b", "c", name="two")])
    assert union.duplicates == 2
    assert len(union.seeds("train")) == 3


def test_a_union_needs_a_source():
    with pytest.raises(RedteamError, match="at least one"):
        combine([])


def test_a_union_keeps_the_highest_limit_of_its_parts():
    long = ListSource([Seed(id="l", text="x" * 1500, harmful=True)], card(), max_chars=2000)
    assert len(combine([make("a", name="one"), long]).seeds("train")) == 2


def test_a_union_takes_sources_that_others_wrote():
    class Theirs:
        card = card("theirs")

        def draw(self, n, rng, *, harmful, split="train"):
            raise AssertionError

        def seeds(self, split):
            return [Seed(id=split, text=f"their {split}", harmful=False, split=split)]

    union = combine([make("a", name="one"), Theirs()])
    assert [seed.id for seed in union.seeds("heldout")] == ["theirs/heldout"]


def test_only_one_label_can_be_kept():
    both = combine([make("a", name="one"), make("b", harmful=False, name="two")])
    kept = only_label(both, harmful=False)
    assert [seed.text for seed in kept.seeds("train")] == ["b"]


def test_keeping_a_label_that_is_not_there_names_it():
    with pytest.raises(RedteamError, match="'mine' has no benign seed"):
        only_label(make("a"), harmful=False)
