"""What is fuzzed: for each entry point a function that takes any bytes, and what must hold of it.

What comes from outside gives a result or a :class:`~redteam_env.game.RedteamError` of one line; any other
exception is a finding, and so is a promise that is broken. ``tests/README.md`` says how it is run.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from tiny_models import tiny_tokenizer

from agents.chat_answer import read_chat_answer
from agents.endpoint import endpoint
from agents.lora.adapter_config import read_config
from agents.lora.chat import ChatCodec
from algorithms import TrainConfig
from algorithms.core.supervised import read_examples
from algorithms.studies.bench.report import read_manifest
from algorithms.studies.experiments.reading import experiment_from
from algorithms.studies.manifest import sealed
from redteam_env import registry
from redteam_env.distil import Store
from redteam_env.game import Game, Generation, RedteamError
from redteam_env.game.thinking import TAGS, Thinking, cut_action, split_action, take_thoughts
from redteam_env.judges import PARSERS, Guard, parse_classes
from redteam_env.judges.recorded import read_record
from redteam_env.runs import Run, find_run, find_saved
from redteam_env.seeds.files import from_file
from redteam_env.utils.answers import cause_of
from redteam_env.utils.http import Answer
from redteam_env.utils.reading import parse_json, parse_toml

CORPUS = Path(__file__).parent / "corpus"
LEADERBOARD = Path(__file__).parents[2] / "examples" / "results" / "ladder" / "bench.json"
Target = Callable[[bytes], None]
MOST_BYTES = 4096
"""Of an input; the readers' bounds have tests of their own."""


_folder = tempfile.TemporaryDirectory(prefix="redteam-env-fuzz-")


def _file(name: str, data: bytes) -> Path:
    file = Path(_folder.name) / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def _read(call: Callable[[], Any]) -> Any:
    """Return what a reader returns, ``None`` if it refuses; the refusal is one line that says something."""
    try:
        return call()
    except RedteamError as error:
        message = str(error)
        assert message.strip(), "an empty message"
        assert len(message.splitlines()) == 1, f"more than a line: {message!r}"
        assert message.isprintable(), f"control characters: {message!r}"
        return None


def _seeds(suffix: str) -> Target:
    def fuzz(data: bytes) -> None:
        file = _file(f"seeds{suffix}", data)
        for options in ({}, {"all": "harmful"}, {"text": "prompt", "all": "harmful"}):
            source = _read(lambda options=options: from_file(str(file), **options))
            if source is not None:
                assert all(seed.text.strip() for seed in source.seeds("train")), "an empty request"

    return fuzz


def _toml(data: bytes) -> None:
    agent = _read(lambda: endpoint("attacker", str(_file("endpoint.toml", data))))
    if agent is not None:
        assert agent.reaches.startswith(("http://", "https://"))
    table = _read(lambda: parse_toml(data.decode("utf-8", "replace"), place="a plan"))
    if table is not None:
        _read(lambda: experiment_from(table))


def _adapter_config(data: bytes) -> None:
    config = _read(lambda: read_config(_file("adapter/adapter_config.json", data).parent))
    if config is not None:
        assert 1 <= config.rank <= 4096
        assert 0 < config.alpha < float("inf")


def _run(data: bytes) -> None:
    """A zero byte parts ``config.json``, ``metrics.jsonl``, a step's games and ``agent.json``."""
    names = ("config.json", "metrics.jsonl", "episodes/step-000000.jsonl", "policy/agent.json")
    parts = data.split(b"\0", len(names) - 1)
    for name, part in zip(names, parts + [b""] * len(names), strict=False):
        folder = _file(f"run/{name}", part).parent
    place = folder.parent
    run = Run(place)
    config = _read(run.stored_config)
    if config is not None:
        _read(lambda: TrainConfig.from_flat(config))
    _read(lambda: find_run(place))
    _read(lambda: find_saved(str(place)))
    _read(run.rows)
    _read(lambda: run.read_episodes(0))


def _leaderboard(data: bytes) -> None:
    """The bytes are entries that replace those of a manifest; of ``options`` the ones named."""
    changes = _read(lambda: parse_json(data, place="an input"))
    if not isinstance(changes, dict):
        return
    manifest = json.loads(LEADERBOARD.read_text(encoding="utf-8"))
    options = changes.pop("options", {})
    manifest.update(changes)
    if isinstance(options, dict) and isinstance(manifest["options"], dict):
        manifest["options"].update(options)
    else:
        manifest["options"] = options
    with registry.isolated():
        _read(lambda: read_manifest(sealed(manifest), LEADERBOARD, used=[]))


def _action(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for thinking in Thinking:
        split = split_action(text, thinking)
        assert split.visible in text
        assert not (split.forfeit and split.visible)
        if thinking is not Thinking.NONE and split.well_formed and split.thought:
            assert not any(tag in split.visible for tag in TAGS), "a tag of the format is shown"
        shorter = split_action(cut_action(text, len(text) // 2), thinking)
        if thinking is not Thinking.NONE and any(tag in text for tag in TAGS):
            assert not any(tag in shorter.visible for tag in TAGS), "a cut shows a tag"
    for opened in (False, True):
        spoken = take_thoughts(text, opened=opened)
        assert take_thoughts(spoken.text).text == spoken.text, "a thought is left"


CODEC = ChatCodec(tiny_tokenizer("qwen"))
RULES = {"role": "system", "content": "rules"}


def _codec(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    ids = CODEC.content_ids(text)
    assert not CODEC.control_ids & set(ids), "a player's text yields a control token"
    assert CODEC.decode(ids) == text
    players = [{"role": role, "content": text} for role in ("user", "assistant", "user")]
    harmless = [{**x, "content": "a"} for x in players]
    controls = [
        [i for i in CODEC.encode([RULES, *turns]) if i in CODEC.control_ids]
        for turns in (players, harmless)
    ]
    assert controls[0] == controls[1], "a player's text changes the dialogue's structure"
    sampled = [byte % len(CODEC_IDS) for byte in data]
    CODEC.decode(sampled)
    assert CODEC.read(sampled, prefill="<think> ").thought == ""


CODEC_IDS = range(len(tiny_tokenizer("qwen")))


def _server(data: bytes) -> None:
    status = 200 if data[:1] != b"!" else 400 + data[1] if len(data) > 1 else 500
    body = _read(lambda: parse_json(data.removeprefix(b"!"), place="an answer"))
    cause = cause_of(status, body)
    assert cause is not None or status < 300
    answer = read_chat_answer(Answer(data=body))
    if answer.error is not None:
        assert answer.error.isprintable()
        assert len(answer.error) < 200, "the reason holds the server's text"
    if answer.tokens is not None:
        assert min(answer.tokens) >= 0


def _verdict(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for parse in (*PARSERS.values(), parse_classes):
        verdict = parse(text)
        fields = (verdict.prompt_harmful, verdict.response_refusal, verdict.response_harmful)
        assert all(field is None or isinstance(field, bool) for field in fields)
        assert verdict.error is None or fields == (None, None, None)
    guard = Guard(labels=("Safety", "Human user"), lines=("1.b",), tokens=("<END CONVERSATION>",))
    assert guard(guard(text)) == guard(text)
    _read(lambda: read_record(_file("record.jsonl", data)))


class _Tokens:
    """Writes an example down as it stands."""

    def encode_example(
        self, role: str, messages: Any, response: str, *, prefill: str = ""
    ) -> Generation:
        assert response.strip()
        return Generation(
            prompt_ids=(0,),
            completion_ids=(0,),
            logprobs=(0.0,),
            adapter=role,
            version=0,
            temperature=1.0,
            finished=True,
        )


def _examples(data: bytes) -> None:
    """The bytes are a file of supervised examples, and what a killed ``data sft`` left behind."""
    file = _file("examples/examples.jsonl", data)
    game = Game(thinking={"defender_0": Thinking.REQUIRED})
    _read(lambda: read_examples(str(file), cast("Any", _Tokens()), game))
    progress = _file("examples-made/progress.jsonl", data)
    store = _read(lambda: Store(progress.parent, {"seed": 0}))
    if store is not None:
        again = Store(progress.parent, {"seed": 0})
        assert again.made == store.made


TARGETS: dict[str, Target] = {
    "csv": _seeds(".csv"),
    "tsv": _seeds(".tsv"),
    "json_lines": _seeds(".jsonl"),
    "json": _seeds(".json"),
    "text": _seeds(".txt"),
    "toml": _toml,
    "adapter_config": _adapter_config,
    "run": _run,
    "leaderboard": _leaderboard,
    "action": _action,
    "codec": _codec,
    "server": _server,
    "verdict": _verdict,
    "examples": _examples,
}
"""By the name that the command takes, which is also the name of the folder of inputs."""
