"""Who may import whom, as the import statements say it; lazy imports count too."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import redteam_env

ROOT = Path(redteam_env.__file__).parents[1]
PACKAGES = ("redteam_env", "agents", "algorithms")
HEAVY = ("torch", "transformers", "peft", "accelerate", "vllm", "stable_baselines3")
# floors of each package, lowest first: a room may import from lower floors and from its own
FLOORS = {
    "redteam_env": (
        ("game",),
        ("randomness", "equilibria"),
        ("utils",),
        ("protocols",),
        ("registry", "runs"),
        ("rollout", "seeds", "judges", "worlds"),
        ("envs", "redteam_v0"),
        ("wrappers",),
        ("testing", "evaluation"),
        ("report",),
        ("cli",),
    ),
    "agents": (
        ("chat_answer", "human", "minilm", "models", "moves", "sb3", "scripted"),
        ("endpoint", "lora"),
        ("models_command", "plan", "pretrain"),
        ("worlds_command",),
    ),
    "algorithms": (
        ("callbacks", "core", "opponents"),
        (
            *("dr_grpo", "grpo", "online_dpo", "ppo", "rae", "reinforce", "reinforce_pp", "rloo"),
            "training",
        ),
        ("sb3", "studies"),
        ("speed",),
        ("cli",),
    ),
}
# what a room may import of other packages of ours, beside redteam_env as a whole
ALLOWED = {
    "algorithms.callbacks": ("game", "protocols"),
    "algorithms.core": ("game", "protocols", "randomness"),
    "algorithms.opponents": ("equilibria", "evaluation", "game", "protocols", "randomness"),
}
HANDLED = ("callbacks", "core", "opponents", "sb3", "studies", "speed", "cli", "training")
"""The folders of algorithms; every other module at its root is an algorithm."""


def modules():
    """Every module of ours with its syntax tree."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def imports_of(tree, known):
    """The absolute names a module imports; ``from package import module`` names the module."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide who imports whom"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                names.add(full if full in known else node.module)
    return names


MODULES = modules()
IMPORTS = {name: imports_of(tree, MODULES) for name, tree in MODULES.items()}


def inside(name, *packages):
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def offenders(importers, imported):
    return [
        (name, other)
        for name, others in IMPORTS.items()
        if importers(name)
        for other in sorted(others)
        if imported(other)
    ]


def test_the_graph_was_read():
    assert "redteam_env.game.rules" in IMPORTS["redteam_env.game"]
    assert "redteam_env.registry" in IMPORTS["redteam_env.envs.single_seat"]
    assert all(any(inside(name, package) for name in MODULES) for package in PACKAGES[:2])


def test_the_game_imports_nothing_else_of_ours():
    assert not offenders(
        lambda name: inside(name, "redteam_env.game"),
        lambda other: inside(other, *PACKAGES) and not inside(other, "redteam_env.game"),
    )


def test_redteam_env_imports_neither_agents_nor_algorithms():
    assert not offenders(
        lambda name: inside(name, "redteam_env"), lambda x: inside(x, "agents", "algorithms")
    )


@pytest.mark.parametrize(("one", "other"), [("agents", "algorithms"), ("algorithms", "agents")])
def test_agents_and_algorithms_do_not_import_each_other(one, other):
    assert not offenders(lambda name: inside(name, one), lambda x: inside(x, other))


def test_heavy_libraries_stay_in_agents_and_algorithms():
    assert not offenders(lambda name: inside(name, "redteam_env"), lambda x: inside(x, *HEAVY))


def room(name):
    """The part of its package a module belongs to; a package's own face is no room."""
    parts = name.split(".")
    return ".".join(parts[:2]) if len(parts) > 1 else None


def rooms():
    graph = {}
    for name, others in IMPORTS.items():
        for other in others:
            here, there = room(name), room(other)
            if here and there and here != there and inside(other, *PACKAGES):
                graph.setdefault(here, set()).add(there)
    return graph


def test_no_circle_of_imports_between_rooms():
    try:
        tuple(TopologicalSorter(rooms()).static_order())
    except CycleError as error:
        pytest.fail(f"imports in a circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("package", PACKAGES)
def test_no_import_runs_back_up(package):
    floors = FLOORS[package]
    floor = {f"{package}.{name}": n for n, names in enumerate(floors) for name in names}
    graph = rooms()
    ours = {name for name in {*graph, *map(room, IMPORTS)} if name and inside(name, package)}
    assert sorted(ours - set(floor)) == [], "give the new room a floor"
    assert sorted(set(floor) - ours) == [], "no room stands on this floor"
    upward = [
        (here, there)
        for here in ours
        for there in graph.get(here, ())
        if inside(there, package) and there in floor and floor[there] > floor[here]
    ]
    assert upward == []


def test_agents_neither_evaluate_nor_report():
    assert not offenders(
        # pretraining measures the model that it made
        lambda name: inside(name, "agents") and name != "agents.pretrain",
        lambda x: inside(x, *(f"redteam_env.{room}" for room in ("evaluation", "report", "cli"))),
    )


@pytest.mark.parametrize("here", ALLOWED)
def test_a_room_imports_only_what_it_may(here):
    allowed = tuple(f"redteam_env.{name}" for name in ALLOWED[here])
    assert not offenders(
        lambda name: inside(name, here),
        lambda other: inside(other, *PACKAGES) and not inside(other, here, *allowed),
    )


def test_an_algorithm_can_be_copied_out():
    algorithms = [name for name in FLOORS["algorithms"][1] if name not in HANDLED]
    assert "rloo" in algorithms
    assert not offenders(
        lambda name: inside(name, *(f"algorithms.{x}" for x in algorithms)),
        lambda other: (
            inside(other, *PACKAGES)
            and not inside(other, "algorithms.core", "redteam_env.game", "redteam_env.protocols")
        ),
    )


@pytest.mark.parametrize(
    "code",
    [
        "from algorithms import TrainConfig, PolicyGradient, losses",
        "from algorithms import train",
        "from redteam_env.registry import settings; settings('algorithms', 'reinforce_pp')",
        "from redteam_env.cli.main import main\ntry:\n    main(['train', '--help'])\nexcept SystemExit: pass",
        "from agents import PolicyConfig",
        "from redteam_env.registry import settings; settings('policies', 'lora')",
    ],
)
def test_public_names_come_without_torch(code):
    check = f"import sys\n{code}\nassert 'torch' not in sys.modules"
    result = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


QUIET_IMPORT = """
import socket, sys

class Refused(socket.socket):
    def __init__(self, *args, **kwargs):
        raise AssertionError("import redteam_env opened a socket")

socket.socket = Refused
import redteam_env

missing = [name for name in redteam_env.__all__ if getattr(redteam_env, name, None) is None]
assert not missing, missing
assert redteam_env.testing.check_game
assert redteam_env.rollout.play
assert redteam_env.redteam_v0.env is redteam_env.env
assert redteam_env.__version__[0].isdigit()
heavy = {name.partition(".")[0] for name in sys.modules} & set(HEAVY)
assert not heavy, heavy
print("fine")
"""


def test_importing_redteam_env_loads_nothing_heavy_and_opens_no_socket():
    code = f"HEAVY = {HEAVY!r}\n{QUIET_IMPORT}"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.stdout == "fine\n", result.stderr


def test_testing_is_reachable_without_its_own_import_but_not_loaded_before():
    code = """
import sys, redteam_env
assert "redteam_env.testing" not in sys.modules
redteam_env.testing.check_game
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'enviroment'"):
        _ = redteam_env.enviroment


def test_the_public_names_exist_once():
    assert len(redteam_env.__all__) == len(set(redteam_env.__all__))
    assert [name for name in redteam_env.__all__ if not hasattr(redteam_env, name)] == []
