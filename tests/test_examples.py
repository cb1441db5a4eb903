"""Every example is short and runs; with the real small model where it trains (slow)."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import save_tiny

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
TRAINING = ("train_bipolicy", "train_shared", "custom_algorithm")
LONG = ("benchmark_my_algorithm",)
SHORT = {"league_psro": ("run", 1), "sb3_tactics": (2,), "train_from_scratch": (2,)}
NEEDS = {
    "bridge_inspect": ["inspect_ai"],
    "bridge_openenv": ["openenv.core"],
    "bridge_trl": ["trl"],
    "bridge_verifiers": ["verifiers.v1"],
}
OUTPUT = {
    "aec_loop": "verdict:",
    "bridge_inspect": "response_refusal: 1.00",
    "bridge_openenv": ": +2",
    "bridge_trl": "mean reward: ",
    "bridge_verifiers": ": +2",
    "benchmark_my_algorithm": "best_only, bipolicy",
    "cross_play": "Attack success rate",
    "custom_agent": "polite against comply",
    "custom_algorithm": "steps=1",
    "custom_attack": "within 5: ",
    "custom_judge": "void: judge error: there is no answer to judge",
    "custom_loop": "response_refusal': True",
    "league_psro": "met by attackers",
    "sb3_tactics": "difference:",
    "tactics_equilibria": "always-refuse",
    "train_from_scratch": "step 1: ",
    "train_bipolicy": "2 steps, 0 void games",
    "train_shared": "\n1 ",
    "vector_game": "games: {'attacker_0': ",
}


def run(example, cwd):
    """Run an example as it stands, in a process of its own."""
    result = subprocess.run(
        [sys.executable, str(example)], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert OUTPUT[example.stem] in f"\n{result.stdout}"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("tiny"))


def test_every_example_is_known_here_and_at_most_60_lines():
    assert {example.stem for example in EXAMPLES} == set(OUTPUT)
    for example in EXAMPLES:
        assert len(example.read_text(encoding="utf-8").splitlines()) <= 60, example.name


@pytest.mark.parametrize(
    "example", [x for x in EXAMPLES if x.stem not in LONG], ids=lambda path: path.stem
)
def test_example_runs(example, tmp_path, tiny, monkeypatch, capsys):
    for library in NEEDS.get(example.stem, ()):
        pytest.importorskip(library)
    arguments = (
        (tiny, tmp_path / "run") if example.stem in TRAINING else SHORT.get(example.stem, ())
    )
    if example.stem == "bridge_trl":
        arguments = (tiny, 1)
    # in this process, which has imported already what most of them need seconds for
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(example), *map(str, arguments)])
    runpy.run_path(str(example), run_name="__main__")
    assert OUTPUT[example.stem] in f"\n{capsys.readouterr().out}"


@pytest.mark.slow
@pytest.mark.parametrize("example", [x for x in EXAMPLES if x.stem in LONG], ids=lambda x: x.stem)
def test_long_example_runs(example, tmp_path):
    run(example, tmp_path)


def test_training_examples_name_the_same_model():
    for example in EXAMPLES:
        if example.stem in TRAINING:
            assert 'else "smollm2"' in example.read_text(encoding="utf-8"), example.name


@pytest.mark.slow
@pytest.mark.registry
def test_a_training_example_runs_as_it_stands_and_the_run_plays_against_the_base(tmp_path):
    example = next(x for x in EXAMPLES if x.stem == "train_bipolicy")
    run(example, tmp_path)
    command = [sys.executable, "-m", "redteam_env.cli.main", "crossplay"]
    command += ["runs/example-bipolicy", "base", "--games", "8", "--max-new-tokens", "8"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "Attack success rate" in result.stdout
