"""The papers' claims: a verdict follows from an interval and the predicted sign, and nothing else."""

import pytest
from experiment_fakes import WORLD, games_of, met_rows, quiz_rows, suite_rows

from algorithms.studies.experiments.analysis import contrasts_of, defenders
from algorithms.studies.experiments.claims import (
    CLAIMS,
    NOT_RUN,
    NOT_SUPPORTED,
    NOT_TESTED,
    SUPPORTED,
    UNDECIDED,
    Claim,
    judge_claims,
)
from algorithms.studies.experiments.encounters import Encounters
from algorithms.studies.experiments.figures import _gradients, compute
from algorithms.studies.experiments.reading import read_experiment


def claim(sign, part="arms"):
    return Claim("paper", "text", "prediction", part, sign, lambda figures: figures["number"])


def number(low, high):
    return {"mean": (low + high) / 2, "interval": [low, high], "values": [low, high]}


def judged(sign, figures):
    return judge_claims(figures, [claim(sign)])[0]


@pytest.mark.parametrize(
    ("low", "high", "sign", "verdict"),
    [
        (0.1, 0.3, 1, SUPPORTED),
        (0.1, 0.3, -1, NOT_SUPPORTED),
        (-0.3, -0.1, -1, SUPPORTED),
        (-0.3, -0.1, 1, NOT_SUPPORTED),
        (-0.1, 0.3, 1, UNDECIDED),
        (-0.1, 0.3, -1, UNDECIDED),
        (0.0, 0.3, 1, UNDECIDED),
        (-0.3, 0.0, -1, UNDECIDED),
        (0.0, 0.0, 1, UNDECIDED),
    ],
)
def test_the_verdict_is_where_the_interval_lies(low, high, sign, verdict):
    found = judged(sign, {"arms": {"number": number(low, high)}})
    assert found["verdict"] == verdict
    assert (found["interval"], found["runs"]) == ([low, high], 2)
    assert found["measured"] == pytest.approx((low + high) / 2)


@pytest.mark.parametrize(
    "figures",
    [
        {},
        {"rates": {"number": number(1, 2)}},
        {"arms": {}},
        {"arms": {"number": None}},
        {"arms": {"number": {"mean": 1.0, "interval": None, "values": [1.0]}}},
    ],
)
def test_without_a_part_or_a_number_or_its_interval_nothing_was_tested(figures):
    found = judged(1, figures)
    assert found["verdict"] == NOT_TESTED
    assert "measured" not in found


def test_what_no_experiment_runs_is_listed_as_not_tested():
    found = judge_claims({})
    assert len(found) == len(CLAIMS) + len(NOT_RUN)
    assert {x["verdict"] for x in found} == {NOT_TESTED}
    assert any("Hidden thoughts" in x["claim"] for x in found[-len(NOT_RUN) :])


@pytest.mark.parametrize("found", CLAIMS, ids=lambda x: f"{x.part}: {x.prediction}"[:70])
def test_the_sign_of_a_claim_is_what_its_text_predicts(found):
    assert found.prediction.endswith(", above 0" if found.sign == 1 else ", below 0")
    assert found.sign in {1, -1}
    lower_is_better = ("miss", "exact attack success", "cosine")
    assert (found.sign == -1) == found.prediction.startswith(lower_is_better)


def rows_of(experiment, part):
    """Rows in which every arm answered every suite, with every seed."""
    rows = []
    for seed in part.seeds:
        for k, arm in enumerate(part.arms):
            if arm != "base":
                rows += suite_rows(experiment, arm, seed, gap=k / 4 + seed / 9)
                rows += quiz_rows(experiment, arm, seed, wrong=k)[:8]
    return rows


def players(part, seed):
    found = [(arm, o.get("arrangement", "")) for arm, o in part.arms.items() if arm != "base"]
    attackers = [(arm, seed) for arm, kind in found if kind != "defender_only"]
    defenders = [(arm, seed) for arm, kind in found if kind != "attacker_only"]
    return attackers, defenders


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """Figures of the packaged experiment as far as claims need them, from games never played."""
    return figures_of(read_experiment("claims"), tmp_path_factory.mktemp("claims"))


def figures_of(made, folder):
    found = {}
    for name in ("arms", "rates", "coupled"):
        part = made.part(name)
        found[name] = {"defenders": defenders(made, part, games_of(rows_of(made, part), folder))}
        rows = []
        for k, seed in enumerate(part.seeds[:2]):
            attackers, others = players(part, seed)
            rows += [x for a in attackers for d in others for x in met_rows(a, d)[:8]]
            stranger = part.seeds[1 - k]
            rows += [x for a in attackers for x in met_rows(a, (a[0], stranger))[:8]]
        encounters = Encounters(made, part, WORLD)
        games = games_of(rows, folder)
        found[name] |= {"own_play": encounters.own_play(games)}
        found[name] |= {"attackers": encounters.attackers(games)}
        gradients = {
            f"{arm}-{seed}": {
                "between": 0.1,
                "attacker_halves": 0,
                "defender_halves": 0,
                "games": 9,
            }
            for arm in part.gradients
            for seed in part.seeds
        }
        found[name] |= {"gradients": _gradients(gradients)}
    part, arms = made.part("best_response"), made.part("arms")
    rows = [
        x
        for seed in arms.seeds[:2]
        for d in players(arms, seed)[1]
        for x in met_rows(("best_response", seed), d, "best response")
    ]
    found["best_response"] = compute(made, part, games_of(rows, folder), {})
    assert contrasts_of(made, arms)
    return found


def test_every_claim_finds_its_number_where_the_experiment_puts_it(figures):
    """A renamed arm, contrast or figure would leave a claim silently untested."""
    found = judge_claims(figures)
    missing = [x["prediction"] for x in found[: len(CLAIMS)] if x["verdict"] == NOT_TESTED]
    assert missing == []


def test_every_number_that_a_claim_finds_is_the_one_its_text_names(figures):
    found = {(x["part"], x["prediction"]): x for x in judge_claims(figures)}
    arms = figures["arms"]
    for split, words in (("train", "training"), ("heldout", "held-out")):
        one = arms["defenders"]["splits"][split]["contrasts"]["bipolicy - shared_2r"]
        text = f"AUC, refusal score on scripted attacks, {words} substances: "
        text += "bipolicy - shared_2r, above 0"
        assert found["arms", text]["measured"] == one["auc"]["mean"]
    text = "share of the quiz right: bipolicy - shared_full, above 0"
    wanted = arms["defenders"]["quiz_contrasts"]["bipolicy - shared_full"]["mean"]
    assert found["arms", text]["measured"] == wanted
    text = "exact attack success of fresh attackers, held-out substances: shared_full - defender_only, below 0"
    wanted = figures["best_response"]["responses"]["heldout"]["contrasts"]
    wanted = wanted["shared_full - defender_only"]["exact_attack_success"]["mean"]
    assert found["best_response", text]["measured"] == wanted
    text = "cosine of the roles' gradients, shared_full, below 0"
    assert found["coupled", text]["measured"] == pytest.approx(0.1)
    text = "distance of word pairs: shared - attacker_only, above 0"
    wanted = arms["attackers"]["contrasts"]["shared - attacker_only"]["distance"]["mean"]
    assert found["arms", text]["measured"] == wanted
