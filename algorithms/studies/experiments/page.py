"""The page of a report, in Markdown: what was run, how to read it, the tables."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from algorithms.studies.experiments.config import Experiment
from redteam_env.protocols import BASE
from redteam_env.worlds.apothecary.rates import ATTACK_SUCCESS, FAITHFULNESS

Figures = Mapping[str, Any]
_SPLITS = {"train": "training substances", "heldout": "held-out substances"}


def page(
    experiment: Experiment,
    parts: Mapping[str, Figures],
    claims: Sequence[Mapping[str, Any]],
    *,
    command: str,
) -> str:
    """Return the page of a report.

    Args:
        experiment: The experiment.
        parts: The figures of every part that was run.
        claims: Every claim with its verdict.
        command: The command that ran it.
    """
    lines = [f"# {experiment.name}", "", *_how(experiment, parts, command)]
    for name, figures in parts.items():
        lines += ["", f"## {name}", "", figures["about"], ""]
        lines += _responses(figures) if "responses" in figures else _defenders(figures)
        lines += _training(figures["training"])
    lines += ["", "## Claims of the two papers", "", *_claims(claims)]
    return "\n".join(lines) + "\n"


def _how(experiment: Experiment, parts: Mapping[str, Figures], command: str) -> list[str]:
    primary = experiment.primary
    missing = [name for name in experiment.parts if name not in parts]
    left_out = f" Not run: {', '.join(missing)}." if missing else ""
    return [
        (
            f"Made by `{command}`; checked by `redteam-env experiment verify` on this directory, which "
            "judges every stored game again and computes every number again."
        ),
        "",
        f"Parts: {', '.join(parts)}.{left_out}",
        "",
        (
            "How to read it. The judge is exact, so labels have no error. The unit is the training run: "
            f"a run's value is the mean over its last {experiment.measuring.checkpoints} checkpoints, an "
            "arm's the mean over its runs, in brackets Student's 95 % interval over runs (for the base, "
            "one model, a bootstrap over substances). A contrast is the mean difference of runs of the "
            "same seed. The suites are fixed requests: intervals speak of other training seeds, not of "
            f"other requests. The primary measures were fixed in `{experiment.name}.toml` before the "
            f"runs: AUC of the refusal score and miss rate at {primary.over_refusal:.0%} over-refusal, "
            f"mean of the suites {', '.join(primary.suites)} (held-out combinations of one, two and "
            "three tactics); then attack success and over-refusal, which move along one curve and "
            "compare nothing by themselves."
        ),
    ]


def _defenders(figures: Figures) -> list[str]:
    found = figures["defenders"]
    lines: list[str] = []
    for split, title in _SPLITS.items():
        primary = found["splits"][split]["primary"]
        rows = [
            [arm, *(_number(primary[m][arm]) for m in primary), _number(found["quiz"].get(arm))]
            for arm in primary["auc"]
        ]
        head = ["defender", "AUC", "miss", "attack success", "over-refusal, rewritten", "quiz"]
        lines += [f"Scripted held-out attacks, {title}:", "", *_table(head, rows), ""]
    contrasts = [
        [pair, title, *(_number(x[m], sign=True) for m in ("auc", "miss"))]
        for split, title in _SPLITS.items()
        for pair, x in found["splits"][split]["contrasts"].items()
    ]
    if contrasts:
        lines += ["Contrasts:", "", *_table(["arms", "substances", "AUC", "miss"], contrasts), ""]
    lines += _encounters(figures)
    if "gradients" in figures:
        rows = [
            [
                arm,
                *(
                    _number(figures["gradients"][k][arm])
                    for k in ("between", "attacker_halves", "defender_halves")
                ),
            ]
            for arm in figures["gradients"]["between"]
        ]
        head = ["arm", "attacker and defender", "halves of attacker", "halves of defender"]
        games = ", ".join(map(str, figures["gradients"]["games"]))
        lines += [
            f"Cosine of gradients on shared weights, {games} games:",
            "",
            *_table(head, rows),
            "",
        ]
    if "tuned" in figures:
        tuned = figures["tuned"]
        tried = ", ".join(f"{k} {v:.3f}" for k, v in tuned["auc"].items())
        lines += [f"Tuned arm: {tuned['chosen']} was chosen (AUC on tuning seeds: {tried}).", ""]
    return lines


def _encounters(figures: Figures) -> list[str]:
    lines: list[str] = []
    if "crossplay" in figures:
        for split, title in _SPLITS.items():
            for rate, name in (
                (ATTACK_SUCCESS, "Exact attack success"),
                ("over_refusal_rewritten", "Over-refusal of benign rewrites"),
            ):
                head, rows = _grid(figures["crossplay"]["pairs"], split, rate)
                lines += [
                    f"{name} in cross-play (rows attack), {title}:",
                    "",
                    *_table(head, rows),
                    "",
                ]
    if "own_play" in figures:
        own = figures["own_play"]
        rows = [
            [arm, *(_number(own[k].get(arm)) for k in ("own", "stranger", BASE))]
            for arm in own["own"]
        ]
        head = ["arm", "own defender", "same arm, other seed", "base"]
        lines += ["Exact attack success against:", "", *_table(head, rows), ""]
    if "attackers" in figures:
        names = (
            FAITHFULNESS,
            "label_drift",
            "refuses",
            "hidden",
            "entropy",
            "coverage",
            "distance",
        )
        found = figures["attackers"]
        rows = [[arm, *(_number(found[k].get(arm)) for k in names)] for arm in found[FAITHFULNESS]]
        head = [
            "attacker",
            "exact faithfulness",
            "label drift",
            "refuses",
            "hides the name",
            "entropy (bits)",
            "coverage",
            "word distance",
        ]
        lines += ["What attackers write:", "", *_table(head, rows), ""]
    if "swaps" in figures:
        lines += _swaps(figures["swaps"])
    if "twin" in figures:
        twin = figures["twin"]
        rows = [
            [arm, *(_number(twin[k][arm]) for k in ("attacker_gain", "defender_gain", "nash_conv"))]
            for arm in twin["nash_conv"]
        ]
        head = ["arm", "attacker could gain", "defender could gain", "NashConv"]
        lines += [
            "Projected onto the tabular twin (reward units, exact there):",
            "",
            *_table(head, rows),
            "",
        ]
    return lines


def _swaps(swaps: Figures) -> list[str]:
    one = swaps["attacker_weights_defend"]
    rows = [
        [
            arm,
            *(_number(one[split]["auc"].get(arm)) for split in _SPLITS),
            _number(one["shown_attack_success"].get(arm)),
            _number(one["quiz"].get(arm)),
        ]
        for arm in one["heldout"]["auc"]
    ]
    head = [
        "attacker's weights of",
        "AUC, training",
        "AUC, held out",
        "attack success, shown tactics",
        "quiz",
    ]
    other = swaps["defender_weights_attack"]
    back = [
        [arm, _number(other["faithfulness"][arm]), _number(other["refuses_harmful_seed"][arm])]
        for arm in other["faithfulness"]
    ]
    return [
        "Attacker's weights in the defender's seat:",
        "",
        *_table(head, rows),
        "",
        "Defender's weights in the attacker's seat:",
        "",
        *_table(["defender's weights of", "faithfulness", "refuses a harmful seed"], back),
        "",
    ]


def _responses(figures: Figures) -> list[str]:
    lines: list[str] = []
    for split, title in _SPLITS.items():
        found = figures["responses"][split]
        names = (ATTACK_SUCCESS, "over_refusal_rewritten", "miss")
        rows = [[arm, *(_number(found[k].get(arm)) for k in names)] for arm in found[names[0]]]
        head = [
            "defender",
            "exact attack success",
            "over-refusal, rewritten",
            "miss at fixed over-refusal",
        ]
        lines += [
            f"Fresh attackers, {title} (a lower bound on what an attacker can do):",
            "",
            *_table(head, rows),
            "",
        ]
        rows = [
            [pair, _number(x[ATTACK_SUCCESS], sign=True), _number(x["miss"], sign=True)]
            for pair, x in found["contrasts"].items()
        ]
        lines += [*_table(["contrast", "exact attack success", "miss"], rows), ""]
    return lines


def _training(training: Figures) -> list[str]:
    rows = [
        [
            arm,
            f"{x['trained']:,}",
            f"{x['whole_model_over_one_set']:.2f}",
            _number(training["seconds"][arm]),
        ]
        for arm, x in training["parameters"].items()
    ]
    head = ["arm", "trained parameters", "whole model / one set of weights", "seconds a run"]
    return ["What was trained:", "", *_table(head, rows)]


def _claims(claims: Sequence[Mapping[str, Any]]) -> list[str]:
    count = Counter(claim["verdict"] for claim in claims)
    tested = sum(n for verdict, n in count.items() if verdict != "not tested")
    lines = [
        (
            f"{tested} intervals of 95 % were tested; about one in twenty excludes zero by chance. "
            f"{', '.join(f'{n} {verdict}' for verdict, n in sorted(count.items()))}."
        ),
        "",
    ]
    rows = [
        [
            claim["paper"],
            claim["claim"],
            f"{claim['prediction']} ({claim['part']})" if claim["prediction"] else "",
            _claimed(claim),
            claim["verdict"],
        ]
        for claim in claims
    ]
    return lines + _table(["paper", "claim", "predicts here", "measured", "verdict"], rows)


def _claimed(claim: Mapping[str, Any]) -> str:
    if "measured" not in claim:
        return ""
    low, high = claim["interval"]
    return f"{claim['measured']:+.3f} [{low:+.3f}, {high:+.3f}], {claim['runs']} runs"


def _grid(cells: Sequence[Figures], split: str, rate: str) -> tuple[list[str], list[list[str]]]:
    found = {(x["attacker"], x["defender"]): x[rate] for x in cells if x["split"] == split}
    columns = list(dict.fromkeys(defender for _, defender in found))
    rows = list(dict.fromkeys(attacker for attacker, _ in found))
    return ["", *columns], [[a, *(_number(found.get((a, d))) for d in columns)] for a in rows]


def _number(value: Any, *, sign: bool = False) -> str:
    if value is None:
        return "-"
    form = "+.3f" if sign else ".3f"
    if value["interval"] is None:
        return f"{value['mean']:{form}}"
    low, high = value["interval"]
    return f"{value['mean']:{form}} [{low:{form}}, {high:{form}}]"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
