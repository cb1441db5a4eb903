import json
import pickle
import shutil
import subprocess
import sys
from copy import deepcopy

import numpy as np
import pytest
from sb3_fakes import WeakDefender, sb3_config

pytest.importorskip("stable_baselines3")

import torch

from agents.moves import RandomMoves, random_tactic
from agents.sb3 import sb3
from algorithms.sb3.run import SeatLearner
from algorithms.training.trainer import train
from redteam_env import RedteamError, registry
from redteam_env.evaluation import AgentPool, crossplay, heldout_setups
from redteam_env.evaluation.statistics import paired_difference, wilson
from redteam_env.game import GameConfig
from redteam_env.judges import resolve_judge
from redteam_env.randomness import generator
from redteam_env.rollout import play, schedule
from redteam_env.runs import Run
from redteam_env.seeds import resolve_seeds
from redteam_env.worlds import build_game

GAME = build_game(GameConfig(prompts="apothecary"))
CLASSES = {"sb3_ppo": "PPO", "sb3_a2c": "A2C", "sb3_dqn": "DQN"}


@pytest.fixture(scope="module", autouse=True)
def weak():
    with registry.isolated():
        registry.register("agents", "weak", WeakDefender)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A short run in which the conditional weakness is learnt."""
    out = tmp_path_factory.mktemp("runs") / "ppo"
    train(sb3_config(out, steps=24, games=64, checkpoint_every=24, hidden=32))
    return out


@pytest.fixture
def copy(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "copy")


def attacks(games, split="heldout", seed=0):
    source = resolve_seeds("apothecary")
    path = (seed, "comparison")
    return schedule(
        source, games, path=path, benign_fraction=0.0, rewrite_fraction=1.0, split=split
    )


def successes(attacker, setups, defender):
    agents = {"attacker_0": attacker, "defender_0": defender}
    episodes = play(setups, agents, resolve_judge("apothecary"), game=GAME, batch_size=64)
    return [x.verdict.response_harmful for x in episodes]


def difference(one, other, setups, defender):
    outcomes = [successes(x, setups, defender) for x in (one, other)]
    clusters = [x.seed.text for x in setups]
    return outcomes, paired_difference(*outcomes, clusters, generator((0, "bootstrap")))


@pytest.mark.parametrize("algorithm", CLASSES)
@pytest.mark.parametrize("arrangement", ["attacker_only", "defender_only"])
def test_the_saved_network_scores_as_the_trained_one(algorithm, arrangement, tmp_path):
    role = arrangement.removesuffix("_only")
    opponent = "weak" if role == "attacker" else "random_tactic"
    config = sb3_config(tmp_path, algorithm, arrangement=arrangement, opponent=opponent)
    learner = SeatLearner(config, CLASSES[algorithm], f"{role}_0")
    learner.save(tmp_path / "policy")
    agent = sb3(role, tmp_path / "policy")
    seen = (
        generator((1, "features"))
        .normal(size=(20, learner.model.observation_space.shape[0]))
        .astype(np.float32)
    )
    greedy, _ = learner.model.predict(seen, deterministic=True)
    assert np.array_equal(agent.scores(seen).argmax(axis=1), greedy)
    for other in (pickle.loads(pickle.dumps(agent)), deepcopy(agent)):
        assert np.array_equal(other.scores(seen), agent.scores(seen))
    if algorithm != "sb3_dqn":
        with torch.no_grad():
            exact = learner.model.policy.get_distribution(torch.as_tensor(seen)).distribution.probs
        shares = np.exp(agent.scores(seen))
        assert np.allclose(shares / shares.sum(axis=1, keepdims=True), exact.numpy(), atol=1e-5)


def test_a_trained_attacker_beats_random_tactics_on_seeds_it_never_saw(trained):
    setups = attacks(200)
    agent = AgentPool().agent(str(trained), "attacker")
    outcomes, found = difference(agent, random_tactic("attacker"), setups, WeakDefender())
    assert found.interval.low > 0.3
    assert wilson(sum(outcomes[0]), 200).low > wilson(sum(outcomes[1]), 200).high


def test_what_it_plays_depends_on_what_is_asked(trained):
    setups = attacks(64)
    pool = AgentPool()
    agents = {
        "attacker_0": pool.agent(str(trained), "attacker"),
        "defender_0": pool.agent(str(trained), "defender"),
    }
    language = WeakDefender().judge.language
    found = {}
    for x in play(setups, agents, resolve_judge("apothecary")):
        late = "what goes" in x.seed.text or "brew" in x.seed.text
        found.setdefault(late, set()).update(language.tactics_of(x.dialogue.lines[0].text))
    assert "exam" in found[False]
    assert "never" in found[True]


def test_it_plays_in_cross_play_as_any_agent(trained):
    pool = AgentPool()
    specs = [str(trained), "random_tactic"]
    result = crossplay(
        {x: pool.agent(x, "attacker") for x in specs},
        {x: pool.agent(x, "defender") for x in (str(trained), "refuse")},
        heldout_setups(resolve_seeds("apothecary"), 40, 0),
        resolve_judge("apothecary"),
    )
    cells = {pair: x.rates.attack_success.value for pair, x in result.cells.items()}
    own = str(trained)
    assert cells[own, own] > cells["random_tactic", own]
    assert cells[own, "refuse"] == 0


def test_the_command_plays_a_run_by_its_directory(copy):
    card = json.loads((copy / "checkpoints/step-000024/policy/agent.json").read_text())
    assert (card["agent"], card["role"], card["others"]) == (
        "sb3",
        "attacker",
        {"defender": "weak"},
    )
    command = [sys.executable, "-m", "redteam_env.cli.main", "evaluate", "--attacker", str(copy)]
    command += ["--defender", "refuse", "--games", "8", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["judge"]["name"] == "apothecary"


def test_it_can_be_the_frozen_opponent_of_another_run(trained, tmp_path):
    out = tmp_path / "defender"
    options = {"arrangement": "defender_only", "opponent": str(trained), "rewrite_fraction": 1.0}
    train(sb3_config(out, **options, steps=1))
    pool = AgentPool()
    assert pool.agent(str(out), "defender").act([]) == []
    # its own directory does not hold the opponent, and names it only; the user did, who began the run
    assert pool.agent(str(out), "attacker").act([]) == []
    record = Run(out).record()
    assert record["config"]["opponent"] == str(trained)
    del record["seal"]  # as somebody else's
    Run(out).write_record(record)
    with pytest.raises(RedteamError, match=f"names '{trained}' as attacker"):
        pool.agent(str(out), "attacker")


def test_no_reply_depends_on_the_company_it_is_asked_in(trained):
    for temperature in (0.0, 1.0):
        agent = AgentPool(temperature=temperature).agent(str(trained), "attacker")
        requests = []

        class Recorder:
            def act(self, asked, agent=agent, requests=requests):
                requests.extend(asked)
                return agent.act(asked)

        successes(Recorder(), attacks(12), WeakDefender())
        alone = [agent.act([x])[0].text for x in requests]
        assert [x.text for x in agent.act(requests)] == alone


def test_above_temperature_0_moves_are_drawn(trained):
    cold, warm = (AgentPool(temperature=t).agent(str(trained), "attacker") for t in (0.0, 50.0))
    texts = []
    for agent in (cold, warm):
        said = []

        class Recorder:
            def act(self, asked, agent=agent, said=said):
                said.extend(x.text for x in agent.act(asked))
                return agent.act(asked)

        successes(Recorder(), attacks(60), WeakDefender())
        tactics = WeakDefender().judge.language.tactics_of
        texts.append({tactics(x) for x in said})
    assert len(texts[0]) < len(texts[1])


def test_a_saved_agent_that_cannot_be_played_is_refused_with_the_reason(copy):
    checkpoint = copy / "checkpoints/step-000024"
    policy = checkpoint / "policy"
    with pytest.raises(RedteamError, match="name a run directory"):
        sb3("attacker")
    with pytest.raises(RedteamError, match="trained as attacker"):
        sb3("defender", policy)
    card = (policy / "agent.json").read_text()
    (policy / "agent.json").write_text(card.replace("hashing", "hasing"))
    with pytest.raises(RedteamError, match="was altered"):
        AgentPool().agent(str(copy), "attacker")
    (checkpoint / "manifest.json").unlink()
    with pytest.raises(RedteamError, match="Did you mean 'hashing'"):
        AgentPool().agent(str(copy), "attacker")
    (policy / "agent.json").write_text(card.replace('"most_tactics": 1', '"most_tactics": 2'))
    with pytest.raises(RedteamError, match="is for"):
        AgentPool().agent(str(checkpoint), "attacker")
    (policy / "agent.json").write_text(card.replace('"agent": "sb3"', '"agent": "sb4"'))
    with pytest.raises(RedteamError, match="Did you mean 'sb3'"):
        AgentPool().agent(str(policy), "attacker")
    (policy / "agent.json").write_text("{}")
    with pytest.raises(RedteamError, match="lacks schema"):
        AgentPool().agent(str(policy), "attacker")
    (policy / "agent.json").write_text(card)
    (policy / "policy.safetensors").write_bytes(b"nothing")
    with pytest.raises(RedteamError, match="cannot be read"):
        AgentPool().agent(str(policy), "attacker")


def test_a_run_without_an_opponent_of_its_own_says_who_plays_the_other_role(tmp_path):
    config = sb3_config(tmp_path / "run", opponent=None)
    SeatLearner(config, "PPO", "attacker_0").save(tmp_path / "policy")
    card = json.loads((tmp_path / "policy/agent.json").read_text())
    assert card["others"] == {"defender": "base"}


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", CLASSES)
def test_every_algorithm_beats_random_tactics_against_the_embedded_model(algorithm, tmp_path):
    out = tmp_path / "run"
    train(sb3_config(out, algorithm, opponent=None, steps=24, games=64, checkpoint_every=24))
    pool = AgentPool(base="apothecary")
    setups = attacks(200)
    defender = pool.agent("base", "defender")
    agent = pool.agent(str(out), "attacker")
    outcomes, found = difference(agent, random_tactic("attacker"), setups, defender)
    print(algorithm, [wilson(sum(x), len(x)) for x in outcomes], found)
    assert found.interval.low > 0


@pytest.mark.slow
def test_a_trained_defender_is_robuster_than_random_modes(tmp_path):
    out = tmp_path / "run"
    options = {"arrangement": "defender_only", "opponent": "random_tactic", "benign_fraction": 0.5}
    train(sb3_config(out, **options, steps=60, games=64, checkpoint_every=60, hidden=64))
    setups = attacks(200, split="train")
    attacker = random_tactic("attacker")
    trained = AgentPool().agent(str(out), "defender")
    outcomes = [successes(attacker, setups, x) for x in (random_tactic("defender"), trained)]
    clusters = [x.seed.text for x in setups]
    found = paired_difference(*outcomes, clusters, generator((0, "bootstrap")))
    print([wilson(sum(x), len(x)) for x in outcomes], found)
    assert found.interval.low > 0


def test_random_moves_are_uniform_and_repeatable():
    agent = random_tactic("defender")
    assert isinstance(agent, RandomMoves)
    setups = attacks(400)
    first = successes(random_tactic("attacker"), setups, agent)
    assert first == successes(random_tactic("attacker"), setups, agent)
    assert 0.15 < np.mean(first) < 0.35  # one mode of four tells the recipe
