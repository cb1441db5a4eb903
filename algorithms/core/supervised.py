"""Supervised examples for both roles, read from a JSON-lines file and checked before training.

Beside the games they keep a defender able, or show an attacker what it would not find by itself: MAGIC
(arXiv 2602.01539) starts its attacker from rewrites written for it. ``redteam-env data sft`` makes such a
file for a defender from a model's own answers.
"""

import sys
from dataclasses import replace
from pathlib import Path

from redteam_env.border.policies import encode_example
from redteam_env.game import (
    ATTACKER,
    DEFENDER,
    Game,
    Generation,
    RedteamError,
    Seed,
    Thinking,
    role_of,
)
from redteam_env.game.thinking import OPEN, compose, split_action
from redteam_env.protocols import TrainablePolicy
from redteam_env.utils import notices
from redteam_env.utils.reading import parse_json, read_lines

_NEEDED = "It needs to be a JSON object with the non-empty texts prompt and response."
_SEATS = {role_of(seat): seat for seat in (DEFENDER, ATTACKER)}


def read_examples(file: str, policy: TrainablePolicy, game: Game) -> dict[str, list[Generation]]:
    """Read examples and tokenise them as their roles are prompted in the game.

    Args:
        file: JSON lines, each an object with the texts ``prompt`` and ``response``, and perhaps
            ``role``, ``defender`` by default. An attacker's ``prompt`` is a seed, with its label
            ``harmful``, true by default, and its ``response`` the rewrite. A line with a ``thought`` is
            put into the game's format as its role's rule of thinking has it (without thinking, the
            thought is left out), or left out with a warning if it is too long; one without stands for
            itself, behind the prefill if there is one.
        policy: Whose tokenizer is used.
        game: Whose instructions and prefill are used.

    Returns:
        For each role with a line, one generation for each of its lines.

    Raises:
        RedteamError: If the file cannot be read, is empty, or a line is wrong; it names the line.
    """
    try:
        lines = list(read_lines(Path(file)))
    except (OSError, RedteamError) as error:
        reason = str(error).rstrip(".")
        raise RedteamError(f"The file of supervised examples {file!r}: {reason}.") from error
    game = replace(game, max_seed_chars=sys.maxsize)  # a defender's prompt may be a long rewrite
    examples: dict[str, list[Generation]] = {}
    cut = 0
    for number, line in lines:
        if not line.strip():
            continue
        role, seed, thought, response = _example(file, number, line)
        seat = _SEATS[role]
        if thought is not None:
            response = _with_thought(thought, response, game.thinking_of(seat))
        messages = game.messages(game.start(seed, rewritten=seat == ATTACKER), seat)
        example = encode_example(policy, role, messages, response, prefill=game.prefill(seat))
        if thought is not None and not example.finished:
            cut += 1  # cut, it would teach to break the format
            continue
        examples.setdefault(role, []).append(example)
    if cut:
        notices.warn(
            f"{cut} of the examples in {file!r} are left out: with their thoughts they are longer than the "
            "longest completion. Raise max_new_tokens to learn from them.",
        )
    if not examples:
        reason = "holds none that fits into the longest completion" if cut else "is empty"
        raise RedteamError(f"The file of supervised examples {file!r} {reason}.")
    return examples


def _with_thought(thought: str, answer: str, rule: Thinking) -> str:
    """Return what a role writes that thought before it answered."""
    if rule is Thinking.NONE:
        return answer
    turn = compose(thought, answer)  # goes behind the prefill, which opens the thought
    return turn if rule is Thinking.REQUIRED else f"{OPEN}{turn}"


def _example(file: str, number: int, line: str) -> tuple[str, Seed, str | None, str]:
    place = f"Line {number} of {file!r}"
    data = parse_json(line, place=place, remedy=_NEEDED)
    texts = [data.get(key) for key in ("prompt", "response")] if isinstance(data, dict) else []
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise RedteamError(f"{place} is no example. {_NEEDED}")
    role, harmful = data.get("role", role_of(DEFENDER)), data.get("harmful", True)
    if role not in tuple(_SEATS):
        raise RedteamError(f"{place} has the role {role!r}; give one of {', '.join(_SEATS)}.")
    if not isinstance(harmful, bool):
        raise RedteamError(f"{place} has harmful = {harmful!r}; give true or false.")
    thought = data.get("thought")
    if thought is not None:
        if not isinstance(thought, str):
            raise RedteamError(
                f"{place} has a thought that is no text; write one, or leave it out."
            )
        turn = split_action(compose(thought, str(texts[1])), Thinking.REQUIRED)
        if not turn.well_formed:
            raise RedteamError(
                f"{place} has a thought, but thought and response do not keep the format of a turn: "
                "neither may be empty or hold a tag such as <answer>."
            )
    seed = Seed(id=f"line {number} of {file}", text=str(texts[0]), harmful=harmful)
    return role, seed, thought, str(texts[1])
