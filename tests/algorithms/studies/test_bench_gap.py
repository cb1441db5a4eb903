"""The best-response gap: a lower bound in expectation, not raised by the luck of the best of many."""

import numpy as np
import pytest

from algorithms.studies.bench.config import UNTRAINED, Cell
from algorithms.studies.bench.scores import GAP, met_by, response_gap
from algorithms.studies.games import CROSS, RESPONSE, SUITE, Games
from algorithms.studies.successes import Successes
from redteam_env.judges.recorded import always

TRAINED = Cell(label="grpo", arrangement="bipolicy")


def games(found):
    """Games of attackers, (kind, name): which harmful ones succeeded; a benign one after each."""
    columns = {name: [] for name in ("kind", "attacker", "seed_id", "harmful", "told")}
    for (kind, attacker), successes in found.items():
        for k, told in enumerate(successes):
            for harmful in (True, False):
                values = (kind, attacker, f"seed-{k}", harmful, told if harmful else False)
                for column, value in zip(columns.values(), values, strict=True):
                    column.append(value)
    columns["prompt_harmful"] = columns["told"]
    columns["refused"] = [False] * len(columns["told"])
    return Games({name: np.array(x, dtype=object) for name, x in columns.items()})


ANY = Successes(judge=always(), seeds={})


def gap(found, own="own"):
    return response_gap(games(found), own, ANY).get(GAP, {}).get("harmful")


def test_who_is_best_is_chosen_on_one_half_and_scored_on_the_other():
    found = {
        (CROSS, "own"): [True, False, False, False],  # .5 and 0
        (RESPONSE, "fresh"): [True, False, True, True],  # 1 and .5
        (CROSS, "other"): [False, True, False, True],  # 0 and 1
    }
    # fresh is best on even games, scored .5 on odd ones; other on odd ones, scored 0 on even ones
    assert gap(found) == pytest.approx(((0.5 - 0.0) + (0.0 - 0.5)) / 2)


def test_a_defender_that_its_own_attacker_exploits_best_has_no_gap():
    assert gap({(CROSS, "own"): [True] * 4, (RESPONSE, "fresh"): [False] * 4}) == 0


def test_the_best_of_many_equal_attackers_gains_nothing_on_average():
    rng = np.random.default_rng(0)
    found, naive = [], []
    for _ in range(60):
        drawn = {(CROSS, f"a{k:02}"): list(rng.random(16) < 0.5) for k in range(24)}
        found.append(gap(drawn, own="a00"))
        shares = [np.mean(x) for x in drawn.values()]
        naive.append(max(shares) - shares[0])
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 3 * error
    assert np.mean(naive) > 0.15  # what luck alone would have added


@pytest.mark.parametrize(("cell", "kinds"), [(UNTRAINED, "sc"), (TRAINED, "c")])
def test_the_untrained_base_met_its_suites_in_every_tournament(cell, kinds):
    rows = [(SUITE, 0), (CROSS, 0), (CROSS, 1)]
    columns = {"kind": [x for x, _ in rows], "defender": [cell.name] * 3}
    found = Games(
        {name: np.array(x, dtype=object) for name, x in columns.items()}
        | {"defender_seed": np.array([seed for _, seed in rows])}
    )
    of = {"s": SUITE, "c": CROSS}
    assert met_by(found, cell, 1)["kind"].tolist() == [of[x] for x in kinds]
    assert met_by(found, cell, 0)["kind"].tolist() == [SUITE, CROSS]


def test_a_better_attacker_is_found():
    rng = np.random.default_rng(1)
    drawn = {
        (CROSS, "own"): list(rng.random(400) < 0.2),
        (SUITE, "k1"): list(rng.random(400) < 0.7),
    }
    assert gap(drawn) == pytest.approx(0.5, abs=0.08)


def test_void_halves_are_left_out():
    own = [True, False] * 4
    void = {(CROSS, "own"): own, (RESPONSE, "fresh"): [True, None] * 4}
    assert gap(void) == 0
    assert gap({(CROSS, "own"): [None] * 8}) is None


def test_a_best_response_is_not_weaker_than_the_best_script():
    fresh, script = [True, True, False, False] * 4, [True] * 16
    found = {(CROSS, "own"): [False] * 16, (RESPONSE, "fresh"): fresh, (SUITE, "alias"): script}
    assert gap(found) == 1
