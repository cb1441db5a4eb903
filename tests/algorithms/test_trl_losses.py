"""Losses beside TRL's own functions, which are called here and not copied."""

from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch

from agents.lora.logprobs import token_logprobs
from algorithms.core.losses import clipped_surrogate, k3_penalty, preference_loss
from algorithms.dr_grpo import DrGRPO
from algorithms.grpo import GRPO

trl = pytest.importorskip("trl")
utils = pytest.importorskip("trl.trainer.utils")
cpo = pytest.importorskip("trl.experimental.cpo.cpo_trainer")

CLIP, LONGEST = 0.2, 7


@pytest.fixture
def batch():
    """Three completions of different lengths, as the passes of an algorithm see them."""
    draws = torch.Generator().manual_seed(3)
    shape = (3, LONGEST)
    lengths = torch.tensor([[2], [7], [4]])
    mask = torch.arange(LONGEST) < lengths
    old = -torch.rand(shape, generator=draws, dtype=torch.float64) * mask
    moved = 0.4 * torch.randn(shape, generator=draws, dtype=torch.float64)
    reference = -torch.rand(shape, generator=draws, dtype=torch.float64) * mask
    advantages = torch.tensor([[1.5], [-0.7], [0.2]], dtype=torch.float64).expand(shape) * mask
    return SimpleNamespace(
        role="attacker",
        logprobs=((old + moved) * mask).requires_grad_(),
        old=old,
        reference=reference,
        advantages=advantages,
        mask=mask,
        tokens=mask,
    )


def theirs(batch, loss_type, *, beta):
    """TRL's loss of one pass of a trainer that has nothing but these settings."""
    trainer = MagicMock(
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level="token",
        beta=beta,
        loss_type=loss_type,
        epsilon_low=CLIP,
        epsilon_high=CLIP,
        use_vllm=False,
        use_liger_kernel=False,
        max_completion_length=LONGEST,
        current_gradient_accumulation_steps=1,
        use_adaptive_entropy=False,
        _entropy_bonus_enabled=False,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None),
    )
    trainer.accelerator.gather.side_effect = lambda x: x
    entropies = torch.zeros_like(batch.old)  # logged only
    trainer._get_per_token_logps_and_entropies.return_value = (batch.logprobs, entropies, None)
    ids = torch.zeros_like(batch.mask, dtype=torch.long)
    inputs = {
        "prompt_ids": ids[:, :1],
        "prompt_mask": ids[:, :1],
        "completion_ids": ids,
        "completion_mask": batch.mask.long(),
        "advantages": batch.advantages[:, 0],
        "old_per_token_logps": batch.old,
        "ref_per_token_logps": batch.reference,
    }
    return trl.GRPOTrainer._compute_loss(trainer, None, inputs)


def same(loss, other, batch):
    """Values and gradients are equal."""
    torch.testing.assert_close(loss, other)
    slopes = [torch.autograd.grad(x, batch.logprobs, retain_graph=True)[0] for x in (loss, other)]
    torch.testing.assert_close(*slopes)
    assert slopes[0].any()


def algorithm(kind, **settings):
    """An algorithm with settings and nothing to train."""
    made = object.__new__(kind)
    made.config = kind.Config(clip=CLIP, **settings)
    return made


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_trl_has_the_same_loss_of_grpo(batch, beta):
    ours = algorithm(GRPO, kl=beta)
    loss = ours.loss(batch) / ours.denominator(batch.mask)
    same(loss, theirs(batch, "grpo", beta=beta), batch)


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_trl_has_the_same_loss_of_dr_grpo(batch, beta):
    ours = algorithm(DrGRPO, kl=beta, length_norm=LONGEST)
    loss = ours.loss(batch) / ours.denominator(batch.mask)
    same(loss, theirs(batch, "dr_grpo", beta=beta), batch)


def test_trl_has_the_same_mean_over_tokens(batch):
    loss = clipped_surrogate(batch.logprobs, batch.old, batch.advantages, batch.mask, clip=CLIP)
    loss = loss + 0.3 * k3_penalty(batch.logprobs, batch.reference, batch.mask)
    same(loss / batch.mask.sum(), theirs(batch, "bnpo", beta=0.3), batch)


def test_trl_has_the_same_logprobs_and_entropies():
    draws = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn((2, 5, 9), generator=draws)
    ids = torch.randint(0, 9, (2, 5), generator=draws)
    found = token_logprobs(
        logits.clone(),
        ids,
        torch.ones((2, 5), dtype=torch.bool),
        entropy="value",
        with_distribution=False,
        twice=False,
    )
    torch.testing.assert_close(found.logprobs, utils.selective_log_softmax(logits, ids))
    torch.testing.assert_close(found.entropy, utils.entropy_from_logits(logits))


@pytest.mark.parametrize("beta", [0.1, 1.0])
@pytest.mark.parametrize("sure", [1.0, 0.8])
def test_trl_has_the_same_loss_of_preferences(beta, sure):
    # log-probabilities less those of the reference take the place of CPO's, which has no reference
    draws = torch.Generator().manual_seed(0)
    chosen, rejected = torch.randn((2, 6), generator=draws)
    trainer = SimpleNamespace(
        alpha=0.0,
        beta=beta,
        loss_type="sigmoid",
        label_smoothing=1 - sure,
        accelerator=SimpleNamespace(device="cpu"),
    )
    margins, preferences = chosen - rejected, torch.full((6,), sure)
    losses, *_ = cpo.CPOTrainer.cpo_loss(trainer, chosen, rejected)
    found = preference_loss(margins, preferences, beta=beta, kind="dpo")
    torch.testing.assert_close(found, losses.sum())
    trainer.loss_type = "ipo"
    losses, *_ = cpo.CPOTrainer.cpo_loss(trainer, chosen, rejected)
    found = preference_loss(margins, torch.ones(6), beta=beta, kind="ipo")
    torch.testing.assert_close(found, losses.sum())
