"""The base models that come with the package, by the name that a user asks for."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from redteam_env.game import (
    Game,
    GameConfig,
    Prompts,
    RedteamError,
    load_prompts,
    parse_thinking,
    reward_table,
    unknown_name,
)
from redteam_env.utils.files import read_record
from redteam_env.worlds.apothecary import WorldConfig
from redteam_env.worlds.apothecary.corpus import prompts_directory
from redteam_env.worlds.apothecary.levels import APOTHECARY, COUPLED, EASY, HARD
from redteam_env.worlds.published import published_prompts, published_sets

CARD = "card.json"
MODELS: Mapping[str, str] = MappingProxyType(
    {
        APOTHECARY: "0.5 M parameter Qwen2 of the controlled world, Apache-2.0, in this package",
        EASY: "the same with an attacker that tries the rare forms of a name more often",
        HARD: "the same with an attacker that hardly ever tries them",
        COUPLED: "the same with one instruction for both roles and an attacker that sometimes refuses",
    }
)
"""What each embedded model is."""


def embedded_model(name: str) -> Path:
    """Return the directory of an embedded model, which transformers loads.

    Raises:
        RedteamError: If there is no such model.
    """
    if name not in MODELS:
        raise unknown_name("embedded model", name, MODELS)
    return Path(str(resources.files("redteam_env") / "data" / name))


def prompts_path(prompts: str) -> str:
    """Return the instruction texts that a user means, as :func:`load_prompts` takes them.

    Args:
        prompts: The name of an embedded model, for the texts it was pretrained on, the name of a set, or a
            directory.

    Returns:
        The directory, or the name of the set.
    """
    return prompts_directory(coupled=prompts == COUPLED) if prompts in MODELS else prompts


def _prompts(given: Any) -> Prompts:
    """Return the instruction texts that a game's settings name."""
    if given is None:
        return load_prompts()
    name, _, file = str(given).partition(":")
    if name in published_sets():
        return published_prompts(name, file)
    return load_prompts(prompts_path(str(given)))


def build_game(config: GameConfig) -> Game:
    """Return the rules with some settings.

    Args:
        config: The settings of a run or of an environment; seeds and judge are for whoever plays.

    Raises:
        RedteamError: If the instruction texts cannot be read.
    """
    return Game(
        rewards=reward_table(
            config.rewards,
            faithfulness_gate=config.faithfulness_gate,
            drop_unfaithful=config.drop_unfaithful,
            benign_refusal_weight=config.benign_refusal_weight,
        ),
        prompts=_prompts(config.prompts),
        exchanges=config.exchanges,
        credit=config.credit,
        thinking=parse_thinking(config.thinking, config.seats),
        prompt_label=config.prompt_label,
        faithfulness=config.faithfulness,
        faithfulness_threshold=config.faithfulness_threshold,
        leak_on_violation=config.leak_on_violation,
        max_seed_chars=config.max_seed_chars,
        max_action_chars=config.max_action_chars,
        seats=config.seats,
    )


def world_of(directory: Path) -> WorldConfig:
    """Return the world that a model was pretrained on, from the card beside it.

    Raises:
        RedteamError: If there is no card or it cannot be read.
    """
    file = directory / CARD
    remedy = "Name a directory that 'redteam-env worlds pretrain' wrote."
    card = read_record(file, remedy=remedy, needed=["world"])
    try:
        return WorldConfig.from_json(card["world"])
    except (ValueError, KeyError, TypeError) as error:
        raise RedteamError(
            f"{str(file)!r} describes no world ({type(error).__name__}: {error}). {remedy}"
        ) from error
