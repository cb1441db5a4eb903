"""Can it learn a trivial task? "Say a small letter": from either seat, with own or shared weights."""

from dataclasses import dataclass

import pytest
from tiny_models import save_tiny
from training_fakes import WordJudge, metrics

from algorithms.training.trainer import train
from redteam_env.game import Verdict

STEPS = {"attacker": 18, "defender": 8}


@dataclass
class LetterJudge(WordJudge):
    """Under ``safety_only`` it pays one seat for opening with a small letter: one token in ten."""

    role: str = "attacker"

    def verdict(self, dialogue):
        text = dialogue.prompt if self.role == "attacker" else dialogue.response
        said = text[:1].isascii() and text[:1].islower()
        harmful = said if self.role == "attacker" else not said
        return Verdict(
            prompt_harmful=True,
            response_refusal=False,
            response_harmful=harmful,
            judge=self.name,
        )


@pytest.fixture(scope="module")
def expressive_model(tmp_path_factory):
    """A random model whose frozen embeddings leave room for any opinion."""
    return save_tiny(tmp_path_factory.mktemp("models") / "expressive", scale=0.3, layers=1)


@pytest.mark.parametrize("arrangement", ["bipolicy", "shared"])
@pytest.mark.parametrize("role", ["attacker", "defender"])
def test_saying_the_token_is_learnt(tiny_config, doubles, expressive_model, role, arrangement):
    doubles("judges", "letters", lambda: LetterJudge(role=role))
    outcome = train(
        tiny_config(
            arrangement=arrangement,
            model=str(expressive_model),
            judge="letters",
            rewards="safety_only",
            rewrite_fraction=1.0 if role == "attacker" else 0.0,
            steps=STEPS[role],
            checkpoint_every=STEPS[role],
            games=32,
            max_new_tokens=1,
            micro_batch=32,
            lr=3e-2,
            kl=0.0,
        )
    )
    rewards = [row[f"{role}/reward"] for row in metrics(outcome.directory)]
    assert rewards[0] < -0.5
    assert sum(rewards[-3:]) / 3 > 0.3


def test_a_strong_kl_penalty_keeps_the_policy_where_it_started(
    tiny_config, doubles, expressive_model, tmp_path
):
    doubles("judges", "letters", lambda: LetterJudge(role="defender"))
    ends = {}
    for kl in (0.0, 30.0):
        out = tmp_path / f"kl-{kl:g}"
        train(
            tiny_config(
                model=str(expressive_model),
                judge="letters",
                rewards="safety_only",
                rewrite_fraction=0.0,
                steps=6,
                checkpoint_every=6,
                games=32,
                max_new_tokens=1,
                micro_batch=32,
                lr=2e-2,
                kl=kl,
                baseline="none",
                out=str(out),
            )
        )
        ends[kl] = metrics(out)[-1]["defender/kl"]
    assert ends[0.0] > 0.5
    assert abs(ends[30.0]) < 0.25 * ends[0.0]
