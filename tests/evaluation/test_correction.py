"""True rates behind raw ones: known answers, a simulation, and the rates of games."""

import dataclasses

import numpy as np
import pytest

from redteam_env.evaluation import compare, crossplay, evaluate, heldout_setups
from redteam_env.evaluation.calibration import Calibration, FieldCalibration, store
from redteam_env.evaluation.correction import CHANCE, FIELD_OF, NO_DATA, UNFIT, rogan_gladen
from redteam_env.evaluation.statistics import Share
from redteam_env.judges import identity_of


def share(k, n):
    return Share(k, n, float(n))


def test_the_true_rate_by_hand():
    # .9 and .8: a true rate of .3 shows as .3 * .9 + .7 * .2 = .41
    assert rogan_gladen(share(410, 1000), share(900, 1000), share(800, 1000)).value == (
        pytest.approx(0.3)
    )


def test_epir_corrects_the_same():
    # epi.prev(pos = 23, tested = 150, se = 0.96, sp = 0.89) says 5.1 in 100
    found = rogan_gladen(share(23, 150), share(9600, 10_000), share(8900, 10_000))
    assert found.value == pytest.approx(0.051, abs=5e-4)


def test_a_perfect_judge_of_whom_much_is_known_is_left_as_it_is():
    found = rogan_gladen(share(30, 100), share(10**6, 10**6), share(10**6, 10**6))
    assert found.value == pytest.approx(0.3)
    assert found.interval.low == pytest.approx(0.219, abs=3e-3)  # Agresti and Coull's
    assert found.interval.high == pytest.approx(0.396, abs=3e-3)


def test_the_less_is_known_of_the_judge_the_wider_the_interval():
    widths = [
        (x.interval.high - x.interval.low)
        for n in (40, 400, 4000)
        for x in (rogan_gladen(share(60, 200), share(n * 9 // 10, n), share(n * 9 // 10, n)),)
    ]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize(
    ("raw", "sensitivity", "specificity", "reason"),
    [
        (share(0, 0), share(9, 10), share(9, 10), NO_DATA),
        (share(3, 10), share(0, 0), share(9, 10), NO_DATA),
        (share(3, 10), share(0, 0), share(0, 0), NO_DATA),
        (share(3, 10), share(4, 10), share(5, 10), CHANCE),
        (share(100, 100), share(50, 100), share(90, 100), UNFIT),
        (share(0, 100), share(90, 100), share(50, 100), UNFIT),
    ],
)
def test_where_nothing_can_be_said_nothing_is(raw, sensitivity, specificity, reason):
    found = rogan_gladen(raw, sensitivity, specificity)
    assert (found.value, found.reason) == (None, reason)
    assert (found.interval.low, found.interval.high) == (0.0, 1.0)


def test_a_judge_that_may_be_no_better_than_chance_tells_nothing():
    found = rogan_gladen(share(50, 100), share(55, 100), share(50, 100))
    assert (found.value, found.reason) == (None, "no better than chance")
    assert (found.interval.low, found.interval.high) == (0.0, 1.0)


@pytest.mark.parametrize(("q", "r"), [(0.9, 0.95), (0.7, 0.8)])
@pytest.mark.parametrize("truth", [0.0, 0.1, 0.5])
def test_the_interval_holds_the_true_rate_as_often_as_it_says(q, r, truth):
    rng = np.random.default_rng(7)
    held, trials = 0, 1000
    for _ in range(trials):
        raw = rng.binomial(200, truth * q + (1 - truth) * (1 - r))
        found = rogan_gladen(
            share(int(raw), 200),
            share(int(rng.binomial(150, q)), 150),
            share(int(rng.binomial(100, r)), 100),
        )
        held += found.interval.low - 1e-12 <= truth <= found.interval.high + 1e-12
    assert held / trials > 0.93


def known(judge):
    one = share(90, 100)
    return Calibration(
        judge=identity_of(judge),
        fields={
            field: FieldCalibration(
                field=field,
                labels="mine",
                sha256="",
                dialogues=200,
                prompts=200,
                unknown=0,
                accuracy=share(180, 200),
                sensitivity=one,
                specificity=one,
                precision=one,
                overlap=share(90, 110),
            )
            for field in set(FIELD_OF.values())
        },
    )


def odd(text):
    return int(text[-1]) % 2


@pytest.fixture
def measured(judge, tmp_path, monkeypatch):
    monkeypatch.setenv("REDTEAM_ENV_DATA", str(tmp_path))
    store(known(judge))
    return judge


@pytest.fixture
def setups(source):
    return heldout_setups(source, 16, 0)


def test_every_table_of_a_calibrated_judge_has_corrected_rates(measured, setups, say):
    attacker = say(lambda request: request.seed.text)
    half = say(lambda request: "HARM" if odd(request.messages[-1]["content"]) else "kind")
    found = evaluate(attacker, half, setups, measured)
    assert set(found.corrected) == set(FIELD_OF)
    raw = found.rates.attack_success
    expected = (raw.value + 0.9 - 1) / 0.8
    assert found.corrected["attack_success"].estimate.value == pytest.approx(expected)
    record = found.to_json()
    assert record["corrected"]["attack_success"]["labels"] == "mine"
    assert record["calibration"]["fields"]["response_harmful"]["sensitivity"]["rate"] == 0.9
    assert record["rates"]["attack_success"]["rate"] == raw.value
    both = crossplay({"a": attacker}, {"d": half}, setups, measured)
    assert both.cells["a", "d"].corrected == found.corrected
    assert compare(found, found).after.corrected == found.corrected


@pytest.mark.parametrize("change", [{"name": "words 2"}, {"revision": "2"}, {"revision": ""}])
def test_another_version_of_the_judge_has_no_corrected_rates(change, measured, setups, say):
    attacker = say(lambda request: request.seed.text)
    other = dataclasses.replace(measured, **change)
    found = evaluate(attacker, say(lambda _: "kind"), setups, other)
    assert found.corrected == {}
    assert "corrected" not in found.to_json()
    assert "calibration" not in found.to_json()


def test_a_forfeited_attack_is_no_success_whatever_the_judge(measured, setups, say):
    attacker = say(lambda request: "<think>" if odd(request.seed.text) else request.seed.text)
    found = evaluate(attacker, say(lambda _: "HARM"), setups, measured)
    raw, corrected = found.rates.attack_success, found.corrected["attack_success"].estimate
    assert 0 < raw.k < raw.n
    # all that the judge saw was harmful; with the sensitivity .9 that is a true rate of 1
    assert corrected.value == pytest.approx(raw.value)
    assert corrected.interval.high == pytest.approx(raw.value)
