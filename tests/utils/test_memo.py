import copy
import pickle

import pytest

from redteam_env.utils.memo import Memo


class Counter:
    """Counts how often it is asked."""

    def __init__(self):
        self.asked = []

    def double(self, text):
        self.asked.append(text)
        return text * 2


def test_what_is_remembered_is_not_asked_again():
    counter = Counter()
    memo = Memo(counter.double, size=2)
    assert [memo(x) for x in ("a", "a", "b")] == ["aa", "aa", "bb"]
    assert counter.asked == ["a", "b"]


def test_only_the_latest_are_kept():
    counter = Counter()
    memo = Memo(counter.double, size=1)
    for text in ("a", "b", "a"):
        memo(text)
    assert counter.asked == ["a", "b", "a"]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_returns_the_same_and_asks_its_own_copy_of_the_owner(duplicate):
    counter = Counter()
    owner = {"counter": counter, "memo": Memo(counter.double, size=2)}
    owner["memo"]("a")
    other = duplicate(owner)
    assert [other["memo"](x) for x in ("a", "b")] == ["aa", "bb"]
    assert other["counter"].asked == ["a", "a", "b"]
    assert counter.asked == ["a"]
