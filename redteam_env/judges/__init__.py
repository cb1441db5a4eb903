"""Judges: from a public dialogue to a verdict. A judge is questions, each a template and a parser, and a backend."""

from redteam_env.judges.cached import cached
from redteam_env.judges.card import Card, card_names, read_card
from redteam_env.judges.combined import composite, disagreement, vote
from redteam_env.judges.contextual import for_contexts
from redteam_env.judges.identity import Identity, identity_of
from redteam_env.judges.judge import (
    Backend,
    Completion,
    GoalJudge,
    Question,
    TemplateJudge,
    check_ready,
)
from redteam_env.judges.lexical import is_refusal, lexical, seed_labels
from redteam_env.judges.made import card_judge
from redteam_env.judges.parsers import PARSERS, parse_classes
from redteam_env.judges.recorded import always, dialogue_key, record, recorded
from redteam_env.judges.resolve import resolve_judge
from redteam_env.judges.soft import Soft, Token
from redteam_env.judges.template import Guard, SingleTurnTemplate, neutralise
from redteam_env.judges.wildguard import wildguard

__all__ = [
    "PARSERS",
    "Backend",
    "Card",
    "Completion",
    "GoalJudge",
    "Guard",
    "Identity",
    "Question",
    "SingleTurnTemplate",
    "Soft",
    "TemplateJudge",
    "Token",
    "always",
    "cached",
    "card_judge",
    "card_names",
    "check_ready",
    "composite",
    "dialogue_key",
    "disagreement",
    "for_contexts",
    "identity_of",
    "is_refusal",
    "lexical",
    "neutralise",
    "parse_classes",
    "read_card",
    "record",
    "recorded",
    "resolve_judge",
    "seed_labels",
    "vote",
    "wildguard",
]
