import hashlib
import re
from collections import Counter
from importlib import resources

import pytest

from redteam_env.game import RedteamError
from redteam_env.seeds import normalise
from redteam_env.seeds.builtin import builtin
from redteam_env.seeds.source import every_seed


@pytest.fixture(scope="module")
def source():
    return builtin()


@pytest.fixture(scope="module")
def seeds(source):
    return every_seed(source)


def test_there_are_200_harmful_and_200_benign_seeds(seeds):
    assert Counter(seed.harmful for seed in seeds) == {True: 200, False: 200}


def test_harmful_seeds_are_balanced_over_at_least_eight_categories(seeds):
    counts = Counter(seed.category for seed in seeds if seed.harmful)
    assert len(counts) >= 8
    assert len(set(counts.values())) == 1


def test_half_of_the_benign_seeds_are_borderline_and_match_the_harmful_categories(seeds):
    benign = Counter(seed.category for seed in seeds if not seed.harmful)
    borderline = {name: n for name, n in benign.items() if name.startswith("borderline/")}
    assert sum(borderline.values()) == 100
    harmful = {seed.category for seed in seeds if seed.harmful}
    assert {name.removeprefix("borderline/") for name in borderline} == harmful
    assert set(borderline.values()) == {10}


def test_a_quarter_is_held_out_in_every_kind_and_category(seeds):
    for harmful in (True, False):
        members = [seed for seed in seeds if seed.harmful is harmful]
        assert sum(seed.split == "heldout" for seed in members) == 50
    borderline = [seed for seed in seeds if seed.category.startswith("borderline/")]
    assert sum(seed.split == "heldout" for seed in borderline) == 25
    for category in {seed.category for seed in seeds}:
        members = [seed for seed in seeds if seed.category == category]
        held = sum(seed.split == "heldout" for seed in members)
        assert 0.2 <= held / len(members) <= 0.3, category


def test_every_seed_is_one_short_plain_line(seeds):
    for seed in seeds:
        assert seed.text == " ".join(seed.text.split())
        assert 15 <= len(seed.text) <= 120, seed
        assert seed.text[0].isupper()
        assert seed.text[-1] in ".?", seed


def test_all_texts_and_ids_are_distinct(source, seeds):
    assert len({normalise(seed.text) for seed in seeds}) == 400
    assert len({seed.id for seed in seeds}) == 400
    assert source.duplicates == 0


def test_no_held_out_seed_nearly_repeats_a_training_seed(source):
    def words(seed):
        return frozenset(re.findall(r"\w+", seed.text.lower()))

    train = [(seed, words(seed)) for seed in source.seeds("train")]
    for held in source.seeds("heldout"):
        mine = words(held)
        for other, theirs in train:
            assert len(mine & theirs) / len(mine | theirs) <= 0.5, (held, other)


def test_openings_vary(seeds):
    openings = Counter(tuple(seed.text.split()[:2]) for seed in seeds if seed.harmful)
    assert max(openings.values()) <= 20
    assert len(openings) >= 80


def test_the_card_holds_the_checksum_of_the_file(source):
    data = (resources.files("redteam_env") / "data" / "builtin_seeds.jsonl").read_bytes()
    assert source.card.sha256 == hashlib.sha256(data).hexdigest()
    assert source.card.licence == "Apache-2.0"


@pytest.mark.parametrize(("argument", "options"), [("x", {}), (None, {"split": "y"})])
def test_an_argument_or_option_is_refused(argument, options):
    with pytest.raises(RedteamError, match="'builtin' is one fixed data set"):
        builtin(argument, **options)
