"""``redteam-env evaluate --attack``: a standing attack on a defender, with or without a suite."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from redteam_env.attacks import parse_attack, resolve_attack
from redteam_env.border.attacks import check_attack
from redteam_env.cli.evaluate import SCHEMA, EvaluateOptions
from redteam_env.cli.options import Table
from redteam_env.evaluation.agents import writer_sampling
from redteam_env.evaluation.attacked import UnderAttack
from redteam_env.evaluation.kept import KeptGames
from redteam_env.evaluation.stored import read_game
from redteam_env.faithfulness import check_compared
from redteam_env.game import Episode, Game, RedteamError
from redteam_env.protocols import Agent, Attack, GameSetup, Progress, Queries
from redteam_env.utils.files import write_text
from redteam_env.utils.reading import read_json_lines

PART = 32
"""Requests that are attacked together; their attempts are written then."""
_REMEDY = "Remove the file, and its requests are attacked anew."


def attacker_of(options: EvaluateOptions) -> str | None:
    """Return who writes for the attack that the options name; ``None`` if it asks no model.

    Raises:
        RedteamError: If the attack is unknown, or lacks its writer, or has one that it does not ask.
    """
    spec = parse_attack(str(options.attack))
    if spec.attacker and options.attacker:
        raise RedteamError(
            f"--attack {options.attack} and --attacker {options.attacker} both name who writes; give one."
        )
    named = spec.attacker or options.attacker
    if not spec.asks_model:
        if named is not None:
            raise RedteamError(f"The attack {spec.method!r} asks no model; leave {named!r} out.")
        return None
    if named is None and options.agent is None:
        raise RedteamError(
            f"The attack {spec.method!r} asks a model for its messages; name one with --attacker."
        )
    return named or options.agent


def attack_of(options: EvaluateOptions, table: Table) -> Attack:
    """Return the attack that the options name, with its model loaded.

    Raises:
        RedteamError: If an option of it is wrong, it needs more exchanges than the game has, or nobody
            reads its messages.
    """
    check_compared(table.game, table.judge)
    spec, writer = parse_attack(str(options.attack)), attacker_of(options)
    agent: Agent | None = None
    if writer is not None:
        sampling = writer_sampling(spec, options.max_new_tokens, options.temperature)
        sampling["max_new_tokens"] = options.max_new_tokens or sampling["max_new_tokens"]
        agent = table.pool.agent(writer, "attacker", **sampling)
    attack = resolve_attack(spec, attacker=agent, seed=options.seed)
    return check_attack(attack, spec.method, table.game)


def under_attack(
    options: EvaluateOptions, table: Table, attack: Attack, defender: Agent, game: Game, **more: Any
) -> UnderAttack:
    """Return what makes the attempts at a defender.

    Args:
        options: The command's options.
        table: Everything else that is played with.
        attack: The attack.
        defender: Who answers.
        game: The rules.
        **more: Further attributes, such as ``progress``, or another ``judge``.
    """
    return UnderAttack(
        attack=attack,
        defender=defender,
        game=game,
        attempts=options.tries,
        batch_size=options.batch_size,
        **{"judge": table.judge, **more},
    )


def _shifted(shown: Progress, before: int, total: int, phase: str, done: int, _: int) -> None:
    shown(phase, before + done, total)


@dataclass(frozen=True, slots=True)
class AttackedParts:
    """The attempts at requests, kept in a file while these are attacked.

    A search may take hours; what was found is kept part by part, and the same command goes on from there.

    Attributes:
        kept: Keeps them, and says when to stop.
        name: What their file is called, without its ending.
    """

    kept: KeptGames
    name: str

    def attack(
        self, attacking: UnderAttack, setups: Sequence[GameSetup]
    ) -> list[Sequence[Episode]]:
        """Return the attempts at each request, those from the file first.

        Raises:
            RedteamError: If the file holds other games, or an agent or the judge breaks its protocol.
            KeyboardInterrupt: If it is to stop; the parts that have ended are kept.
        """
        places = {setup.group: setup for setup in setups}
        tried = self._read(attacking, places)
        shown = attacking.progress
        left = [setup for setup in setups if setup.group not in tried]
        for start in range(0, len(left), PART):
            if self.kept.stopping():
                raise KeyboardInterrupt
            part, before = left[start : start + PART], len(tried)
            if shown is not None:
                attacking.progress = partial(_shifted, shown, before, len(setups))
            for setup, own in zip(part, attacking(part), strict=True):
                tried[setup.group] = list(own)
            head = json.dumps({"schema": SCHEMA, "queries": attacking.queries.to_json()})
            games = [x.to_json() for own in tried.values() for x in own]
            text = "".join(f"{line}\n" for line in [head, *games])
            self.kept.write(self.name, partial(write_text, text=text))
        return [tried[setup.group] for setup in setups]

    def _read(
        self, attacking: UnderAttack, setups: Mapping[int, GameSetup]
    ) -> dict[int, list[Episode]]:
        file = self.kept.file(self.name)
        if file is None or not file.is_file():
            return {}
        tried: dict[int, list[Episode]] = {}
        lines, damaged = read_json_lines(file, remedy=_REMEDY)
        if damaged is not None or not lines:  # it is written whole
            raise RedteamError(f"{damaged or repr(str(file))} is damaged. {_REMEDY}")
        (place, head), *games = lines
        try:
            attacking.queries = Queries(**{x: int(y) for x, y in head["queries"].items()})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RedteamError(f"{place} tells no queries. {_REMEDY}") from error
        for place, record in games:
            episode = read_game(record, place, _REMEDY)
            if episode.group not in setups or episode.seed != setups[episode.group].seed:
                raise RedteamError(f"{place} is a game of another request. {_REMEDY}")
            tried.setdefault(episode.group, []).append(episode)
        return tried
