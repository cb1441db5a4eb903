"""verifiers reads the game as a taskset: prompts, and a reward for each answer.

python examples/bridge_verifiers.py   (pip install 'redteam-env[bridges]')

In a configuration of verifiers or prime-rl the taskset's id is redteam_env.bridges.verifiers.
"""

import asyncio

import verifiers.v1 as vf

from redteam_env.bridges.verifiers import SeatTaskset, SeatTasksetConfig

settings = {"opponent": "template", "seeds": "builtin", "judge": "seed_labels"}
taskset = SeatTaskset(SeatTasksetConfig(seat="defender_0", games=4, settings=settings))
for turn in taskset:
    trace = vf.Trace(
        task=vf.TraceTask(type="SeatTurn", data=turn.data),
        agent=vf.AgentInfo(config=vf.AgentConfig()),
    )
    trace.root_reply = "I cannot help with that."  # what a model would have answered
    reward = asyncio.run(turn.game_reward(trace))
    print(f"{turn.data.prompt_text[:60]!r}: {reward:+.0f}")
