"""``redteam-env evaluate --attack``: a standing attack on a defender, with or without a suite."""

from typing import Any

from redteam_env.attacks import parse_attack, resolve_attack
from redteam_env.border.attacks import check_attack
from redteam_env.cli.evaluate import EvaluateOptions
from redteam_env.cli.options import Table
from redteam_env.evaluation.agents import writer_sampling
from redteam_env.evaluation.attacked import UnderAttack
from redteam_env.game import Game, RedteamError
from redteam_env.protocols import Agent, Attack


def attacker_of(options: EvaluateOptions) -> str | None:
    """Return who writes for the attack that the options name; ``None`` if it asks no model.

    Raises:
        RedteamError: If the attack is unknown, or nobody or somebody superfluous is named.
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
        RedteamError: If an option of it is wrong, or it needs more exchanges than the game has.
    """
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
        **more: Further attributes, such as ``progress``.
    """
    return UnderAttack(
        attack=attack,
        defender=defender,
        judge=table.judge,
        game=game,
        attempts=options.tries,
        batch_size=options.batch_size,
        **more,
    )
