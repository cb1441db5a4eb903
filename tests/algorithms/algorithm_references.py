"""All algorithms' losses once more, in plain loops and double precision, from the papers' formulas.

It shares no line with the library. A loss is a function of a table of logits, so that its gradient
can be had by finite differences.
"""

import math
from dataclasses import dataclass

from reinforce_reference import log_softmax, returns, surrogate


@dataclass
class Turn:
    """One sample: tokens, log-probabilities at sampling, and where it belongs."""

    ids: tuple
    stored: list
    reward: float
    group: int
    game: int


def logprobs(table, ids):
    return [log_softmax(table[t])[i] for t, i in enumerate(ids)]


@dataclass
class Step:
    """One role's turns, the tables they are compared with, and the settings."""

    turns: list
    start: list
    base: list
    beta: float
    clip: float = 0.2
    reward_clip: float = 10.0
    cap: float | None = None

    def old(self, turn):
        return turn.stored if self.cap is None else logprobs(self.start, turn.ids)

    def weights(self, turn):
        if self.cap is None:
            return [1.0] * len(turn.ids)
        gaps = zip(logprobs(self.start, turn.ids), turn.stored, strict=True)
        return [min(math.exp(a - b), self.cap) for a, b in gaps]

    def reference(self, turn):
        return logprobs(self.base, turn.ids)

    def returns(self, turn):
        return returns(
            self.old(turn), self.reference(turn), turn.reward, self.beta, self.reward_clip
        )

    def paid(self, turn):
        return max(-self.reward_clip, min(self.reward_clip, turn.reward))

    def games(self):
        """Each game's first turn, in order."""
        found = {}
        for turn in self.turns:
            found.setdefault(turn.game, turn)
        return found

    def mates(self, turn, *, itself):
        """The games of a turn's group."""
        return [
            one
            for one in self.games().values()
            if one.group == turn.group and (itself or one.game != turn.game)
        ]

    def penalised(self, turn):
        """A game's reward less the penalty on all tokens of all its turns."""
        total = self.paid(turn)
        for own in self.turns:
            if own.game == turn.game:
                pairs = zip(self.old(own), self.reference(own), strict=True)
                total -= self.beta * sum(o - r for o, r in pairs)
        return total


def mean(values):
    return sum(values) / len(values)


def reinforce(step):
    return [step.returns(turn) for turn in step.turns]


def rae(step, start=0.0, decay=0.95):
    before, running = {}, start
    for game, turn in step.games().items():
        before[game] = running
        running = decay * running + (1 - decay) * step.paid(turn)
    return [[x - before[turn.game] for x in step.returns(turn)] for turn in step.turns]


def rloo(step):
    result = []
    for turn in step.turns:
        others = [step.penalised(one) for one in step.mates(turn, itself=False)]
        value = step.penalised(turn) - mean(others) if others else 0.0
        result.append([value] * len(turn.ids))
    return result


def centred(step, *, scaled):
    result = []
    for turn in step.turns:
        paid = [step.paid(one) for one in step.mates(turn, itself=True)]
        value = step.paid(turn) - mean(paid)
        if scaled:
            value /= max(math.sqrt(mean([(x - mean(paid)) ** 2 for x in paid])), 1e-4)
        result.append([value] * len(turn.ids))
    return result


def gae(step, values, lam):
    """Advantages by their definition, a sum over all later steps; and the values' targets."""
    advantages, targets = [], []
    for turn in step.turns:
        n = len(turn.ids)
        to_go = step.returns(turn)
        rewards = [to_go[t] - (to_go[t + 1] if t + 1 < n else 0.0) for t in range(n)]
        deltas = [rewards[t] + (values[t + 1] if t + 1 < n else 0.0) - values[t] for t in range(n)]
        own = [sum(lam ** (u - t) * deltas[u] for u in range(t, n)) for t in range(n)]
        advantages.append(own)
        targets.append([a + v for a, v in zip(own, values, strict=False)])
    return advantages, targets


def standardised(rows):
    flat = [x for row in rows for x in row]
    centre = mean(flat)
    spread = max(math.sqrt(mean([(x - centre) ** 2 for x in flat])), 1e-4)
    return [[(x - centre) / spread for x in row] for row in rows]


def score_loss(step, advantages, table, *, per):
    total = 0.0
    for turn, own in zip(step.turns, advantages, strict=True):
        for a, lp, w in zip(own, logprobs(table, turn.ids), step.weights(turn), strict=True):
            total -= w * a * lp
    return total / size(step, per)


def entropy(step, table, *, per):
    """The entropy of each token's distribution, averaged as :func:`clipped_loss` averages."""
    total = 0.0
    for turn in step.turns:
        rows = [log_softmax(table[t]) for t in range(len(turn.ids))]
        row = -sum(math.exp(x) * x for scores in rows for x in scores)
        total += row / len(turn.ids) if per == "mean" else row
    return total / size(step, per)


def clipped_loss(step, advantages, table, *, per, k3=0.0):
    """PPO's loss and the k3 penalty, over all tokens, over samples, or of means over tokens."""
    total = 0.0
    for turn, own in zip(step.turns, advantages, strict=True):
        now, old, ref = logprobs(table, turn.ids), step.old(turn), step.reference(turn)
        row = 0.0
        for t, weight in enumerate(step.weights(turn)):
            row += weight * surrogate(now[t], old[t], own[t], step.clip)[0]
            gap = ref[t] - now[t]
            row += k3 * (math.exp(gap) - gap - 1)
        total += row / len(turn.ids) if per == "mean" else row
    return total / size(step, per)


def size(step, per):
    return sum(len(turn.ids) for turn in step.turns) if per == "token" else len(step.turns)


def preference_loss(step, table, *, kind, scores, soft):
    """DPO's or IPO's loss, a mean over the pairs of games in a group that differ."""
    losses = []
    games = list(step.games().values())
    for a in games:
        for b in games:
            if a.group != b.group or scores[a.game] <= scores[b.game]:
                continue
            q = 1 / (1 + math.exp(scores[b.game] - scores[a.game])) if soft else 1.0
            h = 0.0
            for turn in step.turns:
                sign = (turn.game == a.game) - (turn.game == b.game)
                pairs = zip(logprobs(table, turn.ids), step.reference(turn), strict=True)
                h += sign * sum(x - r for x, r in pairs)
            if kind == "ipo":
                losses.append((h - (q - 0.5) / step.beta) ** 2)
            else:
                won, lost = (1 / (1 + math.exp(-s * step.beta * h)) for s in (1, -1))
                losses.append(-q * math.log(won) - (1 - q) * math.log(lost))
    return mean(losses)


def value_loss(values, targets):
    flat = [(values[t] - target) ** 2 / 2 for row in targets for t, target in enumerate(row)]
    return mean(flat)


def slopes(loss, table, step=1e-6):
    """The gradient of a function of a table by central differences."""
    result = []
    for t, row in enumerate(table):
        result.append([])
        for v in range(len(row)):
            ends = []
            for sign in (1, -1):
                moved = [list(r) for r in table]
                moved[t][v] += sign * step
                ends.append(loss(moved))
            result[-1].append((ends[0] - ends[1]) / (2 * step))
    return result
