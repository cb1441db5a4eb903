"""What others may write, a module for each kind of plug-in; all names are handed out here.

Everything is structural (``typing.Protocol``): a class with the right methods is enough, no base class
is needed, and no type of a deep-learning framework appears. Every method may be ``async``: each call
then runs to its end in an event loop of its own, so a client that belongs to a loop is made in the call.
What is returned is checked (:mod:`redteam_env.border`).
"""

from redteam_env.protocols.agents import (
    Agent,
    Drafter,
    Progress,
    Reply,
    Scorer,
    TurnRequest,
    Usage,
)
from redteam_env.protocols.algorithms import Algorithm, AlgorithmState
from redteam_env.protocols.attacks import Attack, Attempts, Queries
from redteam_env.protocols.batch import Batch
from redteam_env.protocols.callbacks import Callback, Row, TrainingRun
from redteam_env.protocols.embedders import Embedder
from redteam_env.protocols.judges import ContentMeasure, ExactJudge, Judge, SeedJudge
from redteam_env.protocols.loggers import LoggedRun, Logger, LogTable
from redteam_env.protocols.opponents import League, Match, OpponentSampler, Result
from redteam_env.protocols.policies import (
    BASE,
    AnchoredPolicy,
    Derivatives,
    LeaguePolicy,
    TrainablePolicy,
    ValuedPolicy,
)
from redteam_env.protocols.rollouts import GameSetup, Rollout
from redteam_env.protocols.seeds import DataCard, SeedSource
from redteam_env.protocols.suites import QuestionSuite, RequestSuite, Suite
from redteam_env.protocols.worlds import ENGLISH, WorldOptions, speaks

__all__ = [
    "BASE",
    "ENGLISH",
    "Agent",
    "Algorithm",
    "AlgorithmState",
    "AnchoredPolicy",
    "Attack",
    "Attempts",
    "Batch",
    "Callback",
    "ContentMeasure",
    "DataCard",
    "Derivatives",
    "Drafter",
    "Embedder",
    "ExactJudge",
    "GameSetup",
    "Judge",
    "League",
    "LeaguePolicy",
    "LogTable",
    "LoggedRun",
    "Logger",
    "Match",
    "OpponentSampler",
    "Progress",
    "Queries",
    "QuestionSuite",
    "Reply",
    "RequestSuite",
    "Result",
    "Rollout",
    "Row",
    "Scorer",
    "SeedJudge",
    "SeedSource",
    "Suite",
    "TrainablePolicy",
    "TrainingRun",
    "TurnRequest",
    "Usage",
    "ValuedPolicy",
    "WorldOptions",
    "speaks",
]
