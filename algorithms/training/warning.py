"""Warnings while a run goes on, where its numbers mean little: each is said once, in words."""

from collections import Counter, defaultdict, deque
from collections.abc import Sequence

from rich.console import Console

from algorithms.training.metrics import DISAGREES, disagreements
from redteam_env.border.judges import notice
from redteam_env.protocols import Callback, Row, TrainingRun
from redteam_env.utils.text import safe_text

LEAST_SIGNAL = 0.05
PATIENCE = 10
MOST_WRONG = 0.2
LEAST_READ = 10
MOST_FAULTY = 0.3
"""The share of turns, or of rewrites, from which a fault is warned of."""
LEAST_TURNS = 20
FAITHFUL = "game/faithfulness"
_FAULTS = {
    "forfeits": (
        "are forfeited",
        "an empty turn is a lost game. Look at its games, or take another model or --prompts.",
    ),
    "format_violations": (
        "break the format of thought and answer",
        "the format decides its games. Give --thinking none or optional, or more --max-new-tokens.",
    ),
    "truncated": (
        "are cut at a limit",
        "what it learns from has no end. Give more --max-new-tokens.",
    ),
}
"""What is wrong with turns, by the name of its share in a row; and what that means."""


def warn(console: Console, line: str) -> None:
    """Print a warning, which may name what others wrote."""
    console.print(safe_text(line), soft_wrap=True)


class SignalWarning(Callback):
    """Warns when nearly all games pay a role the same: once ``ROLE/signal`` stays low for ten steps.

    It counts the steps of this call, and warns anew only after better ones.

    Args:
        roles: The roles that learn.
        console: Where to say it: the live table's, so that the warning stands above it.
    """

    def __init__(self, roles: Sequence[str], console: Console) -> None:
        self._roles = roles
        self._console = console
        self._low: Counter[str] = Counter()

    def on_update(self, step: int, row: Row) -> None:
        """Count the steps in a row with little signal; those without games count for nothing."""
        for role in self._roles:
            signal = row.get(f"{role}/signal")
            if signal is None:
                continue
            self._low[role] = self._low[role] + 1 if signal < LEAST_SIGNAL else 0
            if self._low[role] == PATIENCE:
                warn(
                    self._console,
                    f"Warning: in each of the last {PATIENCE} steps, more than "
                    f"{1 - LEAST_SIGNAL:.0%} of the {role}'s games paid the same ({role}/signal is "
                    f"{signal:.3g}): there is little to learn from. Give it an opponent it can win and "
                    "lose against, other rewards, or more games a step.",
                )


class LabelWarning(Callback):
    """Warns once when the judge reads too many raw requests otherwise than their seeds are labelled.

    The games are paid by the seeds' labels all the same, unless ``prompt_label`` is ``judge``; but such a
    judge reads rewrites no better, and drift and faithfulness rest on what it says. It counts the games
    of this call. At the start it says the judge's notice, if there is one.

    Args:
        console: Where to say it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._found: list[bool] = []
        self._warned = False

    def on_start(self, run: TrainingRun) -> None:
        """Take note of the run."""
        self._run = run
        if (said := notice(run.judge)) is not None:
            warn(self._console, said)

    def on_update(self, step: int, row: Row) -> None:
        """Count the raw games of a step."""
        if self._warned:
            return
        self._found += disagreements(self._run.episodes)
        games, wrong = len(self._found), sum(self._found)
        if games < LEAST_READ or wrong <= MOST_WRONG * games:
            return
        self._warned = True
        warn(
            self._console,
            f"Warning: the judge {self._run.judge.name!r} reads {wrong} of {games} raw requests otherwise "
            f"than their seeds are labelled ({DISAGREES}). It reads rewrites no better: take what it says "
            "of drift and faithfulness with care, or choose another --judge.",
        )


class HealthWarning(Callback):
    """Warns once of each fault that more than three tenths of a role's turns have, or of the rewrites.

    Looked at are forfeits, broken formats and cut turns of each role, and rewrites whose label is not
    the seed's, over the last ten steps of this call.

    Args:
        roles: The roles that play.
        console: Where to say it.
    """

    def __init__(self, roles: Sequence[str], console: Console) -> None:
        self._console = console
        self._roles = roles
        self._seen: defaultdict[str, deque[tuple[float, float]]] = defaultdict(
            lambda: deque(maxlen=PATIENCE)
        )
        self._warned: set[str] = set()

    def on_update(self, step: int, row: Row) -> None:
        """Count the turns of a step."""
        for role in self._roles:
            for name, (fault, meaning) in _FAULTS.items():
                share = self._share(f"{role}/{name}", row.get(f"{role}/turns"), row)
                if share is not None:
                    self._warn(
                        f"{role}/{name}",
                        f"{share:.0%} of the {role}'s turns {fault} ({role}/{name}): {meaning}",
                    )
        faithful = self._share(FAITHFUL, row.get("game/games"), row)
        if faithful is not None:
            self._warn(
                FAITHFUL,
                f"{1 - faithful:.0%} of the rewrites do not have their seed's label ({FAITHFUL} is "
                f"{faithful:.2f}): attack success is about other requests than those that were asked for.",
            )

    def _share(self, name: str, weight: float | None, row: Row) -> float | None:
        """Return a share over the last steps, if it is a fault that is to be warned of."""
        value = row.get(name)
        if value is None or not weight or name in self._warned:
            return None
        self._seen[name].append((value, weight))
        turns = sum(number for _, number in self._seen[name])
        share = sum(own * number for own, number in self._seen[name]) / turns
        fault = 1 - share if name == FAITHFUL else share
        most = MOST_FAULTY + 1e-9  # sums are rounded
        return share if turns >= LEAST_TURNS and fault > most else None

    def _warn(self, name: str, line: str) -> None:
        self._warned.add(name)
        warn(self._console, f"Warning: {line}")
