"""Dynamics end where theory says they end, and stay on the simplex on the way."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redteam_env.equilibria.dynamics import fictitious_play, plot_dynamics, replicator
from redteam_env.game import RedteamError

PENNIES = np.array([[1.0, -1.0], [-1.0, 1.0]])
PRISONERS = (np.array([[3.0, 0.0], [5.0, 1.0]]), np.array([[3.0, 5.0], [0.0, 1.0]]))


def test_replicators_of_the_prisoners_all_defect():
    end = replicator(*PRISONERS, steps=300)
    assert end.row[-1] == pytest.approx([0, 1], abs=1e-6)
    assert end.column[-1] == pytest.approx([0, 1], abs=1e-6)
    assert end.nash_convs(*PRISONERS, every=300)[-1] < 1e-5


def test_replicators_of_matching_pennies_circle_on_the_constant_of_motion():
    path = replicator(PENNIES, -PENNIES, start=([0.8, 0.2], [0.5, 0.5]), steps=1000)
    motion = np.log(path.row).sum(axis=1) + np.log(path.column).sum(axis=1)
    assert motion == pytest.approx(motion[0], abs=1e-4)
    assert path.row[:, 0].max() - path.row[:, 0].min() > 0.5


def test_what_has_no_share_never_gets_one():
    path = replicator(*PRISONERS, start=([1.0, 0.0], [0.5, 0.5]), steps=50)
    assert (path.row[:, 1] == 0).all()


def test_fictitious_play_approaches_the_equilibrium_of_matching_pennies():
    path = fictitious_play(PENNIES, -PENNIES, start=([1.0, 0.0], [0.0, 1.0]), steps=4000)
    gaps = path.nash_convs(PENNIES, -PENNIES, every=400)
    assert gaps[0] > 1
    assert gaps[-1] < 0.1


def test_fictitious_play_counts_rounds():
    path = fictitious_play(*PRISONERS, steps=3)
    assert path.row[:, 1] == pytest.approx([0.5, 0.75, 5 / 6, 7 / 8])


@given(st.integers(0, 10_000), st.sampled_from([replicator, fictitious_play]))
def test_shares_stay_on_the_simplex(seed, dynamics):
    a, b = np.random.default_rng(seed).normal(size=(2, 4, 3))
    path = dynamics(a, b, steps=40)
    for shares in (path.row, path.column):
        assert shares.sum(axis=1) == pytest.approx(1)
        assert shares.min() >= 0


def test_settings_out_of_range_are_refused():
    for arguments in ({"steps": 0}, {"step_size": 0.0}, {"start": ([1.0], [0.5, 0.5])}):
        with pytest.raises(RedteamError):
            replicator(*PRISONERS, **arguments)


def test_a_plot_is_an_svg_with_every_name_and_the_same_each_time(tmp_path):
    path = replicator(*PRISONERS, steps=20)
    names = {"rows": ["$silent$", "_confess"], "columns": ["wait", "tell"]}
    first = plot_dynamics(tmp_path / "a.svg", path, **names).read_bytes()
    assert first == plot_dynamics(tmp_path / "b.svg", path, **names).read_bytes()
    assert b"<svg" in first
    for name in (b"$silent$", b"_confess", b"wait", b"tell"):
        assert name in first


def test_a_plot_needs_a_name_for_each_strategy_and_matplotlib(tmp_path, monkeypatch):
    path = replicator(*PRISONERS, steps=5)
    with pytest.raises(RedteamError, match="1 names"):
        plot_dynamics(tmp_path / "a.svg", path, rows=["one"], columns=["a", "b"])
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(RedteamError, match=r"redteam-env\[report\]"):
        plot_dynamics(tmp_path / "a.svg", path, rows=["x", "y"], columns=["a", "b"])
