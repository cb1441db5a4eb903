"""Which plug-ins a run is made with."""

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
    used |= {("judges", game.judge.partition(":")[0])}
    used |= {("worlds", name) for name in [game.world] if name is not None}
    used |= {("callbacks", name) for name in listed(run.callback)}
    for source in listed(game.seeds):
        name = source.partition("?")[0].partition(":")[0]
        used.add(("seeds", name if name in registry.names("seeds") else "file"))
    agents = [
        *listed(run.opponent),
        *(x for specs in config.scripted.specs.values() for x in specs),
    ]
    attacks = [parse_attack_agent(spec) for spec in agents if is_attack(spec)]
    agents = [spec for spec in agents if not is_attack(spec)]
    agents += [attack.attacker for attack in attacks if attack.attacker is not None]
    used |= {("attacks", attack.method) for attack in attacks}
    return used | {("agents", split_name(spec)[0]) for spec in agents}
