"""What a sector can be compared with besides the market: the returns of outsiders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from usjp_research.market.check import accept, check_returns, doubtful, refuse_file
from usjp_research.market.files import existing
from usjp_research.market.record import BENCHMARK, MIRROR, Dropped, Market
from usjp_research.market.table import FEWEST_SESSIONS, read_returns
from usjp_research.spec.records import Spec, sha_of
from usjp_research.words import InputError, card

DONOR = "donor/"
OUTSIDE = "outside"  # the mean of all donors
NOT_LISTED = "not in donors.csv"
FLAT = 1e-6  # standard deviation a day of a price that stands, or grows as a deposit does
STANDING = 0.5  # share of days without any move
ALIKE = 0.01  # distance of two donors over their size; prices in cents are rounded by as much
MADE_OF = 0.99  # R squared on a sector's firms from which a donor is made of them
FARTHEST = 10.0  # a day: what no security outside a bankruptcy's last days has done


@dataclass(frozen=True, slots=True)
class Donors:
    """Daily returns of securities outside every sector, or of averages of them."""

    returns: pd.DataFrame  # on the market's days, of which each is complete or all missing
    source: str
    reason: str = ""  # why there are none, and what to do
    dropped: tuple[Dropped, ...] = ()
    sha256: str = ""
    # Donors that move as the firms of a sector do, such as a fund of them, and that sector:
    # compared with them the sector would be compared with itself.
    inside: Mapping[str, str] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        days = f"{self.returns.shape[1]} donors over {len(self.returns)} sessions"
        return card("Donors", self.source, self.reason or days, f"{len(self.dropped)} left out")


def load_donors(spec: Spec, market: Market, source: str | None = None) -> Donors:
    """Load the returns that a synthetic control may be made of.

    The bundled market has averages of firms outside the sectors by industry. A file gives single
    securities: those that ``donors.csv`` puts in a group or, without that file, all that are
    neither in the universe nor a benchmark. One that lacks a day that most have is left out, with
    the reason; so is one that does not move, or moves as another does.

    The source is ``file:PATH`` or a path of prices or returns; the market's own by default.
    InputError when it cannot be read, holds no donor, or a move that no security makes.
    """
    if not source:
        own = [name for name in market.returns.columns if str(name).startswith(DONOR)]
        if own:
            return _complete(market.returns[own], market, market.name, ())
        reason = "no donors: give prices of firms outside the sectors with --donors FILE"
        return Donors(market.returns[[]], "", reason)
    path = existing(source)
    returns, _ = read_returns(path)
    outside, notes = _outside(spec, list(map(str, returns.columns)), path)
    table = returns[outside].reindex(market.dates)
    if table.notna().any(axis=1).sum() < FEWEST_SESSIONS:
        spans = (returns.index, market.dates)
        seen, want = (f"{days[0].date()} to {days[-1].date()}" for days in spans)
        raise InputError(f"{path}: seen returns from {seen}, expected days of the market, {want}")
    findings, _ = accept(check_returns(table, benchmark=market.returns[BENCHMARK]), spec.accepted)
    refuse_file(str(path), findings)
    wrong = doubtful(findings, "donor")
    table = table.drop(columns=[item.name for item in wrong])
    for name, column in table.items():  # one such day would carry every fit
        far = column[column.abs() > FARTHEST]
        if len(far):
            seen = f"{far.index[0].date()}: a return of {far.iloc[0]:.3g} (decimals)"
            do = f"expected at most {FARTHEST:g}; correct the price or leave the donor out"
            raise InputError(f"{path}: donor '{name}': {seen}, {do}")
    found = _distinct(_complete(table, market, f"file:{path.name}", (*notes, *wrong)))
    if not len(found.returns.columns):
        last = found.dropped[-1]
        none = f"no donor is left of {len(outside)}, such as '{last.name}': {last.reason}"
        raise InputError(f"{path}: {none}; give securities that trade every day")
    return replace(found, sha256=sha_of(path), inside=_inside(found.returns, spec, market))


def _outside(spec: Spec, names: list[str], path: Path) -> tuple[list[str], list[Dropped]]:
    """Choose the securities of a file that may be donors, and say why the others may not."""
    inside = {BENCHMARK, MIRROR, *spec.rule.benchmark, *spec.rule.mirror}
    inside |= {firm.ticker for firm in spec.firms}
    outside = [name for name in names if name not in inside]
    notes = []
    if spec.donors:
        listed = {donor.ticker: donor for donor in spec.donors}
        reasons = {name: listed[name].note if name in listed else NOT_LISTED for name in outside}
        outside = [name for name in outside if name in listed and listed[name].group]
        notes = [Dropped("donor", k, why) for k, why in reasons.items() if k not in outside]
        absent = [name for name in listed if listed[name].group and name not in names]
        notes += [Dropped("donor", name, f"not in {path.name}") for name in absent]
    if not outside:
        expected = "expected securities outside the sectors, such as other members of the index"
        raise InputError(f"{path}: no donor there: seen {', '.join(names[:5])}, ..., {expected}")
    return outside, notes


def _distinct(found: Donors) -> Donors:
    """Leave out donors that do not move, and all but the first of those that move alike."""
    values = found.returns.dropna(how="all").to_numpy("float64")
    notes: list[Dropped] = []
    kept: list[int] = []
    size = np.sqrt((values**2).sum(axis=0))
    still = (values == 0).sum(axis=0)
    for at, name in enumerate(map(str, found.returns.columns)):
        near = np.sqrt(((values[:, kept] - values[:, [at]]) ** 2).sum(axis=0)) <= ALIKE * size[at]
        if values[:, at].std() <= FLAT:
            reason = "flat: its price never moves"
        elif still[at] > STANDING * len(values):
            reason = f"flat: no move on {still[at]} of {len(values)} days"
        elif near.any():
            twin = found.returns.columns[kept[int(near.argmax())]]
            reason = f"the same as '{twin}' on every day: counted once"
        else:
            kept.append(at)
            continue
        notes.append(Dropped("donor", name, reason))
    table = found.returns.iloc[:, kept]
    return replace(found, returns=table, dropped=(*found.dropped, *notes))


def _inside(donors: pd.DataFrame, spec: Spec, market: Market) -> dict[str, str]:
    """Find donors that are made of a sector's firms; one that is the market is an outsider."""
    found: dict[str, str] = {}
    like_market = _explained(donors, market.returns[[BENCHMARK]])
    for sector in spec.sectors:
        names = [f"sector/{sector}", *(firm.ticker for firm in spec.members(sector))]
        own = market.returns[[name for name in names if name in market.returns.columns]]
        own = own.loc[:, own.notna().mean() > MADE_OF]
        share = _explained(donors, own.assign(mean=own.mean(axis=1)))
        for name in share.index[(share >= MADE_OF) & (like_market < MADE_OF)]:
            found.setdefault(str(name), sector)
    return found


def _explained(donors: pd.DataFrame, own: pd.DataFrame) -> pd.Series:
    """Return R squared of each donor on some returns, zero where there are too few days."""
    days = donors.notna().all(axis=1) & own.notna().all(axis=1)
    if days.sum() < 3 * own.shape[1] + FEWEST_SESSIONS:
        return pd.Series(0.0, index=donors.columns)
    y, x = donors[days].to_numpy("float64"), own[days].to_numpy("float64")
    y, x = y - y.mean(axis=0), x - x.mean(axis=0)
    left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return pd.Series(1 - (left**2).sum(axis=0) / (y**2).sum(axis=0), index=donors.columns)


def _complete(
    table: pd.DataFrame, market: Market, source: str, notes: tuple[Dropped, ...]
) -> Donors:
    covered = table.notna().mean(axis=1) >= 0.5
    holes = table[covered].isna().sum()
    gone = ((str(n), f"no return on {k} of {covered.sum()} days") for n, k in holes.items() if k)
    notes = (*notes, *(Dropped("donor", name, reason) for name, reason in gone))
    table = table.loc[:, holes == 0].where(covered)
    return Donors(table.reindex(market.dates), source, dropped=notes)
