"""REINFORCE++ once more, in plain Python loops and double precision, from the papers' formulas.

It shares no line with the library: lists of floats, one sample at a time. The policy is a table of
logits, one row for each place in a completion, so that every gradient can be written down.
"""

import math
from dataclasses import dataclass, field


def log_softmax(logits):
    top = max(logits)
    total = top + math.log(sum(math.exp(x - top) for x in logits))
    return [x - total for x in logits]


def returns(old, reference, reward, beta, reward_clip):
    """Per-token rewards -beta * (log pi - log ref), the clipped reward on the last, summed to go."""
    rewards = [-beta * (o - r) for o, r in zip(old, reference, strict=True)]
    rewards[-1] += max(-reward_clip, min(reward_clip, reward))
    return [sum(rewards[t:]) for t in range(len(rewards))]


def baseline_and_scale(role, by_role, kind, ema):
    """Centre and spread for one role's returns; ``by_role`` holds a flat list for each role."""
    own = by_role[role]
    everything = [x for values in by_role.values() for x in values]
    about = everything if kind == "batch" else own
    centre = {
        "none": 0.0,
        "role": sum(own) / len(own),
        "batch": sum(everything) / len(everything),
        "ema": ema.get(role, 0.0),
    }[kind]
    spread = math.sqrt(sum((x - centre) ** 2 for x in about) / len(about))
    return centre, max(spread, 1e-4)


def surrogate(logprob, old, advantage, clip):
    """PPO's clipped objective of one token, negated, and its derivative in the log-probability."""
    ratio = math.exp(logprob - old)
    clipped = min(max(ratio, 1 - clip), 1 + clip)
    if ratio * advantage <= clipped * advantage:
        return -ratio * advantage, -ratio * advantage
    return -clipped * advantage, 0.0


def gradient(table, samples, clip):
    """Loss and its gradient in the table: the mean over all tokens of ``(ids, old, advantages)``."""
    tokens = sum(len(ids) for ids, _, _ in samples)
    slopes = [[0.0] * len(row) for row in table]
    loss = 0.0
    for ids, old, advantages in samples:
        for t, (token, stored, advantage) in enumerate(zip(ids, old, advantages, strict=True)):
            scores = log_softmax(table[t])
            value, slope = surrogate(scores[token], stored, advantage, clip)
            loss += value / tokens
            for v in range(len(scores)):
                slopes[t][v] += slope * ((v == token) - math.exp(scores[v])) / tokens
    return loss, slopes


def likelihood_gradient(table, examples):
    """Negative log-likelihood a token and its gradient in the table."""
    tokens = sum(len(ids) for ids in examples)
    slopes = [[0.0] * len(row) for row in table]
    loss = 0.0
    for ids in examples:
        for t, token in enumerate(ids):
            scores = log_softmax(table[t])
            loss -= scores[token] / tokens
            for v in range(len(scores)):
                slopes[t][v] -= ((v == token) - math.exp(scores[v])) / tokens
    return loss, slopes


def add(a, b, factor=1.0):
    return [[x + factor * y for x, y in zip(p, q, strict=True)] for p, q in zip(a, b, strict=True)]


@dataclass
class Adam:
    """AdamW (0.9, 0.95), eps 1e-8, no decay, after scaling the gradient down to a norm."""

    max_norm: float = 1.0
    count: int = 0
    first: list = field(default_factory=list)
    second: list = field(default_factory=list)

    def step(self, table, slopes, lr):
        norm = math.sqrt(sum(x * x for row in slopes for x in row))
        factor = min(1.0, self.max_norm / (norm + 1e-6))
        slopes = [[x * factor for x in row] for row in slopes]
        if not self.first:
            self.first = [[0.0] * len(row) for row in slopes]
            self.second = [[0.0] * len(row) for row in slopes]
        self.count += 1
        self.first = add([[0.9 * x for x in row] for row in self.first], slopes, 0.1)
        squares = [[x * x for x in row] for row in slopes]
        self.second = add([[0.95 * x for x in row] for row in self.second], squares, 0.05)
        moved = []
        for t, row in enumerate(table):
            new = []
            for v, value in enumerate(row):
                m = self.first[t][v] / (1 - 0.9**self.count)
                s = self.second[t][v] / (1 - 0.95**self.count)
                new.append(value - lr * m / (math.sqrt(s) + 1e-8))
            moved.append(new)
        return moved, norm
