"""What plug-ins of training return is checked: algorithms, policies, callbacks."""

import numpy as np
import pytest
import torch
from table_game import MatrixJudge, players
from test_algorithms_learn import options
from training_fakes import metrics

from algorithms import train
from algorithms.reinforce import Reinforce
from redteam_env import RedteamError
from redteam_env.protocols import AlgorithmState


@pytest.fixture
def run(doubles, tmp_path):
    """Train table players for two steps; returns the run directory."""
    doubles("judges", "matrix", lambda: MatrixJudge(matrix=((0, 1, 1), (0, 0, 1), (0, 0, 1))))

    def start(*callbacks, policy=None, algorithm="reinforce", **more):
        out = tmp_path / more.pop("out", "run")
        given = options("reinforce", out, **{"steps": 2, "checkpoint_every": 1, **more})
        given["algorithm"] = algorithm
        return train(policy=policy or players(), callbacks=callbacks, **given).directory

    return start


def learner(doubles, **methods):
    """Register the algorithm ``own``: REINFORCE with other methods."""
    doubles("algorithms", "own", type("Own", (Reinforce,), methods))


def refusal(run, **how):
    with pytest.raises(RedteamError) as caught:
        run(**how)
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def _later(self, policy, batches):
    return {"own/value": np.float32(0.5)}


def test_an_algorithm_logs_numbers_of_any_kind_and_may_be_asynchronous(run, doubles):
    learner(doubles, update=_later)
    assert [row["own/value"] for row in metrics(run(algorithm="own"))] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("update", "came"),
    [
        (lambda *_: None, "returned None"),
        (lambda *_: [1.0], "returned [1.0]"),
        (lambda *_: {"loss": "much"}, "gave metrics in which 'loss' is 'much'"),
        (lambda *_: {3: 1.0}, "gave metrics with the name 3"),
        (lambda *_: torch.ones(2)[3], "raised IndexError: index 3"),
    ],
)
def test_an_update_that_is_not_as_it_should_be_is_named(run, doubles, update, came):
    learner(doubles, update=update)
    error = refusal(run, algorithm="own")
    assert f"Step 0: update() of the algorithm 'own' {came}" in error
    assert "Own.update() returns a mapping of names" in error


def _advantages(change):
    def advantages(self, batches):
        return change({role: np.ones(batch.mask.shape) for role, batch in batches.items()})

    return advantages


@pytest.mark.parametrize(
    ("change", "came"),
    [
        (lambda found: {**found, "attacker": found["attacker"][:, 0]}, "with the shape (16,)"),
        (lambda found: {**found, "attacker": found["attacker"].T}, "with the shape (1, 16)"),
        (lambda found: {**found, "attacker": 1.0}, "with no shape (1.0)"),
        (lambda found: {**found, "attacker": found["attacker"] * np.nan}, "not finite"),
        (lambda found: {**found, "attacker": found["attacker"].astype(str)}, "of dtype <U"),
        (lambda found: {"defender": found["defender"]}, "returned none for the attacker"),
        (lambda found: None, "returned None"),
        (list, "returned ['attacker', 'defender']"),
    ],
)
def test_advantages_have_the_shape_of_the_mask(run, doubles, change, came):
    learner(doubles, advantages=_advantages(change))
    error = refusal(run, algorithm="own")
    assert "advantages() of the algorithm 'Own' " in error
    assert came in error


def test_advantages_of_any_number_type_are_advantages(run, doubles):
    rows = []
    for change in (np.asarray, np.float32, torch.tensor, np.bool_):
        learner(
            doubles,
            advantages=_advantages(lambda found: {r: change(x) for r, x in found.items()}),  # noqa: B023
        )
        rows.append(metrics(run(algorithm="own", out=f"run{len(rows)}")))
    assert all(row == rows[0] for row in rows)


@pytest.mark.parametrize(
    ("loss", "came"),
    [
        (lambda self, batch: 0.5, "returned 0.5"),
        (lambda self, batch: -batch.logprobs, "returned a tensor of the shape (16, 1)"),
        (lambda self, batch: batch.none, "raised AttributeError"),
    ],
)
def test_a_loss_is_a_tensor_of_one_number(run, doubles, loss, came):
    learner(doubles, loss=loss)
    error = refusal(run, algorithm="own")
    assert f"loss() of the algorithm 'Own' {came}" in error


@pytest.mark.parametrize(
    ("state", "came"),
    [
        (lambda self: None, "returned None"),
        (
            lambda self: AlgorithmState(values={"seen": {1, 2}}),
            "returned 'seen', which holds {1, 2}",
        ),
        (lambda self: AlgorithmState(tensors={"seen": 1.0}), "gave 'seen', which is 1.0"),
    ],
)
def test_what_an_algorithm_keeps_can_be_written(run, doubles, state, came):
    learner(doubles, state=state)
    assert f"state() of the algorithm 'own' {came}" in refusal(run, algorithm="own")


def test_numbers_that_an_algorithm_keeps_are_plain_json(run, doubles):
    seen = []
    learner(
        doubles,
        state=lambda self: AlgorithmState(values={"seen": [np.int64(3), np.float32(0.5)]}),
        load_state=lambda self, state: seen.append(state.values),
    )
    run(algorithm="own")
    run(algorithm="own", steps=3, resume=True)
    assert seen == [{"seen": [3, 0.5]}]


def policy(**methods):
    """Return table players with other methods."""
    made = players()
    kind = type("Own", (type(made),), methods)
    made.__class__ = kind
    return made


@pytest.mark.parametrize(
    ("methods", "came"),
    [
        ({"agent": lambda self, role: None}, "agent of the attacker that the policy 'Own' gave is"),
        ({"agent": lambda self, role: 1 / 0}, "agent() of the policy 'Own' raised ZeroDivision"),
        ({"logprobs": lambda self, *_, **__: None}, "logprobs() of the policy 'Own' gave logprobs"),
        ({"publish": lambda self, weights: None}, "publish() of the policy 'Own' returned None"),
        (
            {"describe": lambda self: {"size": {1}}},
            "describe() of the policy 'Own' returned 'size'",
        ),
        ({"save": lambda self, place: 1 / 0}, "save() of the policy 'Own' raised ZeroDivision"),
        ({"parameters": None}, "policy 'Own' is Own, which has no method parameters()"),
        ({"trainable_roles": 3}, "trainable_roles of the policy 'Own' returned int 3"),
    ],
)
def test_a_policy_that_breaks_its_protocol_is_named(run, methods, came):
    assert came in refusal(run, policy=policy(**methods))


def test_log_probabilities_of_another_shape_are_named(run):
    def logprobs(self, role, generations, **how):
        found = super(type(made), self).logprobs(role, generations, **how)
        found.logprobs = found.logprobs.T
        return found

    made = policy(logprobs=logprobs)
    error = refusal(run, policy=made)
    assert "logprobs() of the policy 'Own' gave logprobs that are of the shape (1, 16)" in error
    assert "give a tensor of the shape (16, 1)" in error


def returning(method, value):
    """Return a callback with one method, whatever it is asked."""
    return type("Own", (), {method: lambda self, *_: value})()


@pytest.mark.parametrize(
    ("callback", "came"),
    [
        (returning("setups", ["How?"]), "setups() of the callback 'Own' gave str 'How?'"),
        (
            returning("on_episodes", [{"turns": []}]),
            "on_episodes() of the callback 'Own' gave dict",
        ),
        (returning("agent", "refuse"), "agent of the attacker that the callback 'Own' gave is str"),
    ],
)
def test_a_callback_that_breaks_its_protocol_is_named(run, callback, came):
    with pytest.raises(RedteamError) as caught:
        run(callback)
    assert str(caught.value).removeprefix("Step 0: ").removeprefix("The ").startswith(came)


@pytest.mark.parametrize(
    "method", ["setups", "on_episodes", "on_update", "on_start", "on_checkpoint"]
)
def test_a_callback_that_raises_is_named_with_its_own_error_as_cause(run, method):
    callback = type("Own", (), {method: lambda self, *_: {}["key"]})()
    with pytest.raises(
        RedteamError, match=rf"{method}\(\) of the callback 'Own' raised KeyError"
    ) as c:
        run(callback)
    chain = [c.value, c.value.__cause__, getattr(c.value.__cause__, "__cause__", None)]
    assert any(isinstance(error, KeyError) for error in chain)


def test_a_callback_with_yield_does_nothing_and_is_named(run):
    class Own:
        def on_update(self, step, row):
            yield row

    with pytest.raises(
        RedteamError, match=r"on_update\(\) of the callback 'Own' returned generator"
    ):
        run(Own())


def test_a_callback_may_be_asynchronous(run):
    class Own:
        async def on_update(self, step, row):
            row["own/step"] = np.int64(step)

    assert [row["own/step"] for row in metrics(run(Own()))] == [0, 1]


def test_what_a_callback_keeps_must_be_json(run):
    class Own:
        seen = frozenset({1})

        def state(self):
            return {"seen": self.seen}

        def load_state(self, state):
            self.seen = state["seen"]

    with pytest.raises(
        RedteamError, match=r"state\(\) of the callback 'Own' returned 'seen', which"
    ):
        run(Own())
    Own.seen = (np.int64(1), np.float32(0.5))
    run(Own(), out="other")
    again = Own()
    run(again, out="other", steps=3, resume=True)
    assert list(again.seen) == [1, 0.5]


def test_a_step_that_a_plug_in_broke_leaves_the_run_resumable(run):
    class Own:
        broken = True

        def on_update(self, step, row):
            row["own/value"] = {} if step and self.broken else 1.0

    with pytest.raises(RedteamError, match=r"Step 1: .*'own/value' is \{\}"):
        run(Own())
    Own.broken = False
    assert len(metrics(run(Own(), resume=True))) == 2
