"""From what a user names on the command line to agents, and from a run to the settings it implies.

A specification is the name of a registered agent (``refuse``), perhaps with an argument
(``endpoint:MODEL@URL``, a model behind an API), ``base`` (the untrained model), ``attack:METHOD``, a
standing attack (:mod:`redteam_env.attacks`) at the attacker's seat, a run directory, one of its checkpoints, ``mixture:RUN`` (:mod:`redteam_env.evaluation.mixture`), an adapter directory, a
model directory, a known model or a hub id. A run, checkpoint or folder that names the plug-in which plays it
(:mod:`redteam_env.runs`) goes to that; everything else but registered agents goes to
the plug-in ``policy`` of the kind ``agents``. Either is imported only then.
"""

import dataclasses
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from redteam_env import registry
from redteam_env.attacks import resolve_attack
from redteam_env.attacks.agent import AttackAgent
from redteam_env.attacks.resolve import AttackSpec, is_attack, parse_attack_agent
from redteam_env.border.agents import check_agent, check_ready, usage_of
from redteam_env.border.attacks import check_attack
from redteam_env.border.calls import Plugin, as_it_is, call, listed
from redteam_env.evaluation.mixture import is_mixture, load_mixture, run_of
from redteam_env.faithfulness import check_compared
from redteam_env.game import Game, RedteamError
from redteam_env.protocols import BASE, Agent, Judge, Usage
from redteam_env.registry import (
    LOADER,
    build,
    load,
    require,
    resolve_agent,
    settings,
    split_name,
)
from redteam_env.runs import Run, SavedAgent, find_run, find_saved
from redteam_env.trust import check_links, options_of, user_said
from redteam_env.utils.argv import spelled
from redteam_env.utils.consent import confirm, has_person
from redteam_env.worlds import MODELS

ENDPOINT = "endpoint"
"""The plug-in of the kind ``agents`` that asks a server."""
WRITER_TOKENS = 256
"""Room, in tokens, for what the model behind a standing attack writes."""
ATTEMPTS = 10
"""How many attempts a standing attack makes in private, unless its specification says otherwise."""
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


class Sampling(NamedTuple):
    """How an agent's model is asked.

    Attributes:
        max_new_tokens: Longest completion.
        temperature: 0 is greedy.
    """

    max_new_tokens: int
    temperature: float


class AgentPool:
    """Makes agents from specifications; the models behind them are loaded once and shared.

    Args:
        base: The model that ``base`` means and that adapters are put on; by default the base of the
            first run or adapter.
        max_new_tokens: Longest completion of an agent's model, in tokens; by default as in training.
        temperature: Sampling temperature of an agent's model; 0 is greedy. An agent may have another
            one, on the same model (:meth:`agent`).
        allow_other_base: Put adapters on the base even if they were trained on, or name, another one.
        option: How a user names an agent, for messages; ``{role}`` stands for its role.
        game: The rules of the games to be played, which standing attacks need.
        judge: Who reads the attempts of standing attacks.
    """

    def __init__(
        self,
        base: str | None = None,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        *,
        allow_other_base: bool = False,
        option: str = "--{role}",
        game: Game | None = None,
        judge: Judge | None = None,
    ) -> None:
        self._base = base
        self._allow_other_base = allow_other_base
        self._option = option
        self._game = game
        self._judge = judge
        self._attacks: dict[tuple[str, Sampling], AttackAgent] = {}
        self._sampling = Sampling(
            max_new_tokens or policy_defaults().max_new_tokens, float(temperature)
        )
        self._policies: Any = None
        self._told: list[str] = []
        self._registered: dict[tuple[str, str, Sampling], Agent] = {}

    def agents(self, seats: Sequence[tuple[str, str]]) -> list[Agent]:
        """Return an agent for each pair of specification and role.

        ``base`` is made last: without a model of its own it means that of the others.

        Raises:
            RedteamError: As :meth:`agent`.
        """
        order = sorted(range(len(seats)), key=lambda k: seats[k][0] == BASE)
        made = {k: self.agent(*seats[k]) for k in order}
        return [made[k] for k in range(len(seats))]

    def agent(
        self,
        spec: str,
        role: str,
        *,
        temperature: float | None = None,
        max_new_tokens: int | None = None,
    ) -> Agent:
        """Return the agent that a specification names.

        Args:
            spec: See the module's text.
            role: The role it is to play.
            temperature: Sampling temperature of its model; by default the pool's.
            max_new_tokens: Its longest completion; by default the pool's.

        Returns:
            An agent; a registered one is made once for each role and way of sampling, and asked
            whether it is ready.

        Raises:
            RedteamError: If it is none of the allowed kinds, cannot be loaded, or is not ready, as
                an agent whose server does not answer.
        """
        sampling = Sampling(
            max_new_tokens or self._sampling.max_new_tokens,
            self._sampling.temperature if temperature is None else float(temperature),
        )
        return self._agent(spec, role, sampling)

    def _agent(self, spec: str, role: str, sampling: Sampling) -> Agent:
        if _is_registered(spec):
            return self._named(spec, role, sampling)
        check_spec(spec)
        if is_attack(spec):
            return self._attack(spec, role, sampling)
        place = run_of(spec) if is_mixture(spec) else Path(spec).expanduser()
        if place.is_dir():
            check_links(place)
        if is_mixture(spec):
            return load_mixture(spec, role, partial(self._agent, sampling=sampling))
        if (saved := find_saved(spec)) is not None:
            return self._saved(saved, spec, role, sampling)
        if self._policies is None:
            options = {"base": self._base, **self._sampling._asdict()}
            if self._allow_other_base:
                options["allow_other_base"] = True
            self._policies = require(
                build("agents", LOADER, **options), "load", f"plug-in {LOADER!r}"
            )
        found = call(
            Plugin(self._policies, f"plug-in {LOADER!r}", methods=False),
            "load",
            spec,
            role,
            returns="an agent (redteam_env.Agent)",
            read=as_it_is,
            **sampling._asdict(),
        )
        return check_agent(found, f"agent {spec!r}")

    def new_models(self) -> list[str]:
        """Return the models of this process that were loaded since it was asked last, and where each runs."""
        plugin = Plugin(self._policies, f"plug-in {LOADER!r}", methods=False)
        if not hasattr(self._policies, "models"):  # nothing is loaded, or it is another plug-in
            return []
        found = call(plugin, "models", returns="a list of texts", read=_texts)
        new = [words for words in found if words not in self._told]
        self._told += new
        return new

    def usage(self) -> list[dict[str, Any]]:
        """Return what agents behind an API took so far, as plain JSON: one entry for each and role."""
        found: dict[tuple[str, str], Usage] = {}
        for (spec, role, _), agent in self._registered.items():
            usage = usage_of(agent, f"agent {spec!r}")
            if usage is not None:
                earlier = found.get((spec, role))
                found[spec, role] = usage if earlier is None else earlier.plus(usage)
        return [
            {"agent": spec, "role": role, **usage.to_json()}
            for (spec, role), usage in found.items()
        ]

    def queries(self) -> list[dict[str, Any]]:
        """Return what standing attacks cost so far, as plain JSON: one entry for each."""
        return [
            {"agent": spec, **agent.cost.queries.to_json()}
            for (spec, _), agent in self._attacks.items()
        ]

    def _attack(self, spec: str, role: str, sampling: Sampling) -> Agent:
        """Return a standing attack; it is made once, so that its cost is counted in one place."""
        if role != "attacker":
            raise RedteamError(f"{spec!r} attacks; name another agent as {role}.")
        if self._game is None or self._judge is None:
            raise RedteamError(f"{spec!r} needs a judge for its attempts, and there is none here.")
        if (spec, sampling) not in self._attacks:
            check_compared(self._game, self._judge)
            named = parse_attack_agent(spec)
            options = dict(named.options)
            attempts, target = options.pop("attempts", ATTEMPTS), options.pop("target", None)
            if not isinstance(attempts, int) or attempts < 1:
                raise RedteamError(f"{spec!r} makes {attempts!r} attempts; give at least 1.")
            writer = None
            if named.asks_model or named.attacker is not None:
                warm = writer_sampling(named, sampling.max_new_tokens, sampling.temperature)
                writer = self.agent(named.attacker or BASE, "attacker", **warm)
            attack = resolve_attack(dataclasses.replace(named, options=options), attacker=writer)
            self._attacks[spec, sampling] = AttackAgent(
                attack=check_attack(attack, named.method, self._game),
                judge=self._judge,
                game=self._game,
                attempts=attempts,
                target=target and self._agent(str(target), "defender", sampling),
            )
        return self._attacks[spec, sampling]

    def _named(self, spec: str, role: str, sampling: Sampling) -> Agent:
        key = (spec, role, sampling)
        if key not in self._registered:
            agent = resolve_agent(spec, role, **sampling._asdict())
            check_ready(agent, f"agent {spec!r}")
            self._registered[key] = agent
        return self._registered[key]

    def _saved(self, saved: SavedAgent, spec: str, role: str, sampling: Sampling) -> Agent:
        """Return a saved agent; in another role than its own, who played that in its run."""
        if role in saved.others:
            self._check_other(saved, spec, role, sampling)
            return self._agent(saved.others[role], role, sampling)
        if role != saved.role:
            raise RedteamError(
                f"{spec!r} plays the {saved.role} only; name another agent as {role}."
            )
        options = {"directory": saved.directory, "temperature": sampling.temperature}
        found = build("agents", saved.agent, role=role, **options)
        return check_agent(found, f"agent {saved.agent!r} of {spec!r}")

    def _check_other(self, saved: SavedAgent, spec: str, role: str, sampling: Sampling) -> None:
        """Have the user confirm whom a saved agent's file names, unless that is one of ours."""
        other = saved.others[role]
        if other in _ours() or user_said("opponent", other, holder=saved.directory):
            return
        what = f"{other!r} as {role}"
        if split_name(other)[0] == ENDPOINT and has_person():
            asked = resolve_agent(other, role, **sampling._asdict())
            what += f", which asks {getattr(asked, 'reaches', 'a server')}"
        option = self._option.format(role=role)
        named = option.removeprefix("--").replace("-", "_")
        named_by = spelled(named, other) if named != option else f"{option} {other}"
        confirm(what, source=f"The run {spec!r}", named_by=named_by)


def _texts(value: Any) -> list[str]:
    return [str(x) for x in listed(value, "texts")]


def _ours() -> set[str]:
    """Return the specifications that reach nothing but what is installed here."""
    return {*agent_names(), policy_defaults().model, *MODELS, BASE}


def writer_sampling(
    attack: AttackSpec, max_new_tokens: int | None, temperature: float | None
) -> dict[str, Any]:
    """Return how the model behind a standing attack is asked.

    It is asked for several messages, so it samples even where others are greedy, and it has room for a
    message. An agent that plays its own seat (``run``) writes as long as it is used to.

    Args:
        attack: The attack.
        max_new_tokens: The longest completion of others.
        temperature: Their temperature.
    """
    plays = getattr(load("attacks", attack.method), "plays_seat", False)
    least = 0 if plays else WRITER_TOKENS
    return {
        "max_new_tokens": max(max_new_tokens or 0, least) or None,
        "temperature": temperature or 1.0,
    }


def policy_defaults() -> Any:
    """Return the default settings of the policies that are trained here, such as their base model."""
    return settings("policies", "lora")()


def agent_names() -> tuple[str, ...]:
    """Return the names of registered agents that a user can ask for."""
    return tuple(name for name in registry.names("agents") if name != LOADER)


def _is_registered(spec: str) -> bool:
    return split_name(spec)[0] in agent_names()


def check_spec(spec: str) -> None:
    """Check that a specification is of an allowed kind, without loading anything.

    Raises:
        RedteamError: If it is not; the text lists what is allowed.
    """
    names = _ours()
    if spec in names or _is_registered(spec):
        return
    if is_mixture(spec):
        run_of(spec)
        return
    if is_attack(spec):
        check_attack_spec(spec)
        return
    place = Path(spec).expanduser()
    if spec and place.is_dir():
        return
    if _HUB_ID.fullmatch(spec) and not place.parent.is_dir():  # else a mistyped path
        return
    raise registry.unknown_plugin(
        "agents",
        spec,
        names,
        hint="Or name a run, adapter or model directory (there is none of that name), or a hub id "
        "such as owner/name.",
    )


def check_attack_spec(spec: str) -> None:
    """Check the specification of a standing attack, and whom it names.

    Raises:
        RedteamError: If the method is unknown, or an agent it names is of none of the allowed kinds.
    """
    named = parse_attack_agent(spec)
    for other in (named.attacker, named.options.get("target")):
        if other is not None:
            check_spec(str(other))


def run_defaults(specs: Sequence[str]) -> dict[str, Any]:
    """Return the configuration of the first run among specifications.

    Its places are taken from where the run was started, and may be anywhere: in the run of somebody else,
    have them confirmed (:func:`redteam_env.trust.allow`) before they are used.

    Args:
        specs: As for :func:`first_run`.

    Returns:
        The run's flat configuration (model, seeds, judge, rules and so on); empty if no
        specification belongs to a run.

    Raises:
        RedteamError: If a run's configuration is of another schema or damaged.
    """
    run = first_run(specs)
    return {} if run is None else options_of(run) or {}


def first_run(specs: Sequence[str]) -> Run | None:
    """Return the first run among specifications.

    Args:
        specs: Specifications of agents. A checkpoint or adapter inside a run directory stands for
            its run.

    Raises:
        RedteamError: If a run's configuration cannot be read.
    """
    for spec in specs:
        if _is_registered(spec):
            continue
        if is_attack(spec):
            spec = parse_attack_agent(spec).attacker or BASE  # noqa: PLW2901 - who writes
        path = run_of(spec) if is_mixture(spec) else Path(spec).expanduser()
        if not path.is_dir():
            continue
        run = find_run(path)
        if run is not None:
            return run
    return None
