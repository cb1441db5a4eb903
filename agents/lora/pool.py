"""Agents out of saved weights: run directories, adapter directories, models, the base.

All adapters that belong to one base share it in memory, so a cross-play of many runs costs one base
and a few megabytes for each adapter.
"""

import dataclasses
from pathlib import Path
from typing import Any

from agents.lora.adapter_config import ADAPTER_CONFIG, read_config
from agents.lora.adapters import check_named_base
from agents.lora.agent import ModelAgent
from agents.lora.backend import HfBackend
from agents.lora.cards import POLICY_FILE, WEIGHTS_FILE, read_card, read_policy
from agents.lora.chat import ChatCodec
from agents.lora.completing import CompletionAgent
from agents.lora.config import PolicyConfig
from agents.lora.policy import make_codec
from agents.lora.probe import check_model
from agents.lora.store import AdapterStore
from agents.models import KNOWN, canonical, count_parameters, load_base
from redteam_env.game import RedteamError
from redteam_env.protocols import BASE
from redteam_env.runs import POLICY, newest
from redteam_env.trust import allow_place, user_said
from redteam_env.utils.files import verify_manifest
from redteam_env.utils.heartbeat import model_words


@dataclasses.dataclass(frozen=True, slots=True)
class _Loaded:
    store: AdapterStore
    codec: ChatCodec


class PolicyPool:
    """Loads agents by specification, each base and each adapter once.

    Args:
        base: What ``base`` means and what adapters are put on; by default the model that the first
            loaded run or adapter was trained on.
        max_new_tokens: Longest completion, in tokens.
        temperature: Of agents for which :meth:`load` is given none; 0 is greedy.
        batch: Sequences generated together.
        device: As in :class:`~agents.lora.config.PolicyConfig`.
        dtype: The same.
        allow_other_base: The same.
    """

    def __init__(
        self,
        *,
        base: str | None = None,
        max_new_tokens: int = 48,
        temperature: float = 0.0,
        batch: int = 64,
        device: str = "auto",
        dtype: str = "auto",
        allow_other_base: bool = False,
    ) -> None:
        self._base = base
        self._config = PolicyConfig(
            model=base or "smollm2",
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            generation_batch=batch,
            device=device,
            dtype=dtype,  # type: ignore[arg-type]  # PolicyConfig's users may pass any of its names
            allow_other_base=allow_other_base,
        )
        self._models: dict[tuple[str, str | None], _Loaded] = {}
        self._adapters: dict[Path, tuple[_Loaded, str]] = {}
        self._verified: set[Path] = set()

    def load(
        self,
        spec: str,
        role: str,
        *,
        temperature: float | None = None,
        max_new_tokens: int | None = None,
    ) -> ModelAgent:
        """Return the agent that a specification names.

        Args:
            spec: ``base``, a run directory, one of its checkpoints, an adapter directory, a model
                directory, a known model name or a hub id.
            role: The role it is to play; chooses the weights of a run.
            temperature: Its sampling temperature; by default the pool's.
            max_new_tokens: Its longest completion; by default the pool's.

        Returns:
            An agent. Agents of the same weights share them, whatever their temperature.

        Raises:
            RedteamError: If it is none of these, a file is missing, or an adapter belongs to
                another base.
        """
        loaded, weights = self._weights(spec, role)
        config = self._config
        return ModelAgent(
            backend=HfBackend(
                store=loaded.store, codec=loaded.codec, batch=config.generation_batch
            ),
            weights=weights,
            codec=loaded.codec,
            max_new_tokens=max_new_tokens or config.max_new_tokens,
            temperature=config.temperature if temperature is None else temperature,
        )

    def models(self) -> list[str]:
        """Return the models that are loaded, and where each runs, in words."""
        found = []
        for (name, _), loaded in self._models.items():
            model = loaded.store.base.model
            found.append(
                model_words(
                    name,
                    parameters=count_parameters(model),
                    placement=f"{model.device}, {str(model.dtype).removeprefix('torch.')}",
                    backend="hf",
                )
            )
        return found

    def completer(self) -> CompletionAgent:
        """Return an agent that goes on with texts as they stand, with the pool's base.

        The base needs no chat template.

        Raises:
            RedteamError: If no base was named, or it cannot be loaded.
        """
        if self._base is None:
            raise RedteamError(
                "A pool without a base has nothing that goes on with texts; name one."
            )
        config = self._config
        base = load_base(self._base, device=config.device, dtype=config.dtype)
        check_model(base)
        return CompletionAgent(
            base=base, max_new_tokens=config.max_new_tokens, batch=config.generation_batch
        )

    def _weights(self, spec: str, role: str) -> tuple[_Loaded, str]:
        """Return the model that a specification names, and the weights' name there."""
        if spec == BASE:
            if self._base is None:
                raise RedteamError(
                    "'base' has no meaning without a run; name the model with --model."
                )
            return self._model(self._base, None), BASE
        path = newest(Path(spec))
        if (path / POLICY / POLICY_FILE).is_file():
            self._verify(path)
            return self._from_policy(path / POLICY, role)
        if (path / ADAPTER_CONFIG).is_file():
            return self._from_adapter(path)
        return self._model(spec, None), BASE

    def _verify(self, checkpoint: Path) -> None:
        if checkpoint not in self._verified:
            verify_manifest(checkpoint)
            self._verified.add(checkpoint)

    def _from_policy(self, directory: Path, role: str) -> tuple[_Loaded, str]:
        card = read_policy(directory)
        if "parts" in card:
            if role not in card["parts"]:
                raise RedteamError(f"{str(directory)!r} has no weights for the role {role!r}.")
            return self._from_part(directory / card["parts"][role], role)
        card = read_policy(directory, "full", "model", "revision")
        name = card["weights"].get(role)
        if name == BASE or self._base is None:
            self._allow(card["model"], directory)
        self._base = self._base or card["model"]
        if name is None:
            raise RedteamError(f"{str(directory)!r} has no weights for the role {role!r}.")
        if name == BASE:
            return self._model(card["model"], card["revision"]), BASE
        if card["full"]:
            return self._model(str(directory / name), None), BASE
        return self._from_adapter(directory / name)

    def _from_part(self, directory: Path, role: str) -> tuple[_Loaded, str]:
        """Return a role of a policy on several bases: with its own, whatever ``base`` means."""
        card = read_policy(directory, "model", "revision")
        if not user_said("bases", f"{role}:{card['model']}", holder=directory):
            self._allow(card["model"], directory)
        name = card["weights"].get(role, BASE)
        if name == BASE:
            return self._model(card["model"], card["revision"]), BASE
        return self._from_adapter(directory / name, base=card["model"])

    def _from_adapter(self, directory: Path, *, base: str | None = None) -> tuple[_Loaded, str]:
        key = directory.resolve()
        if key not in self._adapters:
            config = read_config(directory)  # refused before a base is loaded
            card: dict[str, Any] = {"model": config.base, "revision": config.revision}
            if (directory / WEIGHTS_FILE).is_file():
                card |= read_card(directory / WEIGHTS_FILE)
            model = base or self._base or card["model"]
            if not model:
                raise RedteamError(
                    f"The adapter in {str(directory)!r} names no base; give it as --model."
                )
            if base is None:
                self._allow(str(model), directory)
            loaded = self._model(str(model), card["revision"] if base or not self._base else None)
            allow = self._config.allow_other_base
            check_named_base(directory, loaded.store.base, allow_other=allow)
            name = f"adapter_{len(loaded.store.versions)}"  # counts those that did not load, too
            loaded.store.load(name, directory)
            loaded.store.versions[name] = int(card.get("version", 0))
            self._adapters[key] = (loaded, name)
        return self._adapters[key]

    def _allow(self, model: str, holder: Path) -> None:
        """Have the user confirm a base that a file beside weights names, unless he named it himself."""
        if model not in KNOWN and (self._base is None or canonical(model) != canonical(self._base)):
            allow_place(model, holder=holder, option="model")

    def _model(self, spec: str, revision: str | None) -> _Loaded:
        key = (canonical(spec), revision)
        if key not in self._models:
            base = load_base(
                spec, revision=revision, device=self._config.device, dtype=self._config.dtype
            )
            codec = make_codec(base, self._config)
            check_model(base)
            self._models[key] = _Loaded(AdapterStore(base), codec)
            self._base = self._base or spec
        return self._models[key]
