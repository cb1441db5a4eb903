"""PyRIT's converters: the request in one encoding or disguise after the other.

Lopez Munoz et al., "PyRIT: A Framework for Security Risk Identification and Red Teaming in Generative AI
Systems", arXiv 2410.02828, of which only the converters from text to text are used, those that ask no model;
each has the settings it comes with. PyRIT itself is an extra: ``pip install 'redteam-env[pyrit]'``.
"""

import importlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from redteam_env.attacks.search import Case, Search, SearchAttack
from redteam_env.border.calls import Plugin, call
from redteam_env.game import RedteamError
from redteam_env.game.values import text
from redteam_env.randomness import integer_seed
from redteam_env.utils.lists import listed

MODULE = "pyrit.converter"


@dataclass(frozen=True, slots=True, kw_only=True)
class PyritAttack(SearchAttack):
    """Converters in their order, each once, up to the number of attempts.

    Attributes:
        converters: Names of PyRIT's converter classes, with a comma between them.
    """

    name: ClassVar[str] = "pyrit"

    converters: str = (
        "LeetspeakConverter,CharacterSpaceConverter,FlipConverter,ROT13Converter,Base64Converter,"
        "MorseConverter,RandomCapitalLettersConverter"
    )
    _made: Sequence[tuple[str, Any]] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        SearchAttack.__post_init__(self)
        names = listed(self.converters)
        if not names:
            raise RedteamError("pyrit: converters is empty; name PyRIT's converter classes.")
        try:
            library = importlib.import_module(MODULE)
        except ImportError as error:
            raise RedteamError(
                f"The attack 'pyrit' needs PyRIT, which cannot be imported ({error}); install it with "
                "pip install 'redteam-env[pyrit]', or choose another attack."
            ) from error
        made = [(name, _converter(library, name, self.seed)) for name in names]
        object.__setattr__(self, "_made", made)

    def search(self, case: Case) -> Search:
        """Send the request in one form after the other."""
        for name, converter in self._made[: case.left]:
            if case.left:
                yield from case.attempt(_converted(name, converter, case.goal))


def _converter(library: Any, name: str, seed: int) -> Any:
    kind = getattr(library, name, None)
    if not inspect.isclass(kind) or not hasattr(kind, "convert_async"):
        raise RedteamError(
            f"pyrit: {MODULE} has no converter {name!r}; see PyRIT's list of converters."
        )
    drawn = "seed" in inspect.signature(kind).parameters
    options = {"seed": integer_seed((seed, "pyrit", name)) % 2**31} if drawn else {}
    try:
        return kind(**options)
    except Exception as error:
        raise RedteamError(
            f"pyrit: the converter {name!r} cannot be made without settings ({error}); leave it out."
        ) from error


def _converted(name: str, converter: Any, goal: str) -> str:
    return call(
        Plugin(converter, f"PyRIT converter {name!r}", methods=False),
        "convert_async",
        returns="a ConverterResult with a text",
        read=lambda result: text(result.output_text),
        prompt=goal,
        input_type="text",
    )
