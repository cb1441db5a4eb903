"""What only the exact judge of a controlled world can tell, logged step by step.

Labels alone do not say whether a rewrite still asks for the seed's recipe, nor how it hides it. A judge
that does (:class:`redteam_env.protocols.ExactJudge`) is asked about each game of a step, so that one sees
how attackers hide what they ask for, and which way of hiding defenders have answered, while it happens.
"""

from collections import Counter

from redteam_env.border.judges import outcomes
from redteam_env.game import RedteamError
from redteam_env.protocols import Callback, ExactJudge, Row, TrainingRun


class Exact(Callback):
    """Logs ``game/NAME`` for each event that the judge can tell: its share of the games it can count for.

    Games against a scripted opponent of the league are left out: they do not show what self-play came to. A
    step without games has no entry for the event. Nothing is changed in what is learned.
    """

    def on_start(self, run: TrainingRun) -> None:
        """Take note of the run.

        Raises:
            RedteamError: If the judge cannot tell more than verdicts.
        """
        judge = run.judge
        if not isinstance(judge, ExactJudge):
            raise RedteamError(
                f"The callback 'exact' needs a judge with outcomes(), such as apothecary's; "
                f"{judge.name!r} has none. Leave the callback out, or choose such a judge."
            )
        self._run, self._judge = run, judge

    def on_update(self, step: int, row: Row) -> None:
        """Log the shares in the games of the step, as they were played."""
        games: Counter[str] = Counter()
        happened: Counter[str] = Counter()
        own = (x for x in self._run.episodes if x.group not in self._run.scripted)
        for episode in own:
            for name, value in outcomes(self._judge, episode).items():
                games[name] += 1
                happened[name] += value
        row |= {f"game/{name}": happened[name] / n for name, n in games.items()}
