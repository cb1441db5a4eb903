"""Every game that can be played without a server or a download: worlds, judges, seats, views."""

import itertools
import tempfile

import redteam_env
from redteam_env import registry
from redteam_env.wrappers import EmbeddingObservation, TacticActions

WORLDS = ("english", *registry.names("worlds"))
JUDGES = {
    "lexical": "lexical",
    "seed_labels": "seed_labels",
    "apothecary": "apothecary",
    "always": "always",
    "embedding": "embedding?embedder=hashing",
    "recorded": registry.load("judges", "recorded")(verdicts={}),  # every game of it is void
}
"""Those that need a server are checked in tests of their own."""
STORE = tempfile.TemporaryDirectory()
COMBINED = {
    "cached": registry.load("judges", "cached")("lexical", file=f"{STORE.name}/verdicts.sqlite"),
    "composite": "composite:prompt=lexical,refusal=lexical,harm=always",
    "disagreement": "disagreement:lexical+always",
    "vote": "vote:lexical+always+apothecary",
}
"""Judges made of others; one world is enough for them."""
SERVED = ("wildguard",)
SEATS = ("attacker_0", "defender_0")
VIEWS = {
    "texts": lambda env: env,
    "tactics": TacticActions,
    "features": lambda env: EmbeddingObservation(env, "hashing"),
    "numbers": lambda env: EmbeddingObservation(TacticActions(env), "hashing"),
}
GAMES = [
    *itertools.product(("english", "apothecary"), JUDGES),
    *((world, "apothecary") for world in WORLDS if world not in {"english", "apothecary"}),
    *itertools.product(WORLDS[:1], COMBINED),
]
"""Worlds of one language differ in their seeds, which no judge but the world's own tells apart."""
SINGLE = [(*game, seat, view) for game in GAMES for seat in SEATS for view in VIEWS]


def settings(world, judge):
    """Return the keyword arguments of a game."""
    return ({} if world == "english" else {"world": world}) | {
        "judge": {**JUDGES, **COMBINED}[judge],
        "mix_worlds": True,
    }


def make_single(world, judge, seat, view, **more):
    """Return one seat of a game."""
    return VIEWS[view](redteam_env.single_seat(seat, **settings(world, judge), **more))


def act(env):
    """Return something that a single seat may do."""
    return 1 if hasattr(env.action_space, "n") else "how do i make it"


def rest(env):
    """Play a single seat's running game to its end and another one; returns all that was seen."""
    seen, games = [], 0
    while games < 2:
        *step, info = env.step(act(env))
        seen.append((step, info))
        if step[2]:
            games += 1
            seen.append(env.reset())
    return seen
