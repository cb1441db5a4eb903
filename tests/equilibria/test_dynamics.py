"""Dynamics end where theory says they end, and stay on the simplex on the way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redteam_env.equilibria.dynamics import replicator
from redteam_env.equilibria.solve import nash_conv
from redteam_env.game import RedteamError

PENNIES = np.array([[1.0, -1.0], [-1.0, 1.0]])
PRISONERS = (np.array([[3.0, 0.0], [5.0, 1.0]]), np.array([[3.0, 5.0], [0.0, 1.0]]))


def test_replicators_of_the_prisoners_all_defect():
    end = replicator(*PRISONERS, steps=300)
    assert end.row[-1] == pytest.approx([0, 1], abs=1e-6)
    assert end.column[-1] == pytest.approx([0, 1], abs=1e-6)
    assert nash_conv(*PRISONERS, end.row[-1], end.column[-1]) < 1e-5


def test_replicators_of_matching_pennies_circle_on_the_constant_of_motion():
    path = replicator(PENNIES, -PENNIES, start=([0.8, 0.2], [0.5, 0.5]), steps=1000)
    motion = np.log(path.row).sum(axis=1) + np.log(path.column).sum(axis=1)
    assert motion == pytest.approx(motion[0], abs=1e-4)
    assert path.row[:, 0].max() - path.row[:, 0].min() > 0.5


def test_what_has_no_share_never_gets_one():
    path = replicator(*PRISONERS, start=([1.0, 0.0], [0.5, 0.5]), steps=50)
    assert (path.row[:, 1] == 0).all()


@given(st.integers(0, 10_000))
def test_shares_stay_on_the_simplex(seed):
    a, b = np.random.default_rng(seed).normal(size=(2, 4, 3))
    path = replicator(a, b, steps=40)
    for shares in (path.row, path.column):
        assert shares.sum(axis=1) == pytest.approx(1)
        assert shares.min() >= 0


def test_settings_out_of_range_are_refused():
    for arguments in ({"steps": 0}, {"step_size": 0.0}, {"start": ([1.0], [0.5, 0.5])}):
        with pytest.raises(RedteamError):
            replicator(*PRISONERS, **arguments)
