"""A league in memory for samplers, and table players with a past for whole runs."""

import json
from dataclasses import dataclass, field

import torch
from safetensors.torch import load_file, save_file
from table_game import TableAgent, TablePlayers
from table_policy import LETTERS

from redteam_env.protocols import Result

BOTH = {"attacker": "attacker", "defender": "defender"}
SHARED = {"attacker": "shared", "defender": "shared"}


@dataclass
class FakeLeague:
    """Counts versions and remembers what it was asked; ``pays`` gives each pair's pay-offs."""

    weights: dict = field(default_factory=lambda: dict(BOTH))
    pays: object = lambda attacker, defender: (0.0, 0.0)
    versions: dict = field(default_factory=dict)
    frozen: list = field(default_factory=list)
    calls: list = field(default_factory=list)

    def learn(self):
        """As an update of all weights does."""
        for name in set(self.weights.values()):
            self.versions[name] = self.versions.get(name, 0) + 1

    def freeze(self, weights):
        name = f"{weights}@{self.versions.get(weights, 0)}"
        if name not in self.frozen:
            self.frozen.append(name)
        return name

    def drop(self, version):
        self.frozen.remove(version)

    def recall(self, version):
        assert version in self.frozen
        name = version.partition("@")[0]
        self.calls.append(("recall", version))
        self.versions[name] = self.versions.get(name, 0) + 1

    def breed(self, parents, *, noise, path):
        assert set(parents) <= set(self.frozen)
        name = parents[0].partition("@")[0]
        self.calls.append(("breed", *parents))
        self.versions[name] = self.versions.get(name, 0) + 1
        return self.freeze(name)

    def play(self, players, games, *, path):
        self.calls.append(("play", players["attacker"], players["defender"]))
        assert set(players.values()) <= set(self.frozen)
        a, d = self.pays(players["attacker"], players["defender"])
        return [Result(players=players, payoffs={"attacker": a, "defender": d})] * games


class LeaguePlayers(TablePlayers):
    """Table players that can play against their past."""

    def __init__(self, weights=None, start=None):
        names = weights or BOTH
        first = start or [0.0] * len(LETTERS)
        super().__init__(names, {name: [first] for name in ("base", *names.values())})

    def version(self, weights):
        return self.versions[weights]

    def write_weights(self, weights, directory):
        directory.mkdir(parents=True)
        save_file({"table": self.tables[weights].detach().clone()}, directory / "t.safetensors")

    def read_weights(self, weights, directory):
        self.tables[weights].data.copy_(read(directory))
        self.publish(weights)

    def breed_weights(self, weights, parents, *, noise, path):
        self.tables[weights].data.copy_(sum(map(read, parents)) / len(parents))
        self.publish(weights)

    def past_agent(self, role, directory, *, weights, version):
        return TableAgent(read(directory))

    def start_from(self, directory):
        for weights in self.tables.keys() - {"base"}:
            self.read_weights(weights, directory)

    def save(self, directory):
        super().save(directory)
        (directory / "versions").write_text(json.dumps(self.versions))

    def restore(self, directory):
        super().restore(directory)
        self.versions = json.loads((directory / "versions").read_text())


def read(directory):
    return load_file(directory / "t.safetensors")["table"]


def mixture(directory, versions, shares):
    """The chances of the letters if versions are met with these chances."""
    tables = torch.stack([read(directory / "opponents" / version)[0] for version in versions])
    return (torch.tensor(shares, dtype=tables.dtype) @ tables.softmax(-1)).numpy()
