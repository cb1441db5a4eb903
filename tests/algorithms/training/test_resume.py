"""A run that was cut and resumed equals one that was not, bit for bit."""

import shutil

import pytest
import torch
from tiny_models import save_tiny
from training_fakes import PowerCutError, contents, metrics

from algorithms.training.trainer import train
from redteam_env.game import RedteamError

STEPS = 4
VARIANTS = {
    "bipolicy": {"arrangement": "bipolicy"},
    "shared, two learning rates, running baseline": {
        "arrangement": "shared",
        "attacker_lr": 2e-3,
        "defender_lr": 1e-3,
        "baseline": "ema",
        "minibatch": 3,
    },
    "bipolicy with dropout, epochs and warm-up": {
        "arrangement": "bipolicy",
        "dropout": 0.2,
        "epochs": 2,
        "minibatch": 4,
        "warmup_steps": 3,
    },
    "two whole models": {"arrangement": "independent"},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_cut_between_checkpoints_ends_as_one_that_was_not(
    tiny_config, tmp_path, crash_at, variant
):
    options = {
        **VARIANTS[variant],
        "steps": STEPS,
        "checkpoint_every": 2,
        "judge": "fragile",
        "rewrite_fraction": 0.75,
    }
    crash_at(None)
    torch.manual_seed(1)
    train(tiny_config(**options, out=str(tmp_path / "whole")))
    crash_at(4)  # steps 0 to 2 are played, the checkpoint of step 2 is the last
    cut = tmp_path / "cut"
    with pytest.raises(PowerCutError):
        train(tiny_config(**options, out=str(cut)))
    assert [row["step"] for row in metrics(cut)] == [0, 1, 2]
    crash_at(None)
    torch.manual_seed(2)  # another process would start with other global randomness, too
    outcome = train(tiny_config(**options, out=str(cut), resume=True))
    assert (outcome.steps, outcome.played, outcome.finished) == (STEPS, 2, True)
    whole = contents(tmp_path / "whole", "checkpoints", "episodes")
    assert contents(cut, "checkpoints", "episodes") == whole
    assert metrics(cut) == metrics(tmp_path / "whole")
    assert any(name.endswith("optimiser.safetensors") for name in whole)
    first = {
        n.removeprefix("checkpoints/step-000002"): b
        for n, b in whole.items()
        if "/step-000002/" in n
    }
    assert any(
        whole[f"checkpoints/step-000004{name}"] != data
        for name, data in first.items()
        if name.endswith(".safetensors")
    ), "the test needs weights that go on changing after the cut"


def test_a_run_cut_before_its_first_checkpoint_starts_again_from_the_beginning(
    tiny_config, tmp_path, crash_at
):
    options = {"checkpoint_every": 5, "judge": "fragile"}
    crash_at(2)
    with pytest.raises(PowerCutError):
        train(tiny_config(**options))
    crash_at(None)
    assert train(tiny_config(**options, resume=True)).played == 2
    train(tiny_config(**options, out=str(tmp_path / "whole")))
    assert contents(tmp_path / "run", "checkpoints", "episodes") == contents(
        tmp_path / "whole", "checkpoints", "episodes"
    )


def test_a_step_cut_off_in_the_middle_of_a_line_is_written_anew(tiny_config, run, two_steps):
    shutil.rmtree(run / "checkpoints" / "step-000002")
    lines = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text(lines[:-20])
    (run / "episodes" / "step-000001.jsonl").write_text("cut off")
    (run / "checkpoints" / ".step-000002.partial").mkdir()
    assert train(tiny_config(resume=True)).played == 1
    assert metrics(run) == metrics(two_steps)
    assert contents(run, "checkpoints", "episodes") == contents(
        two_steps, "checkpoints", "episodes"
    )
    assert not (run / "checkpoints" / ".step-000002.partial").exists()


def test_episodes_beyond_the_checkpoint_do_not_outlive_a_shorter_resumed_run(
    tiny_config, tmp_path, crash_at
):
    crash_at(4)
    with pytest.raises(PowerCutError):
        train(tiny_config(steps=6, checkpoint_every=5, judge="fragile"))
    crash_at(None)
    train(tiny_config(steps=1, checkpoint_every=5, judge="fragile", resume=True))
    assert [path.name for path in (tmp_path / "run" / "episodes").iterdir()] == [
        "step-000000.jsonl"
    ]
    assert len(metrics(tmp_path / "run")) == 1


def test_a_run_is_prolonged_as_if_it_had_been_long_from_the_start(tiny_config, run, tmp_path):
    train(tiny_config(steps=3, out=str(tmp_path / "long")))
    outcome = train(tiny_config(steps=3, resume=True))
    assert (outcome.steps, outcome.played) == (3, 1)
    assert metrics(run) == metrics(tmp_path / "long")
    name = "checkpoints/step-000003"
    assert contents(run, name) == contents(tmp_path / "long", name)


def test_a_finished_run_is_left_alone(tiny_config, run):
    before = contents(run, ".")
    for steps in (2, 1):
        outcome = train(tiny_config(steps=steps, resume=True))
        assert (outcome.steps, outcome.played, outcome.finished) == (2, 0, True)
    assert contents(run, ".") == before


def test_resume_without_a_run_starts_one(tiny_config, tmp_path):
    assert train(tiny_config(steps=1, resume=True)).played == 1
    assert (tmp_path / "run" / "config.json").is_file()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"rank": 8}, r"rank: 4 there, 8 now"),
        ({"arrangement": "shared"}, r"arrangement: 'bipolicy' there, 'shared' now"),
        ({"lr": 0.5, "seed": 7}, r"lr: 0.001 there, 0.5 now; seed: 0 there, 7 now"),
        ({"games": 4}, r"games: 8 there, 4 now"),
        ({"dropout": 0.1}, r"dropout: 0.0 there, 0.1 now"),
    ],
)
def test_resuming_with_other_options_is_refused_and_names_them(tiny_config, run, options, named):
    before = contents(run, ".")
    with pytest.raises(RedteamError, match=named):
        train(tiny_config(steps=3, resume=True, **options))
    assert contents(run, ".") == before


@pytest.mark.parametrize(
    "file",
    [
        "manifest.json",
        "state.json",
        "optimiser.safetensors",
        "policy/policy.json",
        "policy/attacker/adapter_model.safetensors",
        "policy/defender/adapter_config.json",
    ],
)
@pytest.mark.parametrize("damage", ["missing", "altered"])
def test_a_damaged_checkpoint_is_not_resumed_and_nothing_is_touched(tiny_config, run, file, damage):
    path = run / "checkpoints" / "step-000002" / file
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    before = contents(run, ".")
    with pytest.raises(RedteamError, match=file.rpartition("/")[2].replace(".", r"\.")):
        train(tiny_config(steps=3, resume=True))
    assert contents(run, ".") == before


def test_a_checkpoint_of_a_base_that_changed_since_is_refused(tiny_config, tiny_model, tmp_path):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    train(tiny_config(steps=1, model=str(model)))
    shutil.rmtree(model)
    save_tiny(model, seed=5)
    before = contents(tmp_path / "run", ".")
    with pytest.raises(RedteamError, match="another base"):
        train(tiny_config(steps=2, model=str(model), resume=True))
    assert contents(tmp_path / "run", ".") == before
