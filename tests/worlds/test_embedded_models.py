"""The models in the package: whole, small, and what their cards say of them."""

import hashlib
import json

import pytest

from agents.pretrain import check_gates, check_tokenizer
from redteam_env.game import RedteamError, load_prompts
from redteam_env.worlds import MODELS, embedded_model, prompts_path
from redteam_env.worlds.apothecary import make_world
from redteam_env.worlds.apothecary.corpus import world_prompts
from redteam_env.worlds.apothecary.levels import LEVELS
from redteam_env.worlds.embedded import world_of

NAMES = sorted(MODELS)


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_those_of_the_card(name):
    directory = embedded_model(name)
    card = json.loads((directory / "card.json").read_text())
    assert set(card["files"]) | {"card.json", "card.md"} == {x.name for x in directory.iterdir()}
    for file, digest in card["files"].items():
        assert hashlib.sha256((directory / file).read_bytes()).hexdigest() == digest
    assert sum(x.stat().st_size for x in directory.iterdir()) < 10_000_000
    assert 400_000 <= card["parameters"] <= 2_000_000


@pytest.mark.parametrize("name", NAMES)
def test_every_gate_of_the_card_was_passed_on_enough_games(name):
    card = json.loads((embedded_model(name) / "card.json").read_text())
    assert {row["name"]: row["passed"] for row in card["gates"] if not row["passed"]} == {}
    rows = {row["name"]: row for row in card["gates"]}
    tried = {name for name in rows if name.endswith("tried") and "right" not in name}
    assert len(tried) == len(world_of(embedded_model(name)).tactics)
    assert min(rows[x]["n"] for x in tried) >= 4096
    assert min(row["n"] for x, row in rows.items() if "when tried" not in x) >= 500
    assert card["version"] == f"{name}-v1"


@pytest.mark.parametrize("name", NAMES)
def test_the_model_is_of_its_level(name):
    assert world_of(embedded_model(name)) == LEVELS[name]


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_between_what_a_defender_can_score(name):
    card = json.loads((embedded_model(name) / "card.json").read_text())
    for split, least in (("train", 0.99), ("heldout", 0.8)):
        forms = [found[split] for form, found in card["bounds"].items() if form != "plain"]
        base, taught = (sum(x[who] for x in forms) / len(forms) for who in ("base", "taught"))
        assert taught - base > 0.05  # there is something to learn
        assert taught > least  # and it can be learnt


@pytest.mark.parametrize("name", NAMES)
def test_the_model_speaks_its_world_by_its_own_prompts(name):
    config = world_of(embedded_model(name))
    assert config.coupled is name.endswith("coupled")
    check_tokenizer(embedded_model(name), make_world(config))
    assert load_prompts(prompts_path(name)) == world_prompts(make_world(config))


def test_the_model_still_plays_as_its_card_says():
    directory = embedded_model("apothecary")
    card = json.loads((directory / "card.json").read_text())
    found = check_gates(directory, world_of(directory), games=24, seed=1)
    for gate, row in zip(found, card["gates"], strict=True):
        assert gate.name == row["name"]
        if gate.n >= 24:  # a rare tactic is tried a few times only
            assert abs(gate.k / gate.n - row["rate"]) < 0.35, gate


def test_prompts_are_named_by_model_or_directory(tmp_path):
    assert prompts_path(str(tmp_path)) == str(tmp_path)
    assert load_prompts(prompts_path("apothecary")) != load_prompts(
        prompts_path("apothecary-coupled")
    )


def test_an_unknown_model_is_named():
    with pytest.raises(RedteamError, match="'apothecary'"):
        embedded_model("apothecari")
