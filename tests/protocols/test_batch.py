"""A role's turns as columns: made from games, cut into minibatches, put beside a pass."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from table_policy import generation

from redteam_env.game import RedteamError
from redteam_env.protocols import Batch

LENGTHS = st.lists(st.integers(1, 5), min_size=1, max_size=6)


def made(lengths, **more) -> Batch:
    generations = [generation((0,) * n, [-0.1 * (k + 1)] * n) for k, n in enumerate(lengths)]
    return Batch.of("attacker", generations, [float(k) for k in range(len(lengths))], **more)


@given(LENGTHS)
def test_columns_are_padded_on_the_right_and_zero_off_the_mask(lengths):
    batch = made(lengths)
    assert batch.mask.shape == batch.sampled.shape == (len(lengths), max(lengths))
    assert batch.mask.sum(axis=1).tolist() == lengths
    assert not batch.sampled[~batch.mask].any()
    for k, n in enumerate(lengths):
        assert batch.mask[k, :n].all()
        assert batch.sampled[k, :n].tolist() == pytest.approx([-0.1 * (k + 1)] * n)


@given(LENGTHS, st.data())
def test_rows_are_taken_in_order_and_no_wider_than_needed(lengths, data):
    rows = data.draw(st.lists(st.sampled_from(range(len(lengths))), min_size=1, max_size=8))
    groups = [k // 2 for k in range(len(lengths))]
    values = np.arange(len(lengths) * max(lengths), dtype=float).reshape(len(lengths), -1)
    whole = made(lengths, groups=groups).with_(
        advantages=values, token_extra={"returns": values}, row_extra={"features": values}
    )
    part = whole.take(rows)
    assert len(part) == len(rows)
    assert part.rewards.tolist() == rows
    assert part.groups.tolist() == [groups[k] for k in rows]
    assert part.mask.shape[1] == max(lengths[k] for k in rows)
    assert np.array_equal(part.row_extra["features"], values[rows])
    for column in (part.advantages, part.token_extra["returns"]):
        assert np.array_equal(column, values[rows, : part.mask.shape[1]])
    assert part.old is None


def test_in_a_pass_columns_are_tensors_like_the_log_probabilities():
    batch = made([2, 1]).with_(advantages=np.ones((2, 2)), token_extra={"returns": np.ones((2, 2))})
    like = torch.zeros((2, 2), dtype=torch.float32, requires_grad=True)
    mask = torch.from_numpy(batch.mask)
    found = batch.in_pass(SimpleNamespace(logprobs=like, entropy=like.detach(), mask=mask))
    assert found.logprobs is like
    assert found.distribution is None
    for column in (found.advantages, found.sampled, found.rewards, found.token_extra["returns"]):
        assert column.dtype == torch.float32
    assert found.weights is None
    assert torch.equal(found.tokens, mask)
    assert found.games.tolist() == [0, 1]


def test_importance_weights_count_where_tokens_are():
    batch = made([2, 1]).with_(weights=np.full((2, 2), 0.5))
    assert batch.tokens.tolist() == [[0.5, 0.5], [0.5, 0.0]]


def test_turns_of_one_game_have_one_first_row():
    assert made([1, 1, 1], games=[0, 0, 1]).first.tolist() == [0, 2]


def test_rows_may_be_chosen_by_a_mask():
    batch = made([2, 1, 3]).take(np.array([True, False, True]))
    assert batch.rewards.tolist() == [0.0, 2.0]


def test_columns_of_other_lengths_are_refused():
    generations = [generation((0,), (0.0,))] * 2
    with pytest.raises(RedteamError, match="rewards has 1 entries for 2 rows"):
        Batch.of("attacker", generations, [1.0])
    with pytest.raises(RedteamError, match="groups has 3 entries for 2 rows"):
        Batch.of("attacker", generations, [1.0, 2.0], groups=[0, 0, 0])
    with pytest.raises(RedteamError, match="at least one row"):
        Batch.of("attacker", [], [])
