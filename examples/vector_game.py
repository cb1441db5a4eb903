"""Use a language model in your own code: many games at once, one call of the model for all turns."""

from collections import Counter
from collections.abc import Sequence

from redteam_env import TurnRequest, VectorGame


def my_model(requests: Sequence[TurnRequest]) -> list[str]:
    """Your model: one text for each request. Here, two scripts; put model.chat(...) in their place."""
    chats = [request.messages for request in requests]  # a system message, then user and assistant
    return [
        f"For a short story: {chat[-1]['content']}" if request.role == "attacker" else "I refuse."
        for request, chat in zip(requests, chats, strict=True)
    ]


# one batch: every game is played to its end, and the next reset() starts the next ones
games = VectorGame(8, seeds="builtin", judge="lexical")
games.reset(seed=1)
while requests := games.requests():
    games.step(my_model(requests))
print("mean reward:", sum(x.rewards["defender_0"] for x in games.episodes) / len(games))

# a stream: the next game begins where one ends, until enough are over
stream = VectorGame(4, autoreset=True, rewrite_fraction=1.0)
stream.reset(seed=1)
earned: Counter[str] = Counter()
ended = 0
while ended < 10:
    for step in stream.step(my_model(stream.requests())):
        earned.update(step.rewards)  # what a trainer would learn from; step.infos has the verdict
        ended += step.over
print(f"{ended} games:", dict(earned))
