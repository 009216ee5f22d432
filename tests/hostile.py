"""Mutated inputs by seed, and a process of their own that reads them within bounds.

A mutation either must not matter (``same``), may only take numbers away (``fewer``), may change
one column (``column:NAME``) or the last day (``last``), or may mean anything (``any``).
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import pickle
import random
import re
import resource
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from datetime import time as time_of_day
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

DAYS = pd.bdate_range("2025-02-18", periods=40)  # no holiday among them
NAMES = ("us_market", "AAA", "BBB", "CCC")
MEMORY, SECONDS = 1_000_000_000, 5.0
SEED = 20250218
SOME = ("", " ", "nan", "-1", "0", "1e999", "1,5", "1.234,5", "é", "\x00", '"', "=1+1", "9" * 400)
MORE = ("inf", "TRUE", "2025-01-01", "\u202e", "1e-320", "0x10", "١٢", "1_000", "--5")
ODD = (*SOME, *MORE)
STUDY = """market: simulated
window: [-1, 1]
estimation:
  sessions: 250
  minimum: 200
alpha: 0.10
least_firms: 3
blackout: {margin: 2, kinds: [results, merger]}
"""
THESIS = """valued_on: 2025-03-12
values_as_of: 2025-03-12
margin: {low: 0.04, base: 0.08, high: 0.12}
tax: 0.21
discount_rate: 0.08
years_to_cash: 5
realised: {approved: 1.0}
lines:
  - {id: A1, sector: solar, title: t, amount_usd_bn: 100, basis: b,
     realised: approved, firms: {AAA: 0.5}, source: s}
"""
PARAMS = {
    "universe.csv": "ticker,name,sector,market_value_usd_bn\n"
    + "".join(f"{t},Firm {t},solar,{10 + k}\n" for k, t in enumerate(NAMES[1:])),
    "events.csv": "id,announced,zone,role,title,solar\n"
    "E1,2025-03-13 12:00,America/New_York,primary,first,+\n"
    "E2,2025-03-20,America/New_York,secondary,second,-\n",
    "own_news.csv": "ticker,session,kind,source\n"
    "AAA,2025-03-10,results,a\nBBB,2025-03-11,other,b\n",
    "study.yaml": STUDY,
    "thesis.yaml": THESIS,
    "words.yaml": "question: What now?\nlead: >-\n  Two\n  lines.\ncaveats: {solar: sunny}\n",
}


class Case(NamedTuple):
    """One mutated file: what it was, what was done to it, and what may follow."""

    kind: str
    done: str
    may: str
    name: str
    content: bytes


# --- what is mutated ---------------------------------------------------------------------------


def prices() -> pd.DataFrame:
    """Forty days of prices of a benchmark and three firms."""
    draw = np.random.default_rng(3)
    moves = 1 + 0.02 * draw.standard_normal((len(DAYS), len(NAMES)))
    index = pd.DatetimeIndex(DAYS, name="date")
    return pd.DataFrame(100 * moves.cumprod(axis=0), index, list(NAMES))


def _rows(long: bool) -> list[list[str]]:
    frame = prices()
    if not long:
        cells = [
            [str(day.date()), *map(repr, map(float, row))]
            for day, row in zip(frame.index, frame.to_numpy(), strict=True)
        ]
        return [["date", *NAMES], *cells]
    table = [
        [str(day.date()), name, repr(float(frame.loc[day, name]))]
        for day in frame.index
        for name in NAMES
    ]
    return [["date", "ticker", "adj_close"], *table]


def _csv(
    rows: list[list[str]], *, mark: str = ",", end: str = "\n", quoting: int = csv.QUOTE_MINIMAL
) -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=mark, lineterminator=end, quoting=quoting).writerows(rows)  # type: ignore[arg-type]
    return out.getvalue()


def _harm(draw: random.Random, data: bytes) -> tuple[str, bytes]:
    """Damage bytes in one of the ways in which files are damaged."""
    at, length = draw.randrange(len(data)), draw.randrange(1, 40)
    how = draw.choice(["flip", "cut out", "repeat", "insert", "swap", "zero"])
    part = data[at : at + length]
    if how == "flip":
        changed = data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :]
    elif how == "cut out":
        changed = data[:at] + data[at + length :]
    elif how == "repeat":
        changed = data[:at] + part * draw.randrange(2, 60) + data[at:]
    elif how == "insert":
        changed = data[:at] + draw.randbytes(length) + data[at:]
    elif how == "swap":
        changed = data[:at] + part[::-1] + data[at + length :]
    else:
        changed = data[:at] + b"\0" * len(part) + data[at + length :]
    return f"bytes: {how}", changed


# --- text tables -------------------------------------------------------------------------------


def _harmless(draw: random.Random, rows: list[list[str]]) -> tuple[str, bytes]:
    """Write a table in another way that means the same."""
    how = draw.choice(["crlf", "bom", "quotes", "columns", "blanks", "lines", "newest first"])
    if how == "columns":
        order = draw.sample(range(len(rows[0])), len(rows[0]))
        rows = [[row[k] for k in order] for row in rows]
    if how == "newest first":
        rows = [rows[0], *rows[:0:-1]]
    if how == "blanks":
        rows = [[cell + " " * draw.randrange(3) for cell in row] for row in rows]
    text = _csv(
        rows,
        end="\r\n" if how == "crlf" else "\n",
        quoting=csv.QUOTE_ALL if how == "quotes" else csv.QUOTE_MINIMAL,
    )
    text = text + "\n\n" if how == "lines" else text
    return how, ("\ufeff" * (how == "bom") + text).encode()


def _table(draw: random.Random, rows: list[list[str]]) -> tuple[str, str, bytes]:
    """Change cells, rows or columns of a table: what was done, what may follow, and the rows."""
    rows = [[*row] for row in rows]
    at, column = draw.randrange(1, len(rows)), draw.randrange(len(rows[0]))
    how = draw.choice(["cell", "blank", "no row", "row twice", "shuffle", "no column", "cells"])
    may = "fewer"
    if how == "cell":
        rows[at][column], may = draw.choice(ODD), "any"
        if rows[0][column] in NAMES:
            may = f"column:{rows[0][column]}"
    elif how == "blank":
        rows[at][column] = ""
    elif how == "no row":
        del rows[at]
    elif how == "row twice":
        rows.insert(draw.randrange(1, len(rows)), [*rows[at]])
    elif how == "shuffle":
        body, may = rows[1:], "same"
        draw.shuffle(body)
        rows = [rows[0], *body]
    elif how == "no column":
        rows = [[cell for k, cell in enumerate(row) if k != column] for row in rows]
    else:
        rows[at], may = rows[at] + [draw.choice(ODD)] * draw.randrange(1, 4), "fewer"
    return how, may, _csv(rows).encode()


def csv_case(draw: random.Random, number: int) -> Case:
    """Mutate a CSV of prices, wide or long."""
    long = bool(number % 2)
    rows, kind = _rows(long), f"CSV {'long' if long else 'wide'}"
    name, choice = "p.csv", draw.randrange(10)
    plain = _csv(rows).encode()
    if choice < 3:
        done, content = _harmless(draw, rows)
        return Case(kind, done, "same", name, content)
    if choice == 3:
        done = draw.choice(["tabs", "semicolons", "gzip", "utf-16"])
        content = {
            "tabs": _csv(rows, mark="\t").encode(),
            "semicolons": _csv(rows, mark=";").encode(),
            "gzip": gzip.compress(plain, mtime=0),
            "utf-16": _csv(rows).encode("utf-16"),
        }[done]
        return Case(kind, done, "same", name, content)
    if choice < 7:
        done, may, content = _table(draw, rows)
        return Case(kind, done, may, name, content)
    if choice == 7:
        return Case(kind, "cut short", "last", name, plain[: draw.randrange(len(plain))])
    if choice == 8:
        packed = gzip.compress(plain, mtime=0)
        done, content = _harm(draw, packed)
        return Case(kind, f"gzip, {done}", "same", name, content)
    done, content = _harm(draw, plain)
    return Case(kind, done, "any", name, content)


# --- Parquet -----------------------------------------------------------------------------------


def parquet_case(draw: random.Random, number: int) -> Case:
    """Mutate a Parquet file of prices, with checksums of its pages."""
    frame, may, done = prices().reset_index(), "same", "as it is"
    if number % 2:
        frame = frame.melt("date", var_name="ticker", value_name="adj_close")
    choice = draw.randrange(8)
    column = draw.choice(NAMES)
    if choice == 0:
        done, frame = "columns", frame[draw.sample(list(frame), len(frame.columns))]
    elif choice == 1:
        done, frame = "shuffle", frame.sample(frac=1, random_state=number)
    elif choice == 2:
        done, may, frame = "no rows", "fewer", frame.drop(index=draw.sample(range(len(frame)), 3))
    elif choice == 3:
        wide = prices().reset_index()
        columns: dict[str, Any] = {
            "bytes": [b"\x80\x04."] * 40,
            "lists": [[1.0, 2.0]] * 40,
            "bools": [True] * 40,
            "text": [draw.choice(ODD).replace("\x00", "") for _ in range(40)],
            "nested": [{"a": 1.0}] * 40,
            "whole": [10**18] * 40,
            "days": list(DAYS),
            "time": [time_of_day(9, 30)] * 40,
            "gaps": [timedelta(1)] * 40,
            "money": [Decimal("1.5")] * 40,
            "codes": pd.Categorical([1, 2] * 20),
            "half": np.arange(1, 41, dtype="float16"),
            "empty": [None] * 40,
        }
        kind = draw.choice(sorted(columns))
        frame = wide.assign(**{column: columns[kind]})
        done, may = f"column of {kind}", f"column:{column}"
    out = io.BytesIO()
    frame.to_parquet(
        out,
        index=False,
        write_page_checksum=True,
        compression=draw.choice(["snappy", "gzip", "zstd", None]),
    )
    content = out.getvalue()
    if choice == 4:
        done, content = "cut short", content[: draw.randrange(len(content))]
    elif choice > 4:
        done, content = _harm(draw, content)
        # A name in the footer may be another name then: what stands below it is not another number.
        may = "names"
    return Case("Parquet", done, may, draw.choice(["p.parquet", "p.csv"]), content)


# --- Excel -------------------------------------------------------------------------------------

ENTITIES = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "aaaaaaaaaa">'
    + "".join(f'<!ENTITY a{k} "{f"&a{k - 1};" * 10}">' for k in range(1, 9))
    + ']><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
    '<row r="1"><c r="A1" t="str"><v>&a8;</v></c></row></sheetData></worksheet>'
)
STRANGE = ("../../evil.txt", "/etc/evil", "..\\evil.txt", "C:\\evil.txt", "xl/../../../evil")


def excel_case(draw: random.Random, number: int) -> Case:
    """Mutate a workbook: its bytes, its parts, or what stands in its cells."""
    rows: list[list[object]] = [["date", *NAMES]]
    rows += [
        [day.to_pydatetime(), *map(float, r)]
        for day, r in zip(prices().index, prices().to_numpy(), strict=True)
    ]
    choice, done, may = draw.randrange(8), "as it is", "same"
    at, column = draw.randrange(1, len(rows)), draw.randrange(1, len(rows[0]))
    if choice == 0:
        done, may = "cell", f"column:{NAMES[column - 1]}"
        rows[at][column] = draw.choice([*[x.replace("\x00", "") for x in ODD], 1e300, True, 10**17])
    elif choice == 1:
        done, rows = "newest first", [rows[0], *rows[:0:-1]]
    elif choice == 2:
        done, may = "no row", "fewer"
        del rows[at]
    content = _workbook(rows)
    if choice == 3:
        done, content = "cut short", content[: draw.randrange(len(content))]
    elif choice in (4, 5):
        done, content = _harm(draw, content)
    elif choice > 5:
        done, content = _parts(draw, content)
        may = "refused" if done.startswith(("path", "entities", "twice")) else "any"
    return Case("Excel", done, may, draw.choice(["p.xlsx", "p.csv"]), content)


def _workbook(rows: list[list[object]]) -> bytes:
    import openpyxl

    book, out = openpyxl.Workbook(write_only=True), io.BytesIO()
    sheet = book.create_sheet("prices")
    for row in rows:
        sheet.append(row)
    book.save(out)
    with zipfile.ZipFile(out) as packed:
        parts = [(name, packed.read(name)) for name in packed.namelist()]
    return _zipped(
        (name, re.sub(rb"2\d{3}-\d\d-\d\dT[\d:]+Z", b"2025-01-01T00:00:00Z", part))
        for name, part in parts
    )


def _zipped(parts: Iterable[tuple[str, bytes]]) -> bytes:
    """Pack parts under their names as they are, whatever a system would make of them, undated."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in parts:
            info = zipfile.ZipInfo(name)
            info.filename = name
            packed.writestr(info, data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _parts(draw: random.Random, content: bytes) -> tuple[str, bytes]:
    """Change the parts of a workbook, whose zip stays whole."""
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        parts = [(name, packed.read(name)) for name in packed.namelist()]
    how = draw.choice(["path", "entities", "twice", "no part", "part", "pickle"])
    at = draw.randrange(len(parts))
    name, text = parts[at]
    sheet = next(k for k, (n, _) in enumerate(parts) if n.startswith("xl/worksheets/"))
    if how == "path":
        parts.append((draw.choice(STRANGE), b"evil"))
    elif how == "entities":
        parts[sheet] = (parts[sheet][0], ENTITIES.encode())
    elif how == "twice":
        parts.append(parts[sheet])
    elif how == "no part":
        del parts[at]
    elif how == "part":
        parts[at] = (name, _harm(draw, text)[1] if text else b"x")
    else:
        parts.append(("xl/evil.pkl", pickle.dumps({"a": 1})))
    return f"{how}: {name}" if how in ("no part", "part") else how, _zipped(parts)


# --- parameters --------------------------------------------------------------------------------

SOME_YAML = (
    "!!python/object/apply:os.system [x]",
    "&a [*a]",
    "*a",
    "[" * 50,
    "{a: " * 30,
    "~",
    "|",
)
MORE_YAML = (
    "- x",
    "\t",
    "? x",
    "!!binary aGk=",
    "<<: {a: 1}",
    "9" * 5000,
    "0o17",
    "2025-02-30",
    "%",
)
YAML_ODD = (*SOME_YAML, *MORE_YAML)


def yaml_case(draw: random.Random, number: int) -> Case:
    """Mutate one of the YAML files of a study."""
    name = ("study.yaml", "thesis.yaml", "words.yaml")[number % 3]
    text, choice = PARAMS[name], draw.randrange(6)
    if choice < 2:
        how = draw.choice(["crlf", "bom", "blanks", "comments", "keys", "end"])
        if how == "keys":
            keys = re.split(r"^(?=\w)", text, flags=re.M)[1:]
            text = "".join(draw.sample(keys, len(keys)))
        changed = {
            "crlf": text.replace("\n", "\r\n"),
            "bom": "\ufeff" + text,
            "blanks": text.replace("\n", "  \n") if "lead" not in text else text,
            "comments": "# why\n" + text + "# end\n",
            "keys": text,
            "end": text.rstrip("\n"),
        }[how]
        return Case("YAML", how, "same", name, changed.encode())
    if choice < 4:
        lines = text.splitlines()
        at = draw.randrange(len(lines))
        how = draw.choice(["value", "indent", "line twice", "no line"])
        if how == "value":
            lines[at] = lines[at].partition(":")[0] + ": " + draw.choice((*ODD, *YAML_ODD))
        elif how == "indent":
            lines[at] = " " * draw.randrange(1, 5) + lines[at]
        elif how == "line twice":
            lines.insert(at, lines[at])
        else:
            del lines[at]
        return Case("YAML", how, "any", name, "\n".join(lines).encode("utf-8", "surrogatepass"))
    done, content = _harm(draw, text.encode())
    return Case("YAML", done, "any", name, content)


def params_case(draw: random.Random, number: int) -> Case:
    """Mutate one of the CSV files of a study."""
    name = ("universe.csv", "events.csv", "own_news.csv")[number % 3]
    rows, choice = [*csv.reader(io.StringIO(PARAMS[name]))], draw.randrange(4)
    if choice < 2:
        how = "newest first"
        while how == "newest first":  # the order of firms is that of the sectors
            how, content = _harmless(draw, rows)
        return Case("CSV of parameters", how, "same", name, content)
    if choice == 2:
        how, _, content = _table(draw, rows)
        return Case("CSV of parameters", how, "any", name, content)
    done, content = _harm(draw, PARAMS[name].encode())
    return Case("CSV of parameters", done, "any", name, content)


KINDS: dict[Callable[[random.Random, int], Case], int] = {
    **{csv_case: 400, parquet_case: 250, excel_case: 250, yaml_case: 200, params_case: 150},
}


def cases(share: float, seed: int = SEED) -> Iterator[Case]:
    """Yield a share of the mutations of every kind; the same ones for the same seed."""
    for make, count in KINDS.items():
        for number in range(max(1, round(share * count))):
            yield make(random.Random(f"{seed} {make.__name__} {number}"), number)


# --- a process that reads them -----------------------------------------------------------------


class Outcome(NamedTuple):
    """What became of a case: ``answered``, ``refused`` or a fault, and a line about it."""

    case: Case
    what: str
    told: str


def judge(folder: Path, share: float, seed: int = SEED) -> list[Outcome]:
    """Read cases in a process of its own, started again when a case ends or stops it."""
    asked, found = [*cases(share, seed)], list[Outcome]()
    plain = folder / "params"
    _write_params(plain)
    base = folder / "base.csv"
    base.write_text(_csv(_rows(long=False)))
    for number, case in enumerate(asked):
        place = folder / f"{number}"
        place.mkdir()
        if case.name in PARAMS:
            _write_params(place)
        (place / case.name).write_bytes(case.content)
    while len(found) < len(asked):
        left = asked[len(found) :]
        work = [[str(folder / f"{len(found) + k}"), c.name, c.may] for k, c in enumerate(left)]
        found += _read_all(folder, work, left)
    return found


def _write_params(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in PARAMS.items():
        (folder / name).write_text(text, encoding="utf-8")


def _read_all(folder: Path, work: list[list[str]], left: list[Case]) -> list[Outcome]:
    """Read as many cases as the process survives; the one that it does not is its last."""
    with (folder / "stderr").open("w") as log:
        worker = subprocess.Popen(
            [sys.executable, __file__, str(folder), json.dumps(work)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    found = list[Outcome]()
    with worker:
        for line in worker.stdout or ():
            found.append(Outcome(left[len(found)], *json.loads(line)))
    if worker.returncode and len(found) < len(left):
        told = (folder / "stderr").read_text()[-300:]
        found.append(Outcome(left[len(found)], f"ended with {worker.returncode}", told))
    return found


def _work(folder: Path, work: list[list[str]]) -> None:
    """Read every case within the bounds of memory and time, and say what became of it."""
    import signal

    from usjp_research.market.load import load_market
    from usjp_research.spec.read import read_spec
    from usjp_research.spec.records import digest
    from usjp_research.words import InputError

    spec = read_spec(folder / "params")
    truth = load_market(spec, f"file:{folder / 'base.csv'}").returns
    mine = (digest(spec), spec.words)
    most = 4 * MEMORY  # address space, of which the allocators of libraries keep much unused
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends a process that hangs, wherever it does
    for place, name, may in work:
        signal.setitimer(signal.ITIMER_REAL, 2 * SECONDS)
        start = time.monotonic()
        try:
            if name in PARAMS:
                fault = _checked(Path(place), may, mine)
            else:
                market = load_market(spec, f"file:{Path(place) / name}")
                cut = any("a file cut" in line for line in market.read_as)
                fault = wrong(may, market.returns, truth, cut=cut)
            what = "wrong" if fault else "answered"
        except InputError as error:
            what, fault = "refused", str(error)
            if "\n" in fault or len(fault) > 300:
                what = "more than a line"
        except BaseException as error:
            what, fault = "trace", f"{type(error).__name__}: {error}"[:300]
        if time.monotonic() - start > SECONDS:
            what = "slow"
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 > MEMORY:
            what = "large"
        print(json.dumps([what, fault]), flush=True)


def _checked(folder: Path, may: str, mine: tuple[str, object]) -> str:
    """Read a study, and say where the list of all faults is not of what stops the reading."""
    from usjp_research.spec.read import find_faults, read_spec
    from usjp_research.spec.records import digest
    from usjp_research.words import InputError

    _, faults = find_faults(folder)
    try:
        read = read_spec(folder)
    except InputError as error:
        if str(error) not in map(str, faults):
            return f"not told: {error}"
        raise
    if faults:
        return f"told and not so: {faults[0]}"
    return "" if may != "same" or (digest(read), read.words) == mine else "another study"


def wrong(may: str, found: pd.DataFrame, truth: pd.DataFrame, *, cut: bool) -> str:
    """Say what of an answer may not follow from the mutation."""
    if may == "any":
        return ""
    if may == "refused":
        return "it was read"
    if may == "names":
        strange = [name for name in found if name not in truth]
        found = found.drop(columns=strange)
    both = found.reindex(index=truth.index, columns=truth.columns)
    if may == "same" and not found.index.equals(truth.index):
        return "other days"
    if not found.index.isin(truth.index).all():
        return "days that were not there"
    if may.startswith("column:"):
        both[may.partition(":")[2]] = truth[may.partition(":")[2]]
    if may == "last":  # a number cut, which is said unless it is small
        last = found.index[-1]
        off = (both.loc[last] - truth.loc[last]).abs().max()
        both.loc[last] = np.nan
        if off > 1e-5 and not cut:
            return f"a number cut, off by {off:g}, and nothing is said"
    off = (both - truth).abs()
    lost = both.isna() & truth.notna()
    if may == "same" and lost.any(axis=None):
        return f"{int(lost.sum().sum())} returns are gone"
    worst = float(np.nan_to_num(off.to_numpy()).max())
    return f"a return is off by {worst:g}" if worst > 1e-9 else ""


if __name__ == "__main__":
    _work(Path(sys.argv[1]), json.loads(sys.argv[2]))
