"""The commands in examples/papers.md are read as the command line reads them, and its figures are plan's."""

import re
import shlex
from pathlib import Path

import pytest

from agents.plan.command import PlanOptions, make_plan
from agents.plan.fit import GIB, fitting_gpus
from algorithms.cli.train import parse_train
from redteam_env.cli.main import main
from redteam_env.recipes import find_recipe

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "examples" / "papers.md").read_text(encoding="utf-8")
OPTIONS = (ROOT / "tests" / "cli" / "options.txt").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
LINES = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
COMMANDS = [
    shlex.split(re.split(r"redteam-env |redteam_env\.cli\.main ", line)[1])
    for line in LINES
    if re.search(r"redteam-env |redteam_env\.cli\.main ", line)
]
ROWS = re.findall(r"^\| `(\w+_[\d.]+b)` \| (\d+) GiB \| (\d+ GB|none) \|", PAGE, re.MULTILINE)


def test_the_page_goes_from_nothing_to_the_table():
    verbs = [words[0] for words in COMMANDS]
    for verb in ("recipes", "plan", "data", "train", "evaluate", "crossplay"):
        assert verb in verbs


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_exists(words):
    sub = words[1] if words[0] in {"data", "recipes"} else ""
    text = "\n".join(x for x in OPTIONS.splitlines() if x.startswith(f"{words[0]} {sub}".strip()))
    assert text
    for word in words:
        if word.startswith("--"):
            assert re.search(rf"(?<!\S){word}(?!\S)", text), word


@pytest.mark.parametrize("words", [x for x in COMMANDS if x[0] == "train"], ids=" ".join)
def test_every_training_is_one(words):
    config = parse_train(words[1:])
    assert config.run.recipe in {
        None,
        *(words[words.index(x) + 1] for x in words if x == "--recipe"),
    }


@pytest.mark.parametrize(
    "words", [x for x in COMMANDS if x[0] in {"recipes", "plan"}], ids=" ".join
)
def test_every_look_at_a_recipe_works(words, capsys):
    assert main(words) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize(("name", "peak", "gpu"), ROWS)
def test_memory_and_gpu_are_what_plan_says(name, peak, gpu):
    options = {
        x: y for x, y in find_recipe(name).options.items() if x in PlanOptions.__dataclass_fields__
    }
    plan = make_plan(PlanOptions(recipe=name, **options))
    assert round(plan.chosen.memory.peak / GIB) == int(peak)
    smallest = next(iter(fitting_gpus(plan.chosen.memory)), "none")
    assert smallest.endswith(gpu.replace(" GB", "gb"))
