"""A model's own answers to benign requests, as supervised examples that keep it able while it plays.

Self-RedTeam (arXiv 2506.07468) mixes such examples into training: benign requests, the answers that the
model gives before it is trained, and thoughts that lead to them, filled in afterwards. The request is
asked as it stands, without the instructions of a game. What the judge calls harmful or a refusal, and what
it leaves open, is left out. A model's native thought is taken as it is; otherwise the model is asked for the
reasoning behind its answer.

Requests come in an order of the seed's, and each has a random stream of its own, so what is made depends
neither on the size of batches nor on interruptions.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Annotated, Literal

from redteam_env.border import agents as agents_border
from redteam_env.border import judges as judges_border
from redteam_env.border.seeds import all_seeds
from redteam_env.distil.store import Made, Outcome, Store
from redteam_env.game import (
    ATTACKER,
    DEFENDER,
    Count,
    Dialogue,
    Line,
    RedteamError,
    Seed,
    Verdict,
    at_least,
    check_fields,
    role_of,
)
from redteam_env.game.tags import find_tags
from redteam_env.protocols import Agent, Judge, Progress, Reply, SeedSource, TurnRequest
from redteam_env.randomness import generator

_SLOT = re.compile(r"\{(request|answer)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilConfig:
    """How many examples are made, and with which thoughts.

    Attributes:
        examples: Examples to make; fewer if the benign requests do not yield as many.
        thoughts: ask (have the model tell the reasoning behind each answer; a native thought is taken as it
            is), or none (answers alone, for games in which the defender does not think).
        batch_size: Most requests asked at once.
        seed: Chooses the order of the requests, and all sampling.
    """

    examples: Count = 1000
    thoughts: Literal["ask", "none"] = "ask"
    batch_size: Count = 32
    seed: Annotated[int, at_least(0)] = 0

    def __post_init__(self) -> None:
        check_fields(self)


def distil(
    agent: Agent,
    source: SeedSource,
    judge: Judge,
    store: Store,
    config: DistilConfig,
    *,
    progress: Progress | None = None,
) -> None:
    """Make examples until there are enough, or every benign request was asked.

    Args:
        agent: The model.
        source: Where the requests come from: its benign seeds for training.
        judge: Reads the answers.
        store: Where it is noted, batch by batch; what is there already is not asked again.
        config: How many, and with which thoughts.
        progress: Called as ``progress(phase, done, total)``.

    Raises:
        RedteamError: If the source has no benign seed, or no request of a batch is answered; what was
            made before is kept.
    """
    seeds = [seed for seed in all_seeds(source, "train") if not seed.harmful]
    if not seeds:
        raise RedteamError(
            "The source has no benign seeds for training; name one that has, such as builtin."
        )
    order = generator((config.seed, "sft", "order")).permutation(len(seeds))
    left = [seeds[k] for k in order if seeds[k].id not in store.made]
    while left and (kept := _kept(store)) < config.examples:
        batch, left = left[: config.batch_size], left[config.batch_size :]
        if progress is not None:
            progress("examples", kept, config.examples)
        made, reason = _make(agent, judge, batch, config)
        if all(x.outcome is Outcome.UNANSWERED for x in made):
            raise RedteamError(
                f"The agent answered none of {len(made)} requests ({reason}). What was made so far is in "
                f"{str(store.folder)!r}; once the cause is gone, the same command goes on."
            )
        store.add(made)


def _kept(store: Store) -> int:
    return sum(x.outcome is Outcome.KEPT for x in store.made.values())


def _make(
    agent: Agent, judge: Judge, seeds: Sequence[Seed], config: DistilConfig
) -> tuple[list[Made], str | None]:
    """Return what became of each request, and why the agent failed if it did."""
    replies = _ask(agent, config, {seed: seed.text for seed in seeds}, "answer")
    outcomes = {seed: _answered(reply) for seed, reply in replies.items()}
    answers = {
        seed: reply.text.strip()
        for seed, reply in replies.items()
        if outcomes[seed] is Outcome.KEPT
    }
    outcomes |= _judged(judge, answers)
    kept = {seed: answer for seed, answer in answers.items() if outcomes[seed] is Outcome.KEPT}
    thoughts: dict[Seed, Reply] = {}
    if config.thoughts == "ask":
        asked = {
            seed: _thought_request(seed.text, answer)
            for seed, answer in kept.items()
            if not replies[seed].thought.strip()
        }
        native = {seed: Reply(text=replies[seed].thought) for seed in kept if seed not in asked}
        thoughts = {**native, **_ask(agent, config, asked, "thought")}
        for seed, reply in thoughts.items():
            found = _answered(reply)
            fine = found in {Outcome.KEPT, Outcome.UNANSWERED}
            outcomes[seed] = found if fine else Outcome.NO_THOUGHT
    made = []
    for seed in seeds:
        example = None
        if outcomes[seed] is Outcome.KEPT:
            thought = {"thought": thoughts[seed].text.strip()} if seed in thoughts else {}
            role = role_of(DEFENDER)
            example = {"role": role, "prompt": seed.text, **thought, "response": answers[seed]}
            example["seed"] = seed.id
        made.append(Made(seed.id, outcomes[seed], example))
    errors = [x.error for x in (*replies.values(), *thoughts.values()) if x.error is not None]
    return made, next(iter(errors), None)


def _ask(
    agent: Agent, config: DistilConfig, texts: Mapping[Seed, str], what: str
) -> dict[Seed, Reply]:
    """Ask each text as a message of a user's, in a conversation of its own."""
    if not texts:
        return {}
    requests = [
        TurnRequest(
            seat=DEFENDER,
            role=role_of(DEFENDER),
            messages=[{"role": "user", "content": text}],
            path=(config.seed, "sft", seed.id, what),
        )
        for seed, text in texts.items()
    ]
    return dict(zip(texts, agents_border.act(agent, requests), strict=True))


def _answered(reply: Reply) -> Outcome:
    """Return whether a text can be used, or why not."""
    if reply.error is not None:
        return Outcome.UNANSWERED
    cut = reply.truncated or (reply.generation is not None and not reply.generation.finished)
    if cut or not reply.text.strip():
        return Outcome.CUT
    return Outcome.MARKED if find_tags(reply.text) else Outcome.KEPT


def _judged(judge: Judge, answers: Mapping[Seed, str]) -> dict[Seed, Outcome]:
    dialogues = [
        Dialogue(
            lines=(Line(seat=ATTACKER, text=seed.text), Line(seat=DEFENDER, text=answer)),
        )
        for seed, answer in answers.items()
    ]
    verdicts = judges_border.verdicts(judge, dialogues, seeds=list(answers))
    return {seed: _clean(verdict) for seed, verdict in zip(answers, verdicts, strict=True)}


def _clean(verdict: Verdict) -> Outcome:
    """Return what a judge says of an answer; what it leaves open is not clean."""
    if verdict.error is not None:
        return Outcome.UNJUDGED
    if verdict.response_harmful:
        return Outcome.HARMFUL
    if verdict.response_refusal:
        return Outcome.REFUSAL
    known = verdict.response_harmful is False and verdict.response_refusal is False
    return Outcome.KEPT if known else Outcome.UNJUDGED


@cache
def _template() -> str:
    return (
        (resources.files("redteam_env.distil") / "thought.txt").read_text(encoding="utf-8").strip()
    )


def _thought_request(request: str, answer: str) -> str:
    texts = {"request": request, "answer": answer}
    return _SLOT.sub(lambda slot: texts[slot[1]], _template())
