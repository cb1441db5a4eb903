"""``redteam-env data sft``: supervised examples from a model's own answers."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from redteam_env.cli.main import version
from redteam_env.cli.options import of_game, shown_as
from redteam_env.distil import EXAMPLES, DistilConfig, Store, distil
from redteam_env.evaluation import AgentPool, check_spec
from redteam_env.game import Count, GameConfig, at_least, check_fields
from redteam_env.judges.judge import check_ready
from redteam_env.judges.resolve import resolve_judge
from redteam_env.provenance import digest_of_seeds
from redteam_env.seeds import cards_of, resolve_seeds
from redteam_env.utils.console import make_console, print_json, progress_bar
from redteam_env.utils.locks import held
from redteam_env.utils.text import safe_text
from redteam_env.worlds import check_fit


@dataclass(frozen=True, kw_only=True)
class SftOptions(DistilConfig):
    """Make supervised examples: a model's own answers to benign requests, cleaned by a judge.

    Training mixes them in with --sft-file DIR/examples.jsonl. Interrupted, the same command goes on.

    Attributes:
        agent: Who answers, before it is trained: a model directory, a hub id, base, endpoint:MODEL@URL or
            endpoint:FILE.toml, or a run or adapter directory.
        out: Directory for examples.jsonl and its manifest; new or empty, or one in which this was begun.
        model: The model that base means: smollm2, a model directory or a hub id.
        max_new_tokens: Longest answer, and longest thought, of a model, in tokens; what is cut is left out.
        temperature: Sampling temperature of models; 0 is greedy, at 1 the answers are those the model gives.
        mix_worlds: Use parts that do not fit each other, such as a world's model on English seeds.
        json: Print the manifest as JSON.
    """

    agent: Annotated[str, tyro.conf.Positional, shown_as("AGENT")]
    out: Annotated[Path, shown_as("DIR")]
    seeds: Annotated[str, of_game("seeds")] = GameConfig().seeds
    judge: Annotated[str, of_game("judge")] = GameConfig().judge
    judge_url: Annotated[str | None, of_game("judge_url"), shown_as("URL")] = None
    model: Annotated[str | None, shown_as("MODEL")] = None
    max_new_tokens: Count = 512
    temperature: Annotated[float, at_least(0)] = 1.0
    mix_worlds: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False

    def __post_init__(self) -> None:
        check_fields(self)


def make_examples(options: SftOptions) -> None:
    """Make supervised examples, or say what was made.

    Args:
        options: The command's.

    Raises:
        RedteamError: If an option, the agent, the judge or the source is wrong; if the directory holds
            something else; if the agent does not answer, or no answer could be kept.
    """
    check_spec(options.agent)
    fits = partial(
        check_fit,
        options.seeds,
        options.judge,
        model=options.model,
        agents=[options.agent],
        mix=options.mix_worlds,
    )
    fits()
    source = resolve_seeds(options.seeds)
    fits(source=source)
    judge = resolve_judge(options.judge, url=options.judge_url)
    settings = {field.name: getattr(options, field.name) for field in fields(options)}
    for name in (
        "out",
        "json",
        "judge_url",
        "batch_size",
        "mix_worlds",
    ):  # they change nothing of what is made
        del settings[name]
    made_from = {
        **settings,
        "seeds_digest": digest_of_seeds([source]),
        "judged_by": judge.name,
    }
    with held(options.out):
        store = Store(options.out, made_from)
        summary = store.summary()
        if summary is None:
            check_ready(judge)
            pool = AgentPool(
                base=options.model,
                max_new_tokens=options.max_new_tokens,
                temperature=options.temperature,
                option="AGENT",
            )
            agent = pool.agent(options.agent, "defender")
            with _interruptible(options.out), progress_bar() as progress:
                distil(agent, source, judge, store, options, progress=progress)
            usage = pool.usage()
            facts = {
                "version": version(),
                "seeds": [asdict(card) for card in cards_of(source)],
                **({"usage": usage} if usage else {}),
            }
            summary = store.finish(options.examples, facts)
    _show(options, summary)


@contextmanager
def _interruptible(out: Path) -> Iterator[None]:
    """Say after Ctrl-C how the work goes on."""
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write(f"What was made so far is in {str(out)!r}; the same command goes on.\n")
        raise


def _show(options: SftOptions, summary: Mapping[str, Any]) -> None:
    if options.json:
        print_json(summary)
        return
    counts = dict(summary["counts"])
    kept = counts.pop("kept")
    left = ", ".join(f"{n} {what}" for what, n in counts.items() if n) or "nothing"
    made = f"{kept} examples in {str(options.out / EXAMPLES)!r}, cleaned by {summary['made_from']['judged_by']}"
    make_console().print(safe_text(f"{made}; left out: {left}."))
