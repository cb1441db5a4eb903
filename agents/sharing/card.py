"""The model card of an export, out of what its run recorded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from agents.sharing.bases import Base
from agents.sharing.results import FOLDER, LAST, Results, cell, label
from agents.sharing.weights import Weights
from redteam_env.utils.redaction import without_secrets
from redteam_env.worlds import MODELS, is_invented

_SETTINGS = (
    *("recipe", "arrangement", "algorithm", "opponents", "steps", "games", "group_size", "seed"),
    *("rank", "alpha", "lr", "kl", "rewards", "thinking", "exchanges", "world"),
    *("rewrite_fraction", "benign_fraction", "max_new_tokens", "temperature"),
)
"""Options that say what was trained; places are not among them."""
_PROMPTS = "prompts"
_OTHERS = {"attacker": "template", "defender": "comply"}
"""Who takes a seat whose weights are not in the export."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Weights in an export.

    Attributes:
        weights: The weights.
        folder: Their folder in it; empty for its root.
        base: Their base.
        rank: The adapter's rank; ``None`` for a whole model.
    """

    weights: Weights
    folder: str
    base: Base
    rank: int | None

    @property
    def served(self) -> str:
        """The command that serves them with vLLM, from the folder of the export."""
        place = f"./{self.folder}" if self.folder else "."
        if self.rank is None:
            return f"vllm serve {place}"
        base = f"./{self.base.name}" if self.base.copied else self.base.name
        revision = f" --revision {self.base.revision}" if self.base.revision else ""
        return (
            f"vllm serve {base}{revision} --enable-lora --max-lora-rank {served_rank(self.rank)} "
            f"--lora-modules {self.weights.name}={place}"
        )


def served_rank(rank: int) -> int:
    """Return the smallest rank that vLLM serves and that holds an adapter's."""
    return next(x for x in (8, 16, 32, 64, 128, 256, 320, 512, rank) if x >= rank)


def model_card(
    placed: Sequence[Placed],
    *,
    record: Mapping[str, Any],
    step: int,
    results: Results,
    calibration: Sequence[str],
    has_prompts: bool,
    licence: str,
) -> str:
    """Return the card.

    Args:
        placed: The weights.
        record: The run's ``config.json``.
        step: Training steps done.
        results: Games to tell of.
        calibration: What is known of the judge, a line each.
        has_prompts: Whether the export has the instruction texts.
        licence: The licence.
    """
    parts = [
        _front(placed, licence),
        f"# {_title(placed)}",
        _what(placed, record, step),
        "## Use\n\n" + _use(placed, record, has_prompts=has_prompts),
        "## Data and judge\n\n" + _data(record, calibration),
        "## Results\n\n" + _results(results),
        "## Limits\n\n" + _limits(placed, record),
        f"## Licence\n\n{cell(licence)}; what the base's licence asks for holds, too.",
    ]
    return "\n\n".join(parts) + "\n"


def _title(placed: Sequence[Placed]) -> str:
    roles = " and ".join(role for x in placed for role in x.weights.roles)
    return f"{roles.capitalize()}, trained by self-play red teaming"


def _front(placed: Sequence[Placed], licence: str) -> str:
    bases = [(x.base.copy_of or "") if x.base.copied else x.base.name for x in placed]
    hubs = dict.fromkeys(x for x in bases if "/" in x)
    adapters = all(x.rank is not None for x in placed)
    front: dict[str, Any] = {
        "license": licence,
        "library_name": "peft" if adapters else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["redteam-env", "red-teaming", "self-play", *(["lora"] if adapters else [])],
    }
    if hubs:
        front["base_model"] = list(hubs) if len(hubs) > 1 else next(iter(hubs))
        front["base_model_relation"] = "adapter" if adapters else "finetune"
    return f"---\n{yaml.safe_dump(front, sort_keys=False)}---"


def _what(placed: Sequence[Placed], record: Mapping[str, Any], step: int) -> str:
    config = without_secrets(record["config"])
    shown = {x: config[x] for x in _SETTINGS if config.get(x) is not None}
    lines = [
        (
            f"Trained for {step} step{'' if step == 1 else 's'} of self-play red teaming with redteam-env "
            f"{cell(record.get('versions', {}).get('redteam-env', 'of an unknown version'))}: an attacker "
            "rewrites requests, a defender answers, and a judge reads the dialogue."
        ),
        "",
        "| folder | plays | what | base | digest of the base's weights |",
        "|---|---|---|---|---|",
    ]
    for x in placed:
        kind = "whole model" if x.rank is None else f"LoRA adapter of rank {x.rank}"
        base = cell(x.base.name)
        if x.base.copied:
            base = f"the folder {x.base.name}"
            base += f": {cell(x.base.copy_of)}" if x.base.copy_of else ""
        plays = ", ".join(x.weights.roles)
        lines.append(f"| {x.folder or '.'} | {plays} | {kind} | {base} | {cell(x.base.digest)} |")
    lines += [f"\n{x}" for x in dict.fromkeys(p.base.note for p in placed) if x]
    lines += ["", f"Settings: {', '.join(f'{k} {cell(v)}' for k, v in shown.items())}."]
    return "\n".join(lines)


def _use(placed: Sequence[Placed], record: Mapping[str, Any], *, has_prompts: bool) -> str:
    first = placed[0]
    place = first.folder or "."
    code = ["from transformers import AutoModelForCausalLM, AutoTokenizer", ""]
    if first.rank is None:
        code += [f'model = AutoModelForCausalLM.from_pretrained("{place}")']
    else:
        code += [
            f'model = AutoModelForCausalLM.from_pretrained("{first.base.name}")',
            f'model = PeftModel.from_pretrained(model, "{place}")',
        ]
        code[0] = f"from peft import PeftModel\n{code[0]}"
    code += [f'tokenizer = AutoTokenizer.from_pretrained("{place}")']
    served = "\n".join(x.served for x in placed)
    texts = (
        f"The instruction texts of training are in `{_PROMPTS}/`; under others these weights answer "
        f"otherwise. So they play:\n\n```bash\n{_played(placed, record)}\n```"
        if has_prompts
        else "The instruction texts of training were not kept by this run."
    )
    return (
        "In the folder of this export:\n\n"
        f"```python\n{chr(10).join(code)}\n```\n\n```bash\n{served}\n```\n\n{texts}"
    )


def _played(placed: Sequence[Placed], record: Mapping[str, Any]) -> str:
    """The command that plays with what is exported, from the folder of the export."""
    players = dict(_OTHERS)
    players |= {
        role: f"./{x.folder}" for x in placed for role in x.weights.roles if role in players
    }
    words = [f"--{role} {player}" for role, player in players.items()]
    if first := next((x for x in placed if x.rank is not None), None):
        words.append(f"--model {'./' if first.base.copied else ''}{first.base.name}")
    if world := _world(record):
        words.append(f"--world {world}")
    return f"redteam-env evaluate {' '.join(words)} --prompts {_PROMPTS}"


def _world(record: Mapping[str, Any]) -> str:
    """The invented world that a run was trained in, or nothing."""
    config = record.get("config", {})
    world = config.get("world")
    return str(world) if is_invented(world, config.get("seeds")) and world in MODELS else ""


def _data(record: Mapping[str, Any], calibration: Sequence[str]) -> str:
    seeds, judge = record.get("seeds", {}), record.get("judge", {})
    known = [
        f"licence {cell(seeds.get('licence') or 'not stated')}",
        *([f"revision {cell(seeds['revision'])}"] if seeds.get("revision") else []),
        f"digest {cell(seeds.get('digest', 'not recorded'))}",
    ]
    lines = [
        f"Requests: {cell(label(str(seeds.get('name', 'not recorded'))))} ({', '.join(known)}).",
        f"Judge: {cell(label(str(judge.get('name', 'not recorded'))))}"
        + (f", revision {cell(judge['revision'])}" if judge.get("revision") else "")
        + (f", prompt {cell(judge['template'])}" if judge.get("template") else "")
        + ("; **good for smoke runs only**." if judge.get("smoke_only") else "."),
    ]
    measured = [f"- {cell(x)}" for x in calibration]
    measured = measured or ["It was not compared with people's labels on the exporting machine."]
    return "\n\n".join([*lines, "\n".join(measured)])


def _results(results: Results) -> str:
    if results.fault is not None:
        return "Games of training are stored with the run, but a file of them is damaged: none are told of here."
    if not results.tables:
        return "None are stored with the run."
    what = (
        f"This export was not evaluated. These are games of the last {LAST} steps of training at most: "
        "training's own requests, sampled answers, opponents that changed meanwhile."
        if results.trained
        else "Stored evaluations, judged by the judge that they name."
    )
    cut = f" Half-written games, left out: {results.cut}." if results.cut else ""
    return (
        f"{what} Intervals are 95 % Wilson intervals over games; they hold for these requests and this "
        f"judge. The games are in `{FOLDER}/`.{cut}\n\n{results.markdown()}"
    )


def _limits(placed: Sequence[Placed], record: Mapping[str, Any]) -> str:
    attacks = any("attacker" in x.weights.roles for x in placed)
    lines = [
        (
            "- For research on making models safer. A defender that withstood these attackers is not safe "
            "against others."
        ),
        "- A judge errs; rates are rates of its verdicts.",
        "- One run with one seed shows nothing about the method.",
    ]
    if attacks:
        lines.insert(
            0, "- **The attacker's weights write harmful requests: that is what they learned.**"
        )
    config = record.get("config", {})
    if is_invented(config.get("world"), config.get("seeds")):
        lines.append(
            "- It was trained in a controlled world, in which every substance is invented."
        )
    return "\n".join(lines)
