"""What ``usjp battery`` does: read the files, run the battery, print it or write it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from usjp_research import __version__
from usjp_research.engine.battery.catalogue import CROSS, EVENT, SHAPE, TESTS, believable_first
from usjp_research.engine.battery.events import firm_events
from usjp_research.engine.battery.run import Battery, run_battery
from usjp_research.engine.battery.window import WindowTests
from usjp_research.engine.design import Timing
from usjp_research.market.check import check_returns, refuse_file, told
from usjp_research.market.factors import read_factors
from usjp_research.market.files import existing
from usjp_research.market.groups import read_event_dates, read_groups
from usjp_research.market.panel import ReturnPanel, open_returns
from usjp_research.market.record import EVERY, LISTED, Finding
from usjp_research.report.numbers import PHRASES
from usjp_research.report.numbers import say as phrase
from usjp_research.runs.store import json_bytes, write_whole
from usjp_research.runs.terminal import columns
from usjp_research.spec.records import sha_of
from usjp_research.words import DASH, InputError, number, p_value, percent

MARKS = {CROSS: "C", EVENT: "V", SHAPE: "N", "nothing": "-"}
ROLES: Mapping[str, str] = PHRASES["battery roles"]


def days_of(text: str, name: str) -> tuple[int, int]:
    """Read a pair of days such as ``-1,1``."""
    found = re.fullmatch(r"\s*\[?\s*([+-]?\d{1,6})\s*[,;:]\s*([+-]?\d{1,6})\s*\]?\s*", text)
    if not found:
        expected = "expected two whole numbers, days from the event, such as -1,1"
        raise InputError(f"--{name} '{text}': {expected}")
    return int(found[1]), int(found[2])


def battery_from_files(
    *,
    returns: str,
    groups: Path,
    event: str | None,
    events: Path | None,
    benchmark: str | None,
    model: str,
    estimation: str,
    windows: Sequence[str],
    factors: Path | None,
    factor_units: str,
    say: Callable[[str, Sequence[str]], None],
) -> Battery:
    """Run the battery on files; ``say`` what they were read as, and what looks wrong."""
    span, asked = days_of(estimation, "estimation"), [days_of(text, "window") for text in windows]
    table = None if factors is None else read_factors(factors, units=factor_units).returns
    panel, firms = _read_once(open_returns(returns)), read_groups(groups)
    say("Read as", panel.read_as)
    dates, timing = None if events is None else read_event_dates(events), Timing(span, (*asked,))
    rows, _ = firm_events(panel, firms, event, dates, timing)
    found = check_panel(panel, rows, timing, benchmark)
    done = run_battery(
        panel,
        firms,
        event=event,
        events=dates,
        benchmark=benchmark,
        model=model,
        estimation=span,
        windows=asked,
        factors=table,
        factor_units=factor_units if table is None else "decimal",
    )
    say("Check", told(found))
    return done


def _read_once(panel: ReturnPanel) -> ReturnPanel:
    """Keep each series of a file that is in memory: it is checked first, and then tested."""
    series = cache(lambda name: panel.read([name])[0])
    kept = replace(panel, read=lambda names: np.vstack([series(name) for name in names]))
    return panel if panel.chunk else kept


def check_panel(
    panel: ReturnPanel, firms: pd.DataFrame, timing: Timing, benchmark: str | None
) -> list[Finding]:
    """Check the returns that the tests will use; what has a witness there is refused."""
    own = [benchmark] if benchmark is not None and benchmark in panel.names else []
    market = pd.Series(panel.read(own)[0], panel.days) if own else None
    names = list(dict.fromkeys([*own, *firms["firm"]]))
    step, found = panel.chunk or len(names), list[Finding]()
    for part in (names[at : at + step] for at in range(0, len(names), step)):
        frame = pd.DataFrame(panel.read(part).T, index=panel.days, columns=part)
        for item in check_returns(frame, benchmark=market):
            remedy = item.remedy.partition(", or accept")[0]  # here is no accepted.csv
            found.append(item if item.advice == LISTED else replace(item, remedy=remedy))
    refuse_file(panel.where, found)
    first = firms["day0"] + min(timing.estimation[0], timing.hull[0])
    last = firms["day0"] + max(timing.estimation[1], timing.hull[1])
    for item in (item for item in found if item.witness or item.exact):
        begins, ends = panel.days.searchsorted(pd.DatetimeIndex([item.day, item.until or item.day]))
        there = (firms["firm"] == item.ticker) | (item.ticker in (benchmark, EVERY))
        if (there & (first <= ends) & (last >= begins)).any():
            raise InputError(f"{panel.where}: {item.line()}")
    return found


def write_battery(
    done: Battery, path: Path, files: Mapping[str, Any], asked: Mapping[str, object]
) -> None:
    """Write every number as JSON, whole or not at all, and of which files and choices it is."""
    places = {name: str(file).removeprefix("snapshot:") for name, file in files.items() if file}
    read = {name: existing(place) for name, place in places.items()}
    held = {name: {"name": path.name, "sha256": sha_of(path)} for name, path in read.items()}
    provenance = {"usjp_research": __version__, "files": held, **asked}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json_bytes({**done.as_dict(), "provenance": provenance}))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None


def battery_frame(tests: WindowTests) -> pd.DataFrame:
    """Tabulate one group's tests by what they survive: the believable first, or why not."""
    rows = []
    for key, test in tests.tests.items():
        role = TESTS[key].role or "robust"
        if CROSS not in test.robust_to:
            role = "foil" if tests.shared else "assumes"
        law = f"not computed: {test.reason}" if test.reason else test.law
        numbers = number(test.statistic, 2), law, p_value(test.p)
        rows.append((ROLES[role], key, *numbers, ", ".join(test.robust_to) or "nothing"))
    order = list(ROLES.values()).index
    frame = pd.DataFrame(rows, columns=["Role", "Test", "Statistic", "Law", "p", "Survives"])
    return frame.sort_values("Role", key=lambda roles: roles.map(order), kind="stable")


def print_battery(done: Battery, say: Callable[[str], None], *, everything: bool) -> None:
    """Print a line per group and window, then what was left out, or ``everything``."""
    heads = [key for key in believable_first(TESTS) if TESTS[key].role == "headline"]
    rows = [("Group", "Window", "CAAR", "Firms", "Effective", *(f"p {key}" for key in heads))]
    reasons: list[str] = []
    for group, windows in done.groups.items():
        for label, tests in windows.items():
            n, caar, alike = (tests.numbers.get(key) for key in ("n", "caar", "n_eff"))
            ps = (p_value(tests.tests[k].p) if k in tests.tests else DASH for k in heads)
            rows.append((group, label, percent(caar, 2), number(n, 0), number(alike, 1), *ps))
            own = {key: tests.reasons[key] for key in heads if key in tests.reasons}
            own |= {} if tests.tests else {f"{group} {label}": tests.reasons["n"]}
            reasons += [f"{key}: not computed, {why}" for key, why in own.items()]
    for line in columns(rows, "wlrrr" + "r" * len(heads)):
        say(line)
    for reason in dict.fromkeys(reasons):
        say(reason)
    say("Effective: so many firms if none moved with another. --all prints every test.")
    if everything:
        _print_all(done, say)
    if done.dropped:
        say(f"\n{len(done.dropped)} left out:")
        for item in done.dropped[:20]:
            say(f"  {item.what} {item.name}: {item.reason}")
        if len(done.dropped) > 20:
            say("  ... all of them in the JSON file (--json FILE)")


def _print_all(done: Battery, say: Callable[[str], None]) -> None:
    """Print every test of every group and window, grouped by robustness."""
    for group, windows in done.groups.items():
        for label, tests in windows.items():
            say(f"\n{group} {label}: {_summary(tests)}")
            for note in tests.notes:
                say(f"  note: {note}")
            for role, part in battery_frame(tests).groupby("Role", sort=False):
                say(f"  {role}")
                for _, test, statistic, law, p, survives in part.astype(str).to_numpy().tolist():
                    marks = "".join(MARKS[word] for word in survives.split(", "))
                    numbers = f"{statistic:>8} {p:>6}  {marks:<4}" if p != DASH else ""
                    say(f"    {test:<17}{numbers} {law}")
    say(f"\n{PHRASES['battery columns'].rstrip()}")


def _summary(tests: WindowTests) -> str:
    numbers = tests.numbers
    if not tests.tests:
        return phrase("battery few", numbers, why=tests.reasons["n"])
    rbar = "none" if math.isnan(numbers["rbar"]) else numbers["rbar"]
    return phrase("battery", {**numbers, "rbar": rbar})
