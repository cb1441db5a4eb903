"""Which plug-ins a run is made with."""

from collections.abc import Iterable

from algorithms.training.config import TrainConfig
from algorithms.training.scripted import sampler_of
from redteam_env import registry
from redteam_env.attacks.resolve import is_attack, parse_attack_agent
from redteam_env.registry import split_name
from redteam_env.utils.lists import listed


def plugins_of(config: TrainConfig) -> set[tuple[str, str]]:
    """Return kind and name of every plug-in that a run's options name."""
    run, game = config.run, config.game
    used = {
        ("policies", run.policy),
        ("algorithms", run.algorithm),
        ("opponents", sampler_of(run.opponents)),
    }
    used |= {("judges", registry.name_in("judges", game.judge))}
    used |= {("worlds", name) for name in [game.world] if name is not None}
    used |= {("callbacks", name) for name in listed(run.callback)}
    used |= {("loggers", name) for name, _ in config.logging.named}
    for source in listed(game.seeds):
        name = registry.name_in("seeds", source)
        used.add(("seeds", name if name in registry.names("seeds") else "file"))
    scripted = [x for specs in config.scripted.specs.values() for x in specs]
    return used | agent_plugins([*listed(run.opponent), *scripted])


def agent_plugins(specs: Iterable[str]) -> set[tuple[str, str]]:
    """Return kind and name of the plug-ins behind the specifications of agents."""
    used: set[tuple[str, str]] = set()
    for spec in specs:
        if is_attack(spec):
            attack = parse_attack_agent(spec)
            used.add(("attacks", attack.method))
            used |= agent_plugins(
                str(x) for x in (attack.attacker, attack.options.get("target")) if x
            )
        else:
            used.add(("agents", split_name(spec)[0]))
    return used
