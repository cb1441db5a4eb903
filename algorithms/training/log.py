"""What a run logs, and where: its own record first, then every logger that was named."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from rich.console import Console

from redteam_env.border import loggers as border
from redteam_env.border.records import metrics as read_metrics
from redteam_env.game import Episode, RedteamError, at_least, check_fields, role_of
from redteam_env.protocols import Callback, LoggedRun, Logger, LogTable, Row, TrainingRun
from redteam_env.randomness import generator
from redteam_env.registry import build, require
from redteam_env.runs import METRICS, PREFLIGHT, Run
from redteam_env.utils.lists import listed, queried
from redteam_env.utils.machine import used_up
from redteam_env.utils.notices import warn
from redteam_env.utils.redaction import redacted, without_secrets
from redteam_env.utils.text import escape_controls, safe_text
from redteam_env.worlds import is_invented

RECORD = "jsonl"
"""The logger of the run's own record, which every run has; without it nothing could be resumed."""
DIALOGUES = "dialogues"
SAMPLED = 8
"""Games in a table of dialogues."""
_COLUMNS = (
    *("game", "seed", "category", "harmful", "rewritten", "dialogue"),
    *("prompt_harmful", "response_refusal", "response_harmful"),
    *("attacker_reward", "defender_reward", "void"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingConfig:
    """Where a run is logged beside metrics.jsonl.

    Attributes:
        logger: Loggers, with a comma between them or one an option: tensorboard (event files in the run
            directory), trackio, wandb, mlflow, or installed plug-ins, each with options of its own behind it,
            such as 'wandb?project=mine&mode=offline'. An empty text is none. One that fails is left out
            from then on.
        log_dialogues: Give loggers a table of 8 sampled dialogues every so many steps, with verdicts and
            rewards; 0 for none.
        log_texts: Show in it what players wrote, too, which may be harmful; by default only how long it is,
            unless the run plays a world's own seeds, which are invented.
    """

    logger: str | None = "tensorboard"
    log_dialogues: Annotated[int, at_least(0)] = 0
    log_texts: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        names = [name for name, _ in self.named]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise RedteamError(f"logger names {twice[0]!r} twice; name each logger once.")

    @property
    def named(self) -> list[tuple[str, dict[str, str]]]:
        """The name and the options of each logger, without that of the run's own record."""
        return [pair for pair in map(queried, listed(self.logger)) if pair[0] != RECORD]


def make_loggers(config: LoggingConfig) -> dict[str, Logger]:
    """Return a run's loggers by name, that of its own record first.

    Raises:
        RedteamError: If one is unknown, or cannot be made: its library is missing, or an option wrong.
    """
    found = {}
    for name, options in [(RECORD, {}), *config.named]:
        found[name] = build("loggers", name, **options)
        for method in ("start", "log", "finish"):
            require(found[name], method, f"logger {name!r}")
    return found


class RunLog(Callback):
    """Writes the games of each step, and gives its numbers to every logger.

    Games and rows of steps that a resumed run takes again are dropped first; a logger that goes on with its
    own record is not given those steps again. What a logger of others raises is told once; the run goes on
    without it.

    Args:
        config: Where to.
        loggers: As :func:`make_loggers` returns them; none in processes that do not lead.
        console: Where a failure is told.
    """

    def __init__(
        self, config: LoggingConfig, loggers: Mapping[str, Logger], console: Console
    ) -> None:
        self._config, self._loggers, self._console = config, dict(loggers), console
        self._logged: dict[str, int] = {}

    def on_start(self, run: TrainingRun) -> None:
        """Open everything, if this process leads."""
        self._run, self._files = run, Run(run.directory)
        if not self._loggers:
            return
        self._files.drop_episodes(run.step)
        steps = {row["step"] for row in self._files.rows()}
        logged = max(steps, default=-1)
        if lost := sorted(set(range(run.step)) - steps):
            warn(
                f"{str(run.directory / METRICS)!r} lacks the rows of {len(lost)} of the {run.step} steps so far, "
                f"the first that of step {lost[0] + 1}. The run goes on without them."
            )
        states = self._files.logger_states()
        options = without_secrets(run.config.flat())
        for name in list(self._loggers):
            told = LoggedRun(
                name=run.directory.resolve().name,
                directory=run.directory,
                config=options,
                step=run.step,
                state=states.get(name, {}),
            )
            if name in states:  # it goes on with its own record
                self._logged[name] = logged
            if state := self._ask(border.start, name, told):
                states[name] = state
        if states:
            self._files.write_logger_states(states)

    def on_update(self, step: int, row: Row) -> None:
        """Log a step."""
        if not self._loggers:
            return
        self._files.write_episodes(step, self._run.episodes)
        scalars = read_metrics(row)
        tables, every = {}, self._config.log_dialogues
        if every and (step + 1) % every == 0:
            tables[DIALOGUES] = self._dialogues(step)
        preflight = self._files.path / PREFLIGHT
        files = [preflight] if step == 0 and preflight.is_file() else []
        for name in [x for x in self._loggers if step > self._logged.get(x, -1)]:
            self._ask(border.log, name, step, scalars, tables, files)

    def on_end(self, outcome: Any) -> None:
        """Let all write what is left."""
        for name in list(self._loggers):
            self._ask(border.finish, name, outcome)

    def _ask(self, method: Any, name: str, *arguments: Any) -> Any:
        """Call a logger, and leave it out from then on if it fails."""
        try:
            return method(name, self._loggers[name], *arguments)
        except Exception as error:
            if name == RECORD or used_up(error):
                raise
            del self._loggers[name]
            text = f"The logger {name!r} failed and is left out from here on: {_first_line(error)}"
            self._console.print(safe_text(f"{text} The run goes on; metrics.jsonl has all."))
            return None

    def _dialogues(self, step: int) -> LogTable:
        """Return a table of some of a step's games."""
        config, played = self._run.config, self._run.episodes
        draws = generator((config.run.seed, "log", step))
        chosen = sorted(draws.permutation(len(played))[:SAMPLED].tolist())
        shown = self._config.log_texts or invented(config.game)
        return LogTable(columns=_COLUMNS, rows=[_row(played[k], k, shown=shown) for k in chosen])


def invented(game: Any) -> bool:
    """Whether a run plays a world's own seeds, in which everything is invented."""
    return is_invented(game.world, game.seeds)


def _row(episode: Episode, place: int, *, shown: bool) -> tuple[Any, ...]:
    said = [
        f"{role_of(line.seat)}: {escape_controls(line.text) if shown else redacted(line.text)}"
        for line in episode.dialogue.lines
    ]
    verdict = episode.verdict
    return (
        place,
        escape_controls(episode.seed.id),
        escape_controls(episode.seed.category),
        episode.seed.harmful,
        episode.rewritten,
        "\n".join(said),
        *(getattr(verdict, name, None) for name in _COLUMNS[6:9]),
        *(episode.rewards.get(f"{role}_0") for role in ("attacker", "defender")),
        None if episode.void is None else escape_controls(episode.void),
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
