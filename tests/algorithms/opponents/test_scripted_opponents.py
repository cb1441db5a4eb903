"""A share of scripted opponents in every league: how often, who learns, what is kept, what is refused."""

import pytest
from league_fakes import LeaguePlayers
from table_game import MatrixJudge
from test_algorithms_learn import options as table_options
from test_league_runs import FIVE_STEPS, FOLDERS, crash_at_step, episodes, options  # noqa: F401 - fixtures
from training_fakes import PowerCutError, contents, metrics

from algorithms.training.config import TrainConfig
from algorithms.training.scripted import ScriptedConfig, ScriptedOpponents, is_scripted
from algorithms.training.trainer import train
from redteam_env import register
from redteam_env.game import RedteamError
from redteam_env.protocols import Match, Reply
from redteam_env.runs import Run, read_league

BOTH = {"scripted_attackers": "echo,template", "scripted_defenders": "refuse"}
CURRENT = {"attacker": "attacker", "defender": "defender"}
SELF = Match(players=CURRENT, learners=("attacker", "defender"))
FROZEN = Match(players={**CURRENT, "defender": "defender@3"}, learners=("attacker",))
SAMPLERS = {
    "self_play": {},
    "alternating": {"block": 2},
    "fictitious": {"snapshot_every": 1},
    "prioritised": {"snapshot_every": 1},
    "population": {"members": 2, "member_steps": 1, "rating_games": 2},
    "psro": {"round_steps": 2, "payoff_games": 4},
}


def scripted(share, **specs):
    given = specs or BOTH
    config = ScriptedConfig(scripted_share=share, **given)
    agents = {role: dict.fromkeys(own, object()) for role, own in config.specs.items()}
    return ScriptedOpponents(config, agents, seed=0)


def shares(matches):
    """For each role, the share of the games it learns from that are against scripted agents."""
    found = {}
    for role in CURRENT:
        own = [match for match in matches if role in match.learners]
        met = [match for match in own if any(map(is_scripted, match.players.values()))]
        found[role] = len(met) / len(own) if own else None
    return found


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("match", [SELF, FROZEN], ids=["both learn", "one learns"])
def test_each_role_meets_scripted_agents_in_the_share_of_its_games(share, match):
    n = 4000
    mixed = scripted(share).mixed(3, [match] * n, [True] * n)
    for role, found in shares(mixed).items():
        if role in match.learners:
            assert found == pytest.approx(share, abs=0.03)
        else:
            assert found is None
    names = {x for match in mixed for x in match.players.values() if is_scripted(x)}
    attackers = {"scripted:echo", "scripted:template"} if match is SELF else set()
    assert names == {"scripted:refuse", *attackers}
    assert mixed == scripted(share).mixed(3, [match] * n, [True] * n)
    if share < 1:
        assert mixed != scripted(share).mixed(4, [match] * n, [True] * n)


def test_one_side_alone_may_be_scripted_and_raw_games_stay_as_they_are():
    only = scripted(0.5, scripted_attackers="echo")
    found = shares(only.mixed(0, [SELF] * 2000, [True] * 2000))
    assert found["defender"] == pytest.approx(0.5, abs=0.05)
    assert found["attacker"] == 0.0
    assert only.mixed(0, [SELF] * 9, [False] * 9) == [SELF] * 9
    assert (
        only.mixed(0, [FROZEN] * 9, [True] * 9) == [FROZEN] * 9
    )  # the defender does not learn there


@pytest.mark.parametrize("opponents", SAMPLERS)
def test_every_sampler_plays_its_share_and_a_cut_run_ends_as_one_that_was_not(
    options,  # noqa: F811 - a fixture
    tmp_path,
    crash_at_step,  # noqa: F811
    opponents,
):
    more = {**SAMPLERS[opponents], **BOTH, "scripted_share": 0.5, "judge": "fragile", "steps": 4}
    more |= {"checkpoint_every": 2, "rewrite_fraction": 1.0}
    crash_at_step(None)
    whole = train(options(opponents, "whole", **more)).directory
    crash_at_step(3)
    with pytest.raises(PowerCutError):
        train(options(opponents, "cut", **more))
    crash_at_step(None)
    assert train(options(opponents, "cut", resume=True, **more)).played == 2
    assert contents(tmp_path / "cut", *FOLDERS) == contents(whole, *FOLDERS)
    rows = metrics(whole)
    assert metrics(tmp_path / "cut") == rows
    played = {role: sum(row[f"league/scripted_{role}_games"] for row in rows) for role in CURRENT}
    league = read_league(Run(whole).latest().path)
    assert league["opponents"] == opponents
    assert league["scripted"]["share"] == 0.5
    kept = league["scripted"]["games"]
    assert {role: sum(own.values()) for role, own in kept.items()} == played
    assert set(kept["attacker"]) == {"echo", "template"}
    assert sum(played.values()) > 4
    by_script = [
        episode
        for episode in episodes(whole)
        if episode.void is None and any(turn.generation is None for turn in episode.turns)
    ]
    assert len(by_script) == sum(played.values())


class Letter:
    """Always says one letter."""

    def __init__(self, letter):
        self.letter = letter

    def act(self, requests):
        return [Reply(text=self.letter) for _ in requests]


def test_a_role_learns_against_scripts_what_the_other_seat_never_shows_it(doubles, tmp_path):
    """The trained attacker says ``a`` for sure; only a script ever plays the row that pays otherwise."""
    doubles("judges", "matrix", lambda: MatrixJudge(matrix=((0, 0, 0), (0, 1, 1), (0, 0, 0))))
    register("agents", "always_b", lambda role: Letter("b"))
    chances = {}
    for share in (0.0, 0.5):
        policy = LeaguePlayers()
        policy.tables["attacker"].data += policy.tables["attacker"].new_tensor([[30.0, 0.0, 0.0]])
        given = {"scripted_share": share, "scripted_attackers": "always_b"} if share else {}
        config = table_options("reinforce_pp", tmp_path / str(share), attacker_lr=0.0, **given)
        train(TrainConfig.from_flat(config), policy=policy)
        chances[share] = float(policy.tables["defender"][0].detach().softmax(-1)[0])
    assert chances[0.5] > 0.8
    assert chances[0.0] < 0.5


def test_without_a_share_nothing_is_kept_or_logged(options):  # noqa: F811
    run = train(options("self_play", steps=1)).directory
    assert not any("scripted" in name for name in metrics(run)[0])
    assert read_league(Run(run).latest().path) is None


WRONG = {
    "no opponents": ({"scripted_share": 0.2}, r"scripted_share is 0.2.*at least one of"),
    "no share": ({"scripted_attackers": "echo"}, r"scripted_share is 0.0.*share above 0"),
    "share": ({**BOTH, "scripted_share": 1.5}, "scripted_share is 1.5"),
    "unknown": (
        {"scripted_share": 0.2, "scripted_attackers": "ehco"},
        "Unknown agent 'ehco'.*Did you mean 'echo'",
    ),
    "nobody meets them": (
        {**BOTH, "scripted_share": 0.2, "arrangement": "attacker_only"},
        "scripted_defenders|scripted_attackers is 'echo,template', but attacker_only trains nobody",
    ),
    "raw": ({**BOTH, "scripted_share": 0.2, "rewrite_fraction": 0.0}, "rewrite_fraction is 0"),
    "fixed": (
        {
            "scripted_share": 0.2,
            "scripted_defenders": "refuse",
            "opponent": "comply",
            "arrangement": "attacker_only",
        },
        "opponent is 'comply', which plays every game",
    ),
    "own loop": (
        {**BOTH, "scripted_share": 0.2, "algorithm": "sb3_ppo"},
        "sb3_ppo trains in a loop of its own",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_refused_before_anything_is_written(tiny_options, tmp_path, case):
    given, named = WRONG[case]
    own = {**tiny_options, **FIVE_STEPS}
    if "algorithm" in given:
        own.pop("lr")
    with pytest.raises(RedteamError, match=named):
        train(TrainConfig.from_flat({**own, "out": str(tmp_path / "run"), **given}))
    assert not (tmp_path / "run").exists()


def test_one_trained_seat_meets_scripts_beside_the_base(options):  # noqa: F811
    more = {"arrangement": "defender_only", "scripted_attackers": "echo", "rewrite_fraction": 1.0}
    run = train(options("self_play", steps=2, scripted_share=0.5, **more)).directory
    rows = metrics(run)
    assert sum(row["league/scripted_attacker_games"] for row in rows) > 0
    assert all(row["defender/samples"] == 8 for row in rows)
    for row in rows:  # what the script says is not taken for the attacker's
        assert row["attacker/turns"] == 8 - row["league/scripted_attacker_games"]
