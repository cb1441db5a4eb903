"""The configuration of a run: one frozen dataclass a component, flat on the command line and on disk.

A run's ``config.json`` holds the fields of all components side by side; so do the options of
``redteam-env train``. The algorithm's own dataclass comes with the algorithm, a plug-in's too.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from algorithms.training.callbacks import callback_settings
from algorithms.training.evaluating import EvaluationConfig
from algorithms.training.log import LoggingConfig
from algorithms.training.presets import TINY, Scale, check_needs, file_options, recipe_of, tiny
from algorithms.training.replay import ReplayConfig
from algorithms.training.scripted import ScriptedConfig, mixed_config, sampler_of
from algorithms.training.stopping import StoppingConfig
from redteam_env.game import (
    Count,
    GameConfig,
    RedteamError,
    Seed,
    at_least,
    check_fields,
    check_values,
    unknown_name,
)
from redteam_env.protocols import BASE, SeedSource
from redteam_env.registry import load, settings
from redteam_env.utils.lists import listed
from redteam_env.worlds import build_game, check_fit, world_options

FREE = (
    *(
        x.name
        for kind in (EvaluationConfig, StoppingConfig, LoggingConfig)
        for x in dataclasses.fields(kind)
    ),
    *("steps", "max_tokens", "checkpoint_every", "preflight", "force", "config"),
    *("out", "resume", "json", "quiet"),
    *("server_urls", "adapter_dir", "kv_cache_gb", "allow_other_base"),
)
"""Options that a resumed run may change."""
SELF_PLAY = "self_play"
START = "start"
"""The anchor that is a copy of the weights which a run starts from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """How long a run is and where it goes.

    Attributes:
        recipe: A published training, such as self_redteam_3b, whose settings are the defaults;
            redteam-env recipes list names all.
        config: Where further options stand: a TOML file (option = value), a run, or its config.json.
        scale: full, or tiny: a recipe, or anything else, in seconds, with a small random model, a judge
            that always says the same, built-in data and few games, steps and tokens.
        algorithm: What learns: reinforce_pp, reinforce, rae, rloo, grpo, dr_grpo, ppo, mappo,
            online_dpo, or an installed plug-in; each brings options of its own.
        steps: Training steps in all.
        max_tokens: End the run after the step in which so many tokens have been sampled in all, by all
            seats and in a league's own games too; 0 for no such end.
        games: Games a step; with several processes a multiple of their number times group_size.
        group_size: Games that share a seed, for algorithms that compare these: rloo, grpo, dr_grpo and
            online_dpo need at least 2. A divisor of games.
        seed: Seed of everything random in the run.
        checkpoint_every: Steps between checkpoints; the last step always has one.
        policy: Whose weights are trained: lora (adapters or whole models over transformers), or an
            installed plug-in; each brings options of its own.
        opponents: Whom the roles train against: self_play, alternating, fictitious, prioritised, psro,
            population, or an installed plug-in; each brings options of its own. Or mixed:METHOD,...,self:
            self-play in which standing attacks, such as pair or best_of_n?attempts=5, play the attacker in
            an equal share each of the games from which the defender learns.
        opponent: Who plays the seat that attacker_only or defender_only does not train: a registered
            agent, endpoint:MODEL@URL (a model behind an API), attack:METHOD (a standing attack), a run,
            checkpoint or adapter directory; by default the untrained base.
        judge_player: Who plays the judge's seat (judge_seat), if it has no weights of its own (roles):
            judge:NAME (a registered judge), or an agent as for opponent.
        init_from: Where the trained weights start: a run, checkpoint or adapter directory of the same
            base, rank and alpha; by default they are fresh. The KL reference stays the base, unless
            there is an anchor.
        anchor: The KL reference of adapters, instead of the base: start (a frozen copy of what init_from
            names), or a run, checkpoint or adapter directory of the same base, of any rank. The copy is
            in every checkpoint.
        callback: Callbacks, with a comma between them: novelty (pays the attacker for
            faithful rewrites unlike earlier ones), exact (logs what only an exact judge can tell), or
            installed plug-ins; each may bring options of its own. An empty text is none.
        mix_worlds: Train with parts that do not fit each other, such as a world's model on English seeds.
        preflight: Turns a seat that are played before the first step, to tell how many are cut, copy
            the instruction, refuse or break the format, and which token limit would fit them; 0 for none.
        force: Train also where thinking is required and the preflight finds the token limit too low.
        out: The run directory; by default runs/ARRANGEMENT-SEED.
        resume: Go on from the newest checkpoint in the run directory.
        json: Print a summary as JSON instead of text.
        quiet: Show no progress, only warnings and the summary.
    """

    recipe: str | None = None
    config: str | None = None
    scale: Scale = "full"
    algorithm: str = "reinforce_pp"
    steps: Count = 200
    max_tokens: Annotated[int, at_least(0)] = 0
    games: Count = 64
    group_size: Count = 1
    seed: int = 0
    checkpoint_every: Count = 20
    policy: str = "lora"
    opponents: str = SELF_PLAY
    opponent: str | None = None
    judge_player: str | None = None
    init_from: str | None = None
    anchor: str | None = None
    callback: str | None = None
    mix_worlds: bool = False
    preflight: Annotated[int, at_least(0)] = 8
    force: bool = False
    out: str | None = None
    resume: bool = False
    json: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.games % self.group_size:
            raise RedteamError(
                f"games is {self.games}, no multiple of group_size = {self.group_size}; "
                f"give {self.group_size * max(1, self.games // self.group_size)}, for example."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Everything a run is made from.

    Attributes:
        run: Length and place.
        game: The game.
        policy: The policies' own settings.
        learner: The algorithm's own settings.
        sampler: The opponent sampler's own settings; by default those it comes with.
        scripted: Scripted opponents beside the sampler's.
        replay: Which seeds are played again.
        evaluation: Suites while it trains, and the best checkpoint.
        stopping: When it ends early.
        logging: Where it is logged.
        callbacks: The settings of the callbacks that ``run.callback`` names.
    """

    run: RunConfig
    game: GameConfig
    policy: Any
    learner: Any
    sampler: Any = None
    scripted: ScriptedConfig = field(default_factory=ScriptedConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    stopping: StoppingConfig = field(default_factory=StoppingConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    callbacks: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        self._mix()
        kind = settings("opponents", sampler_of(self.run.opponents))
        if self.sampler is None:
            object.__setattr__(self, "sampler", kind())
        elif not isinstance(self.sampler, kind):
            raise RedteamError(
                f"opponents is {self.run.opponents!r}, but sampler is {self.sampler!r}; give "
                f"{kind.__name__}, or nothing."
            )
        if getattr(self.policy, "temperature", None) == 0:
            raise RedteamError("temperature is 0; training samples, so give a number above 0.")
        if (weights := getattr(self.policy, "weights", None)) is not None:
            self._check_judge_seat(weights)
            self._check_roles([role for role, name in weights.items() if name != BASE])
        least = getattr(self.sampler, "least_steps", 1)
        if self.run.steps < least:
            raise RedteamError(
                f"opponents is {self.run.opponents!r}, whose first round ends after {least} steps, but "
                f"steps is {self.run.steps}; give more steps (or games), or shorter rounds."
            )
        build_game(self.game)
        self.check_fit()
        self.flat()

    def check_fit(
        self, source: SeedSource | Sequence[Seed] | None = None, *, suite: str | None = None
    ) -> None:
        """Refuse parts that are in several languages, unless that was asked for.

        Args:
            source: The seeds, once they are read.
            suite: The evaluation suite that they are of, in the place of the run's own.
        """
        scripted = [spec for specs in self.scripted.specs.values() for spec in specs]
        check_fit(
            self.game.seeds if suite is None else suite,
            self.game.judge,
            source=source,
            model=getattr(self.policy, "model", None),
            agents=[*filter(None, [self.run.opponent, self.run.judge_player]), *scripted],
            mix=self.run.mix_worlds,
            option="seeds" if suite is None else "suite",
        )

    def _mix(self) -> None:
        """Take the scripted opponents from ``mixed:...``."""
        mixed = mixed_config(self.run.opponents)
        if mixed is None:
            return
        if self.scripted not in {ScriptedConfig(), mixed}:
            raise RedteamError(
                f"opponents is {self.run.opponents!r}, which names the scripted opponents and their share; "
                "leave scripted_share and scripted_attackers out, or give --opponents self_play."
            )
        object.__setattr__(self, "scripted", mixed)

    def _check_judge_seat(self, weights: Mapping[str, str]) -> None:
        """Refuse a judge's seat that nobody or two would play, and players of a seat that is not there."""
        own, named = "judge" in weights, self.run.judge_player is not None
        if not self.game.judge_seat and (own or named):
            what = (
                "roles name weights for the judge"
                if own
                else f"judge_player is {self.run.judge_player!r}"
            )
            raise RedteamError(f"The {what}, but there is no judge's seat; add --judge-seat.")
        if self.game.judge_seat and own == named:
            raise RedteamError(
                f"{'Two' if own else 'Nobody would'} play the judge's seat; give either weights (--roles "
                "judge=judge, or judge=base) or --judge-player AGENT, such as judge:lexical."
            )

    def _check_roles(self, roles: list[str]) -> None:
        """Refuse what does not fit the roles that are trained."""
        if roles == ["attacker"] and self.game.rewrite_fraction == 0:
            raise RedteamError(
                "attacker_only with rewrite_fraction 0 has nothing to train: raise the fraction."
            )
        if self.run.opponent is not None and len(roles) != 1:
            raise RedteamError(
                f"opponent is {self.run.opponent!r}, but {self.arrangement} trains both "
                "seats; give --arrangement attacker_only or defender_only."
            )
        self._check_scripted(roles)
        if sampler_of(self.run.opponents) != SELF_PLAY and len(roles) > 2:
            raise RedteamError(
                f"opponents is {self.run.opponents!r}, which matches two trained seats, but {', '.join(roles)} "
                "are trained; give --opponents self_play, or a judge that does not learn (--roles judge=base)."
            )
        if sampler_of(self.run.opponents) != SELF_PLAY and len(roles) != 2:
            raise RedteamError(
                f"opponents is {self.run.opponents!r}, which needs two trained seats, but "
                f"{self.arrangement} trains the {roles[0]} alone; give another --arrangement, or "
                "name a frozen --opponent instead."
            )

    def _check_scripted(self, roles: list[str]) -> None:
        """Refuse scripted opponents that nobody would meet."""
        specs = self.scripted.specs
        for role, names in specs.items():
            if names and not set(roles) - {role}:
                raise RedteamError(
                    f"scripted_{role}s is {','.join(names)!r}, but {self.arrangement} trains nobody who "
                    "would meet them; leave it out."
                )
        if any(specs.values()) and self.run.opponent is not None:
            raise RedteamError(
                f"opponent is {self.run.opponent!r}, which plays every game, so there is no share for "
                "scripted opponents; leave one of them out."
            )
        if any(specs.values()) and self.game.rewrite_fraction == 0:
            raise RedteamError(
                "Scripted opponents are met in rewritten games, but rewrite_fraction is 0: raise it, or "
                "leave scripted_share out."
            )

    @classmethod
    def from_flat(cls, options: Mapping[str, Any]) -> "TrainConfig":
        """Make a configuration from options side by side, as :meth:`flat` returns them.

        Args:
            options: Values by name; what is left out is that of the file ``options["config"]``, the recipe
                ``options["recipe"]`` and the world ``options["world"]``, if these are named, or keeps its
                default.

        Raises:
            RedteamError: If a name is unknown or a value wrong, or the recipe needs something more.
        """
        said = tuple(options)
        options = with_presets(options, said)
        check_needs(options, said)
        return cls.of_options(options)

    @classmethod
    def of_options(cls, options: Mapping[str, Any]) -> "TrainConfig":
        """Make a configuration from options alone; what is left out keeps its default."""
        kinds = components(options)
        fields = {part: [f.name for f in dataclasses.fields(kind)] for part, kind in kinds.items()}
        _check_known(options, "training option", used=options)
        for kind in kinds.values():
            check_values(kind, options)
        return cls.of(
            {
                part: kind(**{name: options[name] for name in fields[part] if name in options})
                for part, kind in kinds.items()
            }
        )

    @classmethod
    def of(cls, parts: Mapping[str, Any]) -> "TrainConfig":
        """Make a configuration from the settings of its components, by the names of these.

        Args:
            parts: As :func:`components` names them.
        """
        own = [field.name for field in dataclasses.fields(cls)]
        callbacks = tuple(part for name, part in parts.items() if name not in own)
        return cls(**{name: parts[name] for name in own if name in parts}, callbacks=callbacks)

    @property
    def parts(self) -> tuple[Any, ...]:
        """The settings of all components."""
        own = [getattr(self, x.name) for x in dataclasses.fields(self) if x.name != "callbacks"]
        return (*own, *self.callbacks)

    @property
    def arrangement(self) -> str:
        """What weights play which role, in a word; the policy's name where its settings have none."""
        return str(getattr(self.policy, "arrangement", self.run.policy))

    @property
    def generation_batch(self) -> int | None:
        """Most games whose turns are sampled together; ``None`` for all."""
        return getattr(self.policy, "generation_batch", None)

    def flat(self) -> dict[str, Any]:
        """Return the fields of all components side by side, as ``config.json`` holds them.

        Raises:
            RedteamError: If an algorithm's field has the name of another component's.
        """
        result: dict[str, Any] = {}
        for part in self.parts:
            fields = {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
            twice = sorted(set(fields) & set(result))
            if twice:
                raise RedteamError(
                    f"{type(part).__name__} has the fields {twice}, which exist elsewhere; "
                    "an algorithm or opponent sampler names its own settings differently."
                )
            result.update(fields)
        return result


def components(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the class of each component's settings, by its field in :class:`TrainConfig`.

    Those of named callbacks are called ``callback_0`` and so on.

    Args:
        options: Values by name; ``algorithm``, ``policy``, ``opponents`` and ``callback`` choose classes.

    Raises:
        RedteamError: If one of these is unknown.
    """
    defaults = RunConfig()
    named = [callback_settings(x) for x in listed(options.get("callback"))]
    kinds = {
        "run": RunConfig,
        "game": GameConfig,
        "policy": settings("policies", options.get("policy", defaults.policy)),
        "learner": settings("algorithms", options.get("algorithm", defaults.algorithm)),
        "sampler": settings("opponents", sampler_of(options.get("opponents", defaults.opponents))),
        "scripted": ScriptedConfig,
        "replay": ReplayConfig,
        "evaluation": EvaluationConfig,
        "stopping": StoppingConfig,
        "logging": LoggingConfig,
        **{f"callback_{k}": kind for k, kind in enumerate(filter(None, named))},
    }
    _check_apart(kinds)
    return kinds


def with_presets(options: Mapping[str, Any], said: Collection[str] = ()) -> dict[str, Any]:
    """Return training options, with those of file, recipe, scale and world that they name as defaults.

    Args:
        options: Values by name.
        said: The names of all that the user gave himself, which may be more than ``options`` holds.

    Raises:
        RedteamError: If a file, recipe or world is wrong, or has an option that nothing of its own has.
    """
    file = file_options(options, said)
    named = {**file, **options}
    check_values(RunConfig, named)
    recipe = recipe_of(named)
    found = {} if recipe is None else recipe.options
    _check_known(found, f"option of the recipe {named.get('recipe')!r}", used=found)
    for layer in (file, options):
        if layer.get("scale") == TINY:
            found = _over(found, tiny(found, named, recipe))
        found = _over(found, layer)
    found = with_world(_fitting(found, keep=named))
    _check_known({**found, **file}, f"option in {options.get('config')!r}", used=file)
    return found


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return options over others: an option of both roles also stands over one of a single role."""
    return {**{x: y for x, y in below.items() if _of_both(x) not in above}, **above}


def _fitting(options: Mapping[str, Any], keep: Collection[str]) -> dict[str, Any]:
    """Leave out what the chosen components do not have, but for the names to keep."""
    names = _names(components(options))
    return {name: x for name, x in options.items() if name in names or name in keep}


def _check_known(options: Mapping[str, Any], what: str, *, used: Collection[str]) -> None:
    """Refuse a name among those used that no component has."""
    names = _names(components(options))
    for name in used:
        if name not in names:
            raise unknown_name(what, name, names)


def with_world(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return training options, with those of the world that they name as defaults.

    What the chosen algorithm, policy, opponents and callbacks do not have is left out of the world's, and
    so is a role's own value of an option that is given for both roles (``attacker_lr`` beside ``lr``).

    Args:
        options: Values by name.

    Raises:
        RedteamError: If the world is unknown, or brings an option that nothing of its own has.
    """
    check_values(GameConfig, {"world": options.get("world")})
    if options.get("world") is None:
        return dict(options)
    base = world_options(options["world"])
    brought = world_options(options["world"], options.get("arrangement"), options.get("judge"))
    every = {**base, **brought}
    _check_known(every, f"option of the world {options['world']!r}", used=every)
    merged = _over(brought, options)
    if "callback" not in options and has_own_loop(merged.get("algorithm", RunConfig().algorithm)):
        merged["callback"] = None
    return _fitting(merged, keep=options)


def has_own_loop(algorithm: str) -> bool:
    """Whether an algorithm trains in a loop of its own, as those of Stable-Baselines3 do.

    Raises:
        RedteamError: If it is unknown.
    """
    return callable(getattr(load("algorithms", algorithm), "train", None))


def _of_both(name: str) -> str:
    """Return the option of both roles that an option of one role refines, or its own name."""
    return name.removeprefix("attacker_").removeprefix("defender_")


def _names(kinds: Mapping[str, Any]) -> set[str]:
    return {field.name for kind in kinds.values() for field in dataclasses.fields(kind)}


def _check_apart(kinds: Mapping[str, Any]) -> None:
    """Refuse a plug-in's setting that has the name of another component's."""
    owners: dict[str, str] = {}
    for kind in kinds.values():
        for x in dataclasses.fields(kind):
            if x.name in owners:
                raise RedteamError(
                    f"{kind.__name__} has the field {x.name!r}, which {owners[x.name]} has, too; a "
                    "plug-in names its own settings differently."
                )
            owners[x.name] = kind.__name__
