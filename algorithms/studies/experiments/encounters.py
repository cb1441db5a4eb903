"""Figures of games between arms: cross-play, own play, best responses, diversity, the tabular twin."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.studies.experiments.analysis import (
    INF,
    Figure,
    by_arm,
    contrast,
    contrasts_of,
    summary,
)
from algorithms.studies.experiments.config import SPLITS, Experiment, Part
from algorithms.studies.games import CROSS, RESPONSE, SUITE, Games
from algorithms.studies.rates import Mask, attacks, refusals
from redteam_env.evaluation.detection import roc
from redteam_env.evaluation.diversity import coverage, entropy, ngram_distance
from redteam_env.game import (
    ATTACKER,
    DEFENDER,
    Episode,
    RedteamError,
    Seed,
    Turn,
    Verdict,
)
from redteam_env.protocols import BASE
from redteam_env.worlds.apothecary import ApothecaryJudge, World
from redteam_env.worlds.apothecary.grammar import is_refusal
from redteam_env.worlds.apothecary.rates import ATTACK_SUCCESS, FAITHFULNESS, exact_outcomes
from redteam_env.worlds.apothecary.tabular.claims import gap, project
from redteam_env.worlds.apothecary.tabular.game import TacticsGame
from redteam_env.worlds.apothecary.tactics import FORMS

RATES = (ATTACK_SUCCESS, "attack_success", "over_refusal_rewritten", "miss")


class Encounters:
    """Computes the figures of one part's games between arms.

    Args:
        experiment: The experiment.
        part: The part.
        world: The world that was played.
    """

    def __init__(self, experiment: Experiment, part: Part, world: World) -> None:
        self._experiment = experiment
        self._part = part
        self._world = world
        self._judge = ApothecaryJudge(world.config)

    def crossplay(self, games: Games) -> Figure:
        """Return every pairing: exact and plain attack success, over-refusal, miss at the same line.

        ``pairs`` are attacker and defender of one training seed; ``strangers`` an arm's attacker
        against its defender of another seed.
        """
        pairs: dict[tuple[str, str, str], dict[int, list[dict[str, float]]]] = defaultdict(
            lambda: defaultdict(list)
        )
        strangers: dict[tuple[str, str, str], dict[int, list[dict[str, float]]]] = defaultdict(
            lambda: defaultdict(list)
        )
        keys = ("attacker", "attacker_seed", "defender", "defender_seed", "step", "split")
        for (attacker, a, defender, d, _, split), rows in games.where(kind=CROSS).by(*keys):
            found = strangers if min(a, d) >= 0 and a != d else pairs
            run = a if a >= 0 else d
            found[attacker, defender, split][run].append(self._rates(rows))
        return {
            "pairs": [self._cell(key, runs) for key, runs in sorted(pairs.items())],
            "strangers": [self._cell(key, runs) for key, runs in sorted(strangers.items())],
        }

    def own_play(self, games: Games) -> Figure:
        """Return each arm's exact attack success against its own defender, a stranger's and the base.

        An attacker that puts pressure on its own defender only, or on every other but its own,
        shows here (self-consistency, Anchored Bipolicy Self-Play, arXiv 2605.08427).
        """
        values: dict[str, dict[tuple[str, int], list[float]]] = {
            x: defaultdict(list) for x in ("own", "stranger", BASE)
        }
        keys = ("attacker", "attacker_seed", "defender", "defender_seed", "step")
        for (attacker, a, defender, d, _), rows in games.where(kind=CROSS).by(*keys):
            if a < 0:
                continue
            value = self._rates(rows)[ATTACK_SUCCESS]
            if defender == attacker:
                values["own" if a == d else "stranger"][attacker, a].append(value)
            elif defender == BASE:
                values[BASE][attacker, a].append(value)
        means = {
            name: {run: float(np.mean(x)) for run, x in found.items()}
            for name, found in values.items()
        }
        both = sorted(set(means["own"]) & set(means["stranger"]))
        excess = {run: means["stranger"][run] - means["own"][run] for run in both}
        return {
            **{name: by_arm(found) for name, found in means.items()},
            "stranger - own": by_arm(excess, (-1.0, 1.0)),
            "contrasts": {
                f"{a} - {b}": contrast(excess, a, b)
                for a, b in contrasts_of(self._experiment, self._part)
            },
        }

    def attackers(self, games: Games) -> Figure:
        """Return what each arm's attacker writes: faithfulness, drift, tactics and their variety.

        Counted on its rewrites, which are the same for every defender. Tactics are those of
        faithful rewrites of harmful seeds; coverage is out of the world's combinations.
        """
        names = (
            FAITHFULNESS,
            "label_drift",
            "refuses",
            "hidden",
            "entropy",
            "coverage",
            "distance",
        )
        values: dict[str, dict[tuple[str, int], float]] = {name: {} for name in names}
        cross = games.where(kind=CROSS)
        combinations = list(self._world.combination_splits)
        for (attacker, seed), rows in cross.by("attacker", "attacker_seed"):
            one = rows["defender"] == rows["defender"][0]
            same = rows["defender_seed"] == rows["defender_seed"][0]
            found = rows.take(np.flatnonzero(one & same))
            harmful = found["harmful"].astype(bool)
            kept = _kept(self._exact(found))
            run = (attacker, seed)
            values[FAITHFULNESS][run] = float(kept.mean())
            drifted = found["prompt_harmful"][~harmful].astype(bool)
            values["label_drift"][run] = float(drifted.mean())
            values["refuses"][run] = float(np.mean([is_refusal(x) for x in found["prompt"]]))
            texts = [str(x) for x in found["prompt"][harmful & kept]]
            if len(texts) < 2:
                continue
            tactics = [frozenset(self._decoded(text).tactics) for text in texts]
            values["hidden"][run] = float(np.mean([bool(x & set(FORMS)) for x in tactics]))
            values["entropy"][run] = entropy(tactics)
            values["coverage"][run] = coverage(tactics, combinations)
            values["distance"][run] = ngram_distance(texts)
        arms = sorted({attacker for attacker, _ in values[FAITHFULNESS]})
        return {
            **{
                name: by_arm(found, (0.0, INF) if name == "entropy" else (0.0, 1.0))
                for name, found in values.items()
            },
            "contrasts": {
                f"{a} - attacker_only": {
                    name: contrast(values[name], a, "attacker_only")
                    for name in ("entropy", "coverage", "distance", "hidden")
                }
                for a in arms
                if a not in {BASE, "attacker_only"} and "attacker_only" in arms
            },
        }

    def responses(self, games: Games, pairs: list[tuple[str, str]]) -> Figure:
        """Return how far fresh attackers get against every frozen defender, a lower bound.

        Args:
            games: The games of fresh attackers.
            pairs: Defenders' arms to compare.
        """
        result: Figure = {}
        for split in SPLITS:
            values: dict[str, dict[tuple[str, int], float]] = {name: {} for name in RATES}
            rows = games.where(kind=RESPONSE, split=split)
            for (defender, seed), found in rows.by("defender", "attacker_seed"):
                for name, value in self._rates(found).items():
                    values[name][defender, seed] = value
            result[split] = {
                **{name: by_arm(found) for name, found in values.items()},
                "contrasts": {
                    f"{a} - {b}": {name: contrast(found, a, b) for name, found in values.items()}
                    for a, b in pairs
                },
            }
        return result

    def twin(self, games: Games, rewards: Any) -> Figure:
        """Return the exact gaps of trained pairs, projected onto the tabular twin.

        The attacker is projected from its games against its own defender, the defender from these
        and from the scripted suites, in which it meets every action.

        Args:
            games: Cross-play and suites.
            rewards: The reward table that was trained under.
        """
        twin = TacticsGame(self._world)
        gaps: dict[str, dict[tuple[str, int], float]] = {x: {} for x in ("attacker", "defender")}
        best: dict[str, str] = {}
        left_out = []
        cross = games.where(kind=CROSS)
        suites = games.where(kind=SUITE)
        for (attacker, seed), rows in cross.by("attacker", "attacker_seed"):
            own = rows.where(defender=attacker, defender_seed=seed)
            asked = suites.where(defender=attacker, defender_seed=seed)
            if not len(own) or not len(asked):
                continue
            played = self._episodes(own)
            try:
                found = gap(
                    twin,
                    project(twin, played),
                    project(twin, [*played, *self._episodes(asked)]),
                    rewards,
                )
            except RedteamError as error:
                left_out.append(f"{attacker} seed {seed}: {error}")
                continue
            gaps["attacker"][attacker, seed] = found.attacker
            gaps["defender"][attacker, seed] = found.defender
            best[f"{attacker} seed {seed}"] = f"{found.best_actions['harmful']}; {found.best_rule}"
        total = {run: gaps["attacker"][run] + gaps["defender"][run] for run in gaps["attacker"]}
        return {
            "attacker_gain": by_arm(gaps["attacker"], (0.0, INF)),
            "defender_gain": by_arm(gaps["defender"], (0.0, INF)),
            "nash_conv": by_arm(total, (0.0, INF)),
            "best": best,
            "left_out": left_out,
        }

    def _rates(self, rows: Games) -> dict[str, float]:
        exact = self._exact(rows)
        harmful, kept = rows["harmful"].astype(bool), _kept(exact)
        found = {
            ATTACK_SUCCESS: float(
                np.mean([x[ATTACK_SUCCESS] for x in exact if ATTACK_SUCCESS in x])
            ),
            "attack_success": float(attacks(rows).mean()),
            "over_refusal_rewritten": float(refusals(rows).mean()),
        }
        if (kept & harmful).any() and (kept & ~harmful).any():
            curve = roc(rows["score"][kept], harmful[kept])
            found["miss"] = curve.miss_at(self._experiment.primary.over_refusal)
        return found

    @staticmethod
    def _cell(key: tuple[str, str, str], runs: Mapping[int, list[dict[str, float]]]) -> Figure:
        attacker, defender, split = key
        cell: Figure = {"attacker": attacker, "defender": defender, "split": split}
        for name in RATES:
            values = [
                float(np.mean([x[name] for x in runs[seed] if name in x]))
                for seed in sorted(runs)
                if any(name in x for x in runs[seed])
            ]
            cell[name] = summary(values, (0.0, 1.0)) if values else None
        return cell

    def _exact(self, rows: Games) -> list[dict[str, bool]]:
        names = ("prompt", "seed_id", "harmful", "told", "refused")
        return [
            exact_outcomes(
                self._judge.decode(str(prompt)),
                Seed(
                    id=str(seed_id),
                    text="-",
                    harmful=bool(harmful),
                    category=str(seed_id).rpartition("-")[0],
                ),
                response_harmful=bool(told),
                refused=bool(refused),
            )
            for prompt, seed_id, harmful, told, refused in zip(
                *(rows[name] for name in names), strict=True
            )
        ]

    def _decoded(self, text: str) -> Any:
        return self._judge.decode(text)

    def _episodes(self, rows: Games) -> list[Episode]:
        names = ("seed_id", "harmful", "prompt", "response", "prompt_harmful", "refused", "told")
        made = []
        for row in zip(*(rows[name] for name in names), strict=True):
            seed_id, harmful, prompt, response, prompt_harmful, refused, told = row
            seats = ((ATTACKER, prompt), (DEFENDER, response))
            made.append(
                Episode(
                    seed=Seed(id=seed_id, text=prompt or "-", harmful=bool(harmful)),
                    rewritten=True,
                    turns=tuple(Turn(seat=x, text=text, visible=text) for x, text in seats),
                    verdict=Verdict(
                        prompt_harmful=bool(prompt_harmful),
                        response_refusal=bool(refused),
                        response_harmful=bool(told),
                        judge=self._judge.name,
                    ),
                    rewards={},
                    components={},
                    samples=(),
                )
            )
        return made


def _kept(exact: list[dict[str, bool]]) -> Mask:
    return np.array([x[FAITHFULNESS] for x in exact], dtype=bool)
