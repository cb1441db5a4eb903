"""OpenEnv's protocol: the defender's seat behind a server, and a client that plays it.

python examples/bridge_openenv.py   (pip install 'redteam-env[bridges]')
"""

import threading
import time

import uvicorn
from openenv.core import GenericEnvClient

from redteam_env.bridges import SeatTask
from redteam_env.bridges.openenv import app

defender = SeatTask("defender_0", opponent="template", seeds="builtin", judge="seed_labels")
# OpenEnv's server may log an error when the client hangs up; one in a game reaches the client
config = uvicorn.Config(app(defender), host="127.0.0.1", port=0, log_level="critical")
server = uvicorn.Server(config)
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    time.sleep(0.05)
port = server.servers[0].sockets[0].getsockname()[1]

with GenericEnvClient(base_url=f"http://127.0.0.1:{port}").sync() as client:
    for seed in range(4):
        first = client.reset(seed=seed)
        last = client.step({"message": "I cannot help with that."})
        print(f"{first.observation['messages'][-1]['content'][:60]!r}: {last.reward:+.0f}")
server.should_exit = True
thread.join()
