"""Directories as training and evaluation leave them, with texts that are meant to do harm."""

import base64
import gzip
import json
from html.parser import HTMLParser

from redteam_env.game import ATTACKER, DEFENDER, Episode, Seed, Turn, Verdict
from redteam_env.page import make_page
from redteam_env.runs import Run

HOSTILE = (
    "<script>window.ran = 1</script>",
    "</script><script>window.ran = 2</script>",
    "<img src=x onerror='window.ran = 3'>",
    '<svg onload="window.ran = 4"><image href="http://192.0.2.1/a.png"/></svg>',
    "{{ 7 * 7 }}{% raw %}${7*7}#{7*7}",
    "\u202eevil\u202c \u2066x\u2069 \x1b[31m \u2028 \u2029 &lt;b&gt;",
    "javascript:window.ran=5",
    "-->\"'`><style>*{display:none}</style><meta http-equiv=refresh content=0>",
    "x" * 100_000,
)
CONFIG = {
    "algorithm": "reinforce_pp",
    "arrangement": "shared",
    "model": "tiny",
    "steps": 4,
    "games": 4,
    "seeds": "mine",
    "judge": "lexical",
}


FIELDS = {
    "response_refusal": {
        name: {"k": 9, "n": 10, "effective": 4.0, "rate": 0.9, "interval": [0.4, 1.0]}
        for name in ("sensitivity", "specificity")
    }
}


def game(k=0, *, text="plain words", source="mine", harmful=True, told=False, **fields):
    """A rewritten game, whose texts all say the same."""
    own = {
        "seed": Seed(id=f"seed-{k}", text=text, harmful=harmful, category="topic", source=source),
        "rewritten": True,
        "turns": (
            Turn(seat=ATTACKER, text=text, visible=text, thought=f"thought {text}"),
            Turn(seat=DEFENDER, text=text, visible=text),
        ),
        "verdict": Verdict(
            prompt_harmful=harmful,
            response_refusal=not told,
            response_harmful=told and harmful,
            raw=text,
            judge="lexical",
        ),
        "rewards": {ATTACKER: 1.0, DEFENDER: -1.0},
        "components": {ATTACKER: {"harm": 1.0}, DEFENDER: {"harm": -1.0}},
        "samples": (ATTACKER, DEFENDER),
        "path": (0, "step", k),
    }
    return Episode(**{**own, **fields})


def make_run(folder, *, games=None, rows=None, config=CONFIG, **record):
    """A run of as many steps as there are lists of games."""
    folder.mkdir(parents=True)
    run = Run(folder)
    judge = {"name": "lexical", "smoke_only": True}
    run.write_record({"config": config, "judge": judge, "versions": {}, **record})
    every = [[game(k) for k in range(4)]] * 4 if games is None else games
    for step, episodes in enumerate(every):
        run.write_episodes(step, episodes)
    for row in (
        [{"step": k, "attacker/reward": 0.5} for k in range(len(every))] if rows is None else rows
    ):
        run.add_row(row)
    return folder


def make_evaluation(folder, episodes, **result):
    """What evaluate leaves behind."""
    folder.mkdir(parents=True)
    report = {
        "schema": 1,
        "command": "evaluate",
        "settings": {"judge": "lexical"},
        "judge": {"name": "lexical", "smoke_only": False},
        "result": {"attacker": "a", "defender": "d", **result},
    }
    (folder / "report.json").write_text(json.dumps(report))
    (folder / "episodes.jsonl").write_text("".join(f"{x.to_json()}\n" for x in episodes))
    return folder


def rewrite(folder, **fields):
    """Change fields of what an evaluation stored."""
    file = folder / "report.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    return folder


def make_crossplay(folder, told):
    """A cross-play of two attackers and one defender, each of 40 harmful games."""
    result = {"attackers": ["a", "b"], "defenders": ["c", "d"]}
    make_evaluation(folder, [])
    (folder / "episodes").mkdir()
    for (k, j), own in told.items():
        file = folder / "episodes" / f"attacker-{k}-defender-{j}.jsonl"
        file.write_text(
            "".join(f"{game(x, text=f'words {k} {x}', told=own).to_json()}\n" for x in range(40))
        )
    return rewrite(folder, command="crossplay", result=result)


def make_suites(folder, *, attacked=True):
    """Two suites, of which one has no value of its own metric."""
    make_evaluation(folder, [])
    (folder / "plan.json").write_text("{}")
    (folder / "episodes").mkdir()
    rate = {"value": 0.3, "interval": [0.2, 0.4], "answers": 40}
    none = {"value": None, "interval": None, "answers": 0, "reason": "the judge does not grade"}
    within = [
        {"attempts": k, "rate": k / 10, "interval": [k / 20, k / 5], "requests": 40}
        for k in (1, 2, 3)
    ]
    attack = {
        "attack": "best_of_n",
        "attempts": 3,
        "success_within": within,
        "queries": {"target": 99, "attacker": 0, "judge": 98},
    }
    result = []
    for name, own in (("one", "success"), ("two", "graded")):
        figures = {"success": rate, "compliance": rate, "refusal": rate, "graded": none}
        row = {"label": "harmful", "own_metric": own, "requests": 40, "answers": 40}
        suite = {"name": name, "title": name.title(), "rows": [{**row, "figures": figures}]}
        result.append({**suite, "attacked": attack} if attacked else suite)
        games = [game(x, text=f"words {x} {name}") for x in range(4)]
        file = folder / "episodes" / f"{name}.jsonl"
        file.write_text("".join(f"{x.to_json()}\n" for x in games))
    settings = {"judge": "lexical", "seeds": "builtin", "model": "smollm2", "defender": "comply"}
    settings |= {"attack": "best_of_n", "attempts": 3} if attacked else {}
    return rewrite(folder, result=result, settings=settings, calibration={"fields": FIELDS})


class Parsed(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.elements, self.words, self.inside = [], [], ""
        self.data, self.pending = "", ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = dict(attrs).get("id", "") if tag == "script" else tag

    def handle_data(self, data):
        if self.inside == "data":
            self.data += data
        elif self.lasttag not in {"script", "style"}:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    @property
    def games(self):
        return json.loads(gzip.decompress(base64.b64decode(self.data)))


def made(tmp_path, *places, **options):
    out = tmp_path / "report.html"
    make_page(places, out, **options)
    return Parsed(out.read_text(encoding="utf-8"))
