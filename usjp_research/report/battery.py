"""What ``usjp battery`` does: read the files, run the battery, print it or write it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console

from usjp_research.engine.battery.run import Battery, run_battery
from usjp_research.engine.battery.window import WindowTests
from usjp_research.market.factors import read_factors
from usjp_research.market.panels import open_returns, read_event_dates, read_groups
from usjp_research.runs.store import write_whole
from usjp_research.words import DASH, InputError, number, p_value, percent

MARKS = {
    "cross-correlation": "C",
    "event-induced variance": "V",
    "non-normality": "N",
    "nothing": "-",
}
ROLES = {
    "headline": "headline",
    "check": "cross-check",
    "robust": "survives cross-correlation",
    "assumes": "assumes independent firms",
    "foil": "assumes independent firms: not to be believed here",
}


def days_of(text: str, name: str) -> tuple[int, int]:
    """Read a pair of days such as ``-1,1``.

    Raises
    ------
    InputError

    Examples
    --------
    >>> days_of("-260,-11", "estimation")
    (-260, -11)
    """
    found = re.fullmatch(r"\s*\[?\s*([+-]?\d{1,6})\s*[,;:]\s*([+-]?\d{1,6})\s*\]?\s*", text)
    if not found:
        raise InputError(
            f"--{name} '{text}': expected two whole numbers, days from the event, such as -1,1"
        )
    return int(found[1]), int(found[2])


def battery_from_files(
    returns: Path,
    groups: Path,
    *,
    event: str | None,
    events: Path | None,
    benchmark: str | None,
    model: str,
    estimation: str,
    windows: Sequence[str],
    factors: Path | None,
    factor_units: str,
) -> Battery:
    """Run the battery on files; the options are those of the command.

    Raises
    ------
    InputError
    """
    span = days_of(estimation, "estimation")
    wanted = [days_of(text, "window") for text in windows]
    return run_battery(
        open_returns(returns),
        read_groups(groups),
        event=event,
        events=None if events is None else read_event_dates(events),
        benchmark=benchmark,
        model=model,
        estimation=span,
        windows=wanted,
        factors=None if factors is None else read_factors(factors),
        factor_units=factor_units,
    )


def write_battery(done: Battery, path: Path) -> None:
    """Write every number as JSON, whole or not at all."""
    text = json.dumps(done.as_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None


def battery_frame(tests: WindowTests) -> pd.DataFrame:
    """Tabulate one group's tests by what they survive: the believable first.

    Parameters
    ----------
    tests : WindowTests

    Returns
    -------
    DataFrame
        Columns Role, Test, Statistic, Law, p, Survives; a test without a number has its reason
        in the column Law.
    """
    rows = []
    for key, test in tests.tests.items():
        if key in tests.headline:
            role = "headline"
        elif key in tests.cross_checks:
            role = "check"
        elif "cross-correlation" in test.robust_to:
            role = "robust"
        else:
            role = "foil" if tests.foils else "assumes"
        rows.append(
            {
                "Role": ROLES[role],
                "Test": key,
                "Statistic": DASH if test.reason else number(test.statistic, 2),
                "Law": f"not computed: {test.reason}" if test.reason else test.law,
                "p": DASH if test.reason else p_value(test.p),
                "Survives": ", ".join(test.robust_to) or "nothing",
            }
        )
    order = {text: place for place, text in enumerate(ROLES.values())}
    frame = pd.DataFrame(rows, columns=["Role", "Test", "Statistic", "Law", "p", "Survives"])
    return frame.sort_values("Role", key=lambda roles: roles.map(order), kind="stable")


def print_battery(done: Battery, console: Console) -> None:
    """Print every group and window, tests grouped by robustness, and what was left out."""

    def say(text: str = "") -> None:
        console.print(text, markup=False, soft_wrap=True)

    for group, windows in done.groups.items():
        for label, tests in windows.items():
            say(f"\n{group} {label}: {' '.join(_summary(tests))}")
            for note in tests.notes:
                say(f"  note: {note}")
            for role, part in battery_frame(tests).groupby("Role", sort=False):
                say(f"  {role}")
                for _, test, statistic, law, p, survives in part.astype(str).to_numpy().tolist():
                    marks = "".join(MARKS[word] for word in survives.split(", "))
                    numbers = f"{statistic:>8} {p:>6}  {marks:<4}" if p != DASH else ""
                    say(f"    {test:<17}{numbers} {law}")
    say("\nColumns: test, statistic, p, what it survives, law. C cross-correlation,")
    say("V event-induced variance, N non-normality. docs/tests.md says when to trust each test.")
    if done.dropped:
        say(f"\n{len(done.dropped)} left out:")
        for item in done.dropped[:20]:
            where = " ".join(filter(None, (item.firm, item.date, item.window)))
            say(f"  {where}: {item.reason}")
        if len(done.dropped) > 20:
            say("  ... all of them in the JSON file (--json FILE)")


def _summary(tests: WindowTests) -> Iterator[str]:
    numbers = tests.numbers
    yield f"n = {numbers['n']:.0f}"
    if not tests.tests:
        yield f"({tests.reasons['n']})"
        return
    yield f"({numbers['n_pos']:.0f} positive), CAAR {percent(numbers['caar'], 2)},"
    yield f"BHAR {percent(numbers['bhar'], 2)},"
    yield f"share of positive residuals {number(numbers['p_hat'], 2)},"
    rbar = "none" if math.isnan(numbers["rbar"]) else number(numbers["rbar"], 3)
    yield f"r-bar {rbar}, effective firms {number(numbers['n_eff'], 1)}"
