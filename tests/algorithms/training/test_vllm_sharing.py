"""The real vLLM reads exports: an adapter on its base, and a merged model."""

import pytest
import torch
from tiny_models import completions
from vllm_shared import engine_model

from agents.lora.hf import completion_logprobs
from agents.lora.pool import PolicyPool
from agents.sharing.export import export
from agents.sharing.settings import ExportConfig
from algorithms.training.config import TrainConfig
from algorithms.training.trainer import train

pytestmark = pytest.mark.vllm
CLOSE = 2e-5
PROMPTS = [list(b"one prompt"), list(b"another, longer prompt")]
_KEPT = []
"""The end of an engine would take their groups from all others of this process, which later tests share."""


def theirs(model, adapter=None):
    """The log-probabilities of all tokens but the first of each prompt, under vLLM."""
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    lora = {"enable_lora": True, "max_lora_rank": 8} if adapter else {}
    engine = LLM(
        str(model),
        dtype="float32",
        enforce_eager=True,
        max_model_len=420,
        kv_cache_memory_bytes=100_000_000,
        **lora,
    )
    asked = [[*g.prompt_ids, *g.completion_ids] for g in completions(PROMPTS)]
    found = engine.generate(
        [{"prompt_token_ids": ids} for ids in asked],
        SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0),
        lora_request=LoRARequest("defender", 1, str(adapter)) if adapter else None,
        use_tqdm=False,
    )
    _KEPT.append(engine)
    return torch.tensor(
        [
            told.prompt_logprobs[k][ids[k]].logprob
            for told, ids, generation in zip(found, asked, completions(PROMPTS), strict=True)
            for k in range(len(generation.prompt_ids), len(ids))
        ]
    )


def test_vllm_computes_with_an_export_as_we_do(tiny_options, tmp_path):
    own = {"model": str(engine_model()), "lr": 0.05, "out": str(tmp_path / "run")}
    train(TrainConfig.from_flat({**tiny_options, **own}))
    agent = PolicyPool(device="cpu").load(str(tmp_path / "run"), "defender")
    with torch.no_grad(), agent.backend.store.using(agent.weights) as model:
        found = completion_logprobs(model, completions(PROMPTS), pad_id=256)
    with torch.no_grad(), agent.backend.store.using("base") as model:
        base = completion_logprobs(model, completions(PROMPTS), pad_id=256)
    ours = found.logprobs[found.mask]
    assert float((ours - base.logprobs[base.mask]).abs().max()) > 100 * CLOSE
    adapter, merged = tmp_path / "adapter", tmp_path / "merged"
    export(tmp_path / "run", adapter, ExportConfig(role="defender", base="copy"))
    export(tmp_path / "run", merged, ExportConfig(role="defender", merge=True))
    assert torch.allclose(theirs(adapter / "base", adapter), ours, atol=CLOSE, rtol=0)
    assert torch.allclose(theirs(merged), ours, atol=CLOSE, rtol=0)
