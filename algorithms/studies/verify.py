"""Whether a report holds: where its figures differ from those computed again, its verdicts judged again.

Another processor rounds the last bits differently. So numbers are compared with a tolerance, and
records in a list by what names them rather than by their place, which two nearly equal scores swap.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any

from algorithms.studies.games import Games

RELATIVE, ABSOLUTE = 1e-9, 1e-12
"""Numbers that differ by less than one of these are equal; the second counts near zero."""
_NAMING = ("label", "arrangement", "attacker", "defender", "split", "paper", "prediction", "part")
"""Fields that say which record of a list one is; all others are figures."""
_MOST = 10
Labels = tuple[bool | None, bool | None, bool | None]
Say = Callable[[str], None]
"""Told what is being done."""


def differences(stored: Any, computed: Any, where: str = "") -> list[str]:
    """Return where two figures, both plain JSON, differ; at most ten places.

    Args:
        stored: What was stored.
        computed: The same, computed again.
        where: What the figures are called; each difference is named by it and by the keys within.
    """
    return list(islice(_differences(stored, computed, where), _MOST))


def plain(figures: Any) -> Any:
    """Return figures as plain JSON data, as they are stored and compared."""
    return json.loads(json.dumps(figures, allow_nan=False))


def wrong_verdicts(played: Games, judge: Callable[[str, str], Labels]) -> Iterator[str]:
    """Yield which stored verdicts are not those that a judge gives again.

    Args:
        played: Games, no questions; what is void or forfeited was not judged.
        judge: Returns for a prompt and a response whether the prompt is harmful, the response refuses,
            and the response is harmful. The same two are judged once.
    """
    again = cache(judge)
    names = ("seed_id", "prompt", "response", "prompt_harmful", "refused", "told")
    for seed_id, prompt, response, *stored in zip(
        *(played[name].tolist() for name in names), strict=True
    ):
        if stored[0] is None and stored[1] is None:
            continue
        found = again(prompt, response)
        if tuple(stored) != found:
            yield f"{seed_id!r}: {prompt!r} was stored as {stored}, is {list(found)}"


def close(first: float, second: float) -> bool:
    """Return whether two numbers are equal but for rounding."""
    return math.isclose(first, second, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def _differences(stored: Any, computed: Any, where: str) -> Iterator[str]:
    if isinstance(stored, list) and isinstance(computed, list):
        if (one := _named(stored)) and (two := _named(computed)):
            stored, computed = one, two
        elif len(stored) != len(computed):
            yield f"{where} has {len(stored)} entries, not {len(computed)}"
            return
        else:
            stored, computed = dict(enumerate(stored)), dict(enumerate(computed))
    if isinstance(stored, dict) and isinstance(computed, dict):
        for name in sorted({*stored, *computed}):
            place = f"{where}/{name}"
            if (name in stored) != (name in computed):
                yield f"{place} is missing on one side"
            else:
                yield from _differences(stored[name], computed[name], place)
    elif not _equal(stored, computed):
        yield f"{where}: {stored!r} stored, {computed!r} now"


def _named(records: Sequence[Any]) -> Mapping[str, Any] | None:
    """Return records by their names; ``None`` if they have none, or two the same."""
    if not all(isinstance(record, dict) for record in records):
        return None
    names = [", ".join(str(x[field]) for field in _NAMING if field in x) for x in records]
    if not all(names) or len({*names}) < len(names):
        return None
    return dict(zip(names, records, strict=True))


def _equal(stored: Any, computed: Any) -> bool:
    kinds = {type(stored), type(computed)}
    if float in kinds and kinds <= {float, int}:
        return close(stored, computed)
    return bool(stored == computed) and (bool not in kinds or len(kinds) == 1)
