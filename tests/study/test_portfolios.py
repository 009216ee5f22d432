"""Portfolios: blackout from calendars, fixed membership, and averages that disclose no firm."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data.make_bundle import main, write_bundle
from tests.simulated_firms import REAL, FirmFiles
from usjp_research.market.donors import OUTSIDE, Donors
from usjp_research.market.load import load_market
from usjp_research.market.openings import OVERNIGHT, SESSION, load_openings
from usjp_research.market.record import BENCHMARK, Market, market_digest
from usjp_research.market.simulate import simulated_market
from usjp_research.market.table import read_returns
from usjp_research.spec.records import Donor, Spec, find_root
from usjp_research.study.capped import CAPPED, capped_weights
from usjp_research.study.disclosure import LARGEST, disclosed_firms
from usjp_research.study.events import event_panel
from usjp_research.study.portfolios import form_portfolios, values_before
from usjp_research.study.sample import sample
from usjp_research.words import InputError

NIGHT = " overnight"


@pytest.fixture(scope="module")
def simulated(spec: Spec) -> Market:
    return simulated_market(spec, seed=1)


def test_a_firm_with_own_news_in_the_window_is_out_and_only_then(
    spec: Spec, simulated: Market
) -> None:
    made = form_portfolios(spec, simulated, event_panel(spec, simulated))
    slot = made.slots["E05", "defense_aerospace"]
    days = [day.date() for day in simulated.dates]
    center = days.index(slot.session)
    span = set(days[center - 3 : center + 4])
    kinds = {"results", "guidance", "merger"}
    news = {n.ticker for n in spec.own_news if n.session in span and n.kind in kinds}
    firms = [firm.ticker for firm in spec.members("defense_aerospace")]
    assert set(slot.blackout) == news & set(firms)
    assert {"LMT", "RTX", "NOC", "GD"} <= set(slot.blackout)
    assert slot.members == tuple(ticker for ticker in firms if ticker not in news)
    assert slot.status == "partly checked"


def test_where_nobody_looked_the_blackout_is_not_available(spec: Spec, simulated: Market) -> None:
    made = form_portfolios(spec, simulated, event_panel(spec, simulated))
    slot = made.slots["E38", "power_utilities"]
    assert slot.status == "not available"
    assert slot.series == "sector/power_utilities"
    assert set(slot.unchecked) == set(slot.members)


def test_membership_uses_no_return(spec: Spec, simulated: Market) -> None:
    panel = event_panel(spec, simulated)
    other = simulated_market(spec, seed=2)
    one, two = form_portfolios(spec, simulated, panel), form_portfolios(spec, other, panel)
    assert one.members == two.members
    assert one.slots == two.slots


def test_averages_are_plain_means_of_the_members_present(spec: Spec, simulated: Market) -> None:
    draw = np.random.default_rng(1)
    frame = simulated.returns.copy()
    holes = draw.random(frame.shape) < 0.02
    holes[:, 0] = False
    frame = frame.mask(holes)
    frame.iloc[0, 1:] = np.nan
    copy = frame.copy()
    market = Market("holes", frame, "firm")
    made = form_portfolios(spec, market, event_panel(spec, market))
    for name in list(made.members)[::9]:
        want = frame[list(made.members[name])].mean(axis=1)
        got = made.returns[name]
        known = frame[list(made.members[name])].notna().sum(axis=1) >= 3
        if name.startswith(("named", "unnamed")):
            known = got.notna()
        pd.testing.assert_series_equal(got[known], want[known], check_names=False, rtol=1e-12)
        assert got[~known].isna().all()
    pd.testing.assert_frame_equal(frame, copy)


def test_a_firm_is_disclosed_exactly_when_its_return_can_be_solved_for_or_nearly() -> None:
    draw = np.random.default_rng(2)
    firms = list("ABCDEFGH")
    present = pd.DataFrame([[True] * 8], columns=firms)
    found_some = found_none = nearly = 0
    for _ in range(200):
        groups = {
            str(k): tuple(draw.choice(firms, size=draw.integers(3, 8), replace=False))
            for k in range(draw.integers(1, 7))
        }
        table = np.array([[firm in group for firm in firms] for group in groups.values()], float)
        solved = {
            firm
            for k, firm in enumerate(firms)
            if np.linalg.matrix_rank(np.vstack([table, np.eye(8)[k]]))
            == np.linalg.matrix_rank(table)
        }
        # The best guess of a firm's return from the averages holds this share of its variance.
        known = np.diag(np.linalg.pinv(table) @ table)
        want = tuple(firm for firm, share in zip(firms, known, strict=True) if share > LARGEST)
        found, leverage = disclosed_firms(groups, present)
        assert found == want and solved <= set(want)
        assert leverage == pytest.approx(known.max())
        found_some += bool(solved)
        found_none += not want
        nearly += solved < set(want)
    assert min(found_some, found_none) > 20 and nearly


def test_weights_decide_what_is_disclosed() -> None:
    present = pd.DataFrame([[True] * 4], columns=list("ABCD"))
    equal = {"all": tuple("ABCD")}
    firms, leverage = disclosed_firms(equal, present)
    assert firms == () and leverage == pytest.approx(0.25)
    heavy = {"all": {"A": 0.94, "B": 0.02, "C": 0.02, "D": 0.02}}
    found, leverage = disclosed_firms(heavy, present)
    assert found == ("A",) and leverage == pytest.approx(0.94**2 / (0.94**2 + 3 * 0.02**2))


def test_the_bundle_discloses_no_firm_by_its_published_membership() -> None:
    folder = find_root(Path(__file__)) / "data/bundled"
    table = pd.read_csv(folder / "membership.csv", keep_default_na=False)
    members = {name: tuple(text.split()) for name, text in table.itertuples(index=False)}
    assert min(map(len, members.values())) >= 3
    returns = pd.read_parquet(folder / "returns.parquet")
    markets = {f"{part}/{BENCHMARK}" for part in (OVERNIGHT, SESSION)}
    assert set(returns.columns) == {*members, BENCHMARK, "mirror", *markets}
    firms = sorted({ticker for group in members.values() for ticker in group})
    present = pd.DataFrame([[True] * len(firms)], columns=firms)
    # Those of equal weights, of whole days; all together need market values, and prices: below.
    parts = (CAPPED, OVERNIGHT, SESSION)
    equal = {name: group for name, group in members.items() if name.split("/")[0] not in parts}
    found, leverage = disclosed_firms(equal, present)
    assert found == ()
    assert leverage <= LARGEST


def _donor(name: str) -> bool:
    return name.startswith("donor/") or name == OUTSIDE


def test_the_bundle_s_donors_are_twenty_or_more_averages_of_nobody_else_s_firms(
    spec: Spec,
) -> None:
    bundle = load_market(spec, "bundled")
    donors = {name: group for name, group in bundle.members.items() if name.startswith("donor/")}
    others = {t for name, group in bundle.members.items() if not _donor(name) for t in group}
    inside = [ticker for group in donors.values() for ticker in group]
    assert len(donors) >= 20
    assert len(inside) == len(set(inside))  # disjoint: no firm shows in a difference of two
    assert sorted(bundle.members[OUTSIDE]) == sorted(inside)
    assert not set(inside) & (others | {firm.ticker for firm in spec.firms})
    assert bundle.returns[[*donors, OUTSIDE]].notna().all(axis=None)


@dataclass(frozen=True)
class Made:
    """Single firms, donors, and the averages that the command made of both."""

    spec: Spec
    firms: Market
    outside: pd.DataFrame
    bundle: Market
    record: dict[str, Any]

    def single(self, name: str) -> pd.DataFrame:
        """Return the members of one average: their days' returns, or what came overnight."""
        source = self.outside.loc[self.firms.dates] if _donor(name) else self.firms.returns
        source = self.firms.openings.get(name.partition("/")[0], source)
        return source[list(self.bundle.members[name])]

    def weights(self, name: str) -> dict[str, float]:
        """Return the weights of the members of one average, which sum to one."""
        members, second = self.bundle.members[name], self.spec.rule.second
        equal = "named/" in name or name.partition("/")[0] not in (CAPPED, OVERNIGHT, SESSION)
        if equal or second is None:
            return dict.fromkeys(members, 1 / len(members))
        values = values_before(self.spec, self.firms)
        found = capped_weights(np.array([values[ticker] for ticker in members]), second.cap)
        return dict(zip(members, found.tolist(), strict=True))

    def mean(self, name: str) -> pd.Series:
        """Average the members present on each day, their weights rescaled."""
        table, weights = self.single(name), pd.Series(self.weights(name))
        return (table * weights).sum(axis=1) / (table.notna() * weights).sum(axis=1)


@pytest.fixture(scope="module")
def made(spec: Spec, firm_files: FirmFiles) -> Made:
    outside, _ = read_returns(firm_files.donors)
    market = load_market(spec, f"file:{firm_files.prices}")
    openings = str(REAL / "open_close.parquet") if firm_files.real else None
    market = load_openings(spec, market, openings)
    record = json.loads((firm_files.bundle / "data/bundled/provenance.json").read_text("utf-8"))
    return Made(spec, market, outside, firm_files.averages(spec), record)


def test_the_bundle_discloses_no_firm_on_any_day_given_who_was_listed(made: Made) -> None:
    largest = []
    # Donors and sectors share no firm (tested above), so each can be checked by itself.
    for donors, returns in (
        (False, made.firms.returns),
        (True, made.outside.loc[made.firms.dates]),
    ):
        members = {name: t for name, t in made.bundle.members.items() if _donor(name) == donors}
        firms = sorted({ticker for group in members.values() for ticker in group})
        present = returns[firms].notna()
        if not donors and OVERNIGHT in made.firms.openings:
            # Of a firm's day two numbers can be read: what came overnight, and what in the session.
            night = made.firms.openings[OVERNIGHT][firms].notna()
            present = pd.concat([present, night.add_suffix(NIGHT)], axis=1)
        weights = {name: made.weights(name) for name in members}
        for name, own in weights.items():
            nights = {f"{ticker}{NIGHT}": weight for ticker, weight in own.items()}
            if name.startswith(OVERNIGHT):
                weights[name] = nights
            elif name.startswith(SESSION):
                weights[name] = {**own, **{ticker: -weight for ticker, weight in nights.items()}}
        shown = made.bundle.returns[list(members)].notna()
        found, leverage = disclosed_firms(weights, present, shown)
        assert found == ()
        largest.append(leverage)
        counts = pd.DataFrame({name: made.single(name).notna().sum(axis=1) for name in members})
        assert (counts[shown].fillna(3).to_numpy() >= 3).all()
    assert max(largest) == pytest.approx(made.record["largest_leverage"], abs=1e-3)


def test_the_bundle_is_what_the_command_makes_of_the_prices(
    spec: Spec, made: Made, firm_files: FirmFiles
) -> None:
    bundle = made.bundle
    assert bundle.provenance["prices_sha256"] == made.firms.provenance["sha256"]
    seen = hashlib.sha256(firm_files.donors.read_bytes()).hexdigest()
    assert bundle.provenance["donor_prices_sha256"] == seen
    groups = {f"donor/{donor.group}" for donor in spec.donors if donor.group}
    assert {name for name in bundle.members if _donor(name)} == {*groups, OUTSIDE}
    for name in bundle.members:
        got, want = bundle.returns[name], made.mean(name)
        np.testing.assert_allclose(got, want.where(got.notna()), rtol=1e-6, atol=1e-8)
    for part, table in made.firms.openings.items():
        got = bundle.returns[f"{part}/{BENCHMARK}"]
        np.testing.assert_allclose(got, table[BENCHMARK], rtol=1e-6, atol=1e-8)


def test_the_bundle_digest_is_the_recorded_one(spec: Spec) -> None:
    bundle = load_market(spec, "bundled")
    assert market_digest(bundle) == bundle.provenance["digest"]


def test_another_blackout_list_than_the_bundle_was_formed_with_is_refused(spec: Spec) -> None:
    less = replace(spec, own_news=spec.own_news[:-200])
    bundle = load_market(spec, "bundled")
    with pytest.raises(InputError, match=r"own_news.csv: at .* is in another place"):
        form_portfolios(less, bundle, event_panel(less, bundle))


@pytest.mark.parametrize("firm_files", ["simulated"], indirect=True)
def test_donors_do_not_change_the_series_that_were_there(
    spec: Spec, made: Made, firm_files: FirmFiles, tmp_path: Path
) -> None:
    write_bundle(sample(spec, made.firms), tmp_path, kept=made.bundle.members)
    alone = pd.read_parquet(tmp_path / "returns.parquet")
    both = pd.read_parquet(firm_files.bundle / "data/bundled/returns.parquet")
    pd.testing.assert_frame_equal(both[list(alone.columns)], alone, check_exact=True)
    assert list(both.columns[: alone.shape[1]]) == list(alone.columns)


def test_a_group_of_two_donors_is_not_averaged(
    spec: Spec, simulated: Market, tmp_path: Path
) -> None:
    draw = np.random.default_rng(3)
    frame = pd.DataFrame(draw.normal(0, 0.01, (len(simulated.dates), 5)), simulated.dates)
    donors = Donors(frame.set_axis(list("VWXYZ"), axis=1), "made here")
    groups = tuple(Donor(t, "big" if t in "VWX" else "small") for t in "VWXYZ")
    small = replace(spec, donors=groups)
    with pytest.raises(InputError, match=r"group 'small' has fewer than 3 donors"):
        write_bundle(sample(small, simulated), tmp_path, donors)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("out", "said"), [("file/out", "cannot be written"), ("out", "nosuch.csv")]
)
def test_the_script_says_what_is_wrong_in_one_line_and_writes_nothing(
    out: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setattr(
        "sys.argv", ["make_bundle.py", str(tmp_path / "nosuch.csv"), str(tmp_path / out)]
    )
    with pytest.raises(SystemExit, match="2"):
        main()
    error = capsys.readouterr().err
    assert error.startswith("make_bundle: ") and said in error and error.count("\n") == 1
    assert not (tmp_path / out).is_dir() or not any((tmp_path / out).iterdir())
