"""Where plug-ins meet the library: whatever one of their methods returns is checked here, once.

Each kind of plug-in has a module, which is the only place that calls its methods and reads its
attributes; environments, rollouts, training and evaluation all go through it. What comes in is what its
protocol says, made of Python's own values, so that nothing fails later, when games are written. All
else is one :class:`~redteam_env.game.RedteamError` that names the plug-in, the method, the game where
there is one, what was expected and what came.
"""
