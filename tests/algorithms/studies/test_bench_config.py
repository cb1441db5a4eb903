"""What a benchmark accepts, which cells it runs, and that results of two manifests never mix."""

import json
import re
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest
from bench_fakes import CONFIG, with_options

from algorithms.studies.bench.cells import cells, check_parts
from algorithms.studies.bench.config import RESPONSE_LR, UNTRAINED, BenchConfig
from algorithms.studies.bench.tasks import MANIFEST, able, manifest_of, plays, spec_of, tasks
from algorithms.studies.manifest import open_directory
from redteam_env import RedteamError, register
from redteam_env.cli.main import main
from redteam_env.evaluation.suites import resolve_suite
from redteam_env.game import check_fields, load_prompts
from redteam_env.protocols import BASE
from redteam_env.worlds.embedded import prompts_path

OUT = Path("unused")


def opened(file, manifest):
    open_directory(file, manifest, what="benchmark")


def test_every_run_of_a_benchmark_plays_the_same_games():
    configs = [CONFIG.options(cell, 1, OUT) for cell in able(CONFIG)]
    assert len({(x.game, x.run.games, x.run.group_size, x.run.steps) for x in configs}) == 1
    assert {x.run.seed for x in configs} == {1}
    assert {x.policy.model for x in configs} == {"apothecary"}


@pytest.mark.parametrize("world", ["apothecary-easy", "apothecary-coupled"])
def test_one_word_sets_model_seeds_judge_and_prompts(world):
    config = BenchConfig(world=world)
    check_parts(config)
    for run in (config.options(cells(config)[0], 0, OUT), config.response(None, 0, OUT)):
        named = (run.policy.model, run.game.prompts, run.game.seeds, run.game.judge)
        assert named == (world, world, "apothecary", "apothecary")
        assert run.game.faithfulness_gate == -1.5
    assert (config.model_name, config.judge_name) == (world, "apothecary")


def test_what_is_given_beside_a_world_wins():
    config = BenchConfig(model="smollm2", source="builtin", judge="lexical")
    run = config.options(cells(config)[0], 0, OUT)
    assert (run.policy.model, run.game.seeds, run.game.judge) == ("smollm2", "builtin", "lexical")
    assert (run.game.world, run.game.prompts) == ("apothecary", "apothecary")


def test_a_benchmark_outside_any_world_names_what_a_world_would():
    given = {"model": "smollm2", "source": "builtin", "judge": "lexical"}
    config = BenchConfig(world="none", **given)
    run = config.options(cells(config)[0], 0, OUT)
    assert (run.game.world, run.game.prompts, run.game.faithfulness_gate) == (None, None, None)
    with pytest.raises(RedteamError, match="world is none, so judge has to be given: --judge"):
        BenchConfig(world="none", **{**given, "judge": None})
    with pytest.raises(RedteamError, match=r"Did you mean .apothecary"):
        BenchConfig(world="apothecry")


def test_a_budget_is_spent_in_whole_steps():
    assert BenchConfig(budget=640, games=64, response_budget=128).steps == 10
    response = with_options(response_budget=192).response("run", 0, OUT)
    assert response.run.steps == 3
    assert (response.policy.arrangement, response.run.opponent) == ("attacker_only", "run")


def test_a_fresh_attacker_learns_faster_than_the_runs_unless_a_rate_is_given():
    assert BenchConfig().response(None, 0, OUT).learner.attacker_lr == RESPONSE_LR
    given = BenchConfig(settings="lr=1e-4").response(None, 0, OUT).learner
    assert (given.lr, given.attacker_lr) == (1e-4, None)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"budget": 32}, "less than one step of 64"),
        ({"budget": 100}, "no whole number of steps.*64"),
        ({"response_budget": 32}, "response_budget is 32, less than one step"),
        ({"seeds": 0}, "seeds is 0"),
        ({"budget": 0}, "budget is 0"),
        ({"suite_games": 6}, "multiple of 4"),
        ({"defence_suites": " "}, "defence_suites is empty"),
        ({"suites": "apothecary_alias"}, "'apothecary_alias' is named twice"),
        ({"panel_attackers": ","}, "panel_attackers is empty"),
        ({"settings": "lr=1,steps=10"}, "settings has 'steps'.*give --budget"),
        ({"settings": "arrangement=shared"}, "settings has 'arrangement'.*give --arrangements"),
        ({"settings": "world=apothecary-easy"}, "settings has 'world'.*give --world"),
        ({"settings": "opponents=psro"}, "settings has 'opponents'"),
        ({"settings": "lr=1,lr=2"}, "settings has 'lr' twice"),
    ],
)
def test_impossible_numbers_are_refused(options, says):
    with pytest.raises(RedteamError, match=says):
        BenchConfig(**options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"algorithms": "grpoo"}, r"grpoo.*did you mean.*grpo"),
        ({"algorithms": "grpo+psroo"}, r"psroo.*did you mean.*psro"),
        ({"arrangements": "bipolcy"}, r"bipolcy.*did you mean.*bipolicy"),
        ({"algorithms": "grpo", "group_size": 1}, "at least 2"),
        ({"algorithms": ","}, "name at least one of each"),
        ({"settings": "lr"}, "NAME=VALUE"),
        ({"settings": "lrr=1"}, r"lrr.*did you mean.*lr"),
        ({"settings": "lr=fast"}, "lr"),
    ],
)
def test_unknown_names_and_settings_are_refused_before_anything_is_run(options, says):
    with pytest.raises(RedteamError, match=rf"(?i){says}"):
        cells(with_options(**options))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"suites": "apothecary_k11"}, "apothecary_k1"),
        ({"defence_suites": "apothecary_quiz", "suites": ""}, "no rewritten requests"),
        ({"panel_attackers": "bas"}, "base"),
        ({"panel_defenders": "no/such/run/here"}, "no/such"),
    ],
)
def test_unknown_suites_and_players_are_refused(options, says):
    with pytest.raises(RedteamError, match=says):
        check_parts(with_options(**options))


def test_a_suite_without_held_out_requests_gives_no_defence_score():
    def train_only(*, source, games, seed):
        whole = resolve_suite("apothecary_alias", source=source, games=games, seed=seed)
        return SimpleNamespace(
            setups=[x for x in whole.setups if x.seed.split == "train"],
            attacker=whole.attacker,
            rewritten=True,
        )

    register("suites", "train_only", train_only)
    with pytest.raises(RedteamError, match=r"'train_only' lacks .* of the split 'heldout'"):
        check_parts(with_options(defence_suites="train_only"))


def test_settings_reach_the_algorithms_that_know_them():
    config = with_options(settings="lr=1e-3, rank=4,clip=0.3", algorithms="reinforce_pp,reinforce")
    first, second = (
        config.options(cell, 0, OUT) for cell in cells(config) if cell.arrangement == "bipolicy"
    )
    assert first.learner.lr == second.learner.lr == 1e-3
    assert first.policy.rank == second.policy.rank == 4
    assert first.learner.clip == 0.3
    assert not hasattr(second.learner, "clip")


def test_a_cell_that_cannot_be_run_is_marked_with_the_reason():
    class OneSeat:
        from algorithms.reinforce import Reinforce

        Config = Reinforce.Config
        arrangements = ("attacker_only",)

    register("algorithms", "one_seat", OneSeat)
    config = with_options(algorithms="one_seat,grpo", arrangements="bipolicy,attacker_only")
    found = {cell.name: cell.reason for cell in cells(config)}
    assert found["one_seat.bipolicy"] == "one_seat trains attacker_only only"
    assert [name for name, reason in found.items() if reason] == ["one_seat.bipolicy"]
    with pytest.raises(RedteamError, match="No cell can be run"):
        cells(with_options(algorithms="one_seat", arrangements="bipolicy"))


def test_every_need_of_a_task_is_made_by_an_earlier_one():
    made = set()
    every = tasks(CONFIG, able(CONFIG))
    for task in every:
        assert set(task.needs) <= made, task.title
        made.add(task.output)
    assert len(made) == len(every)


def test_members_of_the_panel_are_trained_once_before_whoever_meets_them():
    config = with_options(panel_attackers="half_trained", panel_defenders="base,defender_only")
    every = tasks(config, able(config))
    runs = [x for x in every if x.part == "panel" and x.kind == "train"]
    assert [x.arm for x in runs] == ["half_trained", "defender_only"]
    for task in every:
        if task.kind == "measure":
            assert {x.output for x in runs} <= set(task.needs)
    half, whole = (
        with_options(budget=640).panel(name, OUT) for name in ("half_trained", "defender_only")
    )
    assert (half.run.steps, whole.run.steps) == (5, 10)
    assert (half.policy.arrangement, whole.policy.arrangement) == ("bipolicy", "defender_only")


def test_a_policy_that_cannot_train_the_panel_is_told_so():
    config = with_policy(Flavoured, settings="policy=mine", panel_defenders="half_trained")
    with pytest.raises(RedteamError, match="half_trained of the panel cannot be trained"):
        cells(config)


def test_runs_have_the_settings_of_the_world_unless_others_are_given():
    cell = next(x for x in able(CONFIG) if x.arrangement == "bipolicy")
    assert CONFIG.options(cell, 0, OUT).game.faithfulness_gate == -1.5
    other = with_options(settings="faithfulness_gate=-1")
    assert other.options(cell, 0, OUT).game.faithfulness_gate == -1


def test_without_a_response_budget_no_fresh_attacker_is_trained():
    config = with_options(response_budget=0)
    assert {x.kind for x in tasks(config, able(config))} == {"train", "measure", "rate"}


def test_workers_and_places_do_not_decide_results():
    elsewhere = replace(
        CONFIG, out="elsewhere", to="there", workers=7, json=True, executor="ray", job="num_gpus=1"
    )
    assert manifest_of(elsewhere) == manifest_of(CONFIG)
    assert manifest_of(with_options(measure_seed=1))["digest"] != manifest_of(CONFIG)["digest"]


def test_results_of_different_manifests_are_never_mixed(tmp_path):
    file = tmp_path / "bench" / MANIFEST
    opened(file, manifest_of(CONFIG))
    opened(file, manifest_of(CONFIG))
    with pytest.raises(RedteamError, match=r"options\.seeds: 2 there, 3 now"):
        opened(file, manifest_of(with_options(seeds=3)))


def test_a_manifest_edited_by_hand_is_refused(tmp_path):
    file = tmp_path / "bench" / MANIFEST
    opened(file, manifest_of(CONFIG))
    data = json.loads(file.read_text())
    data["options"]["seeds"] = 3
    file.write_text(json.dumps(data))
    with pytest.raises(RedteamError, match="edited by hand"):
        opened(file, manifest_of(with_options(seeds=3)))


def seed_file(place, first="one"):
    rows = [
        {"text": f"{text} {split}", "harmful": harmful, "split": split}
        for split in ("train", "heldout")
        for text, harmful in ((first, True), ("two", False))
    ]
    place.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return f"{place}?split=split"


def prompt_files(place, text=""):
    place.mkdir(exist_ok=True)
    for file in Path(prompts_path("apothecary")).glob("*.txt"):
        (place / file.name).write_text(file.read_text())
    file = place / "defender.txt"
    file.write_text(f"{file.read_text()} {text}")
    return str(place)


def panel(place, name="attacker"):
    place.mkdir(exist_ok=True)
    (place / "adapter_model.safetensors").write_bytes(b"weights")
    (place / "redteam.json").write_text(json.dumps({"role": name}))
    return str(place)


def test_a_card_that_is_written_again_changes_no_manifest(tmp_path):
    config = with_options(panel_attackers=f"base,{panel(tmp_path / 'run')}")
    before = manifest_of(config)
    (tmp_path / "run" / "card.md").write_text("Another word for the same weights.")
    assert manifest_of(config) == before


def examples(place, text="no"):
    place.write_text(json.dumps({"prompt": "what", "response": text}))
    return str(place)


FILES = {
    "a seed": (
        lambda d: {"source": seed_file(d / "seeds.jsonl")},
        lambda d: seed_file(d / "seeds.jsonl", "three"),
        r"\(seeds: '\w+' there, '\w+' now\)",
    ),
    "an instruction text": (
        lambda d: {"prompts": prompt_files(d / "prompts")},
        lambda d: prompt_files(d / "prompts", "Be kind."),
        r"\(prompts: '\w+' there, '\w+' now\)",
    ),
    "a panel's description": (
        lambda d: {"panel_attackers": f"base,{panel(d / 'run')}"},
        lambda d: panel(d / "run", "defender"),
        r"\(files\.\S+run: '\w+' there, '\w+' now\)",
    ),
    "a file of the settings": (
        lambda d: {"settings": f"sft_file={examples(d / 'sft.jsonl')}"},
        lambda d: examples(d / "sft.jsonl", "yes"),
        r"\(files\.\S+sft\.jsonl: '\w+' there, '\w+' now\)",
    ),
    "a folder behind a prefix": (
        lambda d: {"panel_defenders": f"base,mixture:{panel(d / 'run')}"},
        lambda d: panel(d / "run", "defender"),
        r"\(files\.mixture:\S+run: '\w+' there, '\w+' now\)",
    ),
    "a new file of a panel": (
        lambda d: {"panel_defenders": panel(d / "run")},
        lambda d: (d / "run" / "tokenizer.json").write_text("{}"),
        r"\(files\.\S+run: '\w+' there, '\w+' now\)",
    ),
}


@pytest.mark.parametrize("what", FILES)
def test_whatever_decides_results_is_in_the_manifest_by_its_content(tmp_path, what):
    options, change, says = FILES[what]
    config = with_options(**options(tmp_path))
    file = tmp_path / "bench" / MANIFEST
    opened(file, manifest_of(config))
    opened(file, manifest_of(config))
    change(tmp_path)
    load_prompts.cache_clear()  # as in another process
    with pytest.raises(RedteamError, match=says):
        opened(file, manifest_of(config))


def test_the_manifest_says_where_every_plug_in_comes_from():
    options = {"settings": "round_steps=1", "panel_attackers": "base,random_tactic"}
    config = with_options(algorithms="grpo+psro", **options)
    found = manifest_of(config)["plugins"]
    ours = f"redteam-env {version('redteam-env')}"
    assert found == dict.fromkeys(
        [
            *("agents/policy", "agents/random_tactic", "algorithms/grpo", "judges/apothecary"),
            *("algorithms/reinforce_pp", "opponents/self_play"),  # of fresh attackers
            *("opponents/psro", "policies/lora", "seeds/apothecary", "suites/apothecary_alias"),
            *("suites/apothecary_quiz", "suites/apothecary_raw", "suites/apothecary_split"),
            "worlds/apothecary",
        ],
        ours,
    )


def test_a_plug_in_of_this_process_is_known_by_its_source():
    from algorithms.reinforce import Reinforce

    register("algorithms", "mine", Reinforce)
    found = manifest_of(with_options(algorithms="mine"))["plugins"]["algorithms/mine"]
    assert re.fullmatch(r"registered in process, [0-9a-f]{16}", found)


def test_the_budget_of_tokens_ends_training_and_no_response():
    config = with_options(token_budget=500)
    assert {config.options(x, 0, OUT).run.max_tokens for x in able(config)} == {500}
    assert config.response("unused", 0, OUT).run.max_tokens == 0
    with pytest.raises(RedteamError, match="token_budget is -1"):
        with_options(token_budget=-1)


def test_the_untrained_base_is_measured_once_but_attacked_and_rated_with_every_seed():
    every = [x for x in tasks(CONFIG, able(CONFIG)) if x.arm == UNTRAINED.name]
    assert [(x.kind, x.seed) for x in every] == [
        ("measure", 0),
        *(("attack", 0), ("respond", 0), ("attack", 1), ("respond", 1)),
    ]
    assert CONFIG.response(None, 0, OUT).run.opponent is None


def test_a_wrong_option_of_the_command_is_one_line(capsys):
    assert main(["bench", "--budget", "10"]) == 2
    assert "less than one step" in capsys.readouterr().err


def test_a_run_is_played_by_its_last_weights_or_by_the_mixture_it_ended_with():
    cell = next(x for x in cells(CONFIG) if x.reason is None)
    assert spec_of(cell, OUT) == str(OUT)
    league = replace(cell, label=f"{cell.algorithm}+psro")
    assert spec_of(league, OUT) == f"mixture:{OUT}"
    assert spec_of(UNTRAINED, OUT) == BASE


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavoured:
    """The settings of a policy of a third party."""

    arrangement: Literal["both", "attacker_only"] = "both"
    model: str = "nothing"
    flavour: str = "plain"

    def __post_init__(self):
        check_fields(self)

    @property
    def weights(self):
        return {"attacker": "one", "defender": "two" if self.arrangement == "both" else BASE}


def with_policy(config, **options):
    """A benchmark of a policy with the given settings."""

    def policy(config, *, seed):
        raise NotImplementedError

    policy.Config = config
    register("policies", "mine", policy)
    wanted = {"arrangements": "both,attacker_only", "algorithms": "grpo", "panel_defenders": "base"}
    return with_options(**{**wanted, **options})


def test_the_policy_is_chosen_by_settings_and_brings_arrangements_and_options():
    config = with_policy(Flavoured, settings="policy=mine,flavour=sweet,lr=0.1")
    both, attacks = able(config)
    assert [cell.arrangement for cell in (both, attacks)] == ["both", "attacker_only"]
    options = config.options(attacks, 0, OUT)
    assert options.run.policy == "mine"
    assert options.policy == Flavoured(
        arrangement="attacker_only", model="apothecary", flavour="sweet"
    )
    seats = {x.arm for x in tasks(config, [both, attacks]) if x.kind == "respond"}
    assert seats == {BASE, "grpo.both"}
    assert [plays(config, attacks, role) for role in ("attacker", "defender")] == [True, False]
    plugins = manifest_of(config)["plugins"]
    assert "policies/mine" in plugins
    assert "policies/lora" not in plugins


@dataclass(frozen=True, slots=True, kw_only=True)
class Unarranged:
    """Settings without arrangements."""

    model: str = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weightless:
    """Settings whose arrangements do not say what they train."""

    arrangement: str = "both"
    model: str = "nothing"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (Unarranged, "'mine' has no option 'arrangement'"),
        (Weightless, "'mine' has no mapping 'weights'"),
    ],
)
def test_a_policy_without_arrangements_is_refused_in_one_line(settings, says):
    with pytest.raises(RedteamError, match=f"^.*{says}.*$"):
        cells(with_policy(settings, settings="policy=mine"))


@pytest.mark.parametrize(
    ("settings", "says"),
    [("policy=mien", "mien.*did you mean.*mine"), ("flavour=sweet", "flavour")],
)
def test_settings_of_another_policy_are_refused(settings, says):
    with pytest.raises(RedteamError, match=rf"(?i){says}"):
        cells(with_policy(Flavoured, arrangements="shared", settings=settings))


def test_a_policy_that_cannot_train_an_attacker_alone_has_no_best_response():
    @dataclass(frozen=True, slots=True, kw_only=True)
    class OnlyBoth(Flavoured):
        arrangement: Literal["both"] = "both"

    options = {"arrangements": "both", "settings": "policy=mine"}
    with pytest.raises(RedteamError, match=r"attacker_only.*--response-budget 0"):
        cells(with_policy(OnlyBoth, **options))
    assert len(cells(with_policy(OnlyBoth, **options, response_budget=0))) == 1
