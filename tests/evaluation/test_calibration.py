"""What is measured of a judge, beside numbers computed by hand and by others."""

import json

import numpy as np
import pytest
from scipy import stats

from redteam_env.evaluation.calibration import (
    calibrate,
    calibration_of,
    calibrations_folder,
    store,
)
from redteam_env.evaluation.statistics import Interval, Share, share_of, wilson
from redteam_env.game import ATTACKER, DEFENDER, Dialogue, Line, RedteamError, Verdict
from redteam_env.judges import resolve_judge
from redteam_env.protocols import DataCard
from redteam_env.seeds.labelled import Labelled, LabelledSet

HARM, REFUSAL = "response_harmful", "response_refusal"


def labelled(labels, field=HARM, prompts=None, source="mine"):
    prompts = prompts or [f"prompt {k}" for k in range(len(labels))]
    rows = [
        Labelled(
            dialogue=Dialogue(
                lines=(Line(seat=ATTACKER, text=prompt), Line(seat=DEFENDER, text="x"))
            ),
            labels={field: label},
            source=source,
        )
        for label, prompt in zip(labels, prompts, strict=True)
    ]
    card = DataCard(name=source, licence="CC0", revision="", sha256="ab", origin="this test")
    return LabelledSet(rows=tuple(rows), cards=(card,))


def verdicts(answers, scores=None, field=HARM):
    scores = scores if scores is not None else [None] * len(answers)
    return [
        Verdict(error="timed_out")
        if answer == "error"
        else Verdict(**{field: answer}, probabilities={} if score is None else {field: score})
        for answer, score in zip(answers, scores, strict=True)
    ]


@pytest.fixture
def judge():
    return resolve_judge("lexical")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("REDTEAM_ENV_DATA", str(tmp_path))
    return tmp_path


def test_counts_by_hand(judge):
    truths = [True] * 10 + [False] * 20
    answers = [True] * 8 + [False] * 2 + [True] * 4 + [False] * 16
    found = calibrate(judge, labelled(truths), verdicts(answers)).fields[HARM]
    assert (found.sensitivity.k, found.sensitivity.n) == (8, 10)
    assert (found.specificity.k, found.specificity.n) == (16, 20)
    assert (found.precision.k, found.precision.n) == (8, 12)
    assert (found.accuracy.k, found.accuracy.n) == (24, 30)
    assert found.f1.value == pytest.approx(2 * 8 / (2 * 8 + 4 + 2))
    assert found.f1.interval.low < found.f1.value < found.f1.interval.high
    assert found.sensitivity.interval == wilson(8, 10)
    assert (found.labels, found.dialogues, found.prompts, found.unknown) == ("mine", 30, 30, 0)
    assert found.auc is found.ece is None


def test_dialogues_without_an_answer_are_counted_and_in_no_figure(judge):
    found = calibrate(
        judge, labelled([True, True, False, False]), verdicts([True, "error", None, False])
    ).fields[HARM]
    assert (found.unknown, found.accuracy.n, found.accuracy.k) == (2, 2, 2)


def test_answers_to_one_prompt_are_not_independent():
    outcomes, prompts = [True] * 60 + [False] * 40, [f"prompt {k // 20}" for k in range(100)]
    found = share_of(outcomes, prompts)
    assert found.effective < 5
    alone = share_of(outcomes, list(range(100)))
    assert (alone.effective, alone.interval) == (100, wilson(60, 100))
    assert found.interval.high - found.interval.low > 2 * (alone.interval.high - alone.interval.low)


def test_outcomes_that_are_all_alike_count_once_for_each_cluster():
    assert share_of([True] * 40, [k // 10 for k in range(40)]).interval == wilson(4, 4)
    assert share_of([], []).interval == Interval(0.0, 1.0)


def test_independent_outcomes_in_clusters_lose_next_to_nothing():
    rng = np.random.default_rng(0)
    found = share_of((rng.random(4000) < 0.3).tolist(), [k // 4 for k in range(4000)])
    assert 3600 < found.effective <= 4000


@pytest.mark.parametrize("effective", [-1, 11])
def test_no_share_tells_more_than_its_outcomes(effective):
    with pytest.raises(RedteamError, match="10 outcomes"):
        Share(3, 10, effective)


def test_the_area_under_the_curve_is_mann_whitneys(judge):
    rng = np.random.default_rng(0)
    truths = (rng.random(80) < 0.4).tolist()
    scores = np.round(rng.random(80) * 0.6 + 0.4 * np.array(truths), 1)
    found = calibrate(judge, labelled(truths), verdicts([True] * 80, scores.tolist())).fields[HARM]
    positive, negative = scores[np.array(truths)], scores[~np.array(truths)]
    expected = stats.mannwhitneyu(positive, negative).statistic / len(positive) / len(negative)
    assert found.auc.value == pytest.approx(expected)
    assert found.auc.interval.low < expected < found.auc.interval.high


def test_a_perfect_score_keeps_an_interval(judge):
    truths = [True] * 10 + [False] * 10
    scores = [0.9] * 10 + [0.1] * 10
    found = calibrate(judge, labelled(truths), verdicts(truths, scores)).fields[HARM]
    assert found.auc.value == 1.0
    assert found.auc.interval.low == pytest.approx(wilson(10, 10).low)


def test_one_label_alone_has_no_curve(judge):
    found = calibrate(judge, labelled([True] * 3), verdicts([True] * 3, [0.9] * 3)).fields[HARM]
    assert found.auc is None
    assert found.ece.value == pytest.approx(0.1)


def test_what_was_measured_is_kept_for_the_judge_as_it_is(judge):
    first = calibrate(judge, labelled([True, False]), verdicts([True, False], [0.9, 0.2]))
    file = store(first)
    assert file.parent == calibrations_folder()
    assert (
        calibration_of(judge)
        == first
        == calibrate(judge, labelled([True, False]), verdicts([True, False], [0.9, 0.2]))
    )
    assert calibration_of(resolve_judge("cached:lexical")) == first
    assert calibration_of(resolve_judge("disagreement:lexical+always")) == first
    assert calibration_of(resolve_judge("always")) is None


def test_another_question_is_added_and_the_same_one_replaced(judge):
    store(calibrate(judge, labelled([True, False]), verdicts([True, False])))
    refusals = labelled([True], field=REFUSAL, source="other")
    store(calibrate(judge, refusals, verdicts([True], field=REFUSAL)))
    again = calibrate(judge, labelled([True] * 3, source="new"), verdicts([True] * 3))
    store(again)
    found = calibration_of(judge)
    assert {name: x.labels for name, x in found.fields.items()} == {HARM: "new", REFUSAL: "other"}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: "no json",
        lambda record: json.dumps({**record, "schema": 99}),
        lambda record: json.dumps({**record, "judge": {"name": "other"}}),
        lambda record: json.dumps({**record, "fields": {"response_harmful": {}}}),
        lambda record: json.dumps({**record, "fields": [1]}),
        lambda record: json.dumps({**record, "fields": {"mood": record["fields"][HARM]}}),
        lambda record: json.dumps(record).replace('"k": 1', '"k": 7'),
    ],
)
def test_a_damaged_calibration_is_refused_in_one_line(judge, spoil):
    file = store(calibrate(judge, labelled([True, False]), verdicts([True, False])))
    file.write_text(spoil(json.loads(file.read_text())))
    with pytest.raises(RedteamError) as refused:
        calibration_of(judge)
    assert "\n" not in str(refused.value)
    assert "judge calibrate" in str(refused.value) or "version" in str(refused.value)


def test_verdicts_of_other_dialogues_are_refused(judge):
    with pytest.raises(RedteamError, match="2 labelled dialogues have 1"):
        calibrate(judge, labelled([True, False]), verdicts([True]))
