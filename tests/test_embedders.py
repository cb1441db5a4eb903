import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from redteam_env import RedteamError, registry
from redteam_env.embedders import (
    HashingEmbedder,
    embed_checked,
    embedder_name,
    resolve_embedder,
)

ANY_TEXT = st.text(st.characters(), max_size=200)  # lone surrogates too


@given(st.lists(ANY_TEXT, max_size=5), st.integers(1, 64))
def test_hashed_vectors_have_unit_length_whatever_the_text(texts, dimension):
    vectors = HashingEmbedder(dimension).embed(texts)
    assert vectors.shape == (len(texts), dimension)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@given(ANY_TEXT, st.lists(ANY_TEXT, max_size=3))
def test_a_text_has_one_vector_in_any_company(text, others):
    alone = HashingEmbedder().embed([text])[0]
    assert np.array_equal(alone, HashingEmbedder().embed([*others, text])[-1])


def test_hashed_vectors_are_the_same_in_every_process():
    code = (
        "from redteam_env.embedders import hashing; "
        "print(hashing().embed(['How do I boil an egg?']).tobytes().hex())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert found == {HashingEmbedder().embed(["How do I boil an egg?"]).tobytes().hex() + "\n"}


def test_texts_are_closer_the_more_they_share():
    near, same, far = HashingEmbedder().embed(
        ["how do i make tea", "how do i make soup", "sorry that is secret"]
    )
    assert near @ same > near @ far + 0.2


def test_auto_is_minilm_exactly_where_its_package_is(monkeypatch):
    monkeypatch.setattr("redteam_env.embedders.importlib.util.find_spec", lambda name: None)
    assert embedder_name("auto") == "hashing"
    monkeypatch.setattr("redteam_env.embedders.importlib.util.find_spec", lambda name: object())
    assert embedder_name("auto") == "minilm"
    assert embedder_name("hashing") == "hashing"


def test_an_embedder_of_ones_own_goes_in_by_name():
    registry.register("embedders", "mine", lambda: HashingEmbedder(3))
    assert resolve_embedder("mine").embed([""]).shape == (1, 3)
    assert resolve_embedder("hashing").embed([""]).shape == (1, 512)


def test_a_mistyped_embedder_is_refused_with_the_nearest_name():
    with pytest.raises(RedteamError, match="Did you mean 'hashing'"):
        resolve_embedder("hasing")
    with pytest.raises(RedteamError, match="no method embed"):
        resolve_embedder(object())
    with pytest.raises(RedteamError, match="dimension is 0"):
        HashingEmbedder(0)


class Faulty:
    def __init__(self, found):
        self.found = found

    def embed(self, texts):
        return self.found


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (np.zeros(3), "shape"),
        (np.zeros((2, 3)), "shape"),
        (np.zeros((1, 0)), "shape"),
        (np.array([[np.nan]]), "finite"),
        (np.array([["a"]]), "finite"),
        (np.array([[1j]]), "real"),
        (np.array([[2.0]]), "unit vectors"),
        (np.array([[0.3, 0.4]]), "a vector of length 0.5; give unit vectors"),
        (np.zeros((1, 3)), "a vector of length 0; give unit vectors"),
    ],
)
def test_what_a_faulty_embedder_returns_is_refused(found, reason):
    with pytest.raises(RedteamError, match=reason):
        embed_checked(Faulty(found), ["one text"])


def test_tensors_of_a_model_are_vectors():
    found = torch.ones(1, 1, dtype=torch.bfloat16, requires_grad=True)
    assert embed_checked(Faulty(found), ["one text"]).tolist() == [[1.0]]


@settings(max_examples=20)
@given(st.lists(ANY_TEXT, max_size=4))
def test_checked_vectors_are_float32_within_bounds(texts):
    vectors = embed_checked(HashingEmbedder(8), texts)
    assert vectors.dtype == np.float32
    assert np.abs(vectors).max(initial=0) <= 1
