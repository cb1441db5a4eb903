"""The export has the shape that marl-eval reads."""

import json

import pytest

from algorithms.studies.bench.marl_eval import marl_eval


def scored(label, scores, *, trained=True, reason=None):
    return {
        "label": label,
        "arrangement": "bipolicy" if trained else "base",
        "trained": trained,
        "reason": reason,
        "scores": {
            name: {
                "tasks": list(tasks),
                "by_seed": [list(row) for row in zip(*tasks.values(), strict=True)],
            }
            for name, tasks in scores.items()
        },
        "cost": {"games": {"by_seed": [5760, 5760]}},
    }


FIGURES = {
    "cells": [
        scored(
            "grpo", {"defence": {"All": [0.5, 0.25]}, "attack": {"base": [1, 0], "w": [0, 0.5]}}
        ),
        scored(
            "ppo", {"defence": {"All": [0.0, 1.0]}, "attack": {"w": [0.1, 0.2], "base": [0, 1]}}
        ),
        scored("some", {"attack": {"base": [0.5, 0.5]}}),
        scored("base", {"defence": {"All": [0.1]}}, trained=False),
        scored("sb3_ppo", {}, reason="trains one seat only"),
    ]
}


@pytest.fixture
def export():
    return json.loads(json.dumps(marl_eval(FIGURES, world="Apothecary")))


def test_every_level_is_what_marl_eval_expects(export):
    assert set(export) == {"apothecary_defence", "apothecary_attack"}
    for environment, tasks in export.items():
        metric = environment.removeprefix("apothecary_")
        algorithms = {tuple(runs) for runs in tasks.values()}
        assert len(algorithms) == 1  # the same algorithms on every task
        for runs in (runs for task in tasks.values() for runs in task.values()):
            assert list(runs) == ["seed_0", "seed_1"]
            for steps in runs.values():
                *evaluations, last = steps  # the absolute metrics come last
                assert evaluations == ["step_0"]
                assert last == "absolute_metrics"
                assert isinstance(steps["step_0"].pop("step_count"), int)
                assert steps["step_0"] == steps["absolute_metrics"]
                [(name, values)] = steps["absolute_metrics"].items()
                assert name == metric
                assert all(isinstance(x, int | float) for x in values)


def test_numbers_stand_where_they_belong(export):
    assert export["apothecary_attack"]["base"]["ppo.bipolicy"]["seed_1"]["absolute_metrics"] == {
        "attack": [1]
    }
    assert export["apothecary_defence"]["all"]["grpo.bipolicy"]["seed_1"]["step_0"] == {
        "step_count": 5760,
        "defence": [0.25],
    }


def test_who_lacks_a_task_and_who_was_not_trained_are_left_out(export):
    assert set(export["apothecary_attack"]["base"]) == {"grpo.bipolicy", "ppo.bipolicy"}
    assert set(export["apothecary_defence"]["all"]) == {"grpo.bipolicy", "ppo.bipolicy"}


def test_nothing_to_export_is_an_empty_object():
    assert marl_eval({"cells": []}, world="w") == {}
