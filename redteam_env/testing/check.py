"""The conformance check that users run on their own variants of the game."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from redteam_env.game import RedteamError
from redteam_env.game.values import Unfit, whole
from redteam_env.testing.conformance import (
    Factory,
    aec_suite,
    both_faces_suite,
    parallel_suite,
    quiet,
)
from redteam_env.testing.driver import Driver
from redteam_env.testing.invariants import RULES, faces_agree, without_torch


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What :func:`check_game` found in order.

    Attributes:
        passed: The names of the checks, in the order in which they passed.
    """

    passed: tuple[str, ...]


def check_game(
    factory: Factory,
    *,
    parallel_factory: Factory | None = None,
    cycles: int = 1000,
    seed: int = 0,
) -> CheckReport:
    """Check that a variant of the game keeps PettingZoo's contract and the game's own rules.

    Random, tagged, malformed and hostile texts are played. The variant needs a judge that is cheap,
    runs no model in this process, and gives the same dialogue the same verdict (``lexical`` does).

    Args:
        factory: Returns a fresh AEC or parallel environment each time, for example
            ``lambda: redteam_env.env(exchanges=2)``.
        parallel_factory: The same variant's parallel face, if ``factory`` gives the AEC one; both
            are then checked, also against each other.
        cycles: Length of PettingZoo's tests, at least 1.
        seed: For our own games, at least 0.

    Returns:
        The names of the checks that passed: all of them.

    Raises:
        AssertionError: If a rule is broken; the message names the rule.
        RedteamError: If an argument is wrong, such as a factory of something else.
    """
    cycles, seed = _number("cycles", cycles, 1), _number("seed", seed, 0)
    _check_arguments(factory, parallel_factory)
    torch_before = "torch" in sys.modules
    with quiet():
        is_parallel = Driver(factory()).parallel
        checks = parallel_suite(factory, cycles) if is_parallel else aec_suite(factory, cycles)
        checks |= _rules(factory, seed)
        if parallel_factory is not None:
            if is_parallel or not Driver(parallel_factory()).parallel:
                raise RedteamError(
                    "With parallel_factory, factory must give an AEC environment and "
                    "parallel_factory a parallel one."
                )
            checks |= parallel_suite(parallel_factory, cycles)
            checks |= both_faces_suite(factory, parallel_factory)
            checks |= _rules(parallel_factory, seed, prefix="parallel: ")
            makers = (lambda: Driver(factory())), (lambda: Driver(parallel_factory()))
            checks["both faces play the same game"] = partial(faces_agree, *makers, seed)
        checks["no torch"] = partial(without_torch, torch_before)
        for name, check in checks.items():
            _run(name, check)
    return CheckReport(passed=tuple(checks))


def _rules(factory: Factory, seed: int, prefix: str = "") -> dict[str, Callable[[], None]]:
    return {
        f"{prefix}{name}": partial(rule, lambda: Driver(factory()), seed)
        for name, rule in RULES.items()
    }


def _run(name: str, check: Callable[[], None]) -> None:
    try:
        check()
    except AssertionError as error:
        raise AssertionError(f"Broken rule: {name}: {error}") from error
    except Exception as error:
        raise AssertionError(f"Broken rule: {name}: {type(error).__name__}: {error}") from error


def _check_arguments(factory: object, parallel: object) -> None:
    for name, thing in (("factory", factory), ("parallel_factory", parallel)):
        if not callable(thing) and not (thing is None and name == "parallel_factory"):
            raise RedteamError(
                f"{name} is {thing!r}; give a function that returns a fresh environment, such as "
                "lambda: redteam_env.env()."
            )


def _number(name: str, value: object, least: int) -> int:
    """Return a whole number; numpy's become Python's."""
    try:
        number = whole(value)
    except Unfit:
        number = least - 1
    if number < least:
        raise RedteamError(f"{name} is {value!r}; give a whole number of at least {least}.")
    return number
