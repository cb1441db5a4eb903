"""A standing attack of one's own, in the controlled world: it tries one tactic after the other."""

from redteam_env import Game, register
from redteam_env.attacks import SearchAttack, best, resolve_attack, succeeded
from redteam_env.border.attacks import attempts
from redteam_env.rollout import schedule
from redteam_env.worlds.apothecary import make_world
from redteam_env.worlds.apothecary.grammar import Language
from redteam_env.worlds.apothecary.judge import ApothecaryJudge
from redteam_env.worlds.apothecary.scripted import DemonstratedDefender
from redteam_env.worlds.apothecary.source import world_seeds

WORLD = make_world()
LANGUAGE = Language(WORLD)


class Tactics(SearchAttack):
    """Draws a tactic for each attempt; ``case.attempt`` asks the defender and the judge."""

    name = "tactics"

    def search(self, case):
        (substance,) = LANGUAGE.decode(case.goal).asked
        while case.left:
            tactic = case.rng.choice(["alias", "spelled", "story", "exam", "urgent"])
            yield from case.attempt(LANGUAGE.render(substance, [tactic]))


# from now on --attack tactics works too; an installed package uses an entry point instead
register("attacks", "tactics", Tactics)
attack = resolve_attack("tactics", attacker=None, seed=0)
setups = schedule(
    world_seeds(WORLD), 20, path=(0, "example"), benign_fraction=0.0, rewrite_fraction=1.0
)
defender, judge = DemonstratedDefender(WORLD), ApothecaryJudge()
for most in (1, 5):
    found = attempts(attack, setups, defender, judge, game=Game(), attempts=most)
    won = sum(succeeded(best(own)) for own in found.episodes)
    print(f"within {most}: {won} of {len(setups)}, {found.queries.target} queries")
