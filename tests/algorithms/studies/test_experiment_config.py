"""An experiment's file is checked as a whole before anything runs; each fault is named."""

import math

import pytest
from experiment_fakes import tiny_data, tiny_experiment, toml

from algorithms.studies.experiments.reading import experiment_from, read_experiment
from redteam_env.game import RedteamError
from redteam_env.worlds.apothecary.suites import HIDDEN


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
    # missing ones
    ("evaluation", None, "evaluation"),
    ("parts", None, "parts"),
    ("primary.over_refusal", None, "over_refusal"),
    ("parts.arms.about", None, r"parts\.arms.*about"),
    # another schema
    ("schema", 1, r"schema 1.*reads 2"),
    ("schema", None, r"schema None.*reads 2"),
    # names that there are not
    ("evaluation.swap_games", 8, r"\[evaluation\].*'swap_games'"),
    ("evaluation.suites", ["k1", "k9"], r"'k9'.*raw"),
    ("primary.suites", ["k3"], r"'k3'.*k1, k2"),
    ("primary.suites", ["k1", "raw"], r"'raw'.*not rewritten"),
    ("parts.rates.contrasts", [["fast", "slow"]], r"'rates'.*'slow'.*fast"),
    ("parts.arms.contrasts", [["bipolicy", "sharde"]], r"'sharde'.*shared"),
    ("parts.arms.contrasts", [["bipolicy"]], r"contrasts.*'bipolicy'"),
    ("parts.arms.crossplay.attackers", ["sharde"], r"crossplay.*'arms'.*'sharde'.*shared"),
    ("parts.arms.crossplay.attackers", ["static"], r"'static' as attacker"),
    ("parts.arms.crossplay.defenders", ["probe"], r"'probe' as defender"),
    ("parts.arms.crossplay.both", True, r"crossplay.*'both'.*attackers"),
    ("parts.arms.arms.static.opponent", "arm:prob", r"opponent of 'static'.*'prob'.*probe"),
    ("parts.arms.arms.static.opponent", "arm:base", r"'static'.*'base'.*trained"),
    (
        "parts.arms.arms.static.opponent",
        "random_tactics",
        r"'static'.*'random_tactics'.*random_tactic",
    ),
    ("parts.arms.arms.shared.opponent", "arm:probe", r"'shared'.*both roles"),
    ("parts.arms.arms.probe.opponent", "arm:static", r"has one of its own"),
    ("parts.best_response.defenders", ["sharde"], r"'best_response'.*'sharde'.*shared"),
    ("parts.best_response.defenders", ["probe"], r"'probe' as defender"),
    ("parts.best_response.seeds", [0, 7], r"seed 7.*'static' of 'arms'"),
    ("parts.arms.defenders", ["shared"], r"'arms' has defenders.*against"),
    ("claims.robustness.measure", "acu", r"'acu'.*auc"),
    ("claims.robustness.part", "arm", r"'arm'.*arms"),
    ("claims.robustness.arms", ["bipolicy", "probe"], r"claims\.robustness.*'auc'|'auc'.*'probe'"),
    ("claims.robustness.arms", ["bipolicy"], r"claims\.robustness.*'bipolicy'.*takes 2"),
    ("claims.robustness.arms", ["bipolicy", "bipolicy"], r"claims\.robustness.*takes 2"),
    ("claims.conflict.arms", ["bipolicy"], r"'gradients'.*claims\.conflict.*'bipolicy'.*shared"),
    ("claims.self_consistency.arms", ["shared", "static"], r"'own_play'.*'static'"),
    ("claims.new_attackers.arms", ["shared", "bipolicy"], r"'best_response'.*'bipolicy'.*static"),
    ("claims.robustness.sign", 0, r"sign.*0"),
    ("claims.robustness.split", "train", r"claims\.robustness.*'split'"),
    ("claims.robustness", 3, r"claims\.robustness.*3"),
    ("parts.arms.gradients", ["sharde"], r"'arms'.*'sharde'.*shared"),
    ("parts.best_response.against", "arm", r"'arm'.*arms"),
    ("training.learning_rate", 1e-3, r"'learning_rate'.*attacker_lr"),
    ("parts.arms.training", {"stepz": 3}, r"'stepz'.*steps"),
    ("parts.arms.arms.shared.ranks", 3, r"'shared' of 'arms'.*'ranks'.*rank"),
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
    ("training", 3, "training.*3"),
    ("name", 3, "name.*3"),
    # nothing where something is needed
    ("primary.suites", [], "suites"),
    ("evaluation.suites", [], r"suite.*'k1'"),
    ("parts", {}, "parts"),
    ("parts.rates.seeds", [], r"seeds is 1.*0 seeds"),
    ("parts.best_response.seeds", [], r"'best_response' has no seeds"),
    ("parts.best_response.defenders", [], r"'best_response'.*nobody"),
    ("parts.rates.arms.fast.seeds", 4, r"fast.*seeds is 4.*3 seeds"),
    ("parts.rates.arms.fast.seeds", [0], r"fast.*seeds is \[0\]"),
    ("parts.arms.arms.probe.seeds", 1, r"'static'.*2 seeds.*'probe' only 1"),
    (
        "parts.arms.arms.shared.seeds",
        1,
        r"'shared' of 'arms' is not trained|claims.*1 training seed",
    ),
    ("parts.rates.arms", {}, r"'rates' has no.*arms"),
    # what would write two runs to one place, or read one as another
    ("parts.arms.seeds", [0, 1, 0], r"seeds.*'arms'.*0 twice"),
    ("parts.arms.seeds", [-1, 0], r"'arms'.*seed -1"),
    ("parts.arms.seeds", [0, 40_000], r"'arms'.*seed 40000"),
    ("evaluation.suites", ["k1", "k2", "k1"], r"suites.*'k1'.*twice"),
    ("parts.arms.arms.a/b", {"arrangement": "shared"}, r"'a/b'"),
    (("parts", "arms", "arms", ".."), {"arrangement": "shared"}, "'..'"),
    # what would be passed over without a word
    ("parts.arms.arms.base", {"rank": 2}, r"'base' of 'arms'.*empty"),
    ("parts.arms.arms.idle", {}, r"'idle' of 'arms'.*arrangement"),
    ("training.arrangement", "shared", "arrangement"),
    ("parts.arms.training", {"arrangement": "shared"}, "arrangement"),
    ("training.seed", 3, "seed"),
    ("training.out", "x", "out"),
    ("parts.arms.arms.shared.resume", True, "'shared' of 'arms'.*resume"),
    ("parts.arms.arms.shared.model", "apothecary-coupled", "'shared' of 'arms'.*model"),
    ("parts.arms.arms.shared.world", "apothecary-coupled", "'shared' of 'arms'.*world"),
    ("parts.arms.arms.shared.prompts", "apothecary-coupled", "'shared' of 'arms'.*prompts"),
    ("parts.arms.arms.shared.exchanges", 2, "'shared' of 'arms'.*exchanges"),
    ("parts.best_response.seeds", [0], r"claims\.new_attackers.*1 training seed"),
    ("parts.best_response.arms", {"a": {}}, r"'best_response'.*'arms'.*leave"),
    ("parts.best_response.gradients", ["shared"], r"'best_response'|'shared'"),
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
        (b"schema = 2\nname = 'x'\nwidth = 3", r"'width'"),
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
    return experiment.options(found, found.arms[arm].options, seed, "place").flat()


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


def test_an_arm_has_the_first_seeds_of_its_part_and_the_base_stands_for_all():
    rates, arms = (tiny_experiment().part(x) for x in ("rates", "arms"))
    assert [x.seeds for x in rates.arms.values()] == [[0], [0, 1]]
    assert rates.has("scripted", 1)
    assert not rates.has("fast", 1)
    assert arms.has("base", 9)


def test_an_arm_that_meets_its_own_kind_has_a_stranger():
    arms = tiny_experiment(
        lambda data: (
            data["parts"]["arms"].update(seeds=[3, 5, 9])
            or data["parts"]["best_response"].update(seeds=[3, 5])
        )
    ).part("arms")
    assert [arms.stranger("shared", x) for x in (3, 5, 9)] == [5, 9, 3]
    assert arms.stranger("probe", 3) is None  # nobody defends in its name
    rates = tiny_experiment().part("rates")
    assert rates.stranger("scripted", 0) is None


def test_a_plan_may_have_no_claims():
    def change(data):
        del data["claims"]

    assert tiny_experiment(change).claims == {}


class TestClaims:
    """The experiment in the package asks what the design asks for."""

    made = read_experiment("claims")

    def test_each_claim_has_one_primary_contrast_with_enough_seeds(self):
        for claim in self.made.claims.values():
            part = self.made.part(claim.part)
            assert len(part.seeds) >= (5 if claim.measure == "best_response" else 10)
        papers = {x.paper for x in self.made.claims.values()}
        assert len(papers) == 2

    def test_all_runs_have_the_settings_of_their_world(self):
        for part in self.made.parts.values():
            for name, arm in part.arms.items():
                found = options(self.made, part.name, name)
                own = found["world"]
                assert own == ("apothecary-coupled" if part.name == "coupled" else "apothecary")
                assert found["model"] == found["prompts"] == own
                whole = arm.options.get("arrangement") in {"shared_full", "independent"}
                assert found["lr"] == (1e-4 if whole else 5e-4)
                assert found["callback"] == "exact"

    def test_the_matched_budget_control_has_twice_the_rank(self):
        both = [options(self.made, "arms", x)["rank"] for x in ("shared_2r", "bipolicy")]
        assert both[0] == 2 * both[1]

    def test_equal_games_for_every_arm_of_a_part(self):
        for part in self.made.parts.values():
            if part.against is None:
                runs = [options(self.made, part.name, arm) for arm in part.arms]
                assert len({(x["steps"], x["games"], x["rewrite_fraction"]) for x in runs}) == 1

    def test_the_primary_measure_is_fixed_and_large_enough(self):
        assert self.made.primary.suites == list(HIDDEN)
        measuring = self.made.measuring
        assert set(measuring.suites) == {"raw", *HIDDEN}
        cell = measuring.suite_games // 2 * len(self.made.primary.suites)
        assert cell * measuring.checkpoints >= 500
        assert measuring.gradient_games >= 1000

    def test_the_static_control_faces_a_trained_attacker_and_another_one_scripts(self):
        arms = self.made.part("arms").arms
        assert arms["static"].opponent == "attacker_only"
        assert arms["static"].seeds == arms["attacker_only"].seeds
        assert arms["scripted"].options["opponent"] == "random_tactic"
