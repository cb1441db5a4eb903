"""Which calls of a thing fail."""

import threading
from dataclasses import dataclass, field

from redteam_env.game import RedteamError
from redteam_env.randomness import generator


@dataclass(slots=True, kw_only=True)
class When:
    """Which calls fail, and a count of them; calls are numbered from 1.

    Give one of ``at``, ``since`` and ``rate``; without any, no call fails and all are counted. Whether a call
    fails depends on its number and the seed alone.

    Attributes:
        at: This call fails.
        since: This call and all after it fail, as on a disk that is full.
        rate: This share of calls fails, from 0 to 1.
        seed: Which ones, with ``rate``.
        calls: How many calls there were.
        failed: How many of them failed.
    """

    at: int | None = None
    since: int | None = None
    rate: float | None = None
    seed: int = 0
    calls: int = field(default=0, init=False)
    failed: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        given = [x for x in (self.at, self.since, self.rate) if x is not None]
        if len(given) > 1:
            raise RedteamError(f"{self} says when calls fail in {len(given)} ways; give one.")
        if any(x is not None and x < 1 for x in (self.at, self.since)):
            raise RedteamError(f"{self} counts from 1; give at least 1.")
        if self.rate is not None and not 0 <= self.rate <= 1:
            raise RedteamError(f"rate is {self.rate!r}; give a share from 0 to 1.")

    def due(self) -> bool:
        """Count a call, and return whether it fails."""
        with self._lock:
            self.calls += 1
            fails = self._fails(self.calls)
            self.failed += fails
            return fails

    def _fails(self, call: int) -> bool:
        if self.rate is not None:
            return bool(generator((self.seed, "fault", call)).random() < self.rate)
        return call == self.at or (self.since is not None and call >= self.since)
