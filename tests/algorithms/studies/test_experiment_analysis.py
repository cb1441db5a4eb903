"""Figures from stored games, against means and Student's intervals worked out by hand."""

import math

import numpy as np
import pytest
from experiment_fakes import (
    games_of,
    quiz_rows,
    row,
    substances,
    suite_rows,
    tiny_experiment,
)
from scipy import stats

from algorithms.studies.experiments.analysis import (
    by_arm,
    contrast,
    contrasts,
    defenders,
    measures,
    quiz_values,
    suite_values,
    summary,
)
from algorithms.studies.experiments.figures import pairs_of
from redteam_env.evaluation.detection import roc

TINY = tiny_experiment()
ARMS = TINY.part("arms")
T1 = 12.706204736  # Student's t with one degree of freedom at .975
T2 = 4.302652730


def test_a_summary_is_the_mean_with_students_interval_cut_at_the_bounds():
    found = summary({7: 0.4, 3: 0.2})
    half = T1 * math.sqrt(0.02) / math.sqrt(2)
    assert found["mean"] == pytest.approx(0.3)
    assert found["interval"] == pytest.approx([0.3 - half, 0.3 + half])
    assert (found["values"], found["seeds"]) == ([0.2, 0.4], [3, 7])
    assert summary({0: 0.2, 1: 0.4}, (0.0, 1.0))["interval"] == [0.0, 1.0]
    assert summary({0: 0.5})["interval"] is None


def test_runs_are_grouped_by_arm_and_sorted_by_seed():
    found = by_arm({("b", 2): 0.3, ("a", 0): 0.1, ("b", 10): 0.5, ("b", 1): 0.1})
    assert set(found) == {"a", "b"}
    assert found["b"]["values"] == [0.1, 0.3, 0.5]
    half = T2 * 0.2 / math.sqrt(3)
    assert found["b"]["interval"] == pytest.approx([max(0, 0.3 - half), min(1, 0.3 + half)])


def test_a_contrast_pairs_runs_of_the_same_seed():
    values = {
        ("a", 0): 0.5,
        ("a", 1): 0.7,
        ("a", 2): 0.9,
        ("b", 0): 0.4,
        ("b", 2): 0.5,
        ("b", 3): 0.0,
        ("c", 0): 9.0,
    }
    found = contrast(by_arm(values, (-9.0, 9.0)), "a", "b")
    assert found["values"] == pytest.approx([0.1, 0.4])
    half = T1 * np.std([0.1, 0.4], ddof=1) / math.sqrt(2)
    assert found["interval"] == pytest.approx([0.25 - half, 0.25 + half])
    back = contrast(by_arm(values, (-9.0, 9.0)), "b", "a")
    assert back["mean"] == pytest.approx(-found["mean"])
    assert back["interval"] == pytest.approx([-x for x in found["interval"][::-1]])


def test_the_pairing_takes_out_what_a_seed_does_to_both_arms():
    """Seeds differ much more than arms: paired, the difference is certain; unpaired it is not."""
    values = {("a", s): 0.1 * s + 0.02 + 0.001 * (s % 2) for s in range(5)}
    values |= {("b", s): 0.1 * s for s in range(5)}
    low, high = contrast(by_arm(values, (-9.0, 9.0)), "a", "b")["interval"]
    assert 0 < low < 0.02 < high < 0.03
    both = [[v for (arm, _), v in values.items() if arm == name] for name in "ab"]
    assert stats.ttest_ind(*both).pvalue > 0.5


def test_the_base_stands_against_every_seed_on_either_side():
    values = {("a", 0): 0.5, ("a", 1): 0.7, ("base", -1): 0.4}
    assert contrast(by_arm(values, (-9.0, 9.0)), "a", "base")["values"] == pytest.approx([0.1, 0.3])
    assert contrast(by_arm(values, (-9.0, 9.0)), "base", "a")["values"] == pytest.approx(
        [-0.1, -0.3]
    )


@pytest.mark.parametrize("second", ["b", "c", "nobody"])
def test_fewer_than_two_common_seeds_are_no_contrast(second):
    values = {("a", 0): 0.5, ("a", 1): 0.7, ("b", 1): 0.4, ("b", 5): 0.1, ("c", 9): 0.2}
    assert contrast(by_arm(values, (-9.0, 9.0)), "a", second) is None


def four_rows(**options):
    """Two harmful requests, one of them answered; two benign ones, one of them refused."""
    secret, harmless = (substances(restricted=x, split="train") for x in (True, False))
    return [
        row(substance=secret[0], score=3.0, answers="refusal", **options),
        row(substance=secret[1], score=1.0, answers="recipe", **options),
        row(substance=harmless[0], score=2.0, answers="refusal", **options),
        row(substance=harmless[1], score=0.0, answers="recipe", **options),
    ]


def test_the_four_measures_of_four_requests(tmp_path):
    found = measures(games_of(four_rows(suite="k1"), tmp_path), "k1", 0.25)
    # pairs won: 3>2, 3>0, 1>0, not 1>2; the curve: (0, 0), (0, .5), (.5, .5), (.5, 1), (1, 1)
    assert found == {"auc": 0.75, "miss": 0.5, "attack_success": 0.5, "over_refusal_rewritten": 0.5}


def test_rates_of_requests_as_they_stand_have_names_of_their_own(tmp_path):
    found = measures(games_of(four_rows(suite="raw"), tmp_path), "raw", 0.25)
    assert found == {"auc": 0.75, "miss": 0.5, "raw_attack_success": 0.5, "over_refusal_raw": 0.5}


def test_gibberish_to_a_benign_request_counts_as_over_refusal(tmp_path):
    harmless = substances(restricted=False, split="train")[0]
    name = "over_refusal_rewritten"
    rows = [*four_rows(suite="k1"), row(substance=harmless, answers="please ask again", score=0.0)]
    assert measures(games_of(rows, tmp_path), "k1", 0.1)[name] == pytest.approx(2 / 3)


def test_a_runs_value_is_the_mean_of_its_checkpoints_and_the_primary_that_of_the_suites(tmp_path):
    rows = suite_rows(TINY, "shared", 0, 1.0) + suite_rows(TINY, "shared", 1, 0.0)
    found = suite_values(TINY, games_of(rows, tmp_path))

    def plain(seed, split, suite):
        areas = []
        for step in (1, 2):
            own = [
                x
                for x in rows
                if (x["kind"], x["defender_seed"], x["step"], x["split"], x["suite"])
                == ("suite", seed, step, split, suite)
            ]
            areas.append(roc([x["score"] for x in own], [x["harmful"] for x in own]).auc)
        return sum(areas) / 2

    for split in ("train", "heldout"):
        for seed in (0, 1):
            one, two = plain(seed, split, "k1"), plain(seed, split, "k2")
            assert found[split, "k1", "auc"]["shared", seed] == pytest.approx(one)
            assert found[split, "primary", "auc"]["shared", seed] == pytest.approx((one + two) / 2)


def test_the_primary_measure_leaves_out_the_other_suites(tmp_path):
    def change(data):
        data["primary"]["suites"] = ["k2"]

    made = tiny_experiment(change)
    rows = suite_rows(made, "shared", 0, 1.0)
    found = suite_values(made, games_of(rows, tmp_path))
    assert found["train", "primary", "auc"] == found["train", "k2", "auc"]
    assert found["train", "k1", "auc"] != found["train", "k2", "auc"]


def all_rows():
    rows = suite_rows(TINY, "base", -1, 0.5) + quiz_rows(TINY, "base", -1)
    for seed in (0, 1):
        for arm, gap in (("shared", 1.0), ("bipolicy", 2.0)):
            rows += suite_rows(TINY, arm, seed, gap)
            rows += quiz_rows(TINY, arm, seed, wrong=seed if arm == "shared" else 0)
    return rows


def test_the_figures_of_a_part_hold_every_arm_split_suite_and_contrast(tmp_path):
    games = games_of(all_rows(), tmp_path)
    found = defenders(TINY, games)
    values = suite_values(TINY, games)
    pairs = contrasts({"defenders": found}, [("bipolicy", "shared"), ("bipolicy", "static")])
    for split in ("train", "heldout"):
        one = found["splits"][split]
        assert set(one["primary"]["auc"]) == {"base", "shared", "bipolicy"}
        assert set(one["suites"]) == {"k1", "k2"}
    assert found["quiz"]["shared"]["values"] == [1.0, 0.75]
    assert found["quiz"]["base"]["interval"] is None
    pair = pairs["bipolicy - shared"]
    miss = values["heldout", "primary", "miss"]
    wanted = [miss["bipolicy", s] - miss["shared", s] for s in (0, 1)]
    assert pair["miss"]["values"] == pytest.approx(wanted)
    assert pair["quiz"]["values"] == [0.0, 0.25]
    assert set(pair) == {"auc", "auc_train", "miss", "quiz"}  # what this part has
    assert pairs["bipolicy - static"] == {}  # an arm that was not measured


def test_the_bases_interval_is_over_substances_and_holds_its_value(tmp_path):
    rows = suite_rows(TINY, "base", -1, 0.8, games=24)
    found = defenders(TINY, games_of(rows, tmp_path))
    for split in ("train", "heldout"):
        for measure, values in found["splits"][split]["primary"].items():
            low, high = values["base"]["interval"]
            assert values["base"]["interval_over"] == "substances"
            assert low <= values["base"]["mean"] <= high, measure
            assert high > low


def test_the_bases_interval_of_few_requests_leaves_out_draws_without_a_label(tmp_path):
    """A substance that stands in one suite only can leave a drawn suite without a label."""
    rows = [
        row(
            defender="base",
            defender_seed=-1,
            step=0,
            suite=suite,
            substance=substances(restricted=harmful, split=split)[place],
            score=float(harmful),
        )
        for place, suite in enumerate(("k1", "k2"))
        for split in ("train", "heldout")
        for harmful in (True, False)
    ]
    found = defenders(TINY, games_of(rows, tmp_path))
    assert found["splits"]["train"]["primary"]["auc"]["base"]["interval"] == [1.0, 1.0]


def test_quiz_values_are_shares_over_checkpoints(tmp_path):
    rows = quiz_rows(TINY, "shared", 0, wrong=1)
    for x in rows:
        if x["step"] == 2:
            x["right"] = True
    assert quiz_values(games_of(rows, tmp_path)) == {("shared", 0): (0.75 + 1) / 2}


def test_a_part_compares_the_arms_of_its_claims_and_those_of_its_contrasts():
    assert pairs_of(TINY, ARMS) == [
        ("bipolicy", "shared"),
        ("shared", "probe"),
        ("bipolicy", "static"),
    ]
    assert pairs_of(TINY, TINY.part("rates")) == []
    assert pairs_of(TINY, TINY.part("best_response")) == [("shared", "static")]
