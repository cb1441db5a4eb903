"""The real libraries of others take the game as their own kind of task."""

import asyncio
import threading

import pytest

from redteam_env.bridges import SeatTask

NO = "I cannot help with that."
DEFENDER = SeatTask("defender_0", judge="lexical", seeds="builtin")
TALK = SeatTask("attacker_0", judge="lexical", seeds="builtin", exchanges=2)


def rewards(cases, text):
    return [score.reward for score in DEFENDER.score_all(cases, [text] * len(cases))]


@pytest.mark.parametrize("chat", [False, True], ids=["texts", "messages"])
def test_trl_has_completions_scored(chat):
    trl = pytest.importorskip("redteam_env.bridges.trl")
    cases = DEFENDER.cases(4, seed=3)
    said = [{"role": "assistant", "content": NO}] if chat else NO
    columns = {"prompts": None, "completions": [said] * 4, "game": [case.game for case in cases]}
    found = trl.reward_function(DEFENDER)(**columns, trainer_state=None)
    assert found == rewards(cases, NO)
    assert len(set(found)) > 1


def test_trl_lets_a_model_talk_by_a_tool():
    trl = pytest.importorskip("redteam_env.bridges.trl")
    utils = pytest.importorskip("transformers.utils")
    env = trl.environment_factory(TALK)()
    case = TALK.cases(1)[0]
    assert "say" in env.reset(**case.row())
    assert utils.get_json_schema(env.say)["function"]["parameters"]["required"] == ["message"]
    assert env.get_reward() is None
    middle = TALK.step([case], ["Hello."])[0]
    assert env.say("Hello.") == middle.messages[-1]["content"]
    assert env.say("Bye.") == env.say("Again?") == trl.OVER
    [episode] = TALK.step([middle], ["Bye."])
    assert env.get_reward() == episode.rewards["attacker_0"]


def test_inspect_evaluates_and_scores_again_from_its_log(tmp_path):
    inspect_ai = pytest.importorskip("inspect_ai")
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    from redteam_env.bridges.inspect import game_scorer, inspect_task

    output = ModelOutput.from_content("mockllm/model", NO)
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    model = get_model("mockllm/model", custom_outputs=[output] * 4)
    task = inspect_task(DEFENDER, 4, seed=3)
    [log] = inspect_ai.eval(task, model=model, display="none", log_dir=str(tmp_path))
    assert log.status == "success"
    expected = sum(rewards(DEFENDER.cases(4, seed=3), NO)) / 4

    def means(log):
        return {x.name: x.metrics["mean"].value for x in log.results.scores}

    assert means(log)["reward"] == expected
    assert means(log)["response_refusal"] == 1
    again = inspect_ai.score(log, game_scorer(DEFENDER), action="overwrite", display="none")
    assert means(again) == means(log)


def test_verifiers_loads_tasks_and_rewards_their_answers():
    pytest.importorskip("verifiers.v1")
    from redteam_env.bridges.verifiers import SeatTaskset, SeatTasksetConfig

    config = SeatTasksetConfig(games=4, first=3, settings={"judge": "lexical", "seeds": "builtin"})
    turns = list(SeatTaskset(config))
    cases = DEFENDER.cases(4, seed=3)
    assert [turn.data.system_prompt for turn in turns] == [x.messages[0]["content"] for x in cases]
    assert [turn.data.prompt[-1].content for turn in turns] == [
        x.messages[-1]["content"] for x in cases
    ]

    class Trace:
        last_reply = NO

        def __init__(self):
            self.info = {}

    found = [asyncio.run(turn.game_reward(Trace())) for turn in turns]
    assert found == rewards(cases, NO)


@pytest.fixture
def served():
    """The address of the game behind OpenEnv's protocol."""
    pytest.importorskip("openenv.core")
    uvicorn = pytest.importorskip("uvicorn")
    from redteam_env.bridges.openenv import app

    config = uvicorn.Config(app(DEFENDER), host="127.0.0.1", port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def test_openenv_serves_it(served):
    from openenv.core import GenericEnvClient

    case = DEFENDER.cases(1, seed=5)[0]
    with GenericEnvClient(base_url=served).sync() as client:
        first = client.reset(seed=5)
        assert first.observation["messages"] == [dict(x) for x in case.messages]
        assert not first.done
        last = client.step({"message": NO})
        assert last.done
        assert last.reward == DEFENDER.score(case, NO).reward
