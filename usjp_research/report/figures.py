"""Results as figures: a finding on top, units, a wide and a narrow form, words for the blind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial
from itertools import product
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from usjp_research.engine.placebo import Placebo
from usjp_research.report import tables, theme
from usjp_research.report.numbers import PHRASES, say
from usjp_research.report.theme import BAND, BAR, HUE, INK, NEWS, QUIET, SMALL, hint, note, wrapped
from usjp_research.spec.records import ROLES
from usjp_research.study.counterfactual import EXACT, POOR, Counterfactuals
from usjp_research.study.curve import CHOICES, Curve
from usjp_research.study.events import EventPanel
from usjp_research.study.exposure import Exposure
from usjp_research.study.reactions import OUTSIDE, EventPaths
from usjp_research.study.verdict import CASES, Verdict
from usjp_research.words import EVENT_NAMES, NOT_COUNTED, between, dated, label, number, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from usjp_research.report.theme import Picture


TOP: Mapping[str, Any] = {"up": "axes fraction", "ha": "center"}  # of a note above the axes
BINS = 40  # of a law
COARSE = 3  # decimals of many numbers of one sector, in which no firm may be looked for


def nothing(why: str) -> Picture:
    """Return a sentence in place of a figure."""
    texts = [wrapped(why, most) for most in (100, 46)]

    def draw(axes: Axes, narrow: bool) -> None:
        axes.set_axis_off()
        how: dict[str, Any] = {"color": QUIET, "va": "center", "fontsize": theme.TEXT}
        axes.text(0, 0.5, texts[narrow], transform=axes.transAxes, **how)

    return theme.single(draw, [0.35 + 0.17 * (1 + text.count("\n")) for text in texts], alt=why)


def _about(figure: str, data: Any, how: Any = "", **found: Any) -> dict[str, Any]:
    """Return what a picture found, what is drawn, both for the blind, and its numbers."""
    title, source = say(f"found {how or figure}", found), say(f"drawn {figure}", found)
    title = title[:1].upper() + title[1:]
    alt = say(f"alt {figure}", found, title=title)
    return {"alt": alt, "title": title, "source": source, "data": pd.DataFrame(data)}


def _some(names: Sequence[str], of: int) -> dict[str, Any]:
    """Say how many of several there are, and which where they are few."""
    who = say("few", names=names) if 0 < len(names) < 5 else ""
    s, verb, its = ("s", "is", "its") if len(names) < 2 else ("", "are", "their")
    return {"some": len(names) or "none", "of": of, "who": who, "s": s, "is": verb, "its": its}


def _implied(share: Mapping[str, float]) -> dict[str, float]:
    return {f"implied {case}": value for case, value in share.items()}


def _intervals(figure: str, rows: Sequence[theme.Interval], height: float, **found: Any) -> Picture:
    """Draw rows, and say which of their intervals leave out zero."""
    drawn = pd.DataFrame(
        {"row": row.name.replace("\n", " "), "beside": row.says, "moved": row.seen.effect}
        | {"low": row.seen.low, "high": row.seen.high, **_implied(row.seen.share)}
        for row in rows
    )
    out = drawn["row"][(drawn["low"] > 0) | (drawn["high"] < 0)]
    some = _some(out.to_list(), int(drawn["moved"].notna().sum()))
    words = say(f"marks {figure}", found)
    about = _about(figure, drawn, **some, **found)
    return theme.both(lambda narrow: theme.interval_rows(rows, narrow, height, words), **about)


def plot_scoreboard(rows: Sequence[Verdict]) -> Picture:
    """Draw each row's interval against what the thesis implies."""
    if not rows:
        return nothing("There is no row.")
    shown, said = [], []
    for row in rows:
        seen = tables.told_row(row)
        shown.append(theme.Interval(theme.tag(row.name), says(row), seen))
        words = {"verdict": tables.verdict_words(row), "implied": tables.cases_words(seen.share)}
        words |= {"observed": seen.observed(), "interval": seen.interval()}
        said.append(say("scoreboard row", words, name=row.name))
    held = [r.seen.low <= r.seen.share["base"] <= r.seen.high for r in shown if r.seen.share]
    counts = {"held": sum(held), "implied": len(held)}
    return _intervals("scoreboard", shown, 0.62, said=". ".join(said), **counts)


def plot_visible(rows: Sequence[Verdict], power: float) -> Picture:
    """Draw what every announced dollar would be worth as profit beside the smallest move found.

    Where the bar does not reach the dot, no margin makes the thesis visible.
    """
    valued = (row for row in rows if row.kind == "sector" and row.breakeven_share)
    worth = [(row, row.mde / (row.breakeven_share or 1)) for row in valued]
    if not worth:
        return nothing("The thesis puts no dollars in any sector that has a verdict.")
    shown, data = [], []
    for row, most in worth:
        share = row.mde / most
        beside = say(f"visible {'never' if share > 1 else 'from'}", share=share)
        words = say("visible hint", most=most, mde=row.mde)
        seen = tables.Told(row.mde, min(0.0, most), max(0.0, most), row.implied.share, 1)
        shown.append(theme.Interval(theme.tag(row.name), beside, seen, hint=words))
        named = {"row": label(row.name), "every dollar": most, "mde": row.mde}
        data.append(named | _implied(row.implied.share))
    share, name = min((row.mde / most, row.name) for row, most in worth)
    found = {"never": sum(most < row.mde for row, most in worth), "of": len(worth), "name": name}
    found |= {"share": share, "said": "; ".join(f"{r.name}: {r.says}, {r.hint}" for r in shown)}
    how = "visible" if share <= 1 else "never visible"
    about = _about("visible", data, how, **found, alpha=1 - power)
    marks = PHRASES["marks visible"]
    return theme.both(lambda narrow: theme.interval_rows(shown, narrow, 0.28, marks), **about)


def says(row: Verdict) -> str:
    """Return what stands beside a row's bar: its verdict, and what was expected if not a rise."""
    words = row.headline
    if row.reason:
        words += f"{';' if row.rests_on else ':'} {row.reason}"
    if not np.isfinite(row.effect):
        return words
    expected = {-1: "; expected: down", 0: "; told in the expected direction"}
    return words + expected.get(tables.told_row(row).expected, "")


def plot_counterfactuals(found: Counterfactuals) -> Picture:
    """Draw a sector's effect against every counterfactual, side by side with intervals.

    The rule is on top; a cross fits the sector poorly, a row without a dot says what it needs.
    """
    shown, said = [], []
    for row in tables.records(found.rows):
        name, exact, poor = str(row["model"]), row["fit"] == EXACT, row["fit"] == POOR
        if row["reason"]:
            why = EXACT if exact else "not computed: the table says why"
            shown.append(theme.Interval(name, why))
            said.append(f"{name}: {'' if exact else 'not computed, '}{row['reason']}")
            continue
        seen = tables.told(row)
        beside = seen.move() + (", fits poorly" if poor else "")
        shown.append(theme.Interval(name, beside, seen, "x" if poor else "o"))
        said.append(f"{name} {beside}, interval {seen.interval()}")
    words = {"sector": found.sector, "alpha": found.alpha, "said": "; ".join(said)}
    return _intervals("counterfactuals", shown, 0.42, **words)


def plot_curve(found: Curve, sector: str | None = None) -> Picture:
    """Draw a sector's effect under every specification, sorted, and the choices below it.

    The first sector is drawn where none is asked for. Thin lines are intervals, at most 150. A row
    of the strip is a value of a choice: how often it was made there, beside the choice's others.
    """
    if found.rows.empty:
        return nothing(found.dropped[0].reason)
    name = sector or str(found.rows["sector"].iloc[0])
    table = found.rows[found.rows["sector"] == name]
    values = {c: list(table[c].unique()) for c in CHOICES if table[c].nunique() > 1}
    flip = -1 if (table["sign"] < 0).all() else 1  # told as the market moved
    ends = np.sort(flip * table[["low", "high"]].to_numpy("float64"), axis=1)
    table = table.assign(effect=flip * table["effect"], low=ends[:, 0], high=ends[:, 1])
    table = table.sort_values("effect", kind="stable", ignore_index=True)
    marked = [{**row, "place": k} for k, row in enumerate(tables.records(table)) if row["rule"]]
    rules = sorted(marked, key=lambda row: str(row["rule"]))
    said = "; ".join(say("curve row", r, ends=between(r["low"], r["high"])) for r in rules)
    lines = sum(map(len, values.values())) + len(values)

    def form(narrow: bool) -> Figure:
        room = (0.3 if narrow else 0.19) * lines
        figure = theme.canvas(narrow, 3.2 + room, 2, sharex=True, height_ratios=[2.6, room])
        _effects(figure.axes[0], table, marked)
        _choices(figure.axes[1], table, values, narrow)
        for axes, row in product(figure.axes, marked):
            axes.axvline(row["place"], color=INK, linewidth=0.8, linestyle=":")
        return figure

    drawn = _thinned(table)[["effect", "low", "high", "rule"]].round(COARSE)
    told = {"sector": name, "median": float(table["effect"].median()), "of": len(table)}
    told |= {"outside": ((table["low"] > 0) | (table["high"] < 0)).mean()}
    told |= {"joint": tables.curve_words(found, name), "said": said}
    return theme.both(form, **_about("curve", drawn.reset_index(names="place"), **told))


def _thinned(table: pd.DataFrame) -> pd.DataFrame:
    """Return the specifications whose intervals are drawn: some, evenly spread, and the rules'."""
    some = np.linspace(0, len(table) - 1, min(150, len(table))).round()
    return table[table.index.isin(some) | (table["rule"] != "")]


def _effects(axes: Axes, table: pd.DataFrame, marked: Sequence[Mapping[str, Any]]) -> None:
    """Draw every interval as a part of one line, the effects, and the rules' own."""
    shown = _thinned(table)
    broken = shown[["low", "high"]].assign(hole=np.nan).to_numpy("float64").ravel()
    axes.plot(np.repeat(shown.index, 3), broken, color=BAR, linewidth=0.8)
    axes.plot(shown.index, shown["effect"], color=HUE, linewidth=1.8)
    axes.axhline(0, color=QUIET, linewidth=0.8)
    for k, row in enumerate(marked):
        mark = axes.plot([row["place"]] * 2, [row["low"], row["high"]], color=INK, linewidth=1.5)
        mark += axes.plot(row["place"], row["effect"], "o", color=INK, markersize=5)
        ends = between(row["low"], row["high"])
        hint(mark, f"{row['rule']}: {percent(row['effect'])}, interval {ends}")
        note(axes, row["rule"], (row["place"], 1), (0, 3 + 11 * (k % 2)), **TOP)
    axes.set_ylabel("effect, each interval alone")
    axes.grid(visible=False, axis="x")
    theme.percent_axis(axes.yaxis)


def _choices(axes: Axes, table: pd.DataFrame, values: dict[str, list[str]], narrow: bool) -> None:
    """Draw a row for each value of a choice, as high as its share of the specifications there."""
    parts = np.array_split(np.arange(len(table)), min(24, len(table)))
    edges = np.repeat([*(part[0] for part in parts), len(table)], 2)[1:-1]
    place, ticks = 0, dict[int, str]()
    for choice, held in values.items():
        note(axes, choice, (0, place + 0.9), (0, 0), "axes fraction", fontweight="bold")
        made = [table[choice] == value for value in held]
        shares = np.array([[one.iloc[part].mean() for part in parts] for one in made])
        for k, value in enumerate(held):
            place += 1
            named = " ".join(EVENT_NAMES.get(word, word) for word in value.split())
            ticks[place] = wrapped(named.partition(",")[0], 17 if narrow else 40)
            top = place + 0.9 - 0.8 * np.repeat(shares[k] / shares.max(), 2)
            axes.fill_between(edges, place + 0.9, top, color=BAR, linewidth=0)
        place += 1
    axes.set_yticks([place + 0.6 for place in ticks], [*ticks.values()])
    axes.set_ylim(place + 0.2, 0)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.set_xticks([])
    words = f"{len(table)} specifications, sorted by their effect"
    axes.set_xlabel(wrapped(words, 30 if narrow else 80))


def plot_caar(paths: EventPaths) -> Picture:
    """Draw the sector's cumulative abnormal return around each event, beside quiet dates.

    The shaded columns are the event window; the band holds the stated share of placebo paths.
    """
    if paths.reason:
        return nothing(f"{label(paths.sector)}: {paths.reason}")
    outside = ((paths.paths < paths.low) | (paths.paths > paths.high)).sum(axis=1)
    days = zip(paths.events, paths.sessions, strict=True)
    heads = [dated(event, date.fromisoformat(day)) for event, day in days]
    words = "; ".join(
        f"{head} ends at {percent(path[-1])}, outside the band on {days} of {len(path)} days"
        for head, path, days in zip(heads, paths.paths, outside, strict=True)
    )
    of, usual = paths.paths.size, round((1 - paths.level) * paths.paths.size)
    found = {"sector": paths.sector, "outside": outside.sum(), "of": of, "usual": usual}
    found |= {"alpha": 1 - paths.level, "shifts": paths.shifts, "said": words}
    return _bands("caar", {head: (paths, k) for k, head in enumerate(heads)}, "day 0", found)


def _bands(
    figure: str, shown: Mapping[str, tuple[EventPaths, int]], start: str, found: Mapping[str, Any]
) -> Picture:
    """Draw paths, by their heads and each the k-th of its record, over the band of quiet dates."""

    def draw(axes: Axes, place: int, _: bool) -> None:
        head, (paths, k) = [*shown.items()][place]
        if figure == "caar":
            axes.axvspan(paths.window[0] - 0.5, paths.window[1] + 0.5, color=theme.WINDOW, zorder=0)
        axes.fill_between(paths.offsets, paths.low[k], paths.high[k], color=BAND, linewidth=0)
        axes.axhline(0, color=QUIET, linewidth=0.8)
        line = axes.plot(paths.offsets, paths.paths[k], color=HUE, linewidth=1.8)
        ends = between(float(paths.low[k][-1]), float(paths.high[k][-1]))
        hint(line, f"{head}: ends at {percent(float(paths.paths[k][-1]))}, band {ends}")
        theme.percent_axis(axes.yaxis)

    columns = ["session", "path", "low", "high"]
    rows = [
        pd.DataFrame(np.column_stack([p.offsets, p.paths[k], p.low[k], p.high[k]]), columns=columns)
        .astype({"session": int})
        .assign(panel=head)
        for head, (p, k) in shown.items()
    ]
    about = _about(figure, pd.concat(rows).round(COARSE), **found)
    # The brief holds the whole campaign and the months since on its two pages.
    heights = (2.0 if figure == "caar" else 1.35, 1.7)
    return theme.panels([*shown], draw, heights, words=f"sessions from {start}", **about)


def plot_campaign(paths: Sequence[EventPaths]) -> Picture:
    """Draw every sector through the whole campaign, beside windows as long in quiet years."""
    return _through("campaign", paths, "the first event")


def plot_since(paths: Sequence[EventPaths]) -> Picture:
    """Draw every sector since the thesis was published, beside quiet windows as long."""
    return _through("since", paths, "publication")


def _through(figure: str, paths: Sequence[EventPaths], start: str) -> Picture:
    if not paths:
        return nothing(PHRASES[f"no {figure}"])
    ends = {p.sector: [float(part[0][-1]) for part in (p.paths, p.low, p.high)] for p in paths}
    said = "; ".join(
        f"{label(sector)} ends at {percent(end, 0)}, band {between(low, high, 0)}"
        for sector, (end, low, high) in ends.items()
    )
    outside = [sector for sector, (end, low, high) in ends.items() if not low <= end <= high]
    found = {**_some(outside, len(ends)), "alpha": 1 - paths[0].level, "said": said}
    found["first"] = paths[0].sessions[0]
    return _bands(figure, {label(path.sector): (path, 0) for path in paths}, start, found)


def plot_placebo(law: Placebo) -> Picture:
    """Draw one group's statistic on every placebo calendar, and where the real one lies."""
    name = law.groups[0]
    if law.reason:
        return nothing(f"{label(name)}: {law.reason}")
    real, p = float(law.statistic[0]), float(law.p[0])

    def draw(axes: Axes, narrow: bool) -> None:
        _law(axes, law.null_statistic[:, 0], "placebo calendars")
        _mark(axes, real, "the real dates", HUE, linewidth=2.5)
        axes.set_xlabel(wrapped(PHRASES["axis placebo"], 42 if narrow else 99))

    share = percent(p, 0, sign=False) if p >= 0.01 else "under 1%"
    drawn = _bins(law.null_statistic[:, 0], {"the real dates": real})
    found = {"sector": name, "share": share, "calendars": len(law), "real": real, "p": p}
    return theme.single(draw, (2.6, 2.6), **_about("placebo", drawn, **found))


def plot_power(power: pd.DataFrame) -> Picture:
    """Draw what share of planted effects is found, and what the placebo law had promised."""
    if power.empty:
        return nothing("No random calendars could be drawn on this market: no power curve.")
    x, found, error = (power[name] for name in ("multiple", "found", "found_error"))

    def draw(axes: Axes, narrow: bool) -> None:
        axes.fill_between(x, found - 2 * error, found + 2 * error, color=BAND, linewidth=0)
        axes.plot(x, power["promised"], color=QUIET, linestyle="--", label="promised")
        axes.plot(x, found, color=INK, marker="o", label="found, two errors either way")
        axes.set_yticks([0, 0.5, 1], ["0%", "50%", "100%"])
        axes.set_ylabel("found")
        axes.set_xlabel("planted, in minimum detectable effects")
        axes.legend(frameon=False, loc="upper left")

    shares = ", ".join(f"{m:g} MDE {f:.0%}" for m, f in zip(x, found, strict=True))
    one = tables.records(power)[int((x - 1).abs().argmin())]
    return theme.single(draw, (2.8, 2.8), **_about("power", power, **one, said=shares))


def _law(axes: Axes, values: Any, words: str) -> None:
    """Draw what a statistic is on quiet dates."""
    import seaborn as sns

    sns.histplot(x=values, bins=BINS, color=BAND, edgecolor="white", ax=axes)
    axes.set_ylabel(words)


def _bins(values: Any, marks: Mapping[str, float]) -> pd.DataFrame:
    """Return how many quiet dates are in each bin of a law, and what is marked in it."""
    counts, edges = np.histogram(values, BINS)
    bins = zip(edges[:-1], edges[1:], counts, strict=True) if len(values) else ()
    rows = [("quiet dates", *row) for row in bins]
    rows += [(name, value, value, 0) for name, value in marks.items()]
    return pd.DataFrame(rows, columns=["what", "from", "to", "count"])


def _mark(axes: Axes, x: float, text: str, colour: str, up: int = 3, **line: Any) -> None:
    """Draw a value into a law, with its name above the axes, so many points up."""
    hint(axes.axvline(x, color=colour, **line), f"{text}: {number(x, 2)}")
    note(axes, text, (x, 1), (0, up), **TOP, color=colour, fontweight="bold")


def plot_exposure(row: Exposure, *, public: bool = True) -> Picture:
    """Draw the slope on every quiet day, the one at the events, and what the thesis implies.

    For the ``public`` it draws the quiet days alone when one firm carries the slope; without a
    slope it shows what is implied and says why there is no more.
    """
    found = row.slope
    hidden = public and found is not None and not found.safe
    fields: dict[str, Any] = {"implied": say("found implied", row.implied) if row.implied else ""}
    fields["how"] = "slope carried" if hidden else "slope" if found else "no slope"
    said = [tables.exposure_words(row), *([row.headline] if found and found.rests_on else [])]
    if found:
        fields |= {"value": "withheld" if hidden else found.value, "p": found.raw.p_cdf}
        more: dict[str, Any] = {"days": len(found.law), "center": found.raw.center}
        more["remark"] = f" ({row.remark})" if row.remark else ""
        said.append(say("exposure histogram", fields, **more))
    else:
        said.append(f"no slope: {row.reason}")
    if row.implied:
        values = ", ".join(f"{case} {number(100 * v, 1)}" for case, v in row.implied.items())
        said.append(f"the thesis implies {values}")
    cents = {f"the thesis, {case}": 100 * value for case, value in row.implied.items()}
    shown = {} if hidden or not found else {"the events": 100 * found.value}
    drawn = _bins(100 * found.quiet if found else [], {**shown, **cents}).round(1)
    about = _about("exposure", drawn, **fields, said="; ".join(said))
    return theme.single(partial(_exposure, row, hidden), (2.8, 2.8), **about)


def _exposure(row: Exposure, hidden: bool, axes: Axes, narrow: bool) -> None:
    axes.set_xlabel("cents of market value per dollar announced")
    found = row.slope
    if found:
        _law(axes, 100 * found.quiet, "quiet days")
        if not hidden:
            _mark(axes, 100 * found.value, "the events", HUE, linewidth=2.5)
    else:
        axes.set_yticks([])
        axes.axvline(0, color=QUIET, linewidth=1)
        text = wrapped(row.reason.replace("; ", ";\n"), 40 if narrow else 90)
        how: dict[str, Any] = {"ha": "center", "fontsize": theme.TEXT}
        how["bbox"] = {"facecolor": "white", "edgecolor": BAND}
        axes.text(0.5, 0.15, text, transform=axes.transAxes, **how)
    if row.implied:
        low, base, high = (100 * row.implied[case] for case in CASES)
        axes.axvspan(low, high, color=QUIET, alpha=0.18, linewidth=0)
        up = 15 if found and not hidden else 3  # above the name of the slope
        _mark(axes, base, "the thesis", INK, up, linewidth=1.5, linestyle=":")
        if not found:
            far = max(abs(low), abs(base), abs(high))
            axes.set_xlim(*((-0.3 * far, 1.5 * far) if high >= 0 else (-1.5 * far, 0.3 * far)))


def plot_events(reactions: pd.DataFrame, alpha: float) -> Picture:
    """Draw every sector's reaction to every primary event with its number, a panel a sector.

    ``reactions`` is as `event_reactions` gives it. The bars are forecast intervals of single
    events at level 1 - ``alpha``, from the guarded standard error and the normal law: a guide to
    the eye, not a test. A hollow dot, and a circle beside its number, do not count for the sector.
    """
    table = reactions[reactions["role"] == "primary"]
    if table["caar"].isna().all():
        return nothing("No primary event has an abnormal return.")
    half = NormalDist().inv_cdf(1 - alpha / 2) * table["se_guarded"]
    table = table.assign(low=table["caar"] - half, high=table["caar"] + half)
    days = zip(table["event"], table["session"].map(date.fromisoformat), strict=True)
    own = (table["sign"] != 0) & (table["blackout"] != OUTSIDE)  # the thesis expects a sign of it
    rows = table.assign(own=own, said=[dated(*day) for day in days])
    rows["text"] = rows["caar"].map(percent) + np.where(own, "", f" {NOT_COUNTED}")
    sectors = {str(name): part for name, part in rows.groupby("sector", sort=False)}
    events = list(dict.fromkeys(rows["said"]))

    def draw(axes: Axes, k: int, narrow: bool) -> None:
        _reactions(axes, [*sectors.values()][k].dropna(subset=["caar"]), events)

    said = ". ".join(
        f"{label(name)}: {', '.join(part['said'] + ' ' + part['text'])}"
        for name, part in sectors.items()
    )
    drawn = rows[["sector", "said", "caar", "low", "high", "own"]]
    drawn = drawn.set_axis(["sector", "event", "moved", "low", "high", "counts"], axis=1)
    counts = rows[rows["own"] & rows["caar"].notna()]
    top = counts.iloc[counts["caar"].abs().argmax()] if len(counts) else rows.iloc[0]
    found = {"sector": top["sector"], "event": top["said"], "move": percent(top["caar"])}
    out = ((counts["low"] > 0) | (counts["high"] < 0)).sum() or "none"
    found |= {"out": out, "of": len(counts), "usual": round(alpha * len(counts)), "alpha": alpha}
    found |= {"said": said, "hollow": NOT_COUNTED}
    height = 0.2 * len(events) + 0.5
    about = _about("events", drawn, "" if len(counts) else "no events", **found)
    return theme.panels([*map(label, sectors)], draw, (height, height), (3, 1), **about)


def _reactions(axes: Axes, rows: pd.DataFrame, events: Sequence[str]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.axvline(0, color=QUIET, linewidth=0.8)
    for row in tables.records(rows):
        place = events.index(row["said"])
        span, face = [row["low"], row["high"]], HUE if row["own"] else "white"
        mark = axes.plot(span, [place] * 2, color=BAR, linewidth=4, solid_capstyle="butt")
        mark += axes.plot([row["caar"]], [place], "o", color=HUE, mfc=face, ms=6)
        ends = between(row["low"], row["high"])
        hint(mark, f"{label(row['sector'])}, {row['said']}: {row['text']}, interval {ends}")
        note(axes, row["text"], (1, place), (2, 0), "axes fraction", va="center", fontsize=SMALL)
    axes.set_yticks(range(len(events)), events)
    axes.set_ylim(len(events) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    theme.percent_axis(axes.xaxis)


def plot_calendar(panel: EventPanel) -> Picture:
    """Draw the events on a line of time, one row per role; filled marks count for the verdict."""
    days = {role: panel.days(role) for role in ROLES if panel.index(role)}
    if not days:
        return nothing("No event lies inside the data.")
    said = "; ".join(
        f"{role}: " + ", ".join(f"{id} {day.date()}" for id, day in held.items())
        for role, held in days.items()
    )
    drawn = [
        {"role": role, "id": id, "event": dated(id, day), "session": day.date()}
        for role, held in days.items()
        for id, day in held.items()
    ]
    heights = (0.5 * len(days) + 0.9, 0.62 * len(days) + 0.9)
    counts = {"primary": len(days.get("primary", ())), "of": len(drawn)}
    about = _about("calendar", drawn, **counts, said=said)
    return theme.single(partial(_calendar, days), heights, **about)


def _calendar(days: Mapping[Any, Mapping[str, pd.Timestamp]], axes: Axes, narrow: bool) -> None:
    for row, (role, held) in enumerate(days.items()):
        axes.axhline(row, color=BAND, linewidth=0.8, zorder=0)
        names = [dated(id, day) for id, day in held.items()]
        face = NEWS if role == "primary" else "white"
        for k, (name, day) in enumerate(zip(names, held.values(), strict=True)):
            mark = axes.plot([day], [row], "o", color=NEWS, mfc=face, ms=6)  # type: ignore[arg-type]
            hint(mark, f"{name}: {role}")
            if role == "primary" and not narrow:
                note(axes, name, (day, row), (0, 6 if k % 2 else -13), ha="center", fontsize=SMALL)
        if narrow:
            said = f"{role}: {', '.join(names) if role == 'primary' else len(names)}"
            theme.above(axes, row, wrapped(said, theme.ACROSS), 6)
    axes.set_yticks([] if narrow else range(len(days)), [] if narrow else list(days))
    axes.set_ylim(len(days) - 0.4, -1.2 if narrow else -0.6)
    axes.grid(visible=False, axis="y")
    _dates(axes, narrow)


def _dates(axes: Axes, narrow: bool) -> None:
    """Leave fewer and shorter dates below the narrow form."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    if narrow:
        few = AutoDateLocator(minticks=3, maxticks=5)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(few)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(few))  # type: ignore[no-untyped-call]


def plot_sectors(paths: pd.DataFrame, events: Mapping[str, pd.Timestamp]) -> Picture:
    """Draw how far each sector has moved away from the market, with events marked.

    ``paths``, of shape (n_days, n_sectors), are cumulated returns less the market's, as decimals.
    """
    last = paths.ffill().iloc[-1].sort_values()
    words = ", ".join(f"{label(str(name))} {percent(float(v), 0)}" for name, v in last.items())
    inside = {id: day for id, day in events.items() if paths.index[0] <= day <= paths.index[-1]}

    def draw(axes: Axes, narrow: bool) -> None:
        axes.axhline(0, color=QUIET, linewidth=0.8)
        for name, end in last.items():
            line = axes.plot(paths.index, paths[name], color=theme.tone(str(name)), linewidth=1.3)
            hint(line, f"{label(str(name))}: {percent(float(end), 0)} at the end")
        _ends(axes, paths, last, narrow)
        for k, (id, day) in enumerate(sorted(inside.items(), key=lambda item: item[1])):
            mark = axes.axvline(day, color=NEWS, linewidth=0.8, linestyle=":")  # type: ignore[arg-type]
            hint(mark, dated(id, day))
            how: dict[str, Any] = {**TOP, "ha": "right", "color": NEWS, "fontsize": SMALL}
            lead = dict(arrowstyle="-", color=NEWS, lw=0.8, relpos=(1, 0), shrinkA=0, shrinkB=0)
            note(axes, dated(id, day), (day, 1), (-2, 3 + 11 * k), **how, arrowprops=lead)
        axes.set_xlim(paths.index[0], paths.index[-1])
        axes.set_ylabel("sum of daily returns less the market's")
        _dates(axes, narrow)
        theme.percent_axis(axes.yaxis)

    days = [str(day)[:10] for day in paths.index]
    found = {"top": last.index[-1], "high": last.iloc[-1], "first": f"{paths.index[0]:%B %Y}"}
    found |= {"bottom": last.index[0], "low": last.iloc[0], "said": words}
    found |= {"span": f"{days[0]} to {days[-1]}"}
    drawn = paths.round(COARSE).set_axis(days).reset_index(names="day")
    return theme.single(draw, (3.6, 4.0), **_about("sectors", drawn, **found))


def _ends(axes: Axes, paths: pd.DataFrame, last: pd.Series[float], narrow: bool) -> None:
    """Name every line: at its end, or in the narrow form below the axis, the highest first."""
    room = 0.055 * float(np.nanmax(paths.to_numpy()) - np.nanmin(paths.to_numpy()))
    height = -np.inf
    for k, (name, value) in enumerate(last.items()):
        height = max(float(value), height + room)
        words, colour = f"{theme.tag(str(name))} {percent(float(value), 0)}", theme.tone(str(name))
        if narrow:
            place = (0, 0), (0, -26 - 12 * (len(last) - 1 - k)), "axes fraction", "axes fraction"
            note(axes, words, *place, color=colour, va="top")
        else:
            note(axes, words, (1.01, height), (0, 0), "axes fraction", color=colour, va="center")


def plot_dose_response(responses: pd.DataFrame, row: Exposure) -> Picture:
    """Draw each firm's abnormal return against its dose; for local eyes, not for public pages.

    Returns are less the mean of the sector's unnamed firms at the event; the line is the slope of
    ``row``; hollow marks are firms in blackout, which the line does not use.
    """
    if responses.empty:
        why = row.reason or "no firm is named with dollars"
        return nothing(f"No picture of single firms' abnormal returns on dose: {why}.")
    named = responses[responses["dose"] > 0].sort_values("dose")
    rest = responses[(responses["dose"] == 0) & ~responses["blackout"]]
    firms = tables.records(named.assign(where=np.where(named["blackout"], " (in blackout)", "")))
    words = ", ".join(say("doses row", firm) for firm in firms)
    rise = row.slope.value if row.slope else None
    line = "" if rise is None else f"; the line rises {number(100 * rise, 1)} cents per dollar"
    drawn = pd.concat([named, rest])[["ticker", "event", "dose", "car_less_sector", "blackout"]]
    about = _about("doses", drawn, firms=len(named), line=line, rest=len(rest), said=words)
    return theme.single(partial(_dose_response, named, rest, rise), (3.8, 3.8), **about)


def _dose_response(
    named: pd.DataFrame, rest: pd.DataFrame, slope: float | None, axes: Axes, narrow: bool
) -> None:
    import seaborn as sns

    axes.axhline(0, color=QUIET, linewidth=0.8)
    strip = {"native_scale": True, "jitter": False, "color": BAND, "size": 3.5, "ax": axes}
    sns.stripplot(x=rest["dose"], y=rest["car_less_sector"], **strip)
    near, step = np.array([-np.inf, -np.inf]), 0
    reach = 0.2 * np.array([named["dose"].max(), np.ptp(axes.get_ylim())])
    for firm in named.to_dict("records"):
        colour = theme.tone(firm["sector"])
        place = np.array([firm["dose"], firm["car_less_sector"]])
        inside = "white" if firm["blackout"] else colour
        mark = axes.plot(*place, "o", color=colour, markerfacecolor=inside, markersize=7)
        step = step + 1 if (np.abs(place - near) < reach).all() else 0
        near = place
        words = f"{firm['ticker']}, {EVENT_NAMES.get(firm['event'], firm['event'])}"
        hint(mark, f"{words}: {percent(firm['car_less_sector'])}")
        note(axes, words, tuple(place), (6, 5 + 12 * step), color=colour)
    if slope is not None:
        end = float(named["dose"].max()) if len(named) else 0.0
        axes.plot([0.0, end], [0.0, slope * end], color=INK, linewidth=1.5)
    axes.set_xlabel(wrapped(PHRASES["axis doses"], 40 if narrow else 99))
    axes.set_ylabel("abnormal return less unnamed")
    theme.percent_axis(axes.yaxis)
    theme.percent_axis(axes.xaxis)
