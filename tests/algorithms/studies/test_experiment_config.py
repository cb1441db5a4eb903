"""An experiment's file is checked as a whole before anything runs; each fault is named."""

import math

import pytest
from experiment_fakes import tiny_data, tiny_experiment, toml

from agents.lora.config import WEIGHTS
from algorithms.studies.experiments.reading import experiment_from, read_experiment
from redteam_env.game import RedteamError
from redteam_env.worlds.apothecary.suites import HIDDEN, KINDS


def put(place, value):
    """Return a change that sets an entry, or removes it if the value is ``None``."""
    *path, last = place.split(".") if isinstance(place, str) else place

    def change(data):
        for name in path:
            data = data[name]
        if value is None:
            del data[last]
        else:
            data[last] = value

    return change


BAD = [
    # unknown entries, each at its level
    ("extra", 1, r"\[experiment\].*'extra'.*evaluation, name.*training"),
    ("evaluation.sweets", 1, r"\[evaluation\].*'sweets'.*suite_games"),
    ("primary.measure", "auc", r"\[primary\].*'measure'.*over_refusal"),
    ("parts.arms.armz", {}, r"\[parts\.arms\].*'armz'.*arms"),
    ("parts.rates.tuned.arm", "x", r"\[parts\.rates\.tuned\].*'arm'.*candidates"),
    # missing ones
    ("evaluation", None, "evaluation"),
    ("parts", None, "parts"),
    ("primary.over_refusal", None, "over_refusal"),
    ("parts.arms.about", None, r"parts\.arms.*about"),
    ("parts.rates.tuned.seeds", None, r"parts\.rates\.tuned.*seeds"),
    # another schema
    ("schema", 2, r"schema 2.*reads 1"),
    ("schema", None, r"schema None.*reads 1"),
    # names that there are not
    ("evaluation.suites", ["k1", "k9"], r"'k9'.*raw"),
    ("primary.suites", ["k3"], r"'k3'.*k1, k2"),
    ("primary.suites", ["k1", "raw"], r"'raw'.*not rewritten"),
    ("primary.contrasts", [["bipolicy", "sharde"]], r"'sharde'.*shared"),
    ("parts.rates.contrasts", [["tuned", "slow"]], r"'rates'.*'slow'.*fast, tuned"),
    ("parts.arms.gradients", ["sharde"], r"'arms'.*'sharde'.*shared"),
    ("parts.best_response.against", "arm", r"'arm'.*arms"),
    ("training.learning_rate", 1e-3, r"'learning_rate'.*attacker_lr"),
    ("parts.arms.training", {"stepz": 3}, r"'stepz'.*steps"),
    ("parts.arms.arms.shared.ranks", 3, r"'shared' of 'arms'.*'ranks'.*rank"),
    ("parts.rates.tuned.candidates.five.ranks", 3, r"'five' of 'rates'.*'ranks'"),
    ("parts.best_response.training.ranks", 3, r"best.response.*'ranks'"),
    ("parts.arms.arms.shared.arrangement", "sharing", r"'shared' of 'arms'.*'sharing'.*bipolicy"),
    ("training.algorithm", "ppo2", r"'ppo2'.*reinforce_pp"),
    # numbers out of range
    ("evaluation.checkpoints", 0, "checkpoints is 0"),
    ("evaluation.checkpoints", 3, r"2 steps.*every 1.*3"),
    ("evaluation.quiz_games", 0, "quiz_games is 0"),
    ("evaluation.gradient_games", -1, "gradient_games is -1"),
    ("evaluation.suite_games", 7, "suite_games is 7.*multiple of 2"),
    ("evaluation.suite_games", 0, "suite_games is 0"),
    ("evaluation.cross_games", 6, "cross_games is 6.*multiple of 4"),
    ("evaluation.swap_games", 3, "swap_games is 3"),
    ("evaluation.attacker_temperature", -1.0, "attacker_temperature is -1"),
    ("evaluation.defender_temperature", math.inf, "defender_temperature is inf"),
    ("primary.over_refusal", 1.5, "over_refusal is 1.5"),
    ("primary.over_refusal", math.nan, "over_refusal is nan"),
    ("parts.arms.arms.shared.rank", 0, r"'shared' of 'arms'.*rank is 0"),
    ("training.steps", 0, "steps is 0"),
    # values of another type
    ("evaluation.suite_games", "many", r"suite_games.*'many'"),
    ("evaluation.suite_games", True, r"suite_games.*True"),
    ("evaluation.suites", "k1", r"suites.*'k1'"),
    ("training.steps", "many", r"steps.*'many'"),
    ("training.rank", 2.5, r"rank.*2\.5"),
    ("training.drop_unfaithful", "yes", r"drop_unfaithful.*'yes'"),
    ("parts.arms.seeds", 5, r"parts\.arms.*seeds.*5"),
    ("parts.arms.seeds", ["a"], r"parts\.arms.*seeds.*'a'"),
    ("parts.arms.crossplay", "no", r"parts\.arms.*crossplay.*'no'"),
    ("parts.arms.arms", ["shared"], r"parts\.arms.*arms.*'shared'"),
    ("parts.arms", 3, r"parts\.arms.*3"),
    ("primary.contrasts", [["bipolicy"]], r"contrasts.*'bipolicy'"),
    ("training", 3, "training.*3"),
    ("name", 3, "name.*3"),
    # nothing where something is needed
    ("primary.suites", [], "suites"),
    ("evaluation.suites", [], r"suite.*'k1'"),
    ("parts", {}, "parts"),
    ("parts.arms.seeds", [], r"'arms' has no seeds"),
    ("parts.rates.arms", {}, r"'rates' has no.*arms"),
    ("parts.rates.tuned.seeds", [], r"'rates'.*tuned.*seeds"),
    ("parts.rates.tuned.candidates", {}, r"'rates'.*tuned.*candidates"),
    # what would write two runs to one place, or read one as another
    ("parts.arms.seeds", [0, 1, 0], r"seeds.*'arms'.*0 twice"),
    ("parts.arms.seeds", [-1, 0], r"'arms'.*seed -1"),
    ("parts.arms.seeds", [0, 40_000], r"'arms'.*seed 40000"),
    ("parts.rates.tuned.seeds", [-5], r"'rates'.*seed -5"),
    ("parts.rates.tuned.seeds", [0], r"'rates'.*seeds.*0.*own"),
    ("parts.rates.tuned.name", "fast", r"'fast' is taken in 'rates'"),
    ("parts.rates.tuned.name", "base", r"'base' is taken in 'rates'"),
    ("parts.rates.tuned.candidates.base", {}, r"'base' is taken in 'rates'"),
    ("evaluation.suites", ["k1", "k2", "k1"], r"suites.*'k1'.*twice"),
    ("parts.arms.arms.a/b", {"arrangement": "shared"}, r"'a/b'"),
    (("parts", "arms", "arms", ".."), {"arrangement": "shared"}, "'..'"),
    ("parts.arms.tuned", {"name": "../x", "seeds": [9], "candidates": {"a": {}}}, r"'\.\./x'"),
    ("parts.rates.tuned.candidates.a b", {"arrangement": "shared"}, "'a b'"),
    # what would be passed over without a word
    ("parts.arms.arms.base", {"rank": 2}, r"'base' of 'arms'.*empty"),
    ("parts.arms.arms.idle", {}, r"'idle' of 'arms'.*arrangement"),
    ("training.arrangement", "shared", "arrangement"),
    ("parts.arms.training", {"arrangement": "shared"}, "arrangement"),
    ("training.seed", 3, "seed"),
    ("training.out", "x", "out"),
    ("parts.arms.arms.shared.resume", True, "'shared' of 'arms'.*resume"),
    ("parts.arms.arms.shared.model", "apothecary-coupled", "'shared' of 'arms'.*model"),
    ("parts.arms.arms.shared.prompts", "apothecary-coupled", "'shared' of 'arms'.*prompts"),
    ("parts.arms.arms.shared.exchanges", 2, "'shared' of 'arms'.*exchanges"),
    ("parts.best_response.seeds", [0], r"'best_response'.*'rates'.*leave"),
    ("parts.best_response.arms", {"a": {}}, r"'best_response'.*'rates'.*leave"),
    ("parts.best_response.crossplay", True, r"'best_response'.*'rates'.*leave"),
    ("parts.best_response.swap", True, r"'best_response'.*'rates'.*leave"),
    ("parts.best_response.against", "best_response", "'best_response'.*against"),
    # what could only fail after hours
    ("parts.arms.gradients", ["bipolicy"], r"gradients.*'bipolicy'.*shared"),
    ("parts.arms.gradients", ["base"], r"gradients.*'base'"),
    ("parts.arms.arms.shared.steps", 3, r"'arms'.*crossplay.*steps"),
    ("parts.arms.arms.shared.checkpoint_every", 2, "'shared' of 'arms'"),
    ("parts.arms.arms", {"base": {}}, r"'arms'.*trained"),
]


@pytest.mark.parametrize(("place", "value", "message"), BAD)
def test_each_fault_is_one_error_that_names_it(place, value, message):
    data = tiny_data()
    put(place, value)(data)
    with pytest.raises(RedteamError, match=message):
        experiment_from(data)


def test_the_experiment_that_is_changed_above_is_sound():
    assert list(tiny_experiment().parts) == ["arms", "rates", "best_response"]


def test_a_file_means_what_its_data_mean(tmp_path):
    file = tmp_path / "tiny.toml"
    file.write_text(toml(tiny_data()), encoding="utf-8")
    assert read_experiment(str(file)) == tiny_experiment()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"parts = [", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"", "schema None"),
        (b"schema = 1\nname = 'x'\nwidth = 3", r"'width'"),
    ],
)
def test_a_file_that_is_no_experiment_is_an_error(tmp_path, content, message):
    file = tmp_path / "odd.toml"
    file.write_bytes(content)
    with pytest.raises(RedteamError, match=message):
        read_experiment(str(file))


def test_a_missing_file_is_an_error_that_lists_what_there_is(tmp_path):
    with pytest.raises(RedteamError, match=r"no\.toml.*claims.*TOML file"):
        read_experiment(str(tmp_path / "no.toml"))
    with pytest.raises(RedteamError, match=r"claims.*TOML file"):
        read_experiment(str(tmp_path))


def test_an_unknown_part_is_an_error_that_lists_the_parts():
    with pytest.raises(RedteamError, match=r"'arm'.*arms, best_response, rates"):
        tiny_experiment().part("arm")


def options(experiment, part, arm, seed=3):
    found = experiment.part(part)
    return experiment.options(found, found.arms[arm], seed, "place").flat()


def test_an_arms_options_go_before_the_parts_and_these_before_the_experiments():
    def change(data):
        data["parts"]["arms"]["training"] = {"lr": 2e-4, "rank": 8}
        data["parts"]["arms"]["arms"]["shared"]["rank"] = 2

    made = tiny_experiment(change)
    found = options(made, "arms", "shared")
    assert (found["lr"], found["rank"], found["games"]) == (2e-4, 2, 8)
    assert options(made, "arms", "bipolicy")["rank"] == 8
    assert (found["arrangement"], found["seed"]) == ("shared", 3)
    assert (found["out"], found["resume"], found["json"]) == ("place", True, True)


def test_none_is_written_as_a_word_only_where_there_may_be_no_value():
    def change(data):
        data["training"].update(faithfulness_gate=-1.5, thinking="none", baseline="none")
        data["parts"]["arms"]["arms"]["shared"]["faithfulness_gate"] = "none"

    made = tiny_experiment(change)
    found = options(made, "arms", "shared")
    assert (found["faithfulness_gate"], found["thinking"], found["baseline"]) == (
        None,
        "none",
        "none",
    )
    assert options(made, "arms", "bipolicy")["faithfulness_gate"] == -1.5


def test_the_source_of_an_experiment_makes_it_again():
    made = tiny_experiment()
    assert experiment_from(made.source) == made


class TestClaims:
    """The experiment in the package asks what the design asks for."""

    made = read_experiment("claims")

    def test_its_parts_and_their_seeds(self):
        parts = self.made.parts
        assert list(parts) == ["arms", "rates", "best_response", "coupled", "ranks", "gate"]
        assert len(parts["arms"].seeds) >= 5
        assert len(parts["rates"].seeds) >= 5
        assert all(len(parts[x].seeds) >= 3 for x in ("coupled", "ranks", "gate"))

    def test_every_arrangement_is_an_arm_with_the_matched_budget_control(self):
        arms = self.made.part("arms").arms
        assert {x.get("arrangement") for x in arms.values()} == {None, *WEIGHTS}
        assert arms["shared_2r"]["rank"] == 2 * self.made.training["rank"]

    def test_equal_games_for_every_arm_of_a_part(self):
        for part in self.made.parts.values():
            if part.against is None:
                runs = [options(self.made, part.name, arm) for arm in part.arms]
                assert len({(x["steps"], x["games"], x["rewrite_fraction"]) for x in runs}) == 1

    def test_the_primary_measures_are_fixed_and_large_enough(self):
        assert self.made.primary.over_refusal == 0.10
        assert self.made.primary.suites == ["k1", "k2", "k3"]
        measuring = self.made.measuring
        assert set(measuring.suites) == set(KINDS) - set(HIDDEN)
        assert 3 <= measuring.checkpoints <= 5
        cell = measuring.suite_games // 2 * len(self.made.primary.suites)
        assert cell * measuring.checkpoints >= 500
        assert measuring.gradient_games >= 1000

    def test_rates_of_one_two_and_five_and_a_tuned_arm_for_shared_weights(self):
        part = self.made.part("rates")
        ratios = {round(x["attacker_lr"] / x["defender_lr"], 6) for n, x in part.arms.items() if x}
        assert ratios == {2, 5}
        tuned = part.tuned.candidates.values()
        assert {x["arrangement"] for x in tuned} == {"shared"}
        assert {1, 2, 5} <= {round(x["attacker_lr"] / x["defender_lr"], 6) for x in tuned}
        assert not set(part.tuned.seeds) & set(part.seeds)
