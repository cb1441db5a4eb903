"""Judges: from a public dialogue to a verdict. A judge is a template, a parser and a backend."""

from redteam_env.judges.cached import cached
from redteam_env.judges.combined import composite, disagreement, vote
from redteam_env.judges.identity import Identity, identity_of
from redteam_env.judges.judge import Backend, Completion, TemplateJudge, check_ready
from redteam_env.judges.lexical import is_refusal, lexical
from redteam_env.judges.parsers import parse_classes
from redteam_env.judges.recorded import always, dialogue_key, record, recorded
from redteam_env.judges.resolve import resolve_judge
from redteam_env.judges.template import SingleTurnTemplate, neutralise
from redteam_env.judges.wildguard import wildguard

__all__ = [
    "Backend",
    "Completion",
    "Identity",
    "SingleTurnTemplate",
    "TemplateJudge",
    "always",
    "cached",
    "check_ready",
    "composite",
    "dialogue_key",
    "disagreement",
    "identity_of",
    "is_refusal",
    "lexical",
    "neutralise",
    "parse_classes",
    "record",
    "recorded",
    "resolve_judge",
    "vote",
    "wildguard",
]
