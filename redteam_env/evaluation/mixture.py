"""The mixture that a league ended with, as an agent: ``mixture:RUN``.

The solution of PSRO is its meta-strategy, a distribution over frozen versions; the newest version alone
is only the last response to it. ``league.json`` in a checkpoint holds the mixture, the run's folder
``opponents`` the versions.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redteam_env.evaluation.saved import latest_checkpoint
from redteam_env.game import RedteamError
from redteam_env.protocols import Agent, Reply, TurnRequest
from redteam_env.randomness import generator
from redteam_env.utils.manifest import verify_manifest
from redteam_env.utils.packages import sha256_of

PREFIX = "mixture:"
FILE = "league.json"
FOLDER = "opponents"
LEAST_SHARE = 1e-9
"""Members below it are left out: solvers leave rounding errors where they mean 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureAgent:
    """Plays each game with one of several agents, drawn anew for every game.

    The draw depends on the game's path only, so all turns of a game are one member's.

    Attributes:
        members: The agents.
        shares: How often each plays; they sum to 1.
    """

    members: Sequence[Agent]
    shares: Sequence[float]

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Answer every request, in order."""
        chosen = [self._member(request) for request in requests]
        replies: dict[int, Reply] = {}
        for member in sorted(set(chosen)):
            places = [k for k, one in enumerate(chosen) if one == member]
            own = self.members[member].act([requests[k] for k in places])
            replies |= dict(zip(places, own, strict=True))
        return [replies[k] for k in range(len(requests))]

    def _member(self, request: TurnRequest) -> int:
        # a turn's path ends with ("sample", its number); a question of a quiz is a path of its own
        turn = request.path[-2:-1] == ("sample",)
        game = request.path[:-1] if turn else request.path
        return int(generator((*game, "member")).choice(len(self.shares), p=self.shares))


def is_mixture(spec: str) -> bool:
    """Whether a specification names a mixture."""
    return spec.startswith(PREFIX)


def run_of(spec: str) -> Path:
    """Return the run or checkpoint that a mixture's specification names.

    Raises:
        RedteamError: If there is no such directory.
    """
    place = Path(spec.removeprefix(PREFIX)).expanduser()
    if not place.is_dir():
        raise RedteamError(
            f"{spec!r} names no directory; write mixture:RUN with a run of --opponents psro, or one "
            "of its checkpoints."
        )
    return place


def load_mixture(spec: str, role: str, load: Callable[[str, str], Agent]) -> MixtureAgent:
    """Return the agent that plays a league's final mixture.

    Args:
        spec: ``mixture:RUN``, or one of its checkpoints instead of the run.
        role: The role it is to play.
        load: Makes a member from its folder and the role.

    Returns:
        The agent.

    Raises:
        RedteamError: If the run has no mixture or ended before it learnt one, or a frozen version is
            gone or was altered.
    """
    place = run_of(spec)
    checkpoint = latest_checkpoint(place) if (place / "checkpoints").is_dir() else place
    verify_manifest(checkpoint)
    shares, digests = _read(checkpoint, spec, role)
    versions = checkpoint.resolve().parents[1] / FOLDER
    for name in shares:
        for file, digest in digests[name].items():
            path = versions / name / file
            if not path.is_file() or sha256_of(path) != digest:
                raise RedteamError(
                    f"The member {name!r} of {spec!r} is gone or was altered: {str(path)!r}. "
                    "Restore it, or name a checkpoint that does not need it."
                )
    total = sum(shares.values())
    return MixtureAgent(
        members=[load(str(versions / name), role) for name in shares],
        shares=[share / total for share in shares.values()],
    )


def _read(
    checkpoint: Path, spec: str, role: str
) -> tuple[dict[str, float], Mapping[str, Mapping[str, str]]]:
    """Return the share of each version that plays, and the SHA-256 of the files of all."""
    try:
        record: Any = json.loads((checkpoint / FILE).read_text(encoding="utf-8"))
        state = record["state"]
        versions = state[f"{role}s"]
        shares = dict(zip(versions, state["meta"][role], strict=True))
        found = {name: float(x) for name, x in shares.items() if x > LEAST_SHARE}
        own = {name: record["versions"][name] for name in found}
        unlearnt = set(versions) <= set(dict(state.get("first", {})).values())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RedteamError(
            f"{spec!r} has no mixture of the {role} ({type(error).__name__}: {error}); name a run of "
            "--opponents psro."
        ) from error
    if unlearnt:
        raise RedteamError(
            f"{spec!r} holds nothing but the weights that the run began with: it ended within its first "
            "round. Give training more steps or, if it ended by tokens, more of them, or shorter rounds."
        )
    return found, own
