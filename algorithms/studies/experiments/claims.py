"""The two papers' claims: what each predicts in this world, and what was measured.

A claim is turned into one number whose sign it predicts. *Supported*: the 95 % interval lies on that
side of zero. *Not supported*: it lies on the other side. *Undecided*: it holds zero. With this many
intervals one in twenty excludes zero by chance; the report says how many there are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redteam_env.worlds.apothecary.rates import ATTACK_SUCCESS

Figures = Mapping[str, Mapping[str, Any]]
Number = Mapping[str, Any] | None
ABS, SRT = "Anchored Bipolicy Self-Play (2605.08427)", "Self-RedTeam (2506.07468)"
SUPPORTED, NOT_SUPPORTED, UNDECIDED, NOT_TESTED = (
    "supported",
    "not supported",
    "undecided",
    "not tested",
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim as a number.

    Attributes:
        paper: Whose it is.
        text: What it says.
        prediction: What it predicts here, in words.
        part: The part that tests it.
        sign: +1 if the number should be above zero, -1 if below.
        number: Finds the number, with its interval, in the part's figures.
    """

    paper: str
    text: str
    prediction: str
    part: str
    sign: int
    number: Callable[[Mapping[str, Any]], Number]


def _contrast(split: str, pair: str, measure: str) -> Callable[[Mapping[str, Any]], Number]:
    def find(figures: Mapping[str, Any]) -> Number:
        found: Number = figures["defenders"]["splits"][split]["contrasts"][pair][measure]
        return found

    return find


def _quiz(pair: str) -> Callable[[Mapping[str, Any]], Number]:
    return lambda figures: figures["defenders"]["quiz_contrasts"][pair]


def _response(split: str, pair: str) -> Callable[[Mapping[str, Any]], Number]:
    return lambda figures: figures["responses"][split]["contrasts"][pair][ATTACK_SUCCESS]


def _diversity(arm: str, measure: str) -> Callable[[Mapping[str, Any]], Number]:
    return lambda figures: figures["attackers"]["contrasts"][f"{arm} - attacker_only"][measure]


def _own_play(pair: str) -> Callable[[Mapping[str, Any]], Number]:
    return lambda figures: figures["own_play"]["contrasts"][pair]


def _gradients(arm: str) -> Callable[[Mapping[str, Any]], Number]:
    return lambda figures: figures["gradients"]["between"].get(arm)


def _robust(split: str) -> list[Claim]:
    where = {"train": "training", "heldout": "held-out"}[split]
    text = "One adapter a role gives more robust defenders than shared weights."
    pairs = ("bipolicy - shared", "bipolicy - shared_2r", "bipolicy - shared_full")
    claims = [
        Claim(
            ABS,
            text,
            f"{name}, refusal score on scripted attacks, {where} substances: {pair}, "
            f"{'above' if sign > 0 else 'below'} 0",
            part,
            sign,
            _contrast(split, pair, measure),
        )
        for part in ("arms", "coupled")
        for pair in pairs
        for measure, name, sign in (
            ("auc", "AUC", 1),
            ("miss", "miss rate at 10 % over-refusal", -1),
        )
    ]
    claims += [
        Claim(
            ABS,
            "Shared weights pay for an attacker that learns fast; one adapter a role does not.",
            f"AUC on scripted attacks, {where} substances: {pair}, above 0",
            "rates",
            1,
            _contrast(split, pair, "auc"),
        )
        for pair in ("bipolicy_x2 - shared_x2", "bipolicy_x5 - shared_x5")
    ]
    claims += [
        Claim(
            SRT,
            "Training attacker and defender together gives more robust defenders than training the "
            "defender against a static attacker.",
            f"AUC on scripted attacks, {where} substances: {arm} - defender_only, above 0",
            "arms",
            1,
            _contrast(split, f"{arm} - defender_only", "auc"),
        )
        for arm in ("shared_full", "shared", "bipolicy")
    ]
    claims += [
        Claim(
            paper,
            claim,
            f"exact attack success of fresh attackers, {where} substances: {pair}, below 0",
            "best_response",
            -1,
            _response(split, pair),
        )
        for paper, claim, pair in (
            (ABS, text, "bipolicy - shared"),
            (ABS, text, "bipolicy - shared_full"),
            (SRT, "Co-trained defenders withstand new attackers.", "shared_full - defender_only"),
            (SRT, "Co-trained defenders withstand new attackers.", "bipolicy - defender_only"),
        )
    ]
    return claims


CLAIMS: tuple[Claim, ...] = (
    *_robust("train"),
    *_robust("heldout"),
    *(
        Claim(
            ABS,
            "Shared updates collapse to self-consistency: attacks put no pressure on their own "
            "defender.",
            "exact attack success on a stranger of the same arm minus that on the own defender: "
            f"{pair}, below 0",
            part,
            -1,
            _own_play(pair),
        )
        for part in ("arms", "coupled")
        for pair in ("bipolicy - shared", "bipolicy - shared_full")
    ),
    *(
        Claim(
            ABS,
            "The roles' gradients conflict on shared weights.",
            f"cosine of the roles' gradients, {arm}, below 0",
            part,
            -1,
            _gradients(arm),
        )
        for part in ("arms", "coupled")
        for arm in ("shared", "shared_full")
    ),
    *(
        Claim(
            ABS,
            "One adapter a role keeps capability that shared weights lose.",
            f"share of the quiz right: {pair}, above 0",
            part,
            1,
            _quiz(pair),
        )
        for part, pair in (
            ("arms", "bipolicy - shared"),
            ("arms", "bipolicy - shared_full"),
            ("rates", "bipolicy_x5 - shared_x5"),
            ("coupled", "bipolicy - shared"),
        )
    ),
    *(
        Claim(
            SRT,
            "Co-trained attackers are more diverse than ones trained against a static defender.",
            f"{name}: {arm} - attacker_only, above 0",
            "arms",
            1,
            _diversity(arm, measure),
        )
        for arm in ("shared_full", "shared", "bipolicy")
        for measure, name in (
            ("entropy", "entropy of tactics in bits"),
            ("distance", "distance of word pairs"),
        )
    ),
)
NOT_RUN = (
    (SRT, "Hidden thoughts make the game more diverse and the defender safer."),
    (ABS, "Results on real models and benchmarks."),
)


def judge_claims(figures: Figures, claims: Sequence[Claim] = CLAIMS) -> list[dict[str, Any]]:
    """Return every claim with what was measured and a verdict.

    Args:
        figures: The figures of each part that was run.
        claims: The claims; by default the two papers'.

    Returns:
        One record a claim; ``not tested`` where the part was not run or has no number.
    """
    return [_judged(claim, figures) for claim in claims] + [
        {"paper": paper, "claim": text, "prediction": "", "part": "", "verdict": NOT_TESTED}
        for paper, text in NOT_RUN
    ]


def _judged(claim: Claim, figures: Figures) -> dict[str, Any]:
    record: dict[str, Any] = {
        "paper": claim.paper,
        "claim": claim.text,
        "prediction": claim.prediction,
        "part": claim.part,
        "verdict": NOT_TESTED,
    }
    if claim.part not in figures:
        return record
    try:
        number = claim.number(figures[claim.part])
    except KeyError:
        return record
    if number is None or number["interval"] is None:
        return record
    low, high = number["interval"]
    record |= {"measured": number["mean"], "interval": [low, high], "runs": len(number["values"])}
    if low > 0 or high < 0:
        agrees = (low > 0) == (claim.sign > 0)
        record["verdict"] = SUPPORTED if agrees else NOT_SUPPORTED
    else:
        record["verdict"] = UNDECIDED
    return record
