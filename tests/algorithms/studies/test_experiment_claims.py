"""The papers' claims: a verdict follows from the runs, the predicted sign and Holm's rule, and nothing else."""

import pytest
from experiment_fakes import pretend, tiny_experiment
from scipy import stats

from algorithms.studies.experiments.claims import (
    CONTRADICTED,
    NOT_RUN,
    SUPPORTED,
    UNDECIDED,
    judge_claims,
)
from algorithms.studies.experiments.reading import read_experiment
from algorithms.studies.experiments.report import verify_report, write_report
from redteam_env.evaluation.power import detectable_mean

TINY = tiny_experiment()
SEEDS = range(4)


def arms(**values):
    """Each arm's summary, as figures hold it."""
    return {
        name: {
            "mean": sum(x) / len(x),
            "interval": [0, 1],
            "values": x,
            "seeds": list(range(len(x))),
        }
        for name, x in values.items()
    }


def primary(first, second):
    auc = arms(bipolicy=first, shared=second)
    return {"arms": {"defenders": {"splits": {"heldout": {"primary": {"auc": auc}}}}}}


def judged(figures, name="robustness"):
    return judge_claims(TINY, figures)[name]


FAR, NEAR = [0.9, 0.91, 0.89, 0.9], [0.5, 0.52, 0.5, 0.51]


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [(FAR, NEAR, SUPPORTED), (NEAR, FAR, CONTRADICTED), (FAR, FAR[::-1], UNDECIDED)],
)
def test_the_verdict_is_the_side_on_which_the_difference_lies(first, second, verdict):
    found = judged(primary(first, second))
    assert found["verdict"] == verdict
    differences = [a - b for a, b in zip(first, second, strict=True)]
    assert found["value"] == pytest.approx(sum(differences) / 4)
    assert found["p"] == pytest.approx(stats.ttest_rel(first, second).pvalue)
    assert found["runs"] == 4


def test_claims_that_were_not_run_count_in_the_correction():
    found = judged(primary(FAR, NEAR))
    assert found["p_holm"] == pytest.approx(len(TINY.claims) * found["p"])
    assert judged(primary(FAR, NEAR), "capability")["verdict"] == NOT_RUN


def test_what_holds_alone_may_not_hold_among_many():
    found = judged(primary([0.5, 0.6, 0.7, 0.55], [0.4, 0.55, 0.55, 0.5]))
    assert found["p"] < 0.05 <= found["p_holm"]
    assert found["verdict"] == UNDECIDED


def test_an_undecided_claim_says_what_would_have_been_found_at_the_level_left_to_it():
    figures = primary(FAR, FAR[::-1])
    found = judged(figures)
    differences = [a - b for a, b in zip(FAR, FAR[::-1], strict=True)]
    deviation = stats.tstd(differences)
    wanted = detectable_mean(deviation, 4, level=0.05 / len(TINY.claims))
    assert found["detectable"] == pytest.approx(wanted)
    figures["arms"]["gradients"] = {"between": arms(shared=[-0.5, -0.51, -0.5, -0.49])}
    found = judge_claims(TINY, figures)
    assert found["conflict"]["verdict"] == SUPPORTED
    assert "detectable" not in found["conflict"]
    wanted = detectable_mean(deviation, 4, level=0.05 / (len(TINY.claims) - 1))
    assert found["robustness"]["detectable"] == pytest.approx(wanted)


def test_a_claim_about_one_arm_is_about_its_own_values():
    figures = {"arms": {"gradients": {"between": arms(shared=[0.1, 0.2, 0.15, 0.12])}}}
    found = judged(figures, "conflict")
    assert found["value"] == pytest.approx(0.1425)
    assert found["p"] == pytest.approx(stats.ttest_1samp([0.1, 0.2, 0.15, 0.12], 0).pvalue)
    assert found["contrast"] == "shared"


@pytest.mark.parametrize(
    "figures", [{}, {"arms": {}}, {"rates": {}}, primary([0.5], [0.4]), primary([0.5, 0.6], [0.4])]
)
def test_without_a_part_or_two_runs_of_both_arms_nothing_was_tested(figures):
    found = judged(figures)
    assert found["verdict"] == NOT_RUN
    assert "value" not in found


def test_every_claim_finds_its_number_in_a_report(tmp_path):
    """A renamed figure would leave a claim silently untested."""
    pretend(TINY, tmp_path / "tiny")
    quiet = {"say": lambda _: None}
    write_report(TINY, tmp_path / "tiny", tmp_path / "to", command="x", **quiet)
    assert verify_report(tmp_path / "to", **quiet) == []
    measures = {x.measure for x in TINY.claims.values()}
    assert measures == {x.measure for x in read_experiment("claims").claims.values()}
    text = (tmp_path / "to" / "claims.json").read_text()
    assert NOT_RUN not in text
