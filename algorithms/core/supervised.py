"""Supervised examples for the defender, read from a JSON-lines file and checked before training."""

import json
from pathlib import Path

from redteam_env.game import DEFENDER, Game, Generation, RedteamError, role_of
from redteam_env.protocols import TrainablePolicy


def read_examples(file: str, policy: TrainablePolicy, game: Game) -> list[Generation]:
    """Read examples and tokenise them as the defender is prompted in the game.

    Args:
        file: JSON lines, each an object with the texts ``prompt`` and ``response``.
        policy: Whose tokenizer is used.
        game: Whose instruction and prefill are used.

    Returns:
        One generation for each line.

    Raises:
        RedteamError: If the file cannot be read, is empty, or a line lacks a text; it names the line.
    """
    role = role_of(DEFENDER)
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RedteamError(f"The file of supervised examples {file!r}: {error}.") from error
    rules = game.prompts.rules(role, harmful=False, must_think=game.must_think(DEFENDER))
    examples = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        prompt, response = _example(file, number, line)
        messages = [{"role": "system", "content": rules}, {"role": "user", "content": prompt}]
        prefill = game.prefill(DEFENDER)
        examples.append(policy.encode_example(role, messages, response, prefill=prefill))
    if not examples:
        raise RedteamError(f"The file of supervised examples {file!r} is empty.")
    return examples


def _example(file: str, number: int, line: str) -> tuple[str, str]:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        data = None
    texts = [data.get(key) for key in ("prompt", "response")] if isinstance(data, dict) else []
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise RedteamError(
            f"Line {number} of {file!r} is no example; it needs to be a JSON object with the "
            "non-empty texts prompt and response."
        )
    return str(texts[0]), str(texts[1])
