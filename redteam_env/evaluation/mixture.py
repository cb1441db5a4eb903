"""The mixture that a league ended with, as an agent: ``mixture:RUN``.

The solution of PSRO is its meta-strategy, a distribution over frozen versions; the newest version alone
is only the last response to it. ``league.json`` in a checkpoint holds the mixture, the run's folder
``opponents`` the versions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from redteam_env.evaluation.dispatch import Dispatcher
from redteam_env.game import RedteamError
from redteam_env.protocols import Agent, TurnRequest
from redteam_env.randomness import generator
from redteam_env.runs import LEAGUE, find_run, newest, read_league
from redteam_env.utils.files import check_digests, verify_manifest
from redteam_env.utils.places import is_name

PREFIX = "mixture:"
LEAST_SHARE = 1e-9
"""Members below it are left out: solvers leave rounding errors where they mean 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Draws who plays a game: each seat has its own draw, and all turns of it are one member's.

    Attributes:
        shares: How often each member plays, by name; they sum to 1.
    """

    shares: Mapping[str, float]

    def __call__(self, request: TurnRequest) -> str:
        """Return the name of the member that answers a request."""
        game = (*request.game, request.seat, "sample") if request.game else request.path
        k = generator((*game, "member")).choice(len(self.shares), p=list(self.shares.values()))
        return list(self.shares)[int(k)]


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


def load_mixture(spec: str, role: str, load: Callable[[str, str], Agent]) -> Dispatcher:
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
    checkpoint = newest(place)
    verify_manifest(checkpoint)
    shares, digests = _read(checkpoint, spec, role)
    run = find_run(checkpoint)
    if run is None:
        raise RedteamError(
            f"{str(checkpoint)!r} lies in no run, whose folder 'opponents' holds the mixture's members; "
            "name the checkpoint in its run."
        )
    versions = run.opponents_folder
    for name in shares:
        if not is_name(name):
            raise RedteamError(
                f"{str(checkpoint / LEAGUE)!r} names the version {name!r}, which is no name of a folder "
                "in the run's 'opponents'; use another run."
            )
        check_digests(
            versions / name,
            digests[name],
            what=f"The member {name!r} of {spec!r}",
            remedy="Restore it, or name a checkpoint that does not need it.",
        )
    total = sum(shares.values())
    return Dispatcher(
        agents={name: load(str(versions / name), role) for name in shares},
        choose=Draw(shares={name: share / total for name, share in shares.items()}),
    )


def _read(
    checkpoint: Path, spec: str, role: str
) -> tuple[dict[str, float], Mapping[str, Mapping[str, str]]]:
    """Return the share of each version that plays, and the SHA-256 of the files of all."""
    league = read_league(checkpoint)
    remedy = "name a run of --opponents psro."
    if league is None:
        raise RedteamError(f"{spec!r} has no mixture: there is no {LEAGUE}; {remedy}")
    try:
        state = league["state"]
        versions = state[f"{role}s"]
        shares = dict(zip(versions, state["meta"][role], strict=True))
        found = {name: float(x) for name, x in shares.items() if x > LEAST_SHARE}
        own = {name: dict(league["versions"][name]) for name in found}
        unlearnt = set(versions) <= set(dict(state.get("first", {})).values())
    except (ValueError, KeyError, TypeError) as error:
        raise RedteamError(
            f"{spec!r} has no mixture of the {role} ({type(error).__name__}: {error}); {remedy}"
        ) from error
    if unlearnt:
        raise RedteamError(
            f"{spec!r} holds nothing but the weights that the run began with: it ended within its first "
            "round. Give training more steps or, if it ended by tokens, more of them, or shorter rounds."
        )
    return found, own
