"""What a model would write if it had more room."""

import dataclasses

import pytest

from redteam_env.protocols import Drafter


@pytest.fixture
def agent(make_policy):
    return make_policy(max_prompt_tokens=200, max_new_tokens=4).agent("attacker")


def test_a_draft_goes_on_where_the_turn_was_cut(agent, requests):
    assert isinstance(agent, Drafter)
    asked = requests(4)
    short = [x.generation.completion_ids for x in agent.act(asked)]
    drafts = agent.drafts(asked, max_new_tokens=40)
    assert [x.completion_ids[: len(y)] for x, y in zip(drafts, short, strict=True)] == short
    assert any(len(x.completion_ids) > 4 for x in drafts)
    assert all(x.finished or len(x.completion_ids) == 40 for x in drafts)


def test_a_draft_takes_no_more_room_than_the_context_has(agent, requests):
    asked = requests(3)
    drafts = agent.drafts(asked, max_new_tokens=5000)
    assert max(len(x.prompt_ids) + len(x.completion_ids) for x in drafts) <= 204


def test_an_agent_of_the_same_model_with_that_limit_writes_the_same(agent, requests):
    asked = requests(3)
    longer = dataclasses.replace(agent, max_new_tokens=20)
    written = [x.generation for x in longer.act(asked)]
    assert agent.drafts(asked, max_new_tokens=20) == written
