"""The page in headless Chromium: what it offers works by keyboard and mouse, and hostile text runs nothing."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from support_pages import HOSTILE, game, make_crossplay, make_run, make_suites

from redteam_env.game import ATTACKER, DEFENDER
from redteam_env.page import make_page

sync_api = pytest.importorskip("playwright.sync_api")
pytest.importorskip("jinja2")
RESULTS = Path(__file__).parents[2] / "examples" / "results"
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="there is no Chromium (Debian: apt-get install chromium)"
    ),
]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        # in a container Chromium's sandbox lacks the rights it needs; the pages are our own
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser, file, fragment="", **options):
    """A page that is ready, with the addresses that it asked for and what went wrong in it."""
    context = browser.new_context(**options)
    page = context.new_page()
    page.asked, page.wrong = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on("console", lambda message: page.wrong.append(message.text))
    page.goto(f"{Path(file).as_uri()}{fragment}")
    page.wait_for_function("document.documentElement.dataset.ready === 'yes'")
    yield page
    assert page.asked == [f"{Path(file).as_uri()}"], "something was requested"
    assert page.wrong == []
    context.close()


def make(tmp_path_factory, name, games, **options):
    folder = tmp_path_factory.mktemp(name)
    make_page([make_run(folder / name, games=games)], folder / "report.html", **options)
    return folder / "report.html"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    evil = "".join(x for x in HOSTILE if len(x) < 1000)
    games = [game(k, text=text) for k, text in enumerate(HOSTILE)]
    games.append(game(50, text=evil, source=evil, void=f"judge error: {evil}", path=(evil,)))
    games[-1] = game(51, seed=games[-1].seed, components={ATTACKER: {evil: 1.0}, DEFENDER: {}})
    return make(tmp_path_factory, "hostile", [games, games], show_text=True)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    games = [game(k, text=f"word{k} end", told=k % 2 == 0, harmful=k < 40) for k in range(60)]
    return make(tmp_path_factory, "plain", [games[:30], games[30:]], show_text=True)


def test_hostile_text_runs_nothing_and_requests_nothing(browser, hostile):
    with opened(browser, hostile) as page:
        page.check("#f-show")
        for k in range(2 * (len(HOSTILE) + 1)):
            page.evaluate(f"location.hash = '#game-{k}'")
            page.wait_for_function(f"document.querySelector('#game a').hash === '#game-{k}'")
            for fold in page.locator("#game summary").all():
                fold.click()
            assert (
                page.locator("#game script, #game img, #game svg, #game style, #game meta").count()
                == 0
            )
            text = page.inner_text("#game")
            assert not set(text) & set("\u202e\u2066\u2069\x1b")
        assert page.evaluate("window.ran") is None
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_filters_and_search_find_games(browser, plain):
    with opened(browser, plain) as page:
        assert page.inner_text("#count") == "60 of 60 games"
        page.select_option("#f-outcome", label="harm told (20)")
        assert page.inner_text("#count") == "20 of 60 games"
        page.select_option("#f-group", label="step 2 (30)")
        assert page.inner_text("#count") == "5 of 60 games"
        page.click("button[type=reset]")
        assert page.inner_text("#count") == "60 of 60 games"
        page.fill("#f-search", "word17")
        assert page.inner_text("#count") == "0 of 60 games", "hidden text is not searched"
        page.check("#f-show")
        assert page.inner_text("#count") == "1 of 60 games"
        page.fill("#f-search", "seed-4")
        assert page.inner_text("#count") == "11 of 60 games"
        page.click("#list a >> nth=0")
        assert "seed-4" in page.inner_text("#game h3")


def test_texts_are_hidden_until_asked_for_and_thoughts_folded(browser, plain):
    with opened(browser, plain, "#game-7") as page:
        assert "word7" not in page.inner_text("body")
        assert "9 characters, hidden" in page.inner_text("#game")
        page.check("#f-show")
        assert "word7 end" in page.inner_text("#game")
        assert "thought word7" not in page.inner_text("#game")
        page.click("#game summary >> nth=0")
        assert "thought word7" in page.inner_text("#game")
        page.uncheck("#f-show")
        assert "word7" not in page.inner_text("body")


def test_all_of_it_works_by_keyboard(browser, plain):
    with opened(browser, plain) as page:
        page.focus("#f-search")
        page.keyboard.type("seed-33")
        assert page.inner_text("#count") == "1 of 60 games"
        focused = "document.activeElement.id || document.activeElement.tagName"
        seen = []
        for _ in range(20):
            page.keyboard.press("Tab")
            seen.append(page.evaluate(focused))
            if seen[-1] == "f-show":
                page.keyboard.press("Space")
            if seen[-1] == "A":
                break
        assert "f-show" in seen
        page.keyboard.press("Enter")
        page.wait_for_function("document.activeElement.id === 'game'")
        assert "word33 end" in page.inner_text("#game")
        for _ in range(10):
            page.keyboard.press("Tab")
            if page.evaluate(focused) == "SUMMARY":
                break
        page.keyboard.press("Enter")
        assert "thought word33" in page.inner_text("#game")


def test_a_link_opens_its_game(browser, plain):
    with opened(browser, plain, "#game-41") as page:
        assert "seed-41" in page.inner_text("#game h3")
        assert page.locator("#list [aria-current]").count() == 1


def test_pages_of_the_list_turn(browser, plain):
    with opened(browser, plain) as page:
        assert page.is_disabled("#before")
        page.click("#after")
        assert page.inner_text("#where") == "26 to 50"
        page.click("#after")
        assert page.is_disabled("#after")


def test_tables_are_there_without_javascript(browser, plain):
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(plain.as_uri())
        assert "attack success (rewritten)" in page.inner_text("#rates")
        assert "needs JavaScript" in page.inner_text("#games")
        assert not page.is_visible("#browser")


@pytest.mark.parametrize("width", [1280, 320])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser, plain, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    size = {"width": width, "height": 900}
    with opened(
        browser, plain, "#game-7", viewport=size, color_scheme=scheme, bypass_csp=True
    ) as page:
        page.check("#f-show")
        found = axe.run(page).response["violations"]
        assert [(x["id"], x["impact"], x["nodes"][0]["html"][:200]) for x in found] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [1280, 400])
def test_measurements_fit_and_axe_finds_nothing(browser, tmp_path, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    pairs = {(k, j): k == j for k in range(2) for j in range(2)}
    places = [make_crossplay(tmp_path / "cross", pairs), make_suites(tmp_path / "suites")]
    places += [RESULTS / "bench", RESULTS / "claims"]
    make_page(places, tmp_path / "report.html")
    size = {"width": width, "height": 900}
    with opened(browser, tmp_path / "report.html", viewport=size, bypass_csp=True) as page:
        found = axe.run(page).response["violations"]
        assert [(x["id"], x["impact"], x["nodes"][0]["html"][:200]) for x in found] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 718, "height": 1000})  # of A4 within its margins
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_ten_thousand_games_are_there_in_two_seconds(browser, tmp_path_factory):
    games = [game(k, text=f"word{k} some more words that stand here") for k in range(100)]
    file = make(tmp_path_factory, "many", [games] * 100, show_text=True)
    assert file.stat().st_size < 5_000_000
    with opened(browser, file) as page:
        assert page.inner_text("#count") == "10,000 of 10,000 games"
        page.fill("#f-search", "seed-99")
        assert page.inner_text("#count") == "100 of 10,000 games"
        print("ready after", page.evaluate("performance.now()"), "ms")
