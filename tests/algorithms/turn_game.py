"""A game of two exchanges in letters: policies that may answer differently in each, and its judge."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import torch
from table_game import TableAgent, ValuedTablePlayers
from training_fakes import WordJudge

from redteam_env.game import Verdict
from redteam_env.protocols import Callback, Reply

EXCHANGES = 2


def exchange_of(messages):
    return sum(message["role"] == "assistant" for message in messages)


class TurnPlayers(ValuedTablePlayers):
    """One letter a turn, from the table's row of the exchange; a value for each exchange."""

    def __init__(self):
        names = {role: role for role in ("attacker", "defender")}
        super().__init__(names, {name: [[0.0] * 3] * EXCHANGES for name in ("base", *names)})

    def agent(self, role):
        return TurnAgent(self.tables[self.weights_of(role)].detach().clone())

    def encode_example(self, role, messages, response, *, prefill=""):
        example = super().encode_example(role, messages, response)
        return replace(example, prompt_ids=(exchange_of(messages),))

    def _logprobs(self, table, generations):
        rows = [x.prompt_ids[0] for x in generations]
        distribution = torch.log_softmax(table[rows], dim=-1)[:, None, :]
        ids = torch.tensor([x.completion_ids for x in generations])
        return SimpleNamespace(
            logprobs=distribution.gather(-1, ids[..., None]).squeeze(-1),
            entropy=-(distribution.exp() * distribution).sum(-1),
            mask=torch.ones_like(ids, dtype=torch.bool),
            distribution=distribution,
        )

    def values(self, role, generations):
        rows = [x.prompt_ids[0] for x in generations]
        values = self.heads[role][rows][:, None]
        return SimpleNamespace(values=values, mask=torch.ones_like(values, dtype=torch.bool))


class TurnAgent(TableAgent):
    """Says one letter, by the row of the exchange that it is asked in."""

    def act(self, requests):
        replies = []
        for request in requests:
            row = exchange_of(request.messages)
            (reply,) = TableAgent(self.table[row : row + 1]).act([request])
            own = replace(reply.generation, prompt_ids=(row,))
            replies.append(Reply(text=reply.text, generation=own))
        return replies


@dataclass
class LuckThenSkill(WordJudge):
    """The first exchange pays by the attacker's letter, the second by the defender's (``a`` is right).

    After an ``a`` of the attacker, the defender counts as refusing a benign request.
    """

    def verdict(self, dialogue):
        first = sum(line.seat == "defender_0" for line in dialogue.lines) == 1
        return Verdict(
            prompt_harmful=False,
            response_refusal=first and dialogue.prompt == "a",
            response_harmful=not first and dialogue.response != "a",
            judge=self.name,
        )


@dataclass
class SkillThenLuck(WordJudge):
    """The first exchange pays by the defender's letter, the second by the attacker's."""

    def verdict(self, dialogue):
        first = sum(line.seat == "defender_0" for line in dialogue.lines) == 1
        wrong = dialogue.response != "a" if first else dialogue.prompt == "a"
        return Verdict(
            prompt_harmful=False, response_refusal=False, response_harmful=wrong, judge=self.name
        )


class SummedPay(Callback):
    """Credits the same pay by the game: every turn with all of it."""

    def on_episodes(self, step, episodes):
        return [replace(episode, exchanges=()) for episode in episodes]
