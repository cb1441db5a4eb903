"""A benchmark's directory whose games scripted players have played: no model, all numbers known."""

import json
from dataclasses import replace
from pathlib import Path

from algorithms.studies.bench.config import PANEL, PRIMARY, SECONDARY, UNTRAINED, BenchConfig
from algorithms.studies.bench.records import totals
from algorithms.studies.bench.report import write_report
from algorithms.studies.bench.tasks import MANIFEST, able, fielded, manifest_of, plays, tasks
from algorithms.studies.bench.work import FRESH, PANEL_ATTACKER, PANEL_DEFENDER
from algorithms.studies.games import (
    CROSS,
    QUIZ,
    RESPONSE,
    SUITE,
    Who,
    game_rows,
    quiz_row,
    write_table,
)
from algorithms.studies.tasks import ATTACK, RATE, RESPOND, TRAIN
from redteam_env import Reply
from redteam_env.evaluation.suites import resolve_suite
from redteam_env.game import ATTACKER, DEFENDER
from redteam_env.protocols import QuestionSuite
from redteam_env.rollout import play, schedule
from redteam_env.worlds.apothecary import ApothecaryJudge, make_world, seeds
from redteam_env.worlds.apothecary.grammar import REFUSALS, Language, answer
from redteam_env.worlds.apothecary.scripted import OracleDefender, ScriptedAttacker
from redteam_env.worlds.apothecary.suites import HIDDEN

CONFIG = BenchConfig(
    algorithms="reinforce_pp,grpo",
    arrangements="bipolicy,defender_only",
    seeds=2,
    budget=64,
    games=64,
    defence_suites="apothecary_alias,apothecary_split",
    suites="apothecary_raw,apothecary_quiz",
    suite_games=8,
    panel_attackers="base",
    panel_defenders="base,half_trained",
    panel_games=8,
    cross_games=8,
    response_budget=64,
)
WORLD = make_world()
JUDGE = ApothecaryJudge()


class Says:
    """Answers every request with one text, or tells what was asked whatever it is."""

    def __init__(self, text=None):
        self.text = text
        self.language = Language(WORLD)

    def act(self, requests):
        return [Reply(text=self.text or self.tell(x.messages[-1]["content"])) for x in requests]

    def tell(self, text):
        found = self.language.decode(text)
        return answer(found.asked) if found else "unclear"


class Reads:
    """Refuses what is restricted if its name stands there as it is, and tells everything else."""

    def __init__(self):
        self.language = Language(WORLD)

    def act(self, requests):
        return [Reply(text=self.answer(x.messages[-1]["content"])) for x in requests]

    def answer(self, text):
        found = self.language.decode(text)
        hidden = set(HIDDEN) & set(found.tactics)
        return REFUSALS[0] if found.restricted and not hidden else answer(found.asked)


ORACLE, REFUSES, TELLS, READS = OracleDefender(WORLD), Says(REFUSALS[0]), Says(), Reads()
PLAIN, HIDES = ScriptedAttacker(WORLD), ScriptedAttacker(WORLD, ("alias",))


def defender_of(cell, seed):
    """Grpo's defenders are without fault, reinforce_pp's refuse with seed 0 and tell with seed 1.

    The untrained base tells.
    """
    if cell == UNTRAINED.name:
        return TELLS
    if cell.startswith("grpo"):
        return ORACLE
    return REFUSES if seed == 0 else TELLS


def attacker_of(cell):
    """Grpo's attackers hide every name, all others ask as they are told."""
    return HIDES if cell.startswith("grpo") else PLAIN


def rows_of(config, task, cells):
    """Return the rows that a task's games with scripted players have."""
    cells = fielded(cells)
    if task.kind == RATE:
        return [row for cell in cells for row in crossed(config, task.seed, cell, cells)]
    if task.part == PANEL:
        assert task.arm == "defender_1"
        return asked(config, ("half_trained", -1), READS)
    defender = defender_of(task.arm, task.seed)
    cell = next(x for x in cells if x.name == task.arm)
    if task.kind == RESPOND:
        return against(RESPONSE, (FRESH, task.seed), (task.arm, task.seed), defender, config)
    rows = asked(config, (task.arm, task.seed), defender)
    rows += against(PANEL_ATTACKER, ("base", -1), (task.arm, task.seed), defender, config)
    if plays(config, cell, "attacker"):
        for member, player in (("base", TELLS), ("half_trained", READS)):
            own = (task.arm, task.seed)
            rows += against(PANEL_DEFENDER, own, (member, -1), player, config)
    return rows


def asked(config, who_defends, defender):
    rows = []
    for name in config.every_suite:
        suite = resolve_suite(name, source=seeds(), games=config.suite_games, seed=0)
        if isinstance(suite, QuestionSuite):
            for k, request in enumerate(suite.requests):
                text = suite.questions[k].answer if k % 2 else "no idea"
                row = quiz_row(
                    who(QUIZ, ("", -1), who_defends, name),
                    name,
                    request.messages[-1]["content"],
                    text,
                    right=suite.right(k, text),
                )
                rows.append({**row, "seed_id": str(k)})
            continue
        episodes = play(suite.setups, {ATTACKER: suite.attacker(), DEFENDER: defender}, JUDGE)
        rows += game_rows(who(SUITE, (name, -1), who_defends, name), episodes)
    return rows


def crossed(config, seed, cell, cells):
    names = [(x.name, seed, defender_of(x.name, seed)) for x in cells]
    attackers = [(x.name, seed) for x in cells if plays(config, x, "attacker")]
    if cell is not cells[0]:
        return []
    return [
        row
        for a, a_seed in attackers
        for d, d_seed, player in names
        for row in against(CROSS, (a, a_seed), (d, d_seed), player, config)
    ]


def against(kind, attacker, defender, player, config):
    setups = [
        setup
        for split in (PRIMARY, SECONDARY)
        for setup in schedule(
            seeds(),
            config.panel_games // 2,
            path=(0, kind, split),
            rewrite_fraction=1.0,
            split=split,
        )
    ]
    episodes = play(setups, {ATTACKER: attacker_of(attacker[0]), DEFENDER: player}, JUDGE)
    return game_rows(who(kind, attacker, defender), episodes)


def who(kind, attacker, defender, suite=""):
    return Who(
        kind=kind,
        attacker=attacker[0],
        defender=defender[0],
        attacker_seed=attacker[1],
        defender_seed=defender[1],
        step=0,
        suite=suite,
    )


def record_of(config, task):
    """Return the record of a run of whole steps, each of 1000 tokens and 2 s."""
    found = config.response(None, task.seed, Path("unused"))
    if task.part == PANEL:
        found = config.panel(task.arm, Path("unused"))
    elif task.kind == TRAIN:
        cell = next(x for x in able(config) if x.name == task.arm)
        found = config.options(cell, task.seed, Path("unused"))
    steps = found.run.steps
    if found.run.max_tokens:
        steps = min(steps, -(-found.run.max_tokens // 1000))
    each = {"tokens": 1000, "extra_games": 0, "extra_tokens": 0, "seconds": 2.0}
    by_step = {name: [value] * steps for name, value in each.items()}
    return {
        "config": found.flat(),
        **totals(by_step, games=found.run.games, most=found.run.max_tokens),
        "peak_memory_gb": 0.5,
        "by_step": by_step,
    }


def scripted_bench(root, config=CONFIG):
    """Write everything that the tasks of a benchmark leave; return tasks and cells."""
    cells = able(config)
    root.mkdir(parents=True, exist_ok=True)
    (root / MANIFEST).write_text(json.dumps(manifest_of(config), indent=1))
    every = tasks(config, cells)
    for task in every:
        file = root / task.output
        file.parent.mkdir(parents=True, exist_ok=True)
        if task.kind in {TRAIN, ATTACK}:
            file.write_text(json.dumps(record_of(config, task)))
        else:
            write_table(file, rows_of(config, task, cells))
    return every


def reported(tmp_path, config=CONFIG):
    """Return the leaderboard of a scripted benchmark and where its report is."""
    every = scripted_bench(tmp_path / "bench", config)
    figures = write_report(tmp_path / "bench", every, tmp_path / "report", command="a command")
    return figures, tmp_path / "report"


def with_options(**options):
    return replace(CONFIG, **options)
