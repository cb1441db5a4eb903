"""Learning rates over a run: warm-up, and the fall to a floor."""

import pytest
from table_game import MatrixJudge, players
from test_algorithms_learn import DOMINANCE, options
from training_fakes import contents, metrics

from algorithms import PolicyGradientConfig, train
from algorithms.core.schedules import rate_share
from redteam_env.game import RedteamError


@pytest.mark.parametrize(
    ("schedule", "done", "share"),
    [
        *[("constant", done, 1.0) for done in (0, 20, 40, 99)],
        *[
            ("linear", *x)
            for x in ((0, 1.0), (10, 0.8), (20, 0.6), (30, 0.4), (40, 0.2), (99, 0.2))
        ],
        *[("cosine", *x) for x in ((0, 1.0), (10, 0.88284), (20, 0.6), (30, 0.31716), (40, 0.2))],
        ("cosine", 99, 0.2),
    ],
)
def test_the_share_of_the_rate_at_the_start_on_the_way_and_after_the_end(schedule, done, share):
    given = {"schedule": schedule, "steps": 40, "floor": 0.2}
    assert rate_share(done, **given) == pytest.approx(share, abs=1e-5)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_it_falls_from_the_whole_rate_after_the_warm_up(schedule):
    shares = [rate_share(k, warmup=4, schedule=schedule, steps=8) for k in range(10)]
    assert shares[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert shares[6] == pytest.approx(0.5)
    assert shares[8:] == pytest.approx([0.0, 0.0])
    assert sorted(shares[4:], reverse=True) == shares[4:]


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"lr_schedule": "linear"}, "lr_steps is 0, but lr_schedule 'linear'.*give more"),
        ({"lr_schedule": "cosine", "lr_steps": 5, "warmup_steps": 5}, "lr_steps is 5.*step 5"),
        ({"lr_steps": 5}, "lr_steps is 5.*'constant'"),
        ({"lr_floor": 0.5}, r"lr_floor 0\.5, but lr_schedule is 'constant'"),
        ({"lr_schedule": "linear", "lr_steps": 5, "lr_floor": 1.5}, "lr_floor is 1.5"),
        ({"lr_schedule": "square", "lr_steps": 5}, "square"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(given, match):
    with pytest.raises(RedteamError, match=match):
        PolicyGradientConfig(**given)


@pytest.fixture
def run(doubles, tmp_path):
    doubles("judges", "matrix", lambda: MatrixJudge(matrix=DOMINANCE))

    def start(out, **more):
        given = {"lr_schedule": "cosine", "lr_steps": 6, "lr_floor": 0.1, "checkpoint_every": 2}
        train(policy=players(), **options("reinforce_pp", tmp_path / out, **{**given, **more}))
        return tmp_path / out

    return start


def test_each_role_falls_from_its_own_rate(run):
    rows = metrics(run("run", attacker_lr=0.2, steps=8))
    for role, lr in (("attacker", 0.2), ("defender", 0.4)):
        rates = [row[f"{role}/lr"] for row in rows]
        assert (rates[0], rates[3]) == pytest.approx((lr, 0.55 * lr))
        assert rates[6:] == pytest.approx([0.1 * lr] * 2)


def test_a_prolonged_run_equals_one_that_was_long_from_the_start_bit_for_bit(run):
    whole = run("whole", steps=8)
    run("cut", steps=4)
    cut = run("cut", steps=8, resume=True)
    assert metrics(cut) == metrics(whole)
    assert contents(cut, "checkpoints") == contents(whole, "checkpoints")


def test_a_resumed_run_keeps_its_schedule(run):
    run("run", steps=4)
    with pytest.raises(RedteamError, match=r"lr_steps: 6 there, 8 now"):
        run("run", steps=8, lr_steps=8, resume=True)
