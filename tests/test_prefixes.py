"""Sequences that go on from one another: every beginning hangs on what it begins."""

from hypothesis import given
from hypothesis import strategies as st

from redteam_env.prefixes import branches, common

rows = st.lists(st.lists(st.integers(0, 1), max_size=12).map(tuple), max_size=12)


@given(rows)
def test_every_branch_shares_what_it_says_with_a_trunk(sequences):
    found = branches(sequences, 0)
    assert len(found) == len(sequences)
    for one, branch in zip(sequences, found, strict=True):
        trunk = sequences[branch.trunk]
        assert found[branch.trunk].trunk == branch.trunk
        assert found[branch.trunk].shared == len(trunk)
        assert one[: branch.shared] == trunk[: branch.shared]
        own = len(one) - branch.shared
        assert own == 0 or 4 * own <= branch.shared


@given(rows)
def test_no_trunk_is_the_beginning_of_another_sequence(sequences):
    trunks = {branch.trunk for branch in branches(sequences, 0)}
    for k in trunks:
        for n in trunks - {k}:
            assert sequences[n][: len(sequences[k])] != sequences[k]


def test_a_few_items_of_its_own_do_not_make_a_trunk_unless_only_the_lead_is_shared():
    told = tuple(range(40))
    rows = [told, (*told[:20], 99, 99), (*told[:20], 98)]
    assert {branch.trunk for branch in branches(rows, 0)} == {0}
    assert [branch.shared for branch in branches(rows, 0)] == [40, 20, 20]
    assert {branch.trunk for branch in branches(rows, 18)} == {0, 1, 2}


@given(rows)
def test_common_counts_the_first_items_of_both(sequences):
    for one in sequences:
        for other in sequences:
            ends = [k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b]
            assert common(one, other) == (ends[0] if ends else min(len(one), len(other)))
