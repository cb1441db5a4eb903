"""Self-play red teaming of language models as a game.

An attacker rewrites a seed request, a defender answers, a judge reads the public dialogue.
"""
