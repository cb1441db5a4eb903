import pytest

from redteam_env import registry
from redteam_env.game import RedteamError
from redteam_env.judges import always, resolve_judge


def test_a_name_gives_the_registered_judge():
    assert resolve_judge("lexical").smoke_only
    assert resolve_judge("always", prompt_harmful=False).judge([]) == []


def test_a_judge_is_returned_as_it_is():
    judge = always()
    assert resolve_judge(judge) is judge


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(RedteamError, match=r"'lexcial'.*Did you mean 'lexical'.*wildguard"):
        resolve_judge("lexcial")


def test_an_unknown_option_names_the_judge_and_the_option():
    with pytest.raises(RedteamError, match=r"'lexical'.*colour"):
        resolve_judge("lexical", colour="red")


def test_a_url_for_a_judge_without_server_is_refused():
    with pytest.raises(RedteamError, match=r"'lexical' runs in this process.*wildguard"):
        resolve_judge("lexical", url="http://127.0.0.1:1")


def test_wildguard_without_url_says_how_to_give_one_and_to_start_a_server():
    with pytest.raises(RedteamError, match=r"vllm.*--judge-url http://"):
        resolve_judge("wildguard")


def test_options_for_a_judge_that_is_made_already_are_refused():
    with pytest.raises(RedteamError, match="url would be ignored"):
        resolve_judge(always(), url="http://127.0.0.1:1")


def test_a_url_reaches_a_factory_that_takes_any_option():
    seen = {}

    def factory(**options):
        seen.update(options)
        return always()

    registry.register("judges", "mine", factory)
    resolve_judge("mine", url="http://127.0.0.1:1", depth=2)
    assert seen == {"url": "http://127.0.0.1:1", "depth": 2}


class Plain:
    name = "plain"
    smoke_only = True

    def judge(self, dialogues):
        return []


class Strict(Plain):
    def __init__(self, level):
        self.level = level


class Broken(Plain):
    def __init__(self):
        raise OSError("no such file")


def test_the_class_of_a_judge_is_one_if_it_needs_nothing():
    assert isinstance(resolve_judge(Plain), Plain)
    with pytest.raises(
        RedteamError, match=r"judge is the class Strict.*'level'.*judge=Strict\(...\)"
    ):
        resolve_judge(Strict)
    with pytest.raises(RedteamError, match=r"judge is the class Broken.*no such file"):
        resolve_judge(Broken)


@pytest.mark.parametrize("name", ["lexcial", "mine.py", "mine.py:Judge"])
def test_how_code_is_named_is_said_once(name):
    with pytest.raises(RedteamError) as told:
        resolve_judge(name)
    assert str(told.value).count("Code is named on the command line") == 1
    assert str(told.value).count(".py:NAME") == 1


class Nameless:
    smoke_only = True

    def judge(self, dialogues):
        return []


class Vague(Nameless):
    name = "vague"
    smoke_only = "perhaps"


@pytest.mark.parametrize("thing", [object(), 3, Nameless(), Vague()])
def test_an_object_that_is_no_judge_is_refused(thing):
    with pytest.raises(RedteamError, match=f"judge {type(thing).__name__}"):
        resolve_judge(thing)
