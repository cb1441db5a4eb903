"""Who may import whom, as the import statements say it; lazy imports count too."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import redteam_env

ROOT = Path(redteam_env.__file__).parents[1]
PACKAGES = ("redteam_env", "agents", "algorithms")
HEAVY = ("torch", "transformers", "peft", "accelerate", "vllm", "stable_baselines3")
ALGORITHMS = [
    *("dr_grpo", "grpo", "mappo", "online_dpo", "ppo", "rae", "reinforce", "reinforce_pp", "rloo")
]
BASE = "game protocols randomness"
"""What nearly everybody builds on."""
PLAYED = "game protocols registry runs rollout judges.resolve seeds.resolve worlds"
"""What it takes to play games as a run does."""
MAY_IMPORT = {
    # room, or one module of it that may do more: rooms, or single modules, that it may import beside
    # its own room. Only what stands above may be named, so that no import runs back up or in a
    # circle; what nobody uses must go. A name counts where it is defined, whoever hands it out.
    # redteam_env, without its own name
    "game": "",
    "randomness": "",
    "registration": "game",
    "equilibria": "game.errors",  # tables of numbers in, mixtures out
    "utils": "game.errors",
    "utils.http": "game.checks randomness",  # checks its settings, draws its waits
    "protocols": "game randomness",
    "border": f"{BASE} utils",  # where plug-ins are called and what they return is checked
    "registry": "game protocols border utils",
    "recipes": "game registry utils",
    "runs": "game utils",
    "seeds": "game protocols border utils",
    "seeds.resolve": "registry",
    "embedders": "game protocols border registry",
    "judges": "game protocols border utils",
    "judges.embedding": "embedders seeds.builtin",  # learns from the built-in requests
    "judges.made": "registry",  # in process, a model comes as an agent
    "judges.resolve": "registry",
    # which texts of an attacker are refusals is known without a judge
    "faithfulness": "game protocols border embedders judges.lexical utils.memo",
    "rollout": f"{BASE} border faithfulness utils",
    "worlds": f"{BASE} utils rollout seeds",
    "worlds.resolve": "registry",
    "worlds.fitting": "registry border.functions judges.card judges.resolve runs",
    "worlds.apothecary.tabular": "equilibria",
    "envs": f"{BASE} border utils registry embedders faithfulness rollout judges.resolve seeds.plain seeds.resolve worlds",
    "attacks": f"{BASE} border faithfulness registry rollout",
    "attacks.pyrit": "utils.lists",
    "attacks.resolve": "utils.lists utils.places",
    "attacks.template": "envs.moves",  # the templates that agents and moves have, too
    "redteam_v0": "envs",
    "numeric_v0": "envs",
    "wrappers": "envs",
    "testing": f"{BASE} border envs",
    "suites": f"{BASE} border utils registry seeds.source",
    # what a stranger's cards would have fetched
    # what may be named, by plug-ins and by cards
    "choices": "game registry utils recipes judges.card suites.card",
    "trust": "game choices protocols registry runs utils judges.card suites.card",
    "provenance": "game protocols border judges.identity registry runs trust seeds.source utils",
    "evaluation": (
        f"{BASE} attacks border utils registry runs trust faithfulness rollout worlds.embedded embedders "
        "suites"
    ),
    "evaluation.calibration": "judges.identity seeds.labelled",  # what is kept of a judge
    "evaluation.inherited": "judges.backends worlds.resolve",  # what a run names is confirmed
    "evaluation.suites": "judges.contextual",  # who reads requests with contexts
    "evaluation.rates": "judges.lexical",  # which answers count as refusals without a judge
    "playing": "game protocols attacks border registry faithfulness judges seeds worlds envs evaluation",
    "bridges": "game protocols border envs playing rollout utils",
    "report": "utils evaluation",
    "page": "game utils randomness runs trust evaluation report worlds.resolve",
    "page.games": "worlds.apothecary",  # whose judge tells how a rewrite hides a name
    "distil": f"{BASE} border utils",
    "usage": "game choices utils",  # how commands read their words
    "cli": (
        "game protocols border attacks utils registry choices usage runs trust embedders faithfulness rollout judges seeds worlds envs suites "
        "evaluation report page distil"
    ),
    "cli.sft": "provenance",  # of the seeds that examples are made from
    # agents: they neither evaluate nor report
    "agents.chat_answer": "utils.answers utils.http",
    "agents.endpoint": f"{BASE} utils.answers utils.http utils.reading utils.text agents.chat_answer",
    "agents.human": "game protocols utils.text",
    "agents.judging": "game protocols border judges.resolve",  # plays what a judge says
    "agents.scripted": f"{BASE} envs.moves",
    "agents.moves": "protocols randomness worlds envs.moves",
    "agents.tiny": "game utils",
    "agents.models": "game utils worlds.embedded agents.tiny",
    "agents.minilm": "game embedders agents.models",  # it is an embedder
    "agents.sb3": f"{BASE} runs embedders envs.features envs.moves",  # sees what was trained
    "agents.rendering": "",
    "agents.lora": f"{BASE} utils runs trust agents.models agents.rendering",
    "agents.capability": "game evaluation.statistics agents.lora",
    "agents.capability_command": "game usage utils evaluation.agents agents.capability agents.lora",
    "agents.models_command": "usage utils agents.models agents.lora",
    # a model card has tables of what was measured, and the judge's own rates
    "agents.sharing": "game protocols usage judges.resolve utils runs trust worlds.embedded worlds.resolve evaluation.calibration evaluation.rates evaluation.stored report agents.models agents.lora",
    "agents.plan": "game protocols usage utils recipes worlds.embedded agents.lora.config",
    "agents.teaching": "protocols worlds",
    "agents.bounds": "protocols randomness worlds evaluation.detection agents.models agents.teaching",
    # it measures the model that it made
    "agents.pretrain": f"{BASE} utils worlds evaluation.agents evaluation.statistics agents.bounds agents.rendering agents.teaching",
    "agents.worlds_command": "game usage utils worlds agents.pretrain",
    # algorithms: one that learns can be copied out with its core
    "algorithms.core": f"{BASE} border",
    "algorithms.core.supervised": "utils.notices utils.reading",  # a user's file of examples
    **{f"algorithms.{name}": "game protocols algorithms.core" for name in ALGORITHMS},
    "algorithms.mappo": "game protocols border algorithms.core",  # asks the policy for prompts
    "algorithms.online_dpo": "game protocols border algorithms.core",  # takes its loss by itself
    "algorithms.callbacks": "game protocols",
    "algorithms.callbacks.exact": "border",  # asks the judge for more than verdicts
    "algorithms.loggers": "game protocols runs",
    "algorithms.opponents": f"{BASE} equilibria evaluation.ratings",  # the population's ratings
    "algorithms.recipes": "",
    "algorithms.training": (
        f"{PLAYED} recipes algorithms.recipes border randomness trust provenance utils faithfulness judges.judge algorithms.core.divergence algorithms.core.ranks"
    ),
    "algorithms.training.given": "choices seeds.plain seeds.source",  # values in the place of names
    # a run measures itself, and plays against whatever an opponent's name means
    "algorithms.training.attacking": "attacks.agent",
    "algorithms.training.plugins": "attacks.resolve",
    "algorithms.training.scripted": "attacks.resolve",
    "algorithms.training.evaluating": "evaluation.rates evaluation.suites",
    "algorithms.training.league": "evaluation.dispatch",
    "algorithms.training.live": "report.curves",  # draws them
    "algorithms.training.metrics": "evaluation.rates",
    "algorithms.training.preflight": "judges.lexical",  # which turns refuse
    "algorithms.training.trainer": "evaluation.agents",
    "algorithms.sb3": (
        f"{BASE} border runs provenance embedders judges seeds.resolve envs evaluation.agents evaluation.diversity "
        "utils.heartbeat algorithms.core.ranks algorithms.training"
    ),
    # a study plans, trains, measures and reports; of an algorithm it knows only the advantages, but that
    # the benchmark's ladder is a public algorithm with something broken
    "algorithms.studies.quickstart.command": "usage",
    "algorithms.studies": (
        f"{PLAYED} border randomness trust provenance utils seeds.source evaluation report page algorithms.core.advantages "
        "algorithms.training algorithms.reinforce_pp"
    ),
    # it times whatever there is
    "algorithms.speed": (
        f"{PLAYED} equilibria judges.cached judges.made redteam_v0 evaluation.matchup algorithms.studies "
        "algorithms.training algorithms.grpo algorithms.reinforce_pp"
    ),
    "algorithms.cli": (
        "game protocols usage utils runs report recipes algorithms.core.ranks algorithms.training "
        "algorithms.studies algorithms.speed"
    ),
}
FACES = (*PACKAGES, "redteam_env.numeric_v0", "redteam_env.redteam_v0", "redteam_env.wrappers")
"""Modules, beside every folder's ``__init__``, that hand out names which others define."""


def modules(*folders):
    """Every module in some folders, by its name, with its syntax tree."""
    found = {}
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def inside(name, *packages):
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def imports_of(tree):
    """Pairs of a module and the name imported from it; ``None`` for the module as a whole."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide who imports whom"
            yield from ((node.module, alias.name) for alias in node.names)


def handed_on(tree):
    """What a module imports for all of it, by the name that it gets there."""
    nodes = list(tree.body)
    names = {}
    for node in nodes:
        if isinstance(node, ast.If | ast.Try):
            nodes += node.body + node.orelse
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
    return names


MODULES = modules(*PACKAGES)
HANDED_ON = {name: handed_on(tree) for name, tree in MODULES.items()}
IMPORTS = {name: set(imports_of(tree)) for name, tree in MODULES.items()}


def home(module, name):
    """The module of ours that defines a name which another module may only hand on."""
    if name is None:
        return module
    if f"{module}.{name}" in MODULES:
        return f"{module}.{name}"
    return home(*HANDED_ON[module][name]) if name in HANDED_ON.get(module, {}) else module


def full(room):
    return room if inside(room, *PACKAGES) else f"redteam_env.{room}"


def room(name):
    """The part of its package a module belongs to; a package's own face is its own room."""
    return ".".join(name.split(".")[:2])


LISTS = {full(key): [full(name) for name in names.split()] for key, names in MAY_IMPORT.items()}


def allowed(module):
    return [name for key, names in LISTS.items() if inside(module, key) for name in names]


def used(module):
    """The modules of ours, of other rooms, that define what a module imports."""
    homes = {home(*pair) for pair in IMPORTS[module] if inside(pair[0], *PACKAGES)}
    return sorted(name for name in homes if room(name) != room(module))


def test_the_graph_was_read():
    assert "redteam_env.judges.resolve" in used("redteam_env.envs.session")
    assert "redteam_env.game.errors" in used("redteam_env.equilibria.solve")  # through a face
    assert "redteam_env.utils.http" in used("agents.endpoint")
    assert "algorithms.core.losses" in used("algorithms.ppo")


def test_every_room_has_a_list_and_every_list_a_room():
    rooms = {room(name) for name in MODULES} - set(PACKAGES)
    assert sorted(rooms - set(LISTS)) == [], "give the new room a list"
    assert sorted(set(LISTS) - set(MODULES)) == [], "these are no longer there"


def test_lists_name_only_what_stands_above():
    order = list(LISTS)
    for key, names in LISTS.items():
        below = [x for x in names if room(x) not in order[: order.index(room(key))]]
        assert below == [], f"{key} cannot build on what builds on it"
        assert [x for x in names if x not in MODULES] == [], f"{key} may import what is not there"


@pytest.mark.parametrize("here", sorted({room(name) for name in MODULES} - set(PACKAGES)))
def test_a_room_imports_only_what_it_may(here):
    wrong = [
        f"{name} imports {other}"
        for name in MODULES
        if inside(name, here)
        for other in used(name)
        if not inside(other, *allowed(name))
    ]
    assert wrong == [], "; ".join(wrong)


@pytest.mark.parametrize("key", LISTS)
def test_a_list_names_nothing_that_is_not_used(key):
    every = [x for name in MODULES if inside(name, key) for x in used(name)]
    unused = [x for x in LISTS[key] if not any(inside(y, x) for y in every)]
    assert unused == [], f"{key} needs these no more"


@pytest.mark.parametrize("face", PACKAGES)
def test_a_face_hands_out_its_own_package_only_and_nobody_inside_imports_it(face):
    assert [x for x in used(face) if not inside(x, face)] == []
    # from a package one imports its modules, or names that are no modules: those are the face's
    through = [
        f"{name} imports {other} from {module}"
        for name in MODULES
        if inside(name, face)
        for module, other in IMPORTS[name]
        if module == face and f"{module}.{other}" not in MODULES
    ]
    assert through == [], "; ".join(through)


def test_a_name_is_imported_from_a_face_or_from_where_it_is_defined():
    wrong = [
        f"{name} imports {other} of {home(module, other)} from {module}"
        for name, tree in (MODULES | modules("tests", "examples")).items()
        for module, other in imports_of(tree)
        if module in MODULES and module not in FACES and not inside(home(module, other), module)
    ]
    assert wrong == [], "; ".join(wrong)


def test_heavy_libraries_stay_in_agents_and_algorithms():
    wrong = [
        f"{name} imports {module}"
        for name in MODULES
        if inside(name, "redteam_env")
        for module, _ in IMPORTS[name]
        if inside(module, *HEAVY)
    ]
    assert wrong == [], "; ".join(wrong)


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
