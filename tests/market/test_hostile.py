"""Damaged and hostile files: the right answer or one line, in little time and memory."""

from __future__ import annotations

import warnings
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.hostile import KINDS, STRANGE, Outcome, cases, judge, prices, wrong
from usjp_research.market.table import read_returns
from usjp_research.words import InputError


def _judged(folder: Path, share: float) -> list[Outcome]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Duplicate name")  # parts that are there twice
        found = judge(folder, share)
    assert len(found) == sum(max(1, round(share * count)) for count in KINDS.values())
    bad = [f"{x.case.kind}, {x.case.done}, may be {x.case.may}: {x.what}, {x.told}" for x in found]
    good = [x.what in ("answered", "refused") for x in found]
    assert all(good), "\n".join(line for line, fine in zip(bad, good, strict=True) if not fine)
    return found


def test_a_sample_of_hostile_files_is_answered_rightly_or_refused_in_a_line(tmp_path: Path) -> None:
    seen = {x.what for x in _judged(tmp_path, 1 / 30)}
    assert seen == {"answered", "refused"}


@pytest.mark.soak
def test_every_hostile_file_is_answered_rightly_or_refused_in_a_line(tmp_path: Path) -> None:
    found = _judged(tmp_path, 1)
    assert len(found) >= 1000
    kinds = Counter((x.case.kind, x.what) for x in found)
    print()
    for kind in dict(kinds):
        print(f"{kind[0]:<20}{kind[1]:<10}{kinds[kind]:>5}")
    meant = [x for x in found if x.case.done in ("crlf", "bom", "quotes", "blanks", "columns")]
    assert meant and all(x.what == "answered" for x in meant)


def test_mutations_are_the_same_for_the_same_seed() -> None:
    assert [*cases(0.02)] == [*cases(0.02)] != [*cases(0.02, seed=1)]


def test_an_answer_that_may_not_follow_is_seen() -> None:
    truth = prices().pct_change().iloc[1:]
    moved, gone = truth.copy(), truth.copy()
    moved.loc[truth.index[5], "AAA"] += 1e-6
    gone.iloc[7] = np.nan
    assert not wrong("same", truth, truth, cut=False)
    assert wrong("same", moved, truth, cut=False) and wrong("same", gone, truth, cut=False)
    assert wrong("fewer", moved, truth, cut=False) and not wrong("fewer", gone, truth, cut=False)
    assert not wrong("column:AAA", moved, truth, cut=False)
    assert wrong("column:BBB", moved, truth, cut=False)
    assert wrong("refused", truth, truth, cut=False)
    later = truth.set_axis(truth.index + pd.Timedelta(1, "D"))
    assert wrong("fewer", later, truth, cut=False)


@pytest.mark.parametrize("cell", [b"\x80\x04.", [1.0, 2.0], {"a": 1.0}], ids=str)
def test_a_cell_of_parquet_that_is_no_number_is_named(cell: Any, tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    prices().reset_index().assign(AAA=[cell] * 40).to_parquet(path)
    with pytest.raises(InputError, match=r"row 1, column 'AAA': seen .* expected a number"):
        read_returns(path)


def test_a_workbook_is_known_by_what_it_holds_and_not_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    prices().to_excel(tmp_path / "p.xlsx")
    (tmp_path / "p.xlsx").rename(path)
    assert len(read_returns(path)[0]) == 39


@pytest.mark.parametrize("name", STRANGE)
def test_a_path_in_a_workbook_that_leads_out_of_it_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "p.xlsx"
    prices().to_excel(path)
    with zipfile.ZipFile(path, "a") as packed:
        packed.writestr(name, b"evil")
    with pytest.raises(InputError, match="which no workbook has"):
        read_returns(path)


def test_a_page_of_parquet_that_is_not_what_its_checksum_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    frame = prices().reset_index()
    how = {"use_dictionary": False, "compression": None, "write_page_checksum": True}
    frame.to_parquet(path, **how)  # type: ignore[call-overload]
    number = np.float64(frame["AAA"].iloc[20]).tobytes()
    content = path.read_bytes()
    assert content.count(number) >= 1
    path.write_bytes(content.replace(number, np.float64(1.0).tobytes(), 1))
    with pytest.raises(InputError, match="not readable"):
        read_returns(path)
