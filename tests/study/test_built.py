"""On a market of averages every edit changes something, or is refused by file and key."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import usjp_research as ur
from usjp_research.market.record import Market
from usjp_research.spec.records import (
    Blackout,
    Contrast,
    ContrastVersion,
    Donor,
    Estimation,
    Event,
    Firm,
    News,
    Rule,
    Second,
    Spec,
    Thesis,
    ThesisLine,
    in_project,
)
from usjp_research.study.answer import Study, run_study
from usjp_research.study.portfolios import form_portfolios

Edit = Callable[[Spec], Spec]
APPLIED, REFUSED, WORDS = "applied", "refused", "words"
# What becomes of an edit of each field on the bundled market. A field that is not here fails.
FATE: Mapping[type, Mapping[str, str]] = {
    Rule: {
        "market": WORDS,  # which market: another one is loaded
        "since": REFUSED,
        "benchmark": REFUSED,
        "mirror": REFUSED,
        "second_exchange": WORDS,
        "window": REFUSED,  # applied where no firm is in another portfolio by it
        "estimation": REFUSED,  # the same
        "model": APPLIED,
        "guard_sessions": APPLIED,
        "alpha": APPLIED,
        "power": APPLIED,
        "blackout": REFUSED,  # the same as window
        "least_firms": APPLIED,
        "least_shifts": APPLIED,
        "second": REFUSED,  # its weights; what else it says is applied
        "contrast": REFUSED,
        "contrast_versions": APPLIED,  # listed: they need single firms
        "cleanest": APPLIED,
        "note": APPLIED,
        "campaign": APPLIED,
        "seed": WORDS,  # of the simulated market only
    },
    Second: {
        **dict.fromkeys(("cap", "least_valued", "without"), REFUSED),
        **dict.fromkeys(("yardstick", "controls", "benchmark_share", "material"), APPLIED),
        **dict.fromkeys(("chosen_on", "prices_to"), APPLIED),
        "share_source": WORDS,
        "prospective": WORDS,  # signs of later events, which need single firms
    },
    Estimation: {"sessions": REFUSED, "ends_before": APPLIED, "minimum": REFUSED},
    Blackout: {"margin": REFUSED, "kinds": REFUSED},
    Contrast: {"sector": REFUSED, "event": REFUSED},
    ContrastVersion: dict.fromkeys(("title", "events", "named", "without", "blackout"), APPLIED),
    Event: {
        "id": APPLIED,
        "instant": APPLIED,
        "precision": WORDS,  # the instant that follows from it counts
        "role": APPLIED,
        "signs": APPLIED,
        **dict.fromkeys(("title", "category", "reason", "confounders"), WORDS),
        **dict.fromkeys(("source", "source_kind", "source_url"), WORDS),
    },
    Firm: {
        "ticker": REFUSED,
        "name": WORDS,
        "sector": REFUSED,
        "basket": REFUSED,
        "named_event": REFUSED,
        "dose_usd_bn": WORDS,  # of the table of doses and the implied slope
        "market_value_usd_bn": REFUSED,
    },
    News: {"ticker": REFUSED, "session": REFUSED, "kind": REFUSED, "source": WORDS},
    Donor: {"ticker": REFUSED, "group": REFUSED, "note": WORDS},
    Thesis: {
        "valued_on": REFUSED,
        "values_as_of": REFUSED,
        **dict.fromkeys(("margin", "tax", "discount_rate", "years_to_cash", "realised"), APPLIED),
        "assumptions": WORDS,
        "lines": APPLIED,
        "left_out": APPLIED,
        "no_channel": WORDS,
    },
    ThesisLine: {
        **dict.fromkeys(("id", "sector", "amount_usd_bn", "years", "realised"), APPLIED),
        **dict.fromkeys(("firms", "other_listed", "channel", "sign", "part"), APPLIED),
        **dict.fromkeys(("margin", "years_to_cash"), APPLIED),
        **dict.fromkeys(("alternative", "title", "basis", "source", "source_url", "note"), WORDS),
    },
    Spec: {
        **dict.fromkeys(("rule", "events", "thesis", "checks"), APPLIED),
        **dict.fromkeys(("firms", "sectors", "own_news", "coverage", "donors"), REFUSED),
        **dict.fromkeys(("confounders", "claims", "words", "changed"), WORDS),
        "accepted": WORDS,  # of single firms' returns, which are not there
    },
}


@pytest.mark.parametrize("record", FATE, ids=lambda record: record.__name__)
def test_the_fate_of_every_field_is_known(record: type) -> None:
    assert is_dataclass(record) or issubclass(record, BaseModel)
    names = (
        {item.name for item in fields(record)} if is_dataclass(record) else set(record.model_fields)
    )
    assert names == set(FATE[record])


@pytest.fixture(scope="module")
def bundle(spec: Spec) -> Market:
    return ur.load_market(spec, "bundled")


def _with(part: str, **changes: Any) -> Edit:
    """Return the edit of a record of a study by its name, such as 'thesis' or 'rule.blackout'."""

    def edit(spec: Spec) -> Spec:
        (name, _, inner), update = part.partition("."), changes
        record = getattr(spec, name)
        if inner:
            update = {inner: getattr(record, inner).model_copy(update=changes)}
        return replace(spec, **{name: record.model_copy(update=update)})

    return edit


def _one(spec: Spec, part: str, key: str, **changes: Any) -> Spec:
    """Edit one of the firms or events, by its ticker or id."""
    by = "ticker" if part == "firms" else "id"
    found = (
        replace(item, **changes) if getattr(item, by) == key else item
        for item in getattr(spec, part)
    )
    edited: Any = {part: tuple(found)}
    return replace(spec, **edited)


def edited_news(spec: Spec, **changes: Any) -> Spec:
    """Edit one news line on which a blackout rests."""
    k = next(k for k, n in enumerate(spec.own_news) if n.ticker == "LMT" and n.kind == "results")
    news = replace(spec.own_news[k], **changes)
    return replace(spec, own_news=(*spec.own_news[:k], news, *spec.own_news[k + 1 :]))


REFUSALS: Mapping[str, tuple[Edit, str]] = {
    "since": (_with("rule", since=date(2023, 1, 3)), r"study.yaml: key 'since': seen .2023"),
    "benchmark": (_with("rule", benchmark=("SPY",)), r"key 'benchmark': seen \[.SPY.\]"),
    "mirror": (_with("rule", mirror=("EWJ",)), r"study.yaml: key 'mirror'"),
    "window": (_with("rule", window=(-5, 5)), r"study.yaml: key 'window': seen \[-5, 5\]"),
    "sessions": (_with("rule.estimation", sessions=600, minimum=550), r"key 'estimation', minimum"),
    "margin": (_with("rule.blackout", margin=9), r"study.yaml: .*margin"),
    "kinds": (_with("rule.blackout", kinds=("merger",)), r"study.yaml: .*kinds"),
    "cap": (
        _with("rule.second", cap=0.2),
        r"study.yaml: key 'second', cap: seen 0.2, .* built for 0.1",
    ),
    "least valued": (_with("rule.second", least_valued=12), r"key 'second', least_valued: seen 12"),
    "without": (_with("rule.second", without={}), r"study.yaml: key 'second', without: seen"),
    "contrast sector": (
        _with("rule", contrast=Contrast(sector="mining_metals", event="E17")),
        r"key 'contrast', sector: seen .mining_metals., .* built for .power_utilities.",
    ),
    "contrast event": (
        _with("rule", contrast=Contrast(sector="power_utilities", event="E18")),
        r"key 'contrast', event: seen .E18., the bundled market was built for .E17.",
    ),
    "named event": (
        lambda s: _one(s, "firms", "GEV", named_event=""),
        r"universe.csv: GEV.*named_event",
    ),
    "newly named": (
        lambda s: _one(s, "firms", "DUK", named_event="E17"),
        r"universe.csv: DUK, column 'named_event': is on the named side",
    ),
    "basket": (
        lambda s: _one(s, "firms", "SO", basket="independent_power"),
        r"SO, column 'basket'",
    ),
    "market value": (
        lambda s: _one(s, "firms", "SO", market_value_usd_bn=1.0),
        r"universe.csv: SO, column 'market_value_usd_bn': seen 1.0, .* was built for \d",
    ),
    "market value gone": (
        lambda s: _one(s, "firms", "SO", market_value_usd_bn=None),
        r"SO, column 'market_value_usd_bn': seen nothing",
    ),
    "ticker": (lambda s: _one(s, "firms", "SO", ticker="SOX"), r"universe.csv: "),
    "sector": (lambda s: _one(s, "firms", "SO", sector="mining_metals"), r"universe.csv: "),
    "membership": (lambda s: replace(s, firms=s.firms[1:]), r"universe.csv: "),
    "valued_on": (_with("thesis", valued_on=date(2025, 7, 1)), r"thesis.yaml: key 'valued_on'"),
    "values_as_of": (
        _with("thesis", values_as_of=date(2026, 7, 30)),
        r"thesis.yaml: key 'values_as_of': seen .2026-07-30., .* built for .2026-07-31.",
    ),
    "news moved": (
        lambda s: edited_news(s, session=date(2025, 6, 2)),
        r"own_news.csv: at .* firm 'LMT'",
    ),
    "news far away": (
        lambda s: edited_news(s, session=date(2099, 1, 4)),
        r"own_news.csv: at .* 'LMT'",
    ),
    "news kind": (lambda s: edited_news(s, kind="contract"), r"own_news.csv: at .* firm 'LMT'"),
    "news ticker": (lambda s: edited_news(s, ticker="ZZZ"), r"own_news.csv: at .* firm 'LMT'"),
    "coverage": (
        lambda s: replace(s, coverage={"LMT": frozenset({date(2020, 1, 2)})}),
        r"own_news",
    ),
    "donor group": (
        lambda s: replace(s, donors=(replace(s.donors[0], group="other"), *s.donors[1:])),
        r"donors.csv: .*column 'group'",
    ),
    "donor gone": (lambda s: replace(s, donors=s.donors[1:]), r"donors.csv: .*column 'group'"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_an_edit_that_the_averages_cannot_follow_is_refused_by_file_and_key(
    spec: Spec, bundle: Market, name: str
) -> None:
    edit, said = REFUSALS[name]
    other = edit(spec)
    assert ur.digest(other) != ur.digest(spec)
    with pytest.raises(ur.InputError, match=said) as refused:
        form_portfolios(other, bundle, ur.event_panel(other, bundle))
    text = str(refused.value)
    assert len(text) <= 300 and "--market file:PATH" in text
    assert re.search("built for|built from|bundled market was formed", text)


def _answer(study: Study) -> list[object]:
    rows = (*study.rows, *study.leaks, *study.campaign)
    words = ("name", "effect", "low", "high", "mde", "p", "headline", "remark")
    numbers = [[*(getattr(r, w) for w in words), *r.implied.share.values()] for r in rows]
    tables = (study.timing, study.variants, study.says)
    return [*numbers, *(table.to_csv() for table in tables), study.dropped]


APPLIED_EDITS: Mapping[str, Edit] = {
    "ends_before": _with("rule.estimation", ends_before=25),
    "model": _with("rule", model="market_adjusted"),
    "guard_sessions": _with("rule", guard_sessions=30),
    "alpha": _with("rule", alpha=0.05),
    "power": _with("rule", power=0.9),
    "least_firms": _with("rule", least_firms=32),
    "no contrast": _with("rule", contrast=None, contrast_versions=()),
    "contrast_versions": lambda s: _with("rule", contrast_versions=s.rule.contrast_versions[:1])(s),
    "cleanest": _with("rule", cleanest="E08"),
    "note": _with("rule", note="E23"),
    "campaign": _with("rule", campaign=("E05", "E35")),
    "instant": lambda s: _one(
        s, "events", "E35", instant=s.event("E35").instant + timedelta(days=6)
    ),
    "second gone": _with("rule", second=None),
    "yardstick": _with("rule.second", yardstick={}),
    "controls": _with("rule.second", controls=("donor/food",)),
    "benchmark_share": _with("rule.second", benchmark_share={"power_utilities": 0.2}),
    "material": _with("rule.second", material=0.2),
    "chosen_on": _with("rule.second", chosen_on=date(2026, 2, 1)),
    "prices_to": _with("rule.second", prices_to=date(2026, 2, 1)),
    "role": lambda s: _one(s, "events", "E42", role="secondary"),
    "signs": lambda s: _one(
        s, "events", "E35", signs={**s.event("E35").signs, "mining_metals": -1}
    ),
    "contrast's event moved": lambda s: _one(
        s, "events", "E17", instant=s.event("E17").instant + timedelta(days=5)
    ),
    "margin": _with("thesis", margin={"low": 0.2, "base": 0.3, "high": 0.4}),
    "no thesis": lambda s: replace(s, thesis=None),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "no thesis" else pytest.mark.soak)
        for name in APPLIED_EDITS
    ],
)
def test_an_edit_that_the_averages_can_follow_is_applied(
    spec: Spec, bundle: Market, bundled: Study, name: str
) -> None:
    edited = run_study(ur.sample(APPLIED_EDITS[name](spec), bundle))
    assert _answer(edited) != _answer(bundled)


def test_a_contrast_that_the_market_has_no_sides_for_says_so(spec: Spec, bundle: Market) -> None:
    study = run_study(ur.sample(APPLIED_EDITS["contrast's event moved"](spec), bundle))
    assert all(row.headline != "no verdict" for row in study.first)
    for row in study.verdicts:  # the second rule has no capped average of that day: it says so
        moved = f"E17: the bundled market has no capped portfolio of it on {row.reason[-10:]}"
        signed = spec.event("E17").signs.get(row.name)
        assert (row.reason == moved) == bool(signed)
    assert study.contrast is None
    (reason,) = [item.reason for item in study.dropped if item.what == "contrast"]
    assert "the bundled market has no named and unnamed side on 2025-11-0" in reason
    assert any(line.startswith("No contrast") for line in ur.missing_lines(study))


def test_slots_under_the_least_number_of_firms_are_not_formed_on_averages_either(
    spec: Spec, bundle: Market
) -> None:
    other = _with("rule", least_firms=32)(spec)
    made = form_portfolios(other, bundle, ur.event_panel(other, bundle))
    slot = made.slots["E05", "defense_aerospace"]
    assert not slot.series and "the rule asks for 32" in slot.reason


def test_a_market_that_does_not_say_what_it_was_built_for_is_refused(
    spec: Spec, bundle: Market
) -> None:
    old = replace(bundle, built={})
    with pytest.raises(ur.InputError, match="does not say what it was built for"):
        form_portfolios(spec, old, ur.event_panel(spec, old))


def test_what_the_bundle_was_built_for_is_these_parameters(spec: Spec, bundle: Market) -> None:
    from usjp_research.study.built import contrast_key

    form_portfolios(spec, bundle, ur.event_panel(spec, bundle))
    assert bundle.built["contrast rests on"] == [contrast_key(spec), "CCJ"]
    assert "built_for" not in bundle.provenance


PRICES = in_project(Path("../shared/data/prices_core.parquet"))


@pytest.mark.skipif(not PRICES.exists(), reason="the shared price file is not here")
@pytest.mark.soak
def test_the_bundle_s_provenance_is_what_the_script_writes(spec: Spec, tmp_path: Path) -> None:
    import json

    from data.make_bundle import write_bundle

    market = ur.load_market(spec, f"file:{PRICES}")
    members = ur.load_market(spec, "bundled").members
    record = write_bundle(ur.sample(spec, market), tmp_path, kept=members)
    kept = json.loads((tmp_path / "provenance.json").read_text())["built_for"]
    assert kept == dict(ur.load_market(spec, "bundled").built) == record["built_for"]
