"""Pages in a real browser, from disk and without a network: what a reader gets who was mailed one.

Debian's Chromium, or any other on the PATH, is driven by Playwright; axe-core looks for barriers.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from usjp_research.report.compare import gallery_page
from usjp_research.report.onefile import find_browser, join_pages
from usjp_research.report.pages import render
from usjp_research.words import InputError

AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
DESK, PHONE = 1280, 360
OUTSIDE = """() => [...document.querySelectorAll("main *, header *, footer *")].filter(e => {
  if (e.getBoundingClientRect().right <= document.documentElement.clientWidth + 1) return false;
  for (let a = e; a; a = a.parentElement)
    if (getComputedStyle(a).overflowX != "visible") return false;
  return true;
}).map(e => e.tagName + " " + e.textContent.slice(0, 40))"""
CUT = """() => [...document.querySelectorAll("table")].filter(t =>
  t.offsetWidth > t.parentElement.clientWidth + 1 || [...t.querySelectorAll("tbody td")].some(c =>
    getComputedStyle(t).display == "table" && c.innerText.length > 40 && c.clientWidth < 100)
).map(t => t.innerText.slice(0, 60))"""
RESULT = "({violations}) => violations.map(v => v.id + ' ' + v.nodes[0].html.slice(0, 120))"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    try:
        program = find_browser()
    except InputError as error:
        pytest.skip(str(error))
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, chromium_sandbox=False)
        yield browser
        browser.close()


@pytest.fixture(params=["finished", "hostile"])
def forms(request: pytest.FixtureRequest, once: Callable[..., Path]) -> list[Path]:
    """Every page of a run, the same as one file, its comparison and the gallery."""
    run: Path = request.getfixturevalue(request.param)

    def build(folder: Path) -> None:
        other = request.getfixturevalue("finished")
        pages = render(run)
        pages |= {"one-file.html": join_pages(pages)}
        pages |= {"gallery.html": gallery_page([other, run], folder / "gallery.html")[0]}
        for name, text in pages.items():
            (folder / name).write_text(text, encoding="utf-8")

    found = sorted(once(f"pages-{request.param}", build).glob("*.html"))
    assert len(found) >= 7
    return found


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a file as a reader does; anything it asks for or complains about fails the test."""
    contexts: list[Any] = []
    seen: list[str] = []

    def asked(request: Any, own: str) -> None:
        if request.url != own and not request.url.startswith("data:"):
            seen.append(request.url)

    def dismiss(dialog: Any) -> None:
        seen.append(dialog.message)
        dialog.dismiss()

    def see(path: Path, width: int = DESK, **more: Any) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, offline=True, reduced_motion="reduce", **more
        )
        contexts.append(context)
        page = context.new_page()
        own = path.as_uri()
        page.on("request", lambda request: asked(request, own.partition("#")[0]))
        page.on("console", lambda message: seen.append(message.text))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("dialog", dismiss)
        page.goto(own)
        return page

    yield see
    for context in contexts:
        context.close()
    assert not seen


def test_pages_ask_for_nothing_fit_a_phone_and_a_desk_and_their_links_arrive(
    forms: list[Path], opened: Callable[..., Page]
) -> None:
    ids, links = {}, {}
    for path in forms:
        page = opened(path)
        for width in (PHONE, DESK):
            page.set_viewport_size({"width": width, "height": 900})
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, (path.name, width, page.evaluate(OUTSIDE)[:5])
        ids[path.name] = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
        links[path.name] = page.evaluate(
            "[...document.querySelectorAll('a[href]')].map(e => e.getAttribute('href'))"
        )
        page.close()
    for name, found in links.items():
        assert len(ids[name]) == len(set(ids[name])), name
        for link in found:
            target, _, part = link.partition("#")
            if ":" in target or target.endswith("/site/index.html"):  # the web; a card's run
                continue
            assert (target or name) in ids, (name, link)
            assert not part or part in ids[target or name], (name, link)
    assert len(links["one-file.html"]) > 20
    assert not [link for link in links["one-file.html"] if ".html" in link and ":" not in link]


@pytest.mark.parametrize("forms", ["finished"], indirect=True)
def test_no_table_is_cut_and_no_prose_stands_in_a_narrow_column(
    forms: list[Path], opened: Callable[..., Page]
) -> None:
    seen = 0
    for path in (path for path in forms if path.name != "one-file.html"):
        page = opened(path)
        page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true; })")
        for width in (PHONE, 768, DESK):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(CUT) == [], (path.name, width)
        seen += page.locator("table").count()
        page.close()
    assert seen > 20


@pytest.mark.parametrize(
    ("forms", "scheme", "kinds"),
    [
        ("finished", "light", ("index", "2_event", "gallery")),
        pytest.param("finished", "dark", ("index",), marks=pytest.mark.soak),
        pytest.param("hostile", "light", ("one-file",), marks=pytest.mark.soak),
        *(
            pytest.param(run, scheme, ("",), marks=pytest.mark.soak)
            for run in ("finished", "hostile")
            for scheme in ("light", "dark")
        ),
    ],
    indirect=["forms"],
)
def test_axe_finds_no_barrier(
    scheme: str, kinds: tuple[str, ...], forms: list[Path], opened: Callable[..., Page]
) -> None:
    only = "" if scheme == "light" else "runOnly: ['color-contrast'],"  # nothing else can change
    looked = [path for path in forms if path.name.startswith(kinds)]
    assert len(looked) >= len(kinds)
    for path in looked:
        page = opened(path, color_scheme=scheme)
        page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true; })")
        page.evaluate(AXE)
        shown = "{exclude: [['.drawn > *']]}"  # one image by its role and name
        run = f"axe.run({shown}, {{{only} resultTypes: ['violations']}})"
        assert not page.evaluate(f"async () => ({RESULT})(await {run})"), path.name
        page.close()


def test_axe_would_find_a_barrier(opened: Callable[..., Page], tmp_path: Path) -> None:
    path = tmp_path / "bad.html"
    path.write_text("<title>x</title><img src='data:,' style='color:#777;background:#888'>")
    page = opened(path)
    page.evaluate(AXE)
    found = page.evaluate(f"async () => ({RESULT})(await axe.run())")
    assert {"image-alt", "html-has-lang"} <= {line.split()[0] for line in found}


@pytest.mark.parametrize("forms", ["finished"], indirect=True)
def test_the_keyboard_reaches_folds_and_contents_and_shows_where_it_is(
    forms: list[Path], opened: Callable[..., Page]
) -> None:
    for path in (path for path in forms if path.name.startswith(("2_event_study", "one-file"))):
        page = opened(path, java_script_enabled=False)
        page.keyboard.press("Tab")
        skip = page.locator(":focus")
        assert skip.get_attribute("class") == "skip"
        box = skip.bounding_box()
        assert box and box["x"] >= 0 and box["width"] > 50  # seen only while it has the focus
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile("#main$"))
        fold = page.locator("details.code > summary").first
        fold.focus()
        shown = fold.locator("xpath=..").locator("pre").first
        assert not shown.is_visible()
        for state in ("visible", "hidden"):
            page.keyboard.press("Enter")
            shown.wait_for(state=state)
        entry = page.locator("nav.contents a").last
        entry.focus()
        style = entry.evaluate(
            "e => getComputedStyle(e).outlineStyle + getComputedStyle(e).outlineWidth"
        )
        assert style == "solid3px"
        target = str(entry.get_attribute("href"))
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(f"{re.escape(target)}$"))
        box = page.locator(f"[id='{target[1:]}']").bounding_box()
        assert box and -5 <= box["y"] < 900


def _brightness(picture: bytes) -> float:
    grey = Image.open(io.BytesIO(picture)).convert("L").histogram()
    return sum(level * count for level, count in enumerate(grey)) / sum(grey)


@pytest.mark.parametrize("forms", ["finished"], indirect=True)
def test_dark_screens_get_dark_pages_and_dark_figures(
    forms: list[Path], opened: Callable[..., Page]
) -> None:
    path = next(path for path in forms if path.name == "index.html")
    seen = {}
    for scheme in ("light", "dark"):
        page = opened(path, color_scheme=scheme)
        shot = [page.screenshot()]
        shot += [figure.screenshot() for figure in page.locator("figure").all()]
        seen[scheme] = [_brightness(picture) for picture in shot]
        page.close()
    assert len(seen["light"]) >= 4
    assert min(seen["light"]) > 180
    assert max(seen["dark"]) < 110  # tints of a heat map stay light


SMALLEST = """() => Math.min(...[...document.querySelectorAll(".drawn text")]
  .filter(text => text.getBoundingClientRect().width)
  .map(text => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a || 99))"""


@pytest.mark.parametrize("forms", ["finished"], indirect=True)
def test_a_phone_gets_the_narrow_form_in_eleven_pixels_and_a_desk_and_paper_the_wide_one(
    forms: list[Path], opened: Callable[..., Page]
) -> None:
    page = opened(next(path for path in forms if path.name == "index.html"))
    wide, narrow = (page.locator(f".two > {form}").first for form in ("svg", "div > svg"))
    for width, media, shown in (
        (PHONE, "screen", narrow),
        (DESK, "screen", wide),
        (PHONE, "print", wide),
    ):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(media="print" if media == "print" else "screen")
        assert [form for form in (wide, narrow) if form.is_visible()] == [shown], (width, media)
        if media == "screen":
            assert page.evaluate(SMALLEST) >= 11, width
    with page.expect_download() as saved:
        page.emulate_media(media="screen")
        page.locator("figure a[download]").first.click()
    assert saved.value.suggested_filename.endswith("-figure-1.csv")
    assert saved.value.path().read_text(encoding="utf-8").startswith("session,path,low,high,panel")


@pytest.mark.parametrize("forms", ["finished"], indirect=True)
def test_paper_is_white_and_sections_start_on_pages_of_their_own(
    forms: list[Path], opened: Callable[..., Page]
) -> None:
    for path in (path for path in forms if path.name in ("index.html", "one-file.html")):
        page = opened(path, color_scheme="dark")
        paper = page.pdf(prefer_css_page_size=True)
        sections = page.locator("section.leaf").count() or 1
        assert sections <= len(re.findall(rb"/Type\s*/Page\b", paper)) <= 35 * sections
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == (
            "rgb(255, 255, 255)"
        )
        assert not page.locator(".skip, nav.contents, details.code").first.is_visible()
        page.close()


@pytest.mark.parametrize("forms", ["finished"], indirect=True)
def test_the_answer_is_on_the_first_screen_of_a_desk_and_all_sectors_on_that_of_a_phone(
    forms: list[Path], opened: Callable[..., Page]
) -> None:
    page = opened(next(path for path in forms if path.name == "index.html"))
    bottom = "e => e.getBoundingClientRect().bottom"
    for width, height, last in ((DESK, 720, ".board"), (390, 844, ".board tr:nth-child(6)")):
        page.set_viewport_size({"width": width, "height": height})
        assert page.locator(last).first.evaluate(bottom) <= height, width
    bars = page.locator(".board td.bar > svg")
    assert bars.count() == 7 and all(bars.nth(k).bounding_box() for k in range(7))
    page.evaluate("document.querySelectorAll('style').forEach(e => e.remove())")
    order = ["prices to", "ruled out", "high case", "sectors moved", "Moved", "Too small by"]
    text = page.locator("header.front").inner_text()
    places = [text.index(part) for part in order]
    assert places == sorted(places) and bars.first.is_visible()


@pytest.mark.parametrize("forms", ["hostile"], indirect=True)
def test_hostile_text_is_text_in_every_form(
    forms: list[Path], opened: Callable[..., Page], evil: tuple[str, str, str]
) -> None:
    found = {path.name: path for path in forms}
    markup, formula, long = evil
    wanted = {
        "index.html": (markup, formula, long),  # titles of events, claims, what was left out
        "1_data.html": (markup, formula, long),  # tickers and titles
        "one-file.html": (markup, formula, long),
        "gallery.html": ("hostile",),
    }
    for name, texts in wanted.items():
        page = opened(found[name])
        body = page.evaluate("document.body.textContent")
        for text in texts:
            assert text in body, (name, text)
        assert page.locator("script, iframe, object, embed, form, base, link").count() == 0, name
        assert page.evaluate(
            "[...document.querySelectorAll('*')].every(e => "
            "[...e.attributes].every(a => !a.name.startsWith('on')))"
        ), name
        assert page.locator("img:not([src^='data:image/'])").count() == 0, name
        page.close()
