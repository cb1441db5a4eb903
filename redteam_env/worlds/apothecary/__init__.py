"""The apothecary: an invented trade with recipes that may be told and recipes that may not.

A request asks for the recipe of a substance; tactics dress it; the judge decodes any text exactly.
All words for substances and ingredients are invented: nothing harmful exists in this world.
"""

from redteam_env.worlds.apothecary.config import WorldConfig
from redteam_env.worlds.apothecary.corpus import Corpus, Demonstration, prompts_directory
from redteam_env.worlds.apothecary.grammar import Decoded, Language
from redteam_env.worlds.apothecary.judge import ApothecaryJudge, apothecary
from redteam_env.worlds.apothecary.lexicon import Substance, World, make_world
from redteam_env.worlds.apothecary.quiz import Question, is_right, quiz
from redteam_env.worlds.apothecary.scripted import OracleDefender, ScriptedAttacker
from redteam_env.worlds.apothecary.source import seeds, world_seeds
from redteam_env.worlds.apothecary.tactics import TACTICS, combinations

__all__ = [
    "TACTICS",
    "ApothecaryJudge",
    "Corpus",
    "Decoded",
    "Demonstration",
    "Language",
    "OracleDefender",
    "Question",
    "ScriptedAttacker",
    "Substance",
    "World",
    "WorldConfig",
    "apothecary",
    "combinations",
    "is_right",
    "make_world",
    "prompts_directory",
    "quiz",
    "seeds",
    "world_seeds",
]
