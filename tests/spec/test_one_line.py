"""Hostile input of every kind ends with exit code 2 and one plain line of at most 300 signs."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import Result

from tests.here import refused
from usjp_research.spec.read import read_spec
from usjp_research.words import HIDDEN, LONGEST, InputError, card, shortened, shown

Run = Callable[..., Result]
Own = Callable[..., Path]
ESC, OSC, BIDI, WIDTH = "\x1b[31m", "\x1b]8;;http://x\x07", "\u202e", "\u200b"
HEAD = "ticker,sector\n"
NY = "2024-03-05 10:00,America/New_York,primary"
NEWS = "ticker,session,kind\nS01,{},results\n"
EVENT = "id,announced,zone,role,title,solar,rail\n{}\n"
DEEP = "estimation: " + "[" * 5000 + "]" * 5000
NESTED = "estimation: " + "{a: " * 5000 + "1" + "}" * 5000
INDENTED = "\n".join(" " * k + "a:" for k in range(600))
MERGE = "a0: &a0 {x: 1}\n" + "".join(
    f"a{k}: &a{k}\n  <<: [{', '.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 9)
)
LAUGHS = "a0: &a0 [x]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 10)
)
THESIS = """valued_on: 2024-03-01
values_as_of: 2024-03-01
margin: {low: 0.04, base: 0.08, high: 0.12}
tax: 0.21
discount_rate: 0.08
years_to_cash: 5
realised: {approved: 1.0}
lines:
  - {id: A1, sector: solar, title: t, amount_usd_bn: 100, basis: b, years: 1,
     realised: approved, firms: {S04: 0.5}, source: s}
"""

# file of the params, its text, words of the refusal
FILES: dict[str, tuple[str, str, str]] = {
    "the year 1": ("study", "since: 0001-01-01\n", "from 1998 to 2100"),
    "the year 2262": ("study", "since: 2262-04-12\n", "from 1998 to 2100"),
    "the year 9999": ("study", "since: 9999-12-31\n", "from 1998 to 2100"),
    "seconds for a date": ("study", "since: 1649980800\n", "YYYY-MM-DD"),
    "an integer of 6,000 digits": ("study", f"seed: {'9' * 6000}\n", "'seed'"),
    "a number of 6,000 digits": ("study", f"alpha: {'9' * 6000}\n", "'alpha'"),
    "a far estimation": ("study", f"estimation: {{ends_before: {'9' * 20}}}\n", "1000"),
    "an endless estimation": ("study", "estimation: {sessions: 999999999}\n", "2500"),
    "an endless margin": ("study", "blackout: {margin: 999999999}\n", "250"),
    "an endless guard": ("study", "guard_sessions: 999999999\n", "1000"),
    "an endless window": ("study", "window: [-1, 999999999]\n", "250"),
    "countless calendars": ("study", f"least_shifts: {'9' * 30}\n", "100000"),
    "alpha next to nothing": ("study", "alpha: 5e-324\n", "0.0001"),
    "a seed below zero": ("study", "seed: -1\n", "'seed'"),
    "an octal number": ("study", "least_firms: 0x10\n", "a whole number"),
    "5,000 lists in each other": ("study", DEEP, "levels deep"),
    "5,000 mappings in each other": ("study", NESTED, "levels deep"),
    "600 indents": ("study", INDENTED, "levels deep"),
    "a merge-key bomb": ("study", MERGE, "aliases"),
    "an alias bomb": ("study", LAUGHS, "aliases"),
    "a merge key": ("study", "a: &a {sessions: 99}\nestimation: {<<: *a}\n", "unknown key"),
    "an alias of itself": ("study", "estimation: &a [*a]\n", "study.yaml"),
    "a huge YAML file": ("study", "# x\n" * 60_000, "expected at most 0.2 MB"),
    "a Python object": ("study", "alpha: !!python/object:os.system x\n", "YAML"),
    "a forced integer": ("study", f"alpha: !!int {'9' * 6000}\n", "YAML"),
    "two documents": ("study", "alpha: 0.1\n---\nalpha: 0.2\n", "YAML"),
    "a list for a key": ("study", "? [a, b]\n: 1\n", "YAML"),
    "colours in a key": ("study", f'"{ESC.replace(chr(27), chr(92) + "e")}x": 1\n', r"\x1b[31mx"),
    "bidi in a key": ("study", f"{BIDI}alpha: 1\n", r"\u202ealpha"),
    "an unknown cleanest": ("study", "cleanest: N9\n", "unknown 'N9'"),
    "an unknown note": ("study", "note: N9\n", "unknown 'N9'"),
    "an unknown campaign": ("study", "campaign: [N1, N9]\n", "unknown 'N9'"),
    "not a number in the thesis": ("thesis", THESIS.replace("0.21", ".nan"), "'tax'"),
    "dollars beyond the world": ("thesis", THESIS.replace(": 100,", ": 1e26,"), "1000000"),
    "a thesis of the year 9999": (
        "thesis", THESIS.replace("as_of: 2024", "as_of: 9999"), "1998 to 2100",
    ),
    "a share of nan": ("thesis", THESIS.replace("S04: 0.5", "S04: nan"), "S04"),
    "years without end": ("thesis", THESIS.replace("years: 1", "years: 1e300"), "'lines.0.years'"),
    "news of the year 9999": ("own_news", NEWS.format("9999-12-31"), "1998 to 2100"),
    "news by week": ("own_news", NEWS.format("2024-W10-2"), "YYYY-MM-DD"),
    "coverage of the year 1": (
        "own_news_coverage", "ticker,checked\nS01,0001-01-01\n", "1998 to 2100",
    ),
    "other news of the year 9999": (
        "confounders", "session,title\n9999-12-31,x\n", "1998 to 2100",
    ),
    "other news near an unknown event": (
        "confounders", "session,title,near_events\n2024-03-05,x,N9\n", "unknown event 'N9'",
    ),
    "a firm named by an unknown event": (
        "universe", "ticker,sector,named_event\nS01,solar,N11\nS02,rail,\n", "unknown event 'N11'",
    ),
    "a value beyond the world": (
        "universe", "ticker,sector,market_value_usd_bn\nS01,solar,1e26\n", "1,000,000",
    ),
    "a value with an underscore": (
        "universe", "ticker,sector,market_value_usd_bn\nS01,solar,1_0\n", "'1_0'",
    ),
    "a file cut in a row": ("events", EVENT.format(f"N1,{NY},on"), "seen 5 cells"),
    "a cell of 200,000 signs": ("universe", f"{HEAD}{'S' * 200_000},solar\n", "UTF-8 CSV"),
    "an id of 90,000 signs": ("events", EVENT.format(f"{'N ' * 45_000},{NY},a,+,+"), "letters"),
    "colours in a cell": ("universe", f"{HEAD}S01,{ESC}Solar\n", r"\x1b[31mSolar"),
    "a link in a cell": ("events", EVENT.format(f"N1,{NY},a,{OSC}up,+"), r"\x1b]8;;"),
    "bidi in a cell": ("universe", f"{HEAD}S01,sol{BIDI}ar\n", r"sol\u202ear"),
    "no width in a cell": ("universe", f"{HEAD}S01,sol{WIDTH}ar\n", r"sol\u200bar"),
    "a header of colours": ("universe", f"ticker,{ESC}sector\nS01,solar\n", r"\x1b[31msector"),
    "countless columns": ("universe", ",".join(f"c{k}" for k in range(20_000)), "'ticker'"),
}  # fmt: skip

# words of the command, words of the refusal
WORDS: dict[str, tuple[tuple[str, ...], str]] = {
    "no params": (("study", "--params", ""), "--params: seen nothing"),
    "no folder": (("study", "--out="), "--out: seen nothing"),
    "no market": (("study", "--market", " "), "--market: seen nothing"),
    "nobody's params": (("study", "--params", "~nouser/x"), "no such user"),
    "nobody's factors": (("study", "--factors", "file:~nouser/x"), "no such file"),
    "nobody's donors": (("study", "--donors", "~nouser/x"), "no such user"),
    "an unknown option": (("study", f"--{ESC}out"), r"--\x1b[31mout"),
    "an unknown command": ((f"{OSC}study",), r"\x1b]8;;"),
    "a sector of colours": (("study", "--sector", f"{ESC}x{BIDI}"), r"\x1b[31mx\u202e"),
    "a market of colours": (("study", "--market", f"{ESC}bundled"), r"\x1b[31m"),
    "a market without end": (("study", "--market", "x" * 100_000), "too long"),
    "an events file of colours": (("study", "--events", f"{ESC}.csv"), r"\x1b[31m"),
    "a missing argument": (("battery",), "returns"),
    "units of colours": (("study", "--factor-units", f"{ESC}pc"), r"\x1b[31mpc"),
}


def _refused(result: Result, word: str) -> None:
    assert len(refused(result, word)) <= 300


@pytest.mark.parametrize("case", FILES)
def test_a_hostile_file_of_parameters_is_one_plain_line(
    case: str, own: Own, usjp: Run, tmp_path: Path
) -> None:
    name, text, word = FILES[case]
    started = time.process_time()  # of others on this machine nothing is known
    _refused(usjp("study", "--no-pages", "--params", own(**{name: text}), "--out", "o"), word)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("case", WORDS)
def test_hostile_words_are_one_plain_line(case: str, usjp: Run) -> None:
    words, said = WORDS[case]
    _refused(usjp(*words), said)


@pytest.mark.parametrize("kind", ["folder", "device", "pipe"])
@pytest.mark.parametrize("name", ["events.csv", "study.yaml"])
def test_what_is_no_plain_file_is_not_read(kind: str, name: str, own: Own, usjp: Run) -> None:
    folder = own()
    path = folder / name
    path.unlink(missing_ok=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    _refused(usjp("study", "--no-pages", "--params", folder), "expected a plain file")


@pytest.mark.parametrize("text", [MERGE, LAUGHS, DEEP], ids=["merge", "alias", "deep"])
def test_a_bomb_is_refused_in_little_memory(text: str, own: Own) -> None:
    code = (
        "import sys, usjp_research as ur\n"
        "try:\n    ur.read_spec(sys.argv[1])\nexcept ur.InputError as error:\n    print(error)\n"
    )
    half = 500_000_000
    done = subprocess.run(
        [sys.executable, "-c", code, str(own(study=text))],
        capture_output=True,
        text=True,
        timeout=20,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (half, half)),
    )
    assert "study.yaml" in done.stdout, done.stderr[-500:]


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.text(max_size=40) | st.text("\x1b\x00\u202e'\n ab", max_size=700))
def test_no_message_is_long_or_holds_what_a_terminal_obeys(text: str) -> None:
    message = str(InputError(f"a.csv: row 2: seen {text!s}, expected a number; correct it"))
    assert len(message) <= LONGEST
    assert not HIDDEN & {__import__("unicodedata").category(sign) for sign in message}
    assert message.startswith("a.csv: row 2: seen")
    assert message.endswith("correct it")


def test_a_long_message_keeps_where_and_what_to_do() -> None:
    message = str(InputError(f"file.csv: row 7: seen {'x' * 10**6}; known: {'y, ' * 999}; do this"))
    assert message.startswith("file.csv: row 7: seen xxx")
    assert message.endswith("do this")
    assert len(message) <= LONGEST
    assert shortened("short") == "short"


def test_records_and_free_texts_show_control_characters(own: Own) -> None:
    assert shown(f"{ESC}a{BIDI}\n日本語 é") == "\\x1b[31ma\\u202e\n日本語 é"
    assert "\x1b" not in card("Firm", ESC, OSC)
    spec = read_spec(own(events=EVENT.format(f"N1,{NY},one {OSC}two,+,+")))
    assert spec.events[0].title == r"one \x1b]8;;http://x\x07two"


def test_ids_and_numbers_of_the_rule_are_text_as_written(own: Own) -> None:
    events = "".join(
        f"{id},2024-0{k}-05 10:00,America/New_York,primary,t,+,+\n"
        for k, id in enumerate(("01", "1E1", "NA", "TRUE"), 3)
    )
    study = "cleanest: 01\nnote: NA\ncampaign: [01, 1E1]\ncontrast: {sector: solar, event: TRUE}\n"
    universe = "ticker,sector\nTRUE,solar\n01,solar\nON,rail\n"
    thesis = THESIS.replace("S04", "01")
    rule = read_spec(
        own(events=EVENT.format(events), study=study, universe=universe, thesis=thesis)
    ).rule
    assert rule.contrast is not None
    assert (rule.cleanest, rule.note, rule.contrast.event) == ("01", "NA", "TRUE")
    assert rule.campaign == ("01", "1E1")
