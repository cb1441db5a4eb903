"""A policy that is a table of logits in double precision: small enough to check by hand."""

from types import SimpleNamespace

import torch

from redteam_env.game import Generation
from redteam_env.protocols import Batch

LETTERS = "abc"


class TablePolicy:
    """Trainable policies without a model: one row of logits for each place in a completion.

    Args:
        weights: The name of the weights behind each role; ``base`` is frozen.
        tables: Their logits, by name; ``base`` among them.
    """

    def __init__(self, weights, tables):
        self._weights = weights
        self.tables = {
            name: torch.nn.Parameter(
                torch.tensor(rows, dtype=torch.float64), requires_grad=name != "base"
            )
            for name, rows in tables.items()
        }
        self.versions = dict.fromkeys(tables, 0)

    @property
    def trainable_roles(self):
        return tuple(role for role, name in self._weights.items() if name != "base")

    def weights_of(self, role):
        return self._weights[role]

    def parameters(self, weights):
        return [self.tables[weights]]

    def logprobs(
        self,
        role,
        generations,
        *,
        with_entropy=False,
        with_distribution=False,
        differentiable="once",
    ):
        # plain operations: everything has gradients, however often, asked for or not
        return self._logprobs(self.tables[self._weights[role]], generations)

    def reference_logprobs(self, role, generations, *, with_distribution=False):
        with torch.no_grad():
            return self._logprobs(self.tables["base"], generations)

    def _logprobs(self, table, generations):
        scores = torch.log_softmax(table, dim=-1)
        longest = max(len(g.completion_ids) for g in generations)
        mask = torch.zeros((len(generations), longest), dtype=torch.bool)
        ids = torch.zeros((len(generations), longest), dtype=torch.long)
        for k, g in enumerate(generations):
            n = len(g.completion_ids)
            mask[k, :n] = True
            ids[k, :n] = torch.tensor(g.completion_ids)
        distribution = torch.where(mask[..., None], scores[:longest], 0.0)
        return SimpleNamespace(
            logprobs=distribution.gather(-1, ids[..., None]).squeeze(-1),
            entropy=-(distribution.exp() * distribution).sum(-1),
            mask=mask,
            distribution=distribution,
        )

    def encode_example(self, role, messages, response, *, prefill=""):
        ids = tuple(LETTERS.index(letter) for letter in response)
        return generation(ids, (0.0,) * len(ids))

    def publish(self, weights):
        self.versions[weights] += 1
        return self.versions[weights]

    def rows(self, name):
        return self.tables[name].detach().tolist()


def generation(ids, logprobs) -> Generation:
    return Generation(
        prompt_ids=(0,),
        completion_ids=tuple(ids),
        logprobs=tuple(logprobs),
        adapter="",
        version=0,
        temperature=1.0,
        finished=True,
    )


def role_batch(role, rows) -> Batch:
    """A batch of ``(ids, stored log-probabilities, reward)``."""
    return Batch.of(
        role, [generation(ids, old) for ids, old, _ in rows], [reward for *_, reward in rows]
    )
