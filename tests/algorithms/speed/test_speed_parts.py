"""The parts of ``speed`` beyond the controlled world: every row, right ratios, clear errors."""

import itertools
import json

import numpy as np
import pytest
import tiny_models
import torch
from hypothesis import given
from hypothesis import strategies as st
from speed_sides import inside

from algorithms.speed import comparison, generation, growth, limits, worker
from algorithms.speed.rows import PARTS, SpeedConfig
from algorithms.speed.training import instruction, prompts, reward
from algorithms.speed.worker import Lap
from redteam_env.cli.main import main
from redteam_env.game import RedteamError

ABOVE = st.floats(0.01, 100)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_models.save_tiny(tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def no_processes(monkeypatch):
    before = torch.get_num_threads()
    for module in (comparison, generation, growth, worker):
        monkeypatch.setattr(module, "side", inside)
    yield
    torch.set_num_threads(before)


def printed(capsys, *options):
    assert main(["speed", "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


def named(record):
    return {row["what"]: row for row in record["rows"]}


def lap(cpu, peak=1.0, wall=9.0, **facts):
    return Lap(seconds=wall, cpu_seconds=cpu, peak_gb=peak, facts=facts)


@given(st.floats(-2, 2), ABOVE, st.lists(ABOVE, min_size=2, max_size=6, unique=True))
def test_the_exponent_of_a_power_law_is_found_exactly(power, factor, sizes):
    spread = np.ptp(np.log(sizes))
    if spread > 0.1:
        values = [factor * size**power for size in sizes]
        assert growth.exponent(sizes, values) == pytest.approx(power, abs=1e-6)


@given(st.integers(1, 20), st.integers(0, 3000), st.integers(2, 5))
def test_a_ladder_rises_by_one_factor_to_the_most(least, more, factor):
    sizes = growth.ladder(least, least + more, factor)
    assert sizes[-1] == least + more
    assert len(sizes) == 1 or sizes[0] == least
    for a, b in itertools.pairwise(sizes[:-1]):
        assert b == a * factor
    assert len(sizes) == 1 or sizes[-2] < sizes[-1] <= factor * sizes[-2]


def test_one_thread_is_timed_by_the_processor_and_several_by_the_clock():
    laps = [lap(1.0, wall=7.0), lap(5.0, wall=2.0), lap(2.0, wall=3.0)]
    assert comparison.seconds(laps, 1) == 2.0
    assert comparison.seconds(laps, 2) == 3.0
    assert comparison.peak([lap(1, 0.5), lap(1, 0.7)]) == 0.7


def test_a_step_has_four_passes_over_all_tokens_and_heads_on_completions_only():
    weights = {"body": 10, "head": 3}
    assert limits.distinct_tokens([(1, 2, 3), (1, 2, 4, 5), (1, 2)]) == 2 + 1 + 2
    assert limits.distinct_tokens([(1, 2, 3), (1, 2, 3)]) == 3
    found = limits.step_operations(weights, prompt=5, completion=7)
    assert found == 4 * 2 * (10 * 12 + 3 * 7)


def test_decoding_is_bound_by_bytes_for_few_rows_and_by_products_for_many():
    weights, rates = {"body": 90, "head": 10}, {"flops": 1000.0, "bytes": 400.0}
    for rows, expected in ((1, 1.0), (5, 1.0), (10, 2.0)):
        found = limits.decoding_seconds(weights, rates, rows=rows, steps=1)
        assert found == pytest.approx(expected)
        double = limits.decoding_seconds(weights, rates, rows=rows, steps=2)
        assert double == pytest.approx(2 * found)


@pytest.mark.parametrize("tied", [True, False])
def test_weights_are_counted_without_embeddings_and_the_head_apart(tied):
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=50, hidden_size=8, intermediate_size=12, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=tied,
    )  # fmt: skip
    found = limits.sizes(Qwen2ForCausalLM(config))
    assert found == {"body": 8 * (8 + 4 + 4 + 8) + 3 * 8 * 12, "head": 50 * 8}


def test_prompts_share_their_instruction_and_differ_at_once_after_it():
    made = prompts(4, "Do.")
    assert {messages[0]["content"] for messages in made} == {"Do."}
    assert len({messages[1]["content"] for messages in made}) == 4
    assert len(instruction(256).split()) >= 256 * 2 // 3
    assert reward("aab") == 2.0


def test_trl_rows_are_the_sides_ratios(monkeypatch):
    found = {
        "ours": [lap(2.0, 1.0, prompt_ids=[[1, 2], [3]], weights={"body": 10, "head": 2})],
        "trl": [lap(8.0, 4.0)],
        "checkpointing": [lap(10.0, 2.0)],
    }
    monkeypatch.setattr(comparison, "side", lambda *_: FakeMachine())
    options = SpeedConfig(part="trl", completions=8, length=3)
    rows = {row.what: row for row in comparison._trl_rows(options, "short", 0, found)}
    assert rows["short instruction: time, ours / TRL"].value == 0.25
    assert rows["short instruction: time, ours / TRL"].budget == 0.5
    assert rows["short instruction: peak memory, ours / TRL"].value == 0.25
    assert rows["short instruction: time, ours / TRL with checkpointing"].value == 0.2
    assert rows["short instruction: peak memory, ours / TRL with checkpointing"].value == 0.5
    work = limits.step_operations({"body": 10, "head": 2}, prompt=3, completion=24)
    share = rows["short instruction: share of the least time of our step"].value
    assert share == pytest.approx(work / 1000 / 2.0)
    longer = comparison._trl_rows(options, "long", 256, {**found, "checkpointing": []})
    assert [x.budget for x in longer if x.what.endswith("ours / TRL")] == [0.3, None]


class FakeMachine:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def lap(self):
        return lap(1.0, flops=1000.0, bytes=500.0)


@pytest.mark.usefixtures("no_processes")
def test_generation_is_compared_at_every_size_with_and_without_a_long_lead(
    model, capsys, monkeypatch
):
    monkeypatch.setattr(generation, "EMBEDDED", model)
    record = printed(
        capsys, "--part", "generation", "--model", model, "--batches", "1", "5", "--sampled", "2",
        "--lead", "70", "--repeats", "1", "--rank", "2",
    )  # fmt: skip
    rows = named(record)
    for batch in (1, 5):
        for kind, lead in itertools.product(("adapter", "base"), ("", ", 70 shared")):
            row = rows[f"{model}, batch {batch}{lead}, {kind}: time of generate / ours"]
            assert row["budget"] == (1.5 if lead else 1.0)
            assert row["more"]
            assert row["value"] > 0
        assert rows[f"{model}, batch {batch}, adapter: ours"]["unit"] == "tokens/s"
        assert rows[f"{model}, batch {batch}: share of the least time of decoding"]["value"] > 0
    assert {row["part"] for row in record["rows"]} == {"generation"}
    assert {"cores", "load", "options", "schema"} <= set(record)


@pytest.mark.usefixtures("no_processes")
def test_arrangements_are_compared_in_time_and_memory(model, capsys):
    record = printed(
        capsys, "--part", "arrangements", "--model", model, "--few-games", "2", "--sampled", "2",
        "--repeats", "1", "--rank", "2",
    )  # fmt: skip
    rows = named(record)
    value = {what: row["value"] for what, row in rows.items()}
    assert value["time, bipolicy / shared"] == pytest.approx(
        value["bipolicy: step"] / value["shared: step"]
    )
    assert value["peak memory, bipolicy / independent"] == pytest.approx(
        value["bipolicy: peak"] / value["independent: peak"]
    )
    assert rows["time, bipolicy / shared"]["budget"] == 1.1
    assert rows["peak memory, bipolicy / shared"]["budget"] == 1.1
    assert rows["peak memory, bipolicy / independent"]["budget"] == 0.45


@pytest.mark.usefixtures("no_processes")
def test_growth_has_an_exponent_for_games_exchanges_and_adapters(capsys, monkeypatch):
    monkeypatch.setattr(growth, "_LENGTH", 2)
    monkeypatch.setattr(growth, "_GAMES", 2)
    monkeypatch.setitem(growth._LEAST, "games", 1)
    record = printed(
        capsys, "--part", "growth", "--most-games", "2", "--most-exchanges", "2",
        "--most-adapters", "3", "--rank", "2",
    )  # fmt: skip
    rows = named(record)
    for label in ("games 1 to 2", "exchanges 1 to 2", "adapters 2 to 3"):
        assert rows[f"exponent of time, {label}"]["budget"] == 1.05
    times = rows["step with 1 games"]["value"], rows["step with 2 games"]["value"]
    fitted = rows["exponent of time, games 1 to 2"]["value"]
    assert fitted == pytest.approx(np.log2(times[1] / times[0]))
    assert rows["peak memory added / size of the adapters added"]["budget"] == 1.1
    assert rows["peak memory, 2 games / 2 games"]["value"] == 1.0


def test_what_is_lacking_is_said_with_the_way_to_get_it(monkeypatch, capsys):
    from algorithms.speed import games

    for module, part in ((comparison, "trl"), (games, "game")):
        monkeypatch.setattr(module, "find_spec", lambda _: None)
        assert main(["speed", "--part", part]) == 2
        assert "redteam-env[speed]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"part": "gaem"}, "game"),
        ({"completions": 12}, "multiple of 8"),
        ({"batches": ()}, "at least one size"),
        ({"batches": (4, 0)}, r"batches is \(4, 0\); give a list, each entry a whole number >= 1"),
        ({"lead": 0}, "lead is 0"),
        ({"repeats": 0}, "repeats is 0"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, words):
    with pytest.raises(RedteamError, match=words):
        SpeedConfig(**options)


def test_judges_are_measured_without_a_model(capsys, monkeypatch):
    monkeypatch.setattr("algorithms.speed.judging.DELAY_S", 0.02)
    record = printed(capsys, "--part", "judges", "--dialogues", "20")
    read, busy = record["rows"]
    assert (read["budget"], read["unit"]) == (0.002, "s")
    assert (busy["budget"], busy["more"]) == (90.0, True)
    assert 0 < busy["value"] <= 100


def test_all_is_every_part():
    assert SpeedConfig(part="all").parts == PARTS
    assert SpeedConfig().parts == ("world",)


@pytest.mark.slow
def test_trl_and_ours_train_on_the_same_prompts(model, capsys):
    pytest.importorskip("trl")
    record = printed(
        capsys, "--part", "trl", "--model", model, "--completions", "8", "--length", "4",
        "--lead", "9", "--repeats", "1", "--rank", "2",
    )  # fmt: skip
    rows = named(record)
    value = {what: row["value"] for what, row in rows.items()}
    for name, budget in (("short", 0.5), ("long", 0.3)):
        row = rows[f"{name} instruction: time, ours / TRL"]
        assert row["budget"] == budget
        steps = value[f"{name} instruction: our step"], value[f"{name} instruction: TRL's step"]
        assert row["value"] == pytest.approx(steps[0] / steps[1])
    assert rows["short instruction: peak memory, ours / TRL"]["budget"] == 0.5
    assert "short instruction: time, ours / TRL with checkpointing" in rows


@pytest.mark.slow
def test_the_game_is_compared_with_pettingzoos_own(capsys):
    pytest.importorskip("pygame")
    rows = named(printed(capsys, "--part", "game", "--repeats", "1"))
    ours, theirs = rows["AEC face"]["value"], rows["PettingZoo's rps"]["value"]
    assert rows["AEC steps, ours / rps"]["value"] == pytest.approx(ours / theirs)
    assert rows["batched play, scripted agents, lexical judge"]["budget"] == 5000


def test_steps_are_counted_as_pettingzoos_benchmark_counts_them():
    from algorithms.speed.games import count_steps
    from redteam_env import redteam_v0

    env = redteam_v0.env()
    taken = []
    step = env.step
    env.step = lambda action: (taken.append(action), step(action))
    assert count_steps(env, 0.05) == len(taken) > 0
