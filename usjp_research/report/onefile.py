"""The pages of a run as one HTML file that can be mailed, and that file as PDF."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bs4 import BeautifulSoup, Tag

from usjp_research.runs.store import prepare_folder, write_whole
from usjp_research.words import InputError

PARSER = "html.parser"
BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"),
    *("microsoft-edge", "msedge"),
)
POINTING = ("id", "for", "headers", "aria-labelledby", "aria-describedby", "aria-controls")
CITE = "cite"  # the id in the footer, which all pages share
PATIENCE = 120  # seconds for a browser to print


def join_pages(pages: Mapping[str, str]) -> str:
    """Join pages, by file name, into one whose links stay inside; its footer is the first's.

    A page of one sector is folded: a link into it, or paper, opens it.
    """
    names = {name: f"page-{name.removesuffix('.html')}" for name in pages}
    whole = BeautifulSoup(next(iter(pages.values())), PARSER)
    main = whole.new_tag("main", id="main")
    for name, text in pages.items():
        leaf = _leaf(BeautifulSoup(text, PARSER), name, names)
        if leaf.select_one("h1 .of"):
            summary, inner = whole.new_tag("summary"), leaf
            summary.string = str(inner["aria-label"])
            leaf = whole.new_tag("details", attrs={"class": "fold"})
            leaf.extend((summary, inner))
        main.append(leaf)
    body = _only(whole, "body")
    footer, skip = _only(body, "footer").extract(), _only(body, "a.skip").extract()
    body.clear()
    body.extend((skip, main, footer))
    return str(whole)


def _only(soup: Tag, selector: str) -> Tag:
    found = soup.select_one(selector)
    if found is None:
        raise InputError(f"a page has no '{selector}'; build the site again")
    return found


def _leaf(soup: BeautifulSoup, name: str, names: Mapping[str, str]) -> Tag:
    """Return a page as a section whose ids and links cannot meet those of another."""
    own = names[name]
    leaf = soup.new_tag("section", attrs={"class": "leaf", "id": own})
    title = _only(soup, "h1").get_text(" ", strip=True)
    for shown in soup.select("body > .banner, body > header, body > .page"):
        leaf.append(shown.extract())
    leaf["aria-label"] = title
    for node in leaf.select("nav.turn"):
        node.decompose()
    for node in leaf.select("nav[aria-label=Breadcrumb]"):
        node.name, node.attrs = "p", {"class": "up"}
    for node in leaf.select("nav.contents"):
        del node["aria-labelledby"]
        node["aria-label"] = f"Contents of {title}"
    for node in leaf.select("main"):
        node.name = "div"
        del node["id"]
    for node in leaf.select("[role=region]"):  # as landmarks they would be too many
        node["role"] = "group"
    for node in leaf.find_all(True):
        for key in POINTING:
            if key in node.attrs:
                node[key] = " ".join(f"{own}--{id}" for id in str(node[key]).split())
        target, _, part = str(node.get("href", "http:")).partition("#")
        if (target or name) in names and part != CITE:
            node["href"] = f"#{names[target or name]}" + (f"--{part}" if part else "")
    return leaf


def find_browser(given: str | None = None) -> str:
    """Return the path of Chromium, Chrome or Edge, found by name unless it is given."""
    found = next(filter(None, map(shutil.which, [given] if given else BROWSERS)), None)
    if found:
        return found
    if given:
        raise InputError(f"--browser {given}: no such program; give the path of Chromium or Chrome")
    tried = f"{', '.join(BROWSERS[:3])}, ... are not on the PATH"
    raise InputError(f"no browser to print with ({tried}): install Chromium, or give --browser")


def print_pdf(page: str, out: Path, browser: str) -> None:
    """Print a page with a browser that has no network, no window and no profile."""
    prepare_folder(out.absolute().parent)
    with tempfile.TemporaryDirectory(prefix="usjp-print-", ignore_cleanup_errors=True) as folder:
        source, made = Path(folder) / "page.html", Path(folder) / "page.pdf"
        source.write_text(page, encoding="utf-8")
        words = [
            *(browser, "--headless", "--disable-gpu", "--no-first-run", "--disable-extensions"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *("--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder}/profile"),
            *("--no-pdf-header-footer", "--generate-pdf-document-outline"),
            *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
            *(f"--print-to-pdf={made}", source.as_uri()),
        ]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
        except (OSError, subprocess.SubprocessError) as error:
            raise InputError(f"{browser}: could not print ({error})") from None
        if not made.is_file() or not made.read_bytes().startswith(b"%PDF"):
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            why = f"printed nothing (exit code {done.returncode}: {said})"
            raise InputError(f"{browser}: {why}; give another with --browser")
        write_whole(out.absolute(), made.read_bytes())
