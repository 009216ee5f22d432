"""What moved overnight and what in the session, where opening prices are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from usjp_research.market.columns import plain
from usjp_research.market.files import existing
from usjp_research.market.record import BENCHMARK, Market
from usjp_research.market.table import Columns, Table, open_columns, read_table, returns_of
from usjp_research.market.units import refuse_other_day
from usjp_research.spec.records import Spec, sha_of
from usjp_research.words import InputError

OVERNIGHT, SESSION = "overnight", "session"  # from close to open, and from open to close
NAMES = {"overnight": OVERNIGHT, "intraday": SESSION, "session": SESSION}


def opened(read: Table, market: Market, spec: Spec) -> Market:
    """Add what a file of prices says of openings; the same market where it says nothing.

    The session's return is raw close over raw open; what is left of the market's own return of
    the day, dividends and splits included, came overnight.
    """
    close = read.close if read.close is not None else read.levels
    if read.opening is None or close is None:
        return market
    session = close / read.opening - 1
    held = market.returns.drop(columns=BENCHMARK)
    day = read.returns.drop(columns=held, errors="ignore").join(held)
    overnight = (1 + day) / (1 + session) - 1
    return _with(market, spec, {OVERNIGHT: overnight, SESSION: session})


def load_openings(spec: Spec, market: Market, source: str | None) -> Market:
    """Add the openings of a file to a market of single firms; nothing without a file.

    It is a long table: date, ticker, ``overnight`` and ``intraday`` returns as decimals, or prices
    with ``open`` and ``close``. InputError without them, or where the market has no single firms.
    """
    if not source:
        return market
    if market.level != "firm":
        raise InputError(f"openings '{source}': the market '{market.name}' has no single firms")
    path = existing(source)
    file = open_columns(path)
    told = {"openings": path.name, "openings_sha256": sha_of(path)}
    market = replace(market, provenance={**market.provenance, **told})
    if tables := parts_of_day(file):
        made = _with(market, spec, tables)
    else:
        read = None if file.wide else read_table(file, "auto")
        if read is None or read.opening is None:
            expected = "date, ticker, overnight and intraday, or prices with open and close"
            raise InputError(f"{path}: row 1: no openings: expected {expected}")
        made = opened(read, market, spec)
    session = made.openings[SESSION].drop(columns=BENCHMARK)
    day = market.returns.reindex_like(session).where(session.notna()).mean(axis=1)
    where, do = f"{path}: the firms' mean return in the session", "give openings of the same days"
    # Not with the benchmark: a fund that bets on a fall goes against it, and so does its session.
    refuse_other_day(where, session.mean(axis=1), day, do, "that of their whole days")
    return made


def parts_of_day(file: Columns) -> dict[str, pd.DataFrame]:
    """Read the returns overnight and in the session of a table; nothing without both."""
    columns: dict[str, list[str]] = {}
    for name, (field, _) in file.pairs.items():
        if part := NAMES.get(plain(field)):
            columns.setdefault(part, []).append(name)
    if len(columns) < len({OVERNIGHT, SESSION}):
        return {}
    return {part: returns_of(file, names) for part, names in columns.items()}


def _with(market: Market, spec: Spec, tables: Mapping[str, pd.DataFrame]) -> Market:
    found = {}
    for part, table in tables.items():
        own = table.reindex(market.dates)
        funds = [name for name in spec.rule.benchmark if name in own]
        first = own[BENCHMARK] if BENCHMARK in own else own[funds].mean(axis=1)
        found[part] = own.reindex(columns=market.returns.columns).assign(**{BENCHMARK: first})
    return replace(market, openings=found)
