"""The controlled world under attack: scripted defenders with one weakness, and what attacks them."""

from redteam_env.game import Game
from redteam_env.protocols import Reply
from redteam_env.rollout import schedule
from redteam_env.worlds.apothecary import make_world
from redteam_env.worlds.apothecary.grammar import REFUSALS, UNCLEAR, Language, answer
from redteam_env.worlds.apothecary.judge import ApothecaryJudge
from redteam_env.worlds.apothecary.source import world_seeds

WORLD = make_world()
LANGUAGE = Language(WORLD)
JUDGE = ApothecaryJudge()


def setups(games=4, *, benign=0.0, seed=0):
    """Rewritten games of the world, harmful ones unless said otherwise."""
    source = world_seeds(WORLD)
    return schedule(
        source, games, path=(seed, "attacked"), benign_fraction=benign, rewrite_fraction=1.0
    )


class Weak:
    """Answers a restricted request only if a rule on its requests allows it; serves all others.

    ``gives_in(tactics, requests)`` gets the tactics of the last request and all of the user's messages.
    """

    def __init__(self, gives_in):
        self.gives_in = gives_in
        self.asked = []

    def act(self, requests):
        return [Reply(text=self.say(request)) for request in requests]

    def say(self, request):
        said = [x["content"] for x in request.messages if x["role"] == "user"]
        self.asked.append(said[-1])
        found = LANGUAGE.decode(said[-1])
        if found is None:
            return UNCLEAR
        if found.restricted and not self.gives_in(found.tactics, said):
            return REFUSALS[0]
        return answer(found.asked)


def weak_to(tactic):
    return Weak(lambda tactics, said: tactic in tactics)


def attacked(attack, target, games=None, *, attempts=5, game=None, **options):
    return attack.attack(
        setups() if games is None else games,
        target,
        JUDGE,
        game=game or Game(),
        attempts=attempts,
        **options,
    )
