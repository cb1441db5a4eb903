"""Predicted peaks of memory against those of processes that play, train and save.

glibc is told to map every block of 64 KiB and more (``MALLOC_MMAP_THRESHOLD_``), so that freed tensors
leave the process and its resident set is what it holds: arithmetic can predict that, but not what an
allocator keeps for later.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agents.lora.config import PolicyConfig
from agents.plan.configs import parse_shape, shape_of
from agents.plan.memory import FIRST_STEP, Batch, predict

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not os.access("/proc/self/clear_refs", os.W_OK), reason="peaks are reset through /proc"
    ),
]
SCRIPT = Path(__file__).parent / "peak_memory.py"
SHAPE = {  # 54 M parameters
    "vocab_size": 16000,
    "hidden_size": 640,
    "intermediate_size": 1792,
    "num_hidden_layers": 10,
    "num_attention_heads": 10,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}
MODELS = {
    "apothecary": {"rank": 16, "prompt": 160, "completion": 48, "generation": 48, "rows": 16},
    "random": {"rank": 32, "prompt": 80, "completion": 16, "generation": 12, "rows": 3},
}
ARRANGEMENTS = ("shared", "bipolicy", "independent", "shared_full")
WITHIN = 0.15
RISES_WITHIN = (
    0.25  # a rise is a few MB on a small model, of which each processor's kernels take their share
)


def measured(settings):
    result = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps(settings)],
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def predicted(settings):
    if settings["model"] == "random":
        shape = parse_shape({**SHAPE, "model_type": "qwen2", "tie_word_embeddings": True}, "random")
    else:
        shape = shape_of(settings["model"])
    policy = PolicyConfig(
        arrangement=settings["arrangement"],
        rank=settings["rank"],
        gradient_checkpointing=settings["gradient_checkpointing"],
    )
    batch = Batch(
        prompt_tokens=settings["prompt"],
        new_tokens=settings["completion"],
        generation_batch=settings["generation"],
        rows=settings["rows"],
    )
    return predict(shape, policy, batch, device="cpu")


@pytest.mark.parametrize(
    ("model", "arrangement", "checkpointing"),
    [(model, arrangement, False) for model in MODELS for arrangement in ARRANGEMENTS]
    + [("random", "bipolicy", True), ("random", "shared_full", True)],
)
def test_peaks_rise_as_predicted(model, arrangement, checkpointing):
    settings = {
        "model": model,
        "shape": SHAPE,
        "arrangement": arrangement,
        "gradient_checkpointing": checkpointing,
        **MODELS[model],
    }
    peaks, memory = measured(settings), predicted(settings)
    assert memory.peak == pytest.approx(max(peaks.values()), rel=WITHIN)
    start = peaks.pop("start")  # the imports, which are most of a small process
    rises = {phase: peak - start for phase, peak in peaks.items()}
    beside = memory.runtime - FIRST_STEP
    assert memory.sampling - beside == pytest.approx(rises["sampling"], rel=RISES_WITHIN)
    assert memory.training - beside == pytest.approx(rises["training"], rel=RISES_WITHIN)
    assert memory.peak - beside == pytest.approx(max(rises.values()), rel=RISES_WITHIN)
