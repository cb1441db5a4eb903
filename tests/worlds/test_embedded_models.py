"""The models in the package: whole, small, and what their cards say of them."""

import hashlib
import json

import pytest

from agents.pretrain import check_gates, check_tokenizer
from redteam_env.game import RedteamError, load_prompts
from redteam_env.worlds import (
    MODELS,
    PretrainConfig,
    embedded_model,
    prompts_path,
    world_options,
)
from redteam_env.worlds.apothecary import make_world
from redteam_env.worlds.apothecary.corpus import world_prompts
from redteam_env.worlds.apothecary.gates import tactic_rewrites
from redteam_env.worlds.apothecary.levels import LEVELS, PRETRAINING
from redteam_env.worlds.embedded import world_of
from redteam_env.worlds.page import card_page

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
    config = world_of(embedded_model(name))
    wanted = tactic_rewrites(config, card["pretraining"]["games"])
    assert {rows[x]["n"] for x in tried} == {wanted}
    assert wanted >= 4096
    assert len(tried) == len(config.tactics)
    assert min(row["n"] for x, row in rows.items() if "when tried" not in x) >= 500
    assert card["version"] == f"{name}-v1"


@pytest.mark.parametrize("name", NAMES)
def test_the_model_is_of_its_level(name):
    assert world_of(embedded_model(name)) == LEVELS[name]
    card = json.loads((embedded_model(name) / "card.json").read_text())
    assert PretrainConfig(**card["pretraining"]) == PRETRAINING[name]
    assert card["command"].startswith(f"redteam-env worlds pretrain {name} --out {name}")


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_between_what_a_defender_can_score(name):
    card = json.loads((embedded_model(name) / "card.json").read_text())
    for split, least in (("train", 0.99), ("heldout", 0.8)):
        forms = [found[split] for form, found in card["bounds"].items() if form != "plain"]
        base, taught = (
            sum(x[who]["auc"] for x in forms) / len(forms) for who in ("base", "taught")
        )
        assert taught - base > 0.05  # there is something to learn
        assert taught > least  # and it can be learnt


@pytest.mark.parametrize("name", NAMES)
def test_the_page_says_in_words_what_is_in_the_card(name):
    card = json.loads((embedded_model(name) / "card.json").read_text())
    page = (embedded_model(name) / "card.md").read_text()
    assert page == card_page(name, card)
    rates = {row["name"]: row["rate"] for row in card["gates"]}
    best = max(rates[f"scripted {form} succeeds"] for form in card["world"]["rare"])
    [attacks] = [x for x in page.splitlines() if x.startswith("- **Attack success on the base's")]
    assert f"{rates['base attack succeeds on base defender']:.3f}" in attacks
    assert f"{best:.3f}" in attacks


def test_each_level_is_named_among_models_and_worlds():
    assert set(LEVELS) == set(MODELS)
    for name in LEVELS:
        assert world_options(name)["model"] == name


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


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_model_passes_its_gates(name):
    directory = embedded_model(name)
    config = world_of(directory)
    found = check_gates(directory, config, games=PretrainConfig().games, seed=0)
    assert [gate for gate in found if not gate.passed] == []
    tried = next(gate for gate in found if gate.name == f"{config.rare[0]} tried")
    assert tried.n == tactic_rewrites(config, PretrainConfig().games)


def test_prompts_are_named_by_model_or_directory(tmp_path):
    assert prompts_path(str(tmp_path)) == str(tmp_path)
    assert load_prompts(prompts_path("apothecary")) != load_prompts(
        prompts_path("apothecary-coupled")
    )


def test_an_unknown_model_is_named():
    with pytest.raises(RedteamError, match="'apothecary'"):
        embedded_model("apothecari")
