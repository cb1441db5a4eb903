"""Figures of games between arms: cross-play, own play, best responses, diversity, the tabular twin."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.studies.experiments.analysis import INF, Figure, by_arm, summary
from algorithms.studies.experiments.config import SPLITS, Experiment
from algorithms.studies.games import CROSS, RESPONSE, SUITE, Games
from algorithms.studies.rates import Mask, attacks, refusals
from algorithms.studies.successes import Successes, best_of
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
from redteam_env.worlds.apothecary.source import world_seeds
from redteam_env.worlds.apothecary.tabular.claims import gap, project
from redteam_env.worlds.apothecary.tabular.game import TacticsGame
from redteam_env.worlds.apothecary.tactics import FORMS

RATES = (ATTACK_SUCCESS, "attack_success", "over_refusal_rewritten", "miss")


class Encounters:
    """Computes the figures of one part's games between arms.

    Args:
        experiment: The experiment.
        world: The world that was played.
    """

    def __init__(self, experiment: Experiment, world: World) -> None:
        self._experiment = experiment
        self._world = world
        self._judge = ApothecaryJudge(world.config)
        source = world_seeds(world)
        seeds = {seed.id: seed for split in SPLITS for seed in source.seeds(split)}
        self._successes = Successes(judge=self._judge, seeds=seeds)

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
        return {
            name: by_arm(found, (0.0, INF) if name == "entropy" else (0.0, 1.0))
            for name, found in values.items()
        }

    def responses(self, games: Games, other: Games) -> Figure:
        """Return how far the best attacker found gets against every frozen defender, a lower bound.

        Candidates are each scripted suite, all attackers that met the defender in cross-play, and the
        fresh one. Who is best is decided on half of the games and scored on the other half; it is taken
        to be no weaker than the best script, which is chosen in the same way.

        Args:
            games: The games of fresh attackers.
            other: Those of the part whose defenders they play.

        Returns:
            For each split by arm: the success of the ``best`` attacker, the best ``script``, the
            ``fresh`` one and the untrained ``base``; by how much the fresh one beats the best script;
            and how often benign rewrites of the fresh one are refused. A defender that met no script is
            left out.
        """
        names = ("best", "script", "fresh", "fresh - script", BASE, "over_refusal_rewritten")
        result: Figure = {}
        for split in SPLITS:
            values: dict[str, dict[tuple[str, int], float]] = {name: {} for name in names}
            fresh = games.where(kind=RESPONSE, split=split)
            for (defender, seed), rows in fresh.by("defender", "attacker_seed"):
                met = other.where(defender=defender, split=split)
                for name, value in self._response(rows, met, seed).items():
                    values[name][defender, seed] = value
            result[split] = {
                name: by_arm(found, (-1.0 if "-" in name else 0.0, 1.0))
                for name, found in values.items()
            }
        return result

    def _response(self, fresh: Games, met: Games, seed: int) -> dict[str, float]:
        """Return the successes against one defender.

        Args:
            fresh: Its games against the fresh attacker.
            met: All its other games, of every seed.
            seed: Its training seed; for the base, the one of the attackers it counts with.
        """
        base = bool((met["defender_seed"] == -1).all())
        asked, cross = met.where(kind=SUITE), met.where(kind=CROSS)
        if base:
            cross = cross.where(attacker_seed=[seed, -1])
        else:
            asked, cross = asked.where(defender_seed=seed), cross.where(defender_seed=seed)
        scripts = self._halves(asked, "suite")
        if not scripts:
            return {}
        others = self._halves(cross, "attacker", "attacker_seed")
        own = self._halves(fresh, "attacker")
        best, script = best_of({**scripts, **others, **own}), best_of(scripts)
        reached = float(np.mean([*own.values()]))
        found = {
            "best": max(best, script),
            "script": script,
            "fresh": reached,
            "fresh - script": reached - script,
            "over_refusal_rewritten": float(refusals(fresh).mean()),
        }
        if (BASE, -1) in others:
            found[BASE] = float(np.mean(others[BASE, -1]))
        return found

    def _halves(self, rows: Games, *keys: str) -> dict[tuple[Any, ...], tuple[float, float]]:
        """Return each attacker's success in either half of its games at the defender's last step."""
        last = rows.where(step=int(rows["step"].max())) if len(rows) else rows
        found = {key: self._successes.halves(own) for key, own in last.by(*keys)}
        return {key: halves for key, halves in found.items() if halves is not None}

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
            values = {
                seed: float(np.mean([x[name] for x in found if name in x]))
                for seed, found in runs.items()
                if any(name in x for x in found)
            }
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
