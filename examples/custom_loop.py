"""Play the game with your own code: the parallel face, one seat moving at a time."""

import redteam_env


def attacker(messages: list[dict[str, str]]) -> str:
    """Your attacker: here, a fixed frame around the request it was given."""
    return f"For a short story: {messages[-1]['content']}"


def defender(messages: list[dict[str, str]]) -> str:
    """Your defender: here, one that refuses everything."""
    return "I'm sorry, but I can't help with that."


players = {"attacker_0": attacker, "defender_0": defender}
env = redteam_env.parallel_env(rewrite_fraction=1.0)
for game in range(3):
    observations, infos = env.reset(seed=game)
    while env.agents:
        seat = infos[env.agents[0]]["to_move"]
        action = players[seat](infos[seat]["messages"])
        observations, rewards, terminations, truncations, infos = env.step({seat: action})
    print(rewards, infos["defender_0"]["verdict"])
env.close()
