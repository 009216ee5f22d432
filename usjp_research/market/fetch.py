"""Prices and factors from a server: one register of sources, each checked for what it sent."""

from __future__ import annotations

import hashlib
import http.client
import io
import logging
import re
import time
import urllib.error
import urllib.request
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import exchange_calendars
import numpy as np
import pandas as pd

from usjp_research.market.columns import ordered_days, plain, read_numbers
from usjp_research.market.factors import FACTOR_NAMES, NEEDED, french_cells, in_decimals
from usjp_research.market.record import Dropped
from usjp_research.words import InputError

Got = TypeVar("Got")
WAITS = (2, 10, 30, 60)  # seconds before a server that is busy is asked again
KEPT = f"after {len(WAITS) + 1} tries; what came is kept: give the same command later"
ALONE = "no connection ({}); see that you are online, and give the same command again"


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted: names that the source knows, and days from the first to the last."""

    names: tuple[str, ...]
    start: date
    end: date
    folder: Path  # where parts stay until all of it is there
    said: Callable[[str, float], None] = lambda text, share: None  # what came, how much is done


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came: every name is a series of the frame, or in the list with its reason."""

    frame: pd.DataFrame  # days by (field, ticker) for prices, by factor for factors, as decimals
    dropped: tuple[Dropped, ...]
    provenance: Mapping[str, object]

    @property
    def coverage(self) -> dict[str, tuple[str, str, int]]:
        """First day, last day and number of days of every series."""
        table = self.frame["adj_close"] if self.frame.columns.nlevels == 2 else self.frame
        days = {str(name): column.dropna().index for name, column in table.items()}
        return {k: (f"{d[0]:%F}", f"{d[-1]:%F}", len(d)) for k, d in days.items()}


class Source(NamedTuple):
    """A place that has data: how it is asked, what it holds, and on which terms."""

    fetch: Callable[[Request], Fetched]
    holds: str  # prices or factors
    terms: str


class BusyError(Exception):
    """A server asks to wait, or does not answer in time."""


def _patiently(ask: Callable[[], Got], who: str) -> Got:
    """Ask, and again after a while as long as the server is busy."""
    waits = iter(WAITS)
    while True:
        try:
            return ask()
        except BusyError as error:
            if not (wait := next(waits, 0)):
                raise InputError(f"{who}: {error}, {KEPT}") from None
            time.sleep(wait)


FIELDS = {"Open": "open", "Close": "close", "Adj Close": "adj_close", "Volume": "volume"}
CLOSES = ["close", "adj_close"]
BATCH = 40  # tickers at a time
PAUSE = 1.0  # seconds between batches
SYMBOL = re.compile(r"[A-Za-z0-9^][\w.^=-]{0,19}", re.ASCII)
SHARES = re.compile(r"\.([AB])$")  # BRK.B is BRK-B there
BUSY = re.compile(r"too many|rate.?limit|timed? ?out|curl: ", re.I)
CUT_OFF = re.compile(r"curl: \([5-7]\)(?:[^.']*[\w.]*\w)?")  # no such host, or no connection to it
SETTLED = timedelta(hours=1)  # after the close a session's prices are final


def now() -> datetime:
    """Return the instant that is."""
    return datetime.now(UTC)


def download(tickers: Sequence[str], start: date, end: date) -> pd.DataFrame | None:
    """Ask Yahoo through yfinance for daily prices before ``end``."""
    try:
        import yfinance
    except ImportError:
        need = "needs yfinance, which does not come along: pip install 'yfinance>=1.7'"
        raise InputError(f"--source yahoo {need}") from None
    yfinance.config.network.retries = 2
    yfinance.config.debug.hide_exceptions = False
    how = {"auto_adjust": False, "repair": False, "progress": False, "threads": 4, "timeout": 20}
    log, heard = logging.getLogger("yfinance"), io.StringIO()
    handler, log.propagate = logging.StreamHandler(heard), False
    log.addHandler(handler)
    try:
        with warnings.catch_warnings(action="ignore"):
            frame = yfinance.download(list(tickers), start=start, end=end, **how)
    except OSError as error:
        raise BusyError(str(error)) from None
    finally:
        log.removeHandler(handler)
    # What failed is only told in the log, as "['A', 'B']: reason".
    failed = [line for line in heard.getvalue().splitlines() if line.startswith("[")]
    for told in filter(BUSY.search, failed):
        reason = told.partition("]: ")[2]
        cut_off = CUT_OFF.search(reason)
        raise InputError(f"Yahoo: {ALONE.format(cut_off[0])}") if cut_off else BusyError(reason)
    return frame  # type: ignore[no-any-return]


def yahoo(request: Request) -> Fetched:
    """Fetch open, close, adjusted close and volume of tickers."""
    known = [name for name in request.names if SYMBOL.fullmatch(name)]
    today = pd.Timestamp(min(request.end, now().date()))
    closes = exchange_calendars.get_calendar("XNYS", start=today - timedelta(20), end=today).closes
    last, notes = pd.Timestamp(closes.index[closes + SETTLED <= now()][-1]), dict[Dropped, None]()
    found, series = dict[str, pd.DataFrame](), dict[str, pd.DataFrame]()
    for _ in range(2):  # of a large batch Yahoo forgets some at random
        asked = [name for name in known if name not in found]
        for at in range(0, len(asked), BATCH):
            found |= _batch(asked[at : at + BATCH], request, last)
            share = min(at + BATCH, len(asked)) / len(asked)
            request.said(f"{len(found)} of {len(request.names)} tickers", share)
    for name, own in found.items():
        early = own.index > last
        prices = own[CLOSES].to_numpy()
        bad = ~early & ~((prices > 0) & np.isfinite(prices)).all(axis=1)
        reason = "not over, or not settled, when it was fetched"
        notes |= {Dropped("day", str(day.date()), reason): None for day in own.index[early]}
        if bad.any():
            reason = f"{bad.sum()} days without a positive price, the first {own.index[bad][0]:%F}"
            notes[Dropped("day", name, reason)] = None
        series |= {} if (early | bad).all() else {name: own[~(early | bad)]}
    none = f"no price at Yahoo from {request.start} to {request.end}"
    for name in request.names:
        if name not in series:
            reason = none if name in known else "no symbol that Yahoo could know"
            notes[Dropped("security", name, reason)] = None
    if not series:
        tickers = f"{len(request.names)} tickers, {request.names[0]} first"
        raise InputError(f"{none} for any of {tickers}")
    frame = pd.concat(series, axis=1, sort=True).swaplevel(axis=1).sort_index(axis=1)
    return Fetched(frame.rename_axis("date"), tuple(notes), {"address": "Yahoo Finance"})


def _batch(names: Sequence[str], request: Request, last: pd.Timestamp) -> dict[str, pd.DataFrame]:
    """Return what Yahoo has of a batch, from the part of an earlier try where there is one."""
    told = f"{last} {' '.join(names)}"  # a part from before the close lacks the day's last prices
    part = request.folder / f"{hashlib.sha256(told.encode()).hexdigest()[:16]}.parquet"
    if part.is_file():
        kept: Any = pd.read_parquet(part)
        return {name: kept.xs(name, axis=1).dropna(how="all") for name in names if name in kept}
    symbols = {name: SHARES.sub(r"-\1", name).upper() for name in names}
    time.sleep(PAUSE)
    end = request.end + timedelta(days=1)
    frame: Any = _patiently(lambda: download([*symbols.values()], request.start, end), "Yahoo")
    if frame is None or frame.empty:
        return {}
    if frame.columns.nlevels == 1 and len(names) == 1:
        frame = pd.concat({symbols[names[0]]: frame}, axis=1)
    levels = [{*frame.columns.get_level_values(k)} for k in range(frame.columns.nlevels)]
    fields = [level >= FIELDS.keys() for level in levels]
    if len(levels) != 2 or not any(fields):
        seen = ", ".join(map(str, frame.columns[:5]))
        raise InputError(f"Yahoo: seen columns {seen}, expected {', '.join(FIELDS)} by ticker")
    at = 1 - fields.index(True)  # the level of tickers
    days = pd.DatetimeIndex(frame.index)
    frame = frame.set_axis((days.tz_localize(None) if days.tz else days).normalize())
    frame = frame[~frame.index.duplicated()].sort_index().loc[str(request.start) : str(request.end)]
    found = {k: frame.xs(s, axis=1, level=at) for k, s in symbols.items() if s in levels[at]}
    found = {k: own.reindex(columns=[*FIELDS]).rename(columns=FIELDS) for k, own in found.items()}
    found = {k: own.dropna(how="all", subset=CLOSES).astype(float) for k, own in found.items()}
    if found := {name: own for name, own in found.items() if len(own)}:
        fresh = part.with_suffix(".new")
        pd.concat(found, axis=1, sort=True).to_parquet(fresh)
        fresh.replace(part)
    return found


FRENCH = "https://mba.tuck.dartmouth.edu/pages/faculty/ken.french/ftp/"
TABLES = {
    "ff3": "F-F_Research_Data_Factors_daily",
    "ff5": "F-F_Research_Data_5_Factors_2x3_daily",
    "momentum": "F-F_Momentum_Factor_daily",
}
REGION = re.compile("[A-Za-z]{2,20}(_[A-Za-z]{2,20}){0,3}")
REGIONAL = ("_5_Factors_Daily", "_Mom_Factor_Daily")
PACKED, UNPACKED = 10_000_000, 50_000_000  # bytes of an archive, and of the table in it
TIMEOUT, DEADLINE = 20.0, 120.0  # seconds without a byte, and for a whole file
MISSED = -99.0  # at or below: -99.99 and -999, his codes for a missing day


def french(request: Request) -> Fetched:
    """Fetch daily factors: ff3, ff5, momentum, and five factors and momentum of a region."""
    wanted, notes, groups = list[tuple[str, str]](), list[Dropped](), dict[str, pd.DataFrame]()
    for name in request.names:
        if name not in TABLES and not REGION.fullmatch(name):
            raise InputError(f"French: seen '{name}', expected {', '.join(TABLES)} or a region")
        regional = [(f"{name}_", name + form) for form in REGIONAL]
        wanted += [("", TABLES[name])] if name in TABLES else regional
    for at, (prefix, table) in enumerate(wanted, 1):
        try:
            own = _factors(table, request, notes)
            before = groups.get(prefix, own)
            groups[prefix] = before.join(own[own.columns.difference(before.columns)], how="outer")
        except InputError as error:
            notes.append(Dropped("table", table, str(error)))
        request.said(table, at / len(wanted))
    ready: dict[str, pd.Series] = {}
    for prefix, group in groups.items():
        if not {*NEEDED} <= {*group}:
            reason = f"{' and '.join(NEEDED)} did not come: ask for ff3 or ff5 too"
            notes += [Dropped("factor", f"{prefix}{name}", reason) for name in group]
            continue
        arrays = {str(name): column.to_numpy("float64") for name, column in group.items()}
        decimals = in_decimals(arrays, "percent", f"French: {prefix}factors")
        ready |= {prefix + k: pd.Series(v, index=group.index) for k, v in decimals.items()}
    if not ready:
        raise InputError(f"French: nothing came: {notes[0].name}: {notes[0].reason}")
    frame = pd.DataFrame(ready).sort_index().rename_axis("date")
    return Fetched(frame, tuple(notes), {"address": FRENCH})


def _factors(table: str, request: Request, notes: list[Dropped]) -> pd.DataFrame:
    """Return one of his tables in percent, under our names, on the days asked for."""
    path = request.folder / f"{table}.csv"
    if not path.is_file():
        fresh, address = path.with_suffix(".new"), f"{FRENCH}{table}_CSV.zip"
        fresh.write_bytes(_unzipped(_patiently(lambda: _got(address), "French")))
        _table(fresh)  # what cannot be read is not kept
        fresh.replace(path)
    frame = _table(path).loc[str(request.start) : str(request.end)]
    missed = frame <= MISSED
    for name, count in missed.sum().items():
        if count:
            reason = f"{count} of {len(frame)} days are coded as missing (-99.99 or -999)"
            notes.append(Dropped("factor", f"{name} of {table}", reason))
    frame = frame.mask(missed).dropna(axis=1, how="all")
    if frame.empty:
        raise InputError(f"no day from {request.start} to {request.end}")
    called = {word: key for key, words in FACTOR_NAMES.items() for word in words}
    called["smb"] = "smb5" if "_5_" in table else "smb3"
    return frame.rename(columns=lambda name: called.get(plain(name), str(name)))


def _table(path: Path) -> pd.DataFrame:
    cells = french_cells(path)
    if cells is None:
        raise InputError("no table of daily factors is in it")
    days, _ = ordered_days(path, cells.frame, "date")
    rest = cells.frame.drop(columns="date")
    return rest.apply(lambda column: read_numbers(path, column, str(column.name))).set_axis(days)


def _got(address: str) -> bytes:
    """Return a file of a server, within bounds of size and time."""
    asked = urllib.request.Request(address, headers={"User-Agent": "usjp-research"})
    until, data = time.monotonic() + DEADLINE, b""
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT) as answer:
            while more := answer.read1(2**16):
                data += more
                if len(data) > PACKED:
                    raise InputError(f"more than {PACKED / 1e6:.0f} MB at {address}")
                if time.monotonic() > until:
                    raise BusyError(f"not whole within {DEADLINE:.0f} s")
            size = str(answer.headers.get("Content-Length"))
            if size.isdecimal() and len(data) < int(size):
                raise BusyError("the answer broke off")
    except urllib.error.HTTPError as error:
        if error.code == 429 or error.code >= 500:
            raise BusyError(f"the server says {error.code} {error.reason}") from None
        raise InputError(f"the server says {error.code} {error.reason} to {address}") from None
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "reason", error)
        if isinstance(error, urllib.error.URLError) and not isinstance(why, TimeoutError):
            raise InputError(ALONE.format(f"{why}: {address}")) from None
        raise BusyError(f"no answer ({why})") from None
    return data


def _unzipped(data: bytes) -> bytes:
    """Return the one table of an archive, within bounds; the name it has there is not used."""
    if not data.startswith(b"PK"):
        what = "a web page" if data.lstrip()[:1] == b"<" else "something else"
        raise InputError(f"the server sent {what} and no zip archive")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            (member,) = packed.infolist()
            with packed.open(member) as file:
                text = file.read(UNPACKED + 1)
    except Exception as error:  # a damaged archive fails in any of a dozen ways
        raise InputError(f"the archive is damaged, or holds not one file ({error})") from None
    if len(text) > UNPACKED:
        raise InputError(f"more than {UNPACKED / 1e6:.0f} MB when unpacked")
    return text


PERSONAL = "Yahoo's data are for personal use: do not pass them on; see its terms"
CITED = "copyright Eugene F. Fama and Kenneth R. French: cite their library"
SOURCES = {"yahoo": Source(yahoo, "prices", PERSONAL), "french": Source(french, "factors", CITED)}
