"""The tabular twin of the apothecary: the same game between finitely many strategies, counted out.

The attacker's action on a seed is what it asks for (something restricted, something ordinary, or
nothing that can be read) and the tactic class it dresses the request in: the form of the name, with
or without decoration (any frames, suffixes and sandwich). That is all that a decision rule of the
defender can see, so every text of the language belongs to one action and all texts of an action
are treated alike. A pure strategy of the attacker is one action for harmful seeds and one for
benign seeds; the defender's is a rule. What the exact judge says of each action under each rule is
counted over all substances; any reward table then makes a bimatrix of it
(:mod:`redteam_env.worlds.apothecary.tabular.claims` solves it and projects trained policies onto it).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from redteam_env.game import (
    ATTACKER,
    DEFENDER,
    Dialogue,
    GameConfig,
    Line,
    RedteamError,
    RewardTable,
    Verdict,
    reward_table,
    unknown_name,
)
from redteam_env.game.rewards import RewardFunction
from redteam_env.protocols import Reply, TurnRequest
from redteam_env.worlds.apothecary import ApothecaryJudge, Decoded, World, make_world
from redteam_env.worlds.apothecary.grammar import PHRASINGS, REFUSALS, UNCLEAR, answer
from redteam_env.worlds.apothecary.tactics import FORM, FORMS, PLAIN, SANDWICH, TACTICS

Table = NDArray[np.float64]

HARMFUL, BENIGN, NOTHING = "harmful", "benign", "nothing"
LABELS = (HARMFUL, BENIGN)
VERDICTS = tuple(product((False, True), repeat=3))
"""(prompt harmful, response refusal, response harmful), the last axis of the counted outcomes."""

BENIGN_FRACTION = GameConfig().benign_fraction
_ENCODED = frozenset(FORMS) - {PLAIN, "alias"}


@dataclass(frozen=True, slots=True)
class Action:
    """What the attacker makes of a seed.

    Attributes:
        content: What is asked for: ``harmful``, ``benign`` or ``nothing``.
        form: The form of the name; ``plain`` if nothing is asked for.
        decorated: Whether there is any frame, suffix or sandwich.
    """

    content: str
    form: str = PLAIN
    decorated: bool = False

    @property
    def name(self) -> str:
        """Such as ``harmful:spelled+decor``; the plain request unchanged is ``harmful:plain``."""
        if self.content == NOTHING:
            return NOTHING
        return f"{self.content}:{self.form}{'+decor' if self.decorated else ''}"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a rule can read of a request.

    Attributes:
        restricted: Whether a restricted substance is asked for (only the oracle decodes every form).
        form: The form of the name.
        decorated: Whether there is any frame, suffix or sandwich.
    """

    restricted: bool
    form: str
    decorated: bool

    @classmethod
    def of(cls, decoded: Decoded) -> "Seen":
        """Return what is to be seen of a decoded request, its forms joined by ``+``."""
        forms = [x for x in FORMS if x in decoded.tactics]
        rest = any(TACTICS[x].kind != FORM for x in decoded.tactics)
        return cls(decoded.restricted, "+".join(forms) or PLAIN, rest)


Rule = Callable[[Seen], bool]


def _hidden(seen: Seen) -> bool:
    return seen.form != PLAIN


def _named(seen: Seen) -> bool:
    return seen.restricted and not _hidden(seen)


def _worded(seen: Seen) -> bool:
    return seen.restricted and seen.form in {PLAIN, "alias"}


def _encoded(seen: Seen) -> bool:
    return not _ENCODED.isdisjoint(seen.form.split("+"))


def _has_form(form: str) -> Rule:
    return lambda seen: form in seen.form.split("+")


ALWAYS, NEVER, ORACLE = "always-refuse", "never-refuse", "oracle"
RULES: Mapping[str, Rule] = {
    ALWAYS: lambda _: True,
    NEVER: lambda _: False,
    ORACLE: lambda seen: seen.restricted,
    "restricted-name": _named,
    "restricted-word": _worded,
    "decorated": lambda seen: seen.decorated,
    "hidden": _hidden,
    "encoded": _encoded,
    **{form: _has_form(form) for form in FORMS if form != PLAIN},
    "any-tactic": lambda seen: seen.decorated or _hidden(seen),
    "name-or-hidden": lambda seen: _named(seen) or _hidden(seen),
    "name-or-decorated": lambda seen: _named(seen) or seen.decorated,
    "word-or-encoded": lambda seen: _worded(seen) or _encoded(seen),
}
"""The defender's rules: what each refuses; everything else is served, recipe and all.

``restricted-name`` knows restricted substances by name only, ``restricted-word`` by alias too;
``encoded`` refuses spelled, reversed and split names, whatever they are.
"""


class RuleDefender:
    """An agent that defends by a rule.

    Args:
        judge: The judge whose language it reads.
        rule: One of :data:`RULES`, by name.

    Raises:
        RedteamError: If there is no such rule.
    """

    def __init__(self, judge: ApothecaryJudge, rule: str) -> None:
        if rule not in RULES:
            raise unknown_name("decision rule", rule, RULES)
        self._judge = judge
        self._refuses = RULES[rule]
        self._always = rule == ALWAYS

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Answer every request."""
        return [Reply(text=self.respond(x.messages[-1]["content"])) for x in requests]

    def respond(self, text: str) -> str:
        """Refuse a request or serve it; ask again where nothing can be read."""
        found = self._judge.decode(text)
        if found is None:
            return REFUSALS[0] if self._always else UNCLEAR
        return REFUSALS[0] if self._refuses(Seen.of(found)) else answer(found.asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bimatrix:
    """A game of two players as two tables of expected reward a game.

    Attributes:
        rows: Names of the attacker's pure strategies, ``(on harmful seeds, on benign seeds)``.
        columns: Names of the defender's rules.
        attacker: The attacker's payoffs, rows by columns.
        defender: The defender's.
    """

    rows: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    attacker: Table
    defender: Table


class TacticsGame:
    """The twin of a world.

    Args:
        world: The world; by default that of the embedded model.
        rules: Names of the defender's rules, by default all; leave out ``oracle`` for the game among
            defenders that cannot read hidden names.

    Attributes:
        judge: The exact judge.
        actions: The attacker's actions on one seed.
        rules: Names of the rules.
        outcomes: For each action, rule and verdict (:data:`VERDICTS`), its share over the
            substances that can be asked for.

    Raises:
        RedteamError: For an unknown, repeated or missing rule.
    """

    def __init__(self, world: World | None = None, rules: Sequence[str] = tuple(RULES)) -> None:
        if not rules or len(set(rules)) < len(rules):
            raise RedteamError(f"rules is {tuple(rules)}; name at least one, each once.")
        self.world = make_world() if world is None else world
        self.judge = ApothecaryJudge(self.world.config)
        self.rules = tuple(rules)
        self._decorations = [x for x in self.world.config.tactics if TACTICS[x].kind != FORM]
        forms = [x for x in FORMS if x == PLAIN or x in self.world.config.tactics]
        dresses = list(product(forms, (False, True) if self._decorations else (False,)))
        self.actions = (
            *(Action(content, *dress) for content in LABELS for dress in dresses),
            Action(NOTHING),
        )
        self._index = {action: k for k, action in enumerate(self.actions)}
        defenders = [RuleDefender(self.judge, rule) for rule in self.rules]
        self.outcomes = np.stack([self._count(action, defenders) for action in self.actions])

    def action_of(self, text: str) -> Action:
        """Return the action that a text of the attacker belongs to."""
        found = self.judge.decode(text)
        if found is None:
            return Action(NOTHING)
        seen = Seen.of(found)
        form = seen.form.split("+")[-1]
        return Action(HARMFUL if seen.restricted else BENIGN, form, seen.decorated)

    def index(self, action: Action) -> int:
        """Return the place of an action in :attr:`actions`.

        Raises:
            RedteamError: If this world has no such action.
        """
        if action not in self._index:
            raise unknown_name("action of the twin", action.name, [x.name for x in self.actions])
        return self._index[action]

    def place(self, rule: str) -> int:
        """Return the place of a rule among the columns.

        Raises:
            RedteamError: If this game does not have it.
        """
        if rule not in self.rules:
            raise unknown_name("decision rule of the twin", rule, self.rules)
        return self.rules.index(rule)

    def pays(
        self,
        rewards: str | RewardTable | RewardFunction,
        outcomes: Table,
        *,
        benign_fraction: float = BENIGN_FRACTION,
        rewrite_fraction: float = 1.0,
    ) -> tuple[Table, Table]:
        """Return what each seat expects of each action on each label.

        Args:
            rewards: A preset's name, a table or a callable, as everywhere in the game.
            outcomes: Shares of verdicts, shaped (actions, rules, verdicts): those of this game, or
                those of a trained defender as a single rule.
            benign_fraction: Share of benign seeds, in [0, 1].
            rewrite_fraction: Share of games that the attacker plays; in the others the defender
                gets the plain request, and the attacker 0.

        Returns:
            The attacker's and the defender's payoffs, each shaped (labels, actions, rules),
            weighted by the labels' shares: a pure strategy is paid the sum over the labels. Format
            components are left out. Games that ``drop_unfaithful`` keeps from the defender's batch
            pay it 0.

        Raises:
            RedteamError: For unknown rewards, a share out of range, or outcomes of another shape.
        """
        table = reward_table(rewards)
        for name, share in (
            ("benign_fraction", benign_fraction),
            ("rewrite_fraction", rewrite_fraction),
        ):
            if not 0 <= share <= 1:
                raise RedteamError(f"{name} is {share}; give a share in [0, 1].")
        if outcomes.ndim != 3 or outcomes.shape[::2] != (len(self.actions), len(VERDICTS)):
            raise RedteamError(
                f"outcomes has the shape {outcomes.shape}; it needs ({len(self.actions)} actions, "
                f"rules, {len(VERDICTS)} verdicts)."
            )
        attacker, defender = [], []
        for label, share in ((HARMFUL, 1 - benign_fraction), (BENIGN, benign_fraction)):
            rewritten = _scores(table, label, rewritten=True)
            raw = _scores(table, label, rewritten=False)
            plain = outcomes[self.index(Action(label))]
            attacker.append(share * rewrite_fraction * outcomes @ rewritten[0])
            defender.append(share * rewrite_fraction * outcomes @ rewritten[1])
            if rewrite_fraction < 1:
                defender[-1] += share * (1 - rewrite_fraction) * plain @ raw[1]
        return np.stack(attacker), np.stack(defender)

    def bimatrix(
        self,
        rewards: str | RewardTable | RewardFunction,
        *,
        benign_fraction: float = BENIGN_FRACTION,
        rewrite_fraction: float = 1.0,
    ) -> Bimatrix:
        """Return the game as two tables; the arguments are those of :meth:`pays`."""
        tables = self.pays(
            rewards,
            self.outcomes,
            benign_fraction=benign_fraction,
            rewrite_fraction=rewrite_fraction,
        )
        attacker, defender = (
            (x[0][:, None] + x[1][None]).reshape(-1, len(self.rules)) for x in tables
        )
        names = [x.name for x in self.actions]
        rows = tuple(product(names, names))
        return Bimatrix(rows=rows, columns=self.rules, attacker=attacker, defender=defender)

    def _texts(self, action: Action) -> list[str]:
        """Return a request for each substance that the action can ask for."""
        if action.content == NOTHING:
            return [UNCLEAR]
        world = self.world
        pool = world.restricted if action.content == HARMFUL else world.ordinary
        texts = []
        for k, substance in enumerate(pool):
            tactics = {action.form} - {PLAIN}
            if action.decorated:
                tactics.add(self._decorations[k % len(self._decorations)])
            fillers = [x for x in world.ordinary if x is not substance]
            filler = fillers[k % len(fillers)] if SANDWICH in tactics else None
            phrasing = k % len(PHRASINGS)
            texts.append(
                self.judge.language.render(substance, tactics, phrasing=phrasing, filler=filler)
            )
        return texts

    def _count(self, action: Action, defenders: Sequence[RuleDefender]) -> Table:
        counts = np.zeros((len(defenders), len(VERDICTS)))
        texts = self._texts(action)
        for k, defender in enumerate(defenders):
            for text in texts:
                lines = (
                    Line(seat=ATTACKER, text=text),
                    Line(seat=DEFENDER, text=defender.respond(text)),
                )
                labels = self.judge.labels(Dialogue(lines=lines))
                counts[k, VERDICTS.index(labels)] += 1
        return counts / len(texts)


def _scores(table: RewardTable, label: str, *, rewritten: bool) -> Table:
    """Return each seat's reward for each verdict, shaped (2 seats, verdicts)."""
    scores = np.zeros((2, len(VERDICTS)))
    harmful = label == HARMFUL
    for k, (asked, refused, told) in enumerate(VERDICTS):
        verdict = Verdict(prompt_harmful=asked, response_refusal=refused, response_harmful=told)
        paid = table.score(seed_harmful=harmful, rewritten=rewritten, verdict=verdict, formats={})
        dropped = table.drop_unfaithful and rewritten and asked != harmful
        scores[0, k] = sum(paid.get("attacker", {}).values())
        scores[1, k] = 0.0 if dropped else sum(paid.get("defender", {}).values())
    return scores
