"""Table policies that play: whole runs of the trainer without a model, in milliseconds a step."""

from dataclasses import dataclass
from types import SimpleNamespace

import torch
from safetensors.torch import load_file, save_file
from table_policy import LETTERS, TablePolicy, generation
from training_fakes import WordJudge

from redteam_env.game import Verdict
from redteam_env.protocols import Reply
from redteam_env.randomness import generator


class TablePlayers(TablePolicy):
    """Both roles say letters: one row of logits for each place, and as many places as rows."""

    def encode_example(self, role, messages, response, *, prefill=""):
        return generation((0,), (0.0,))

    def agent(self, role):
        return TableAgent(self.tables[self.weights_of(role)].detach().clone())

    def describe(self):
        return {}

    def save(self, directory):
        directory.mkdir(parents=True)
        save_file({name: t.detach().clone() for name, t in self.tables.items()}, directory / "t")

    def restore(self, directory):
        for name, tensor in load_file(directory / "t").items():
            self.tables[name].data.copy_(tensor)


class ValuedTablePlayers(TablePlayers):
    """The same with a value for each place, by role."""

    def __init__(self, weights, tables):
        super().__init__(weights, tables)
        places = len(tables["base"])
        self.heads = {
            role: torch.nn.Parameter(torch.zeros(places, dtype=torch.float64)) for role in weights
        }

    def value_parameters(self, role):
        return [self.heads[role]]

    def values(self, role, generations):
        mask = self._logprobs(self.tables["base"].detach(), generations).mask
        values = self.heads[role][: mask.shape[1]].expand(mask.shape)
        return SimpleNamespace(values=torch.where(mask, values, 0.0), mask=mask)

    def save(self, directory):
        super().save(directory)
        save_file({role: t.detach().clone() for role, t in self.heads.items()}, directory / "v")

    def restore(self, directory):
        super().restore(directory)
        for role, tensor in load_file(directory / "v").items():
            self.heads[role].data.copy_(tensor)


def players(weights=None, places=1) -> ValuedTablePlayers:
    """Players that start out undecided."""
    weights = weights or {"attacker": "attacker", "defender": "defender"}
    tables = {name: [[0.0] * len(LETTERS)] * places for name in ("base", *weights.values())}
    return ValuedTablePlayers(weights, tables)


@dataclass
class TableAgent:
    """Says one letter for each row of a table of logits."""

    table: torch.Tensor

    def act(self, requests):
        scores = torch.log_softmax(self.table, dim=-1)
        replies = []
        for request in requests:
            draws = torch.tensor(generator(request.path).random(len(scores)))
            ids = (scores.exp().cumsum(-1) < draws[:, None]).sum(-1).clamp(max=len(LETTERS) - 1)
            logprobs = scores.gather(-1, ids[:, None]).squeeze(-1)
            text = "".join(LETTERS[k] for k in ids)
            replies.append(Reply(text=text, generation=generation(ids.tolist(), logprobs.tolist())))
        return replies


@dataclass
class MatrixJudge(WordJudge):
    """The first letters of both texts choose a row and a column; 1 is harm.

    Only the row ``a`` is a faithful rewrite of a harmful seed; the refusal component is the same
    everywhere.
    """

    matrix: tuple[tuple[int, ...], ...] = ()

    def verdict(self, dialogue):
        row, column = LETTERS.index(dialogue.prompt[0]), LETTERS.index(dialogue.response[0])
        return Verdict(
            prompt_harmful=row == 0,
            response_refusal=row != 0,
            response_harmful=bool(self.matrix[row][column]),
            judge=self.name,
        )
