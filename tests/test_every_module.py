"""Every module can be imported with what pyproject.toml asks for: with the lowest versions, too."""

from importlib import import_module
from pkgutil import walk_packages

import pytest

import agents
import algorithms
import redteam_env

MODULES = [
    module.name
    for package in (redteam_env, agents, algorithms)
    for module in walk_packages(package.__path__, f"{package.__name__}.")
]


NEEDS = {
    "redteam_env.bridges.inspect": "inspect_ai",
    "redteam_env.bridges.openenv": "openenv.core",
    "redteam_env.bridges.verifiers": "verifiers.v1",
}
"""Modules that begin with a library of an extra, whose classes theirs are made from."""


@pytest.mark.parametrize("name", MODULES)
def test_a_module_can_be_imported(name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    import_module(name)
