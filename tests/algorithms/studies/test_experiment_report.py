"""A report is made from stored games alone, and verifying it finds whatever was changed afterwards."""

import json
import re
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from experiment_fakes import pretend, tiny_data, tiny_experiment

from algorithms.studies.experiments.figures import check_verdicts
from algorithms.studies.experiments.reading import experiment_from
from algorithms.studies.experiments.report import PAGE, TABLES, verify_report, write_report
from algorithms.studies.games import SCHEMA, read_tables
from redteam_env.game import RedteamError

TINY = tiny_experiment()
QUIET = {"say": lambda _: None}


def report(root, to, experiment=TINY):
    write_report(experiment, root, to, command="redteam-env experiment tiny.toml", **QUIET)
    return to


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The directory of an experiment that was run as a whole, and its report."""
    root = tmp_path_factory.mktemp("made") / "tiny"
    pretend(TINY, root)
    return root, report(root, root.parent / "report")


@pytest.fixture
def root(made, tmp_path):
    """A copy of the experiment's directory."""
    return shutil.copytree(made[0], tmp_path / "root")


@pytest.fixture
def copy(made, tmp_path):
    """A copy of the report."""
    return shutil.copytree(made[1], tmp_path / "copy")


def verify(target):
    return verify_report(target, **QUIET)


def rewritten(copy, change):
    file = copy / "experiment.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))


def test_a_plug_in_that_is_not_here_is_what_a_verification_finds(copy):
    def change(manifest):
        manifest["plugins"]["algorithms/mine"] = "registered in process"
        manifest["experiment"]["training"]["algorithm"] = "mine"

    rewritten(copy, change)
    [line] = verify(copy)
    assert line.startswith("the plug-in 'mine' (algorithms) is not here")


def test_a_report_of_another_version_of_a_world_is_refused(copy):
    rewritten(copy, lambda manifest: manifest["world_versions"].update(apothecary="apothecary-v0"))
    with pytest.raises(
        RedteamError, match=r"holds results in apothecary-v0, this is apothecary-v\d"
    ):
        verify(copy)


def files(folder):
    return {x.relative_to(folder).as_posix(): x.read_bytes() for x in folder.rglob("*.*")}


def test_a_report_holds_games_records_figures_claims_the_race_and_two_pages(made):
    whole = {PAGE, TABLES, "claims.json", "rewards.json", "experiment.json", "race.svg"}
    parts = {
        f"{part}/{x}"
        for part in TINY.parts
        for x in ("games.parquet", "records.json", "figures.json")
    }
    assert set(files(made[1])) == whole | parts


def test_every_stored_game_is_in_the_report(made):
    root, target = made
    for part in TINY.parts:
        rows = sum(
            pq.read_metadata(file).num_rows for file in (root / "records" / part).rglob("*.parquet")
        )
        assert pq.read_metadata(target / part / "games.parquet").num_rows == rows
        assert json.loads((target / part / "figures.json").read_text())["games"] == rows


def test_a_sound_report_verifies(made):
    said = []
    assert verify_report(made[1], say=said.append) == []
    assert any(re.fullmatch(r"arms: judging [\d,]+ games again", line) for line in said)


def test_a_second_report_replaces_the_first_and_is_the_same(made, copy):
    before = files(copy)
    (copy / "arms" / "figures.json").write_text("old")
    assert files(report(made[0], copy)) == before


def test_no_plot_or_figure_tells_where_it_was_made(made, tmp_path):
    for name, content in files(made[1]).items():
        assert str(made[0].parent).encode() not in content, name


# what was changed afterwards


def change_json(file, *path, to):
    data = json.loads(file.read_text())
    place = data
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = to
    file.write_text(json.dumps(data))


FIGURES = [
    (
        ("defenders", "splits", "heldout", "primary", "auc", "bipolicy", "mean"),
        0.999,
        "arms/defenders/splits/heldout/primary/auc/bipolicy/mean: 0.999 stored",
    ),
    (("gradients", "between", "shared", "interval", 0), 0.5, "between/shared/interval/0: 0.5"),
    (("own_play", "own", "shared", "values", 1), 0.123, "arms/own_play/own/shared/values/1: 0.123"),
    (("contrasts", "bipolicy - shared", "auc", "seeds"), [], "auc/seeds has 0 entries, not 2"),
    (
        ("crossplay", "pairs", 0, "attacker"),
        "x",
        "arms/crossplay/pairs/x, base, heldout is missing on one side",
    ),
    (("race", "shared", "rose"), 7, "arms/race/shared/rose: 7 stored"),
    (("more",), 1, "arms/more is missing on one side"),
    (("games",), 1, "arms/games: 1 stored"),
]


def test_each_changed_figure_is_found_by_its_place(copy):
    for path, to, _ in FIGURES:
        change_json(copy / "arms" / "figures.json", *path, to=to)
    change_json(copy / "best_response" / "figures.json", "responses", "train", to=None)
    wrong = verify(copy)
    for line in (
        *(line for _, _, line in FIGURES),
        "best_response/responses/train: None stored",
    ):
        assert [x for x in wrong if line in x], line


def change_rows(file, change):
    rows = pq.read_table(file).to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), file)


def flipped(column, **wanted):
    def change(rows):
        row = next(x for x in rows if all(x[k] == v for k, v in wanted.items()))
        row[column] = not row[column]

    return change


def with_text(column, text, **wanted):
    def change(rows):
        next(x for x in rows if all(x[k] == v for k, v in wanted.items()))[column] = text

    return change


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (flipped("refused", kind="suite"), r"^'\w+-\d': '.*' was stored as \["),
        (flipped("told", kind="cross"), r"^'\w+-\d': '.*' was stored as \["),
        (flipped("prompt_harmful", kind="cross"), r"^'\w+-\d': '.*' was stored as \["),
        (flipped("harmful", kind="suite"), r"^'\w+-\d': was stored as harmful="),
        (with_text("response", "sorry i must refuse", kind="suite", told=True), "was stored as"),
        (with_text("split", "heldout", kind="suite", split="train"), "split='heldout'"),
        (with_text("seed_id", "nothing-0", kind="cross"), "^'nothing-0': was stored as"),
        (flipped("right", kind="quiz", right=True), r"^the answer to '.*' was stored as False"),
        (with_text("response", "it is wrong", kind="quiz", right=True), r"^the answer to '"),
        (with_text("prompt", "add one", kind="quiz"), "no question 'add one'"),
    ],
)
def test_each_changed_game_and_answer_is_named(copy, change, line):
    file = copy / "arms" / "games.parquet"
    arms = TINY.part("arms")
    assert check_verdicts(TINY, arms, read_tables([file])) == []
    change_rows(file, change)
    (found,) = check_verdicts(TINY, arms, read_tables([file]))
    assert re.search(line, found)


def test_changed_verdicts_scores_and_missing_games_fail_the_report(copy):
    def change(rows):
        flipped("refused", kind="suite")(rows)
        with_text("score", 99.0, kind="suite", harmful=False)(rows)
        rows.pop()

    change_rows(copy / "arms" / "games.parquet", change)
    wrong = verify(copy)
    assert len([x for x in wrong if x.startswith("arms: ") and "was stored as [" in x]) == 1
    assert [x for x in wrong if x.startswith("arms/defenders/splits/")]
    assert [x for x in wrong if x.startswith("arms/")]


def test_many_changed_games_are_told_in_a_few_lines(copy):
    def change(rows):
        for row in rows:
            row["refused"] = not row["refused"] if row["refused"] is not None else None

    file = copy / "arms" / "games.parquet"
    change_rows(file, change)
    assert len(check_verdicts(TINY, TINY.part("arms"), read_tables([file]))) == 10


@pytest.mark.parametrize("column", ["prompt", "seed_id", "harmful", "told", "score"])
def test_games_with_something_taken_out_are_a_difference_and_no_crash(copy, column):
    for part in ("arms", "best_response"):  # their figures take longest
        shutil.rmtree(copy / part)
    change_rows(copy / "rates" / "games.parquet", with_text(column, None, kind="suite"))
    assert [x for x in verify(copy) if x.startswith("rates")]


def test_games_from_which_nothing_can_be_computed_are_a_difference_and_no_crash(copy):
    def change(rows):
        rows[:] = [x for x in rows if x["kind"] != "suite" or x["suite"] == "k1"]

    change_rows(copy / "arms" / "games.parquet", change)
    assert any(x.startswith("arms: its figures cannot be computed") for x in verify(copy))


def test_a_changed_verdict_on_a_claim_is_found(copy):
    change_json(copy / "claims.json", "robustness", "verdict", to="proven")
    [found] = verify(copy)
    assert found.startswith("claims/robustness/verdict: 'proven' stored")


def test_a_changed_reward_is_found(copy):
    change_json(copy / "rewards.json", "self_redteam", "raw", "always-refuse", to=9.0)
    [found] = verify(copy)
    assert found.startswith("rewards/self_redteam/raw/always-refuse: 9.0 stored")


def test_a_part_that_was_taken_away_is_noticed_by_its_claims_alone(copy):
    """A report of some parts is sound by itself, but its claims must be those of its parts."""
    for part in ("arms", "best_response"):
        shutil.rmtree(copy / part)
    assert all(x.startswith("claims/") for x in verify(copy))
    assert verify(copy)


@pytest.mark.parametrize("file", ["claims.json", "best_response/figures.json"])
def test_a_file_that_is_missing_is_told_of_before_anything_is_judged_again(copy, file):
    (copy / file).unlink()
    said = []
    with pytest.raises(RedteamError, match=file):
        verify_report(copy, say=said.append)
    assert not said


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: (x / "experiment.json").unlink(), r"experiment\.json.*report"),
        (lambda x: (x / "experiment.json").write_text("[]"), r"experiment\.json"),
        (lambda x: (x / "experiment.json").write_text("{}"), r"experiment\.json"),
        (lambda x: (x / "experiment.json").write_text('{"experiment": {}}'), "schema"),
        (lambda x: (x / "claims.json").unlink(), r"claims\.json"),
        (lambda x: (x / "rates/figures.json").write_text("{"), r"rates/figures\.json"),
        (lambda x: (x / "rates/records.json").unlink(), r"rates/records\.json"),
        (lambda x: (x / "rates/games.parquet").write_text("no"), r"rates/games\.parquet"),
        (lambda x: shutil.rmtree(x / "rates"), "holds no part"),
    ],
)
def test_what_is_no_report_is_one_error(copy, spoil, message):
    for part in ("arms", "best_response"):
        shutil.rmtree(copy / part)
    spoil(copy)
    with pytest.raises(RedteamError, match=message):
        verify(copy)


def test_a_report_of_nothing_is_an_error(tmp_path):
    with pytest.raises(RedteamError, match=r"experiment\.json"):
        verify(tmp_path / "nowhere")


# what can be reported


def test_parts_that_were_not_run_are_named_and_left_out(tmp_path):
    pretend(TINY, tmp_path / "root", "rates")
    target = report(tmp_path / "root", tmp_path / "report")
    assert "Parts: rates. Not run: arms, best_response." in (target / TABLES).read_text()
    text = (target / PAGE).read_text()
    assert "Not run: arms, best_response." in text
    assert text.count("**not run**") == len(TINY.claims)
    assert "race.svg" not in text
    assert {x.name for x in target.glob("*.svg")} == set()
    assert not (target / "arms").exists()
    assert verify(target) == []


def test_no_claim_is_judged_on_a_part_that_is_half_done(root, tmp_path):
    (root / "records" / "rates" / "measure" / "fast-0.parquet").unlink()
    said = []
    target = tmp_path / "report"
    write_report(TINY, root, target, command="x", say=said.append)
    assert any(re.match(r"rates: \d+ of \d+ tasks are done; it is left out", x) for x in said)
    assert not (target / "rates").exists()
    assert (target / "arms").exists()
    assert verify(target) == []
    # and with it what is played against it
    (root / "records" / "arms" / "measure" / "bipolicy-1.parquet").unlink()
    with pytest.raises(RedteamError, match="no part that was run to its end"):
        report(root, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_report_names_no_place_of_the_machine_it_was_run_on(root, tmp_path):
    file = root / "records" / "arms" / "train" / "static-0.json"
    record = json.loads(file.read_text())
    record["config"]["opponent"] = str(root.resolve() / "runs" / "arms" / "probe" / "seed-0")
    file.write_text(json.dumps(record))
    target = report(root, tmp_path / "report")
    records = (target / "arms" / "records.json").read_text()
    assert '"opponent":"runs/arms/probe/seed-0"' in records
    assert str(root.resolve()) not in records


def test_an_experiment_of_which_nothing_was_run_is_an_error(root, tmp_path):
    shutil.rmtree(root / "records")
    with pytest.raises(RedteamError, match="no part that was run"):
        report(root, tmp_path / "report")
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("name", ["measure/shared-0.parquet", "cross/seed-0.parquet"])
def test_a_damaged_record_is_one_error_that_names_it(root, tmp_path, name):
    file = root / "records" / "arms" / name
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(RedteamError, match=f"{file.name}.*remove it"):
        report(root, tmp_path / "report")


def test_a_report_overwrites_nothing_but_its_own_reports(made, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "keep.txt").write_text("mine")
    with pytest.raises(RedteamError, match=r"notes.*something else.*--to"):
        report(made[0], tmp_path / "notes")
    with pytest.raises(RedteamError, match=r"keep\.txt.*--to"):
        report(made[0], tmp_path / "notes" / "keep.txt")
    assert (tmp_path / "notes" / "keep.txt").read_text() == "mine"


def test_reports_of_different_experiments_are_never_mixed(copy, tmp_path):
    data = tiny_data()
    data["primary"]["over_refusal"] = 0.2
    other = experiment_from(data)
    pretend(other, tmp_path / "other", "rates")
    before = files(copy)
    with pytest.raises(RedteamError, match=r"over_refusal: 0\.1 there, 0\.2 now.*--to"):
        report(tmp_path / "other", copy, other)
    assert files(copy) == before


# the page


def tables_of(made):
    return (made[1] / TABLES).read_text(encoding="utf-8")


def page_of(made):
    return (made[1] / PAGE).read_text(encoding="utf-8")


def test_the_tables_show_the_figures_with_intervals(made):
    text = tables_of(made)
    figures = json.loads((made[1] / "arms" / "figures.json").read_text())
    one = figures["defenders"]["splits"]["heldout"]["primary"]["auc"]["bipolicy"]
    low, high = one["interval"]
    assert f"| bipolicy | {one['mean']:.3f} [{low:.3f}, {high:.3f}] |" in text
    pair = figures["contrasts"]["bipolicy - shared"]["auc"]
    assert f"| bipolicy - shared | AUC | {pair['mean']:+.3f} [" in text
    assert "| shared | 2 | 0 | 0 | 0 |" in text  # too short for a race
    assert "| shared | 100 | 0.10 | 2 | 1 [1, 1] |" in text  # parameters, of all, steps, seconds


def test_the_tables_say_how_they_were_made_and_are_read(made):
    text = tables_of(made)
    assert "`redteam-env experiment tiny.toml`" in text
    assert "last 2 checkpoints" in text
    assert "10% over-refusal" in text
    assert "k1, k2" in text


@pytest.mark.parametrize("shown", [tables_of, page_of])
def test_both_pages_have_the_verdict_on_every_claim(made, shown):
    text = shown(made)
    claims = json.loads((made[1] / "claims.json").read_text())
    assert set(claims) == set(TINY.claims)
    for name, claim in claims.items():
        (line,) = re.findall(rf"^\| {name.replace('_', ' ')} \|.*$", text, re.MULTILINE)
        assert f"{claim['contrast']}, {'above' if claim['sign'] > 0 else 'below'} 0 |" in line
        assert f"| {claim['value']:+.3f} [" in line
        assert f"| **{claim['verdict']}** |" in line


def test_the_page_is_short_and_has_a_paragraph_on_every_claim(made):
    text = page_of(made)
    assert text.count("\n") < 100
    assert "![The race](race.svg)" in text
    figures = json.loads((made[1] / "arms" / "figures.json").read_text())
    race = figures["race"]["shared"]
    assert f"shared: of 2 runs attack success fell in {race['fell']}" in text
    for claim in TINY.claims.values():
        assert claim.text in text
    beats = json.loads((made[1] / "best_response" / "figures.json").read_text())
    mean = beats["responses"]["heldout"]["fresh - script"]["base"]["mean"]
    assert f"the best script: {mean:+.3f} [" in text


@pytest.mark.parametrize(("shown", "least"), [(tables_of, 10), (page_of, 1)])
def test_every_table_is_a_table(made, shown, least):
    tables = re.findall(r"(?:^\|.*\|\n)+", shown(made), re.MULTILINE)
    assert len(tables) >= least
    for table in tables:
        lines = table.splitlines()
        assert len({line.count("|") for line in lines}) == 1, lines[0]
        assert set(lines[1]) == {"|", "-"}
    for word in ("nan", "None", "inf", "-0.000 "):
        assert f"| {word}" not in shown(made)


@pytest.mark.parametrize("table", ["training", "arms"])
def test_places_outside_a_report_are_read_only_if_the_user_names_them(copy, tmp_path, table):
    outside = str(tmp_path / "outside")

    def change(manifest):
        plan = manifest["experiment"]
        part = next(x for x in plan["parts"].values() if "arms" in x)
        place = plan["training"] if table == "training" else next(iter(part["arms"].values()))
        place["prompts"] = outside

    rewritten(copy, change)
    with pytest.raises(RedteamError, match=f"names '{outside}' as prompts.*add --use {outside}"):
        verify(copy)
    used = r"attacker_harmful\.txt" if table == "training" else "leave it"  # no option of an arm
    with pytest.raises(RedteamError, match=used):
        verify_report(copy, **QUIET, used=[outside])
