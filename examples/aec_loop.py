"""Play the game through PettingZoo's AEC face, with random text from the action space."""

import redteam_env

env = redteam_env.env(render_mode="ansi")
env.reset(seed=7)
for agent in env.agent_iter():
    observation, reward, termination, truncation, info = env.last()
    if termination or truncation:
        action = None
    else:
        print(f"{agent} reads {len(observation['instruction'])} characters of instruction")
        action = env.action_space(agent).sample()
    env.step(action)
print(env.render())
env.close()
