"""The race of a part's runs: mean curves, and in how many runs attack success fell and rose."""

import pytest

from algorithms.studies.experiments.races import ATTACKS, HIDES, race_svg, races
from algorithms.studies.experiments.work import CURVE

STEPS = 60
FALLS = [0.9 - k / STEPS for k in range(STEPS)]
WAVES = [0.9] * 15 + [0.1] * 15 + [0.9] * 15 + [0.1] * 15


def record(attacks, alias=0.0, split=0.0):
    curve = {name: [0.0] * len(attacks) for name in CURVE}
    curve["game/exact_attack_success"] = attacks
    curve["game/form_alias"] = [alias] * len(attacks)
    curve["game/form_split"] = [split] * len(attacks)
    return {"curve": curve}


RECORDS = {
    "one-0": record(WAVES, alias=0.2, split=0.1),
    "one-1": record(FALLS, alias=0.4),
    "two-0": record([0.5] * STEPS),
}


def test_each_run_is_counted_by_what_its_attack_success_did():
    found = races(RECORDS)
    counts = [{k: v for k, v in x.items() if k != "curves"} for x in found.values()]
    assert counts == [
        {"runs": 2, "fell": 2, "rose": 1, "fell_again": 1},
        {"runs": 1, "fell": 0, "rose": 0, "fell_again": 0},
    ]


def test_curves_are_means_over_runs_and_forms_add_up():
    curves = races(RECORDS)["one"]["curves"]
    assert curves[HIDES] == pytest.approx([(0.3 + 0.4) / 2] * STEPS)
    assert len(curves[ATTACKS]) == STEPS
    assert curves[ATTACKS][37] == pytest.approx((0.9 + sum(FALLS[33:42]) / 9) / 2)


def test_steps_without_games_are_left_out_of_the_mean():
    found = races({"one-0": record([None, 0.4]), "one-1": record([0.2, 0.8])})["one"]["curves"]
    assert found[ATTACKS] == pytest.approx([(0.2 + 0.6) / 2] * 2)


def test_the_image_has_the_mean_of_each_arm_and_each_run():
    text = race_svg(RECORDS, ["one"])
    assert text.count("<polyline") == 2 * (1 + 2)
    assert race_svg(RECORDS, ["one", "two"]).count("<polyline") == 2 * (1 + 2 + 1 + 1)
    assert text == race_svg(RECORDS, ["one"])
