"""Results as figures: units on every axis, a wide and a narrow form, words for the blind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from usjp_research.engine.placebo import Placebo
from usjp_research.report.tables import (
    cases_words,
    counted,
    curve_words,
    exposure_words,
    records,
    told,
    told_row,
    verdict_words,
)
from usjp_research.report.theme import (
    BAND,
    DOWN,
    IMPLIED,
    INK,
    ON_TINT,
    PAPER,
    QUIET,
    SMALL,
    TEXT,
    UP,
    WINDOW,
    Interval,
    Picture,
    above,
    both,
    canvas,
    interval_rows,
    note,
    panels,
    percent_axis,
    single,
    tag,
    tone,
    wrapped,
)
from usjp_research.spec.records import ROLES
from usjp_research.study.counterfactual import EXACT, POOR, Counterfactuals
from usjp_research.study.curve import CHOICES, Curve
from usjp_research.study.events import EventPanel
from usjp_research.study.exposure import Exposure
from usjp_research.study.reactions import EventPaths
from usjp_research.study.verdict import CASES, Verdict
from usjp_research.words import NOT_COUNTED, between, label, level, number, p_value, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


TOP: Mapping[str, Any] = {"up": "axes fraction", "ha": "center"}  # of a note above the axes


def nothing(why: str) -> Picture:
    """Return a sentence in place of a figure."""
    texts = [wrapped(why, most) for most in (110, 46)]

    def draw(axes: Axes, narrow: bool) -> None:
        axes.set_axis_off()
        how: dict[str, Any] = {"color": QUIET, "va": "center", "fontsize": TEXT}
        axes.text(0, 0.5, texts[narrow], transform=axes.transAxes, **how)

    return single(draw, why, [0.35 + 0.17 * (1 + text.count("\n")) for text in texts])


# --- intervals ---------------------------------------------------------------------------------


def plot_scoreboard(rows: Sequence[Verdict]) -> Picture:
    """Draw each row's interval against what the thesis implies."""
    if not rows:
        return nothing("There is no row.")
    words = (
        "dot and bar: observed abnormal return and its interval\n"
        "diamond and line: implied by the thesis, base case and range"
    )
    shown, said = [], []
    for row in rows:
        seen = told_row(row)
        shown.append(Interval(tag(row.name), says(row), tone(row.name), seen))
        said.append(
            f"{label(row.name)}: {verdict_words(row)}; observed {seen.observed()}, interval "
            f"{seen.interval()}, implied {cases_words(seen.share)}"
        )
    alt = f"Scoreboard. {'. '.join(said)}."
    return both(lambda narrow: interval_rows(shown, narrow, 0.62, words), alt)


def says(row: Verdict) -> str:
    """Return what stands beside a row's bar: its verdict, and what was expected if not a rise."""
    words = row.headline
    if row.reason:
        words += f"{';' if row.rests_on else ':'} {row.reason}"
    expected = {-1: "; expected: down", 0: "; told in the expected direction"}
    return words + expected.get(told_row(row).expected, "") if np.isfinite(row.effect) else words


def plot_counterfactuals(found: Counterfactuals) -> Picture:
    """Draw a sector's effect against every counterfactual, side by side with intervals.

    The rule is on top; a cross fits the sector poorly, a row without a dot says what it needs.
    """
    rows: list[dict[str, Any]] = records(found.rows)
    words = (
        "dot: abnormal return over the primary events, a cross where the fit is poor\n"
        f"bar: {level(found.alpha)} interval of the row alone"
    )
    shown, said = [], []
    for row in rows:
        name, exact, poor = str(row["model"]), row["fit"] == EXACT, row["fit"] == POOR
        if row["reason"]:
            why = EXACT if exact else "not computed: the table says why"
            shown.append(Interval(name, why, tone(found.sector)))
            said.append(f"{name}: {'' if exact else 'not computed, '}{row['reason']}")
            continue
        seen = told(row)
        beside = seen.move() + (", fits poorly" if poor else "")
        shown.append(Interval(name, beside, tone(found.sector), seen, "x" if poor else "o"))
        said.append(f"{name} {beside}, interval {seen.interval()}")
    alt = f"{label(found.sector)} against each counterfactual. {'; '.join(said)}."
    return both(lambda narrow: interval_rows(shown, narrow, 0.42, words), alt)


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
    marked = [{**row, "place": k} for k, row in enumerate(records(table)) if row["rule"]]
    said = "; ".join(
        f"{row['rule']} {percent(row['effect'])}, {between(row['low'], row['high'])}"
        for row in sorted(marked, key=lambda row: str(row["rule"]))
    )
    lines = sum(map(len, values.values())) + len(values)

    def form(narrow: bool) -> Figure:
        room = (0.3 if narrow else 0.19) * lines
        figure = canvas(narrow, 3.2 + room, 2, sharex=True, height_ratios=[2.6, room])
        _effects(figure.axes[0], table, marked, tone(name))
        _choices(figure.axes[1], table, values, tone(name), narrow)
        for axes, row in product(figure.axes, marked):
            axes.axvline(row["place"], color=INK, linewidth=0.8, linestyle=":")
        return figure

    return both(form, f"{curve_words(found, name)} {said}.")


def _effects(
    axes: Axes, table: pd.DataFrame, marked: Sequence[Mapping[str, Any]], colour: str
) -> None:
    """Draw every interval as a part of one line, the effects, and the rules' own."""
    shown = table.iloc[np.linspace(0, len(table) - 1, min(150, len(table))).round().astype(int)]
    broken = shown[["low", "high"]].assign(hole=np.nan).to_numpy("float64").ravel()
    axes.plot(np.repeat(shown.index, 3), broken, color=colour, alpha=0.35, linewidth=0.8)
    axes.plot(shown.index, shown["effect"], color=colour, linewidth=1.8)
    axes.axhline(0, color=QUIET, linewidth=0.8)
    for k, row in enumerate(marked):
        axes.plot([row["place"]] * 2, [row["low"], row["high"]], color=INK, linewidth=1.5)
        axes.plot(row["place"], row["effect"], "o", color=INK, markersize=5)
        note(axes, row["rule"], (row["place"], 1), (0, 3 + 11 * (k % 2)), **TOP)
    axes.set_ylabel("effect, each interval alone")
    axes.grid(visible=False, axis="x")
    percent_axis(axes.yaxis)


def _choices(
    axes: Axes,
    table: pd.DataFrame,
    values: Mapping[str, Sequence[str]],
    colour: str,
    narrow: bool,
) -> None:
    """Draw a row for each value of a choice, as high as its share of the specifications there."""
    parts = np.array_split(np.arange(len(table)), min(24, len(table)))
    edges = np.repeat([*(part[0] for part in parts), len(table)], 2)[1:-1]
    place, ticks = 0, dict[int, str]()
    for choice, named in values.items():
        note(axes, choice, (0, place + 0.9), (0, 0), "axes fraction", fontweight="bold")
        made = [table[choice] == value for value in named]
        shares = np.array([[one.iloc[part].mean() for part in parts] for one in made])
        for k, value in enumerate(named):
            place += 1
            ticks[place] = wrapped(value.partition(",")[0], 17 if narrow else 40)
            top = place + 0.9 - 0.8 * np.repeat(shares[k] / shares.max(), 2)
            axes.fill_between(edges, place + 0.9, top, color=colour, linewidth=0)
        place += 1
    axes.set_yticks([place + 0.6 for place in ticks], [*ticks.values()])
    axes.set_ylim(place + 0.2, 0)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_xlabel(
        wrapped(f"{len(table)} specifications, sorted by their effect", 30 if narrow else 80)
    )


# --- paths with a band -------------------------------------------------------------------------


def plot_caar(paths: EventPaths) -> Picture:
    """Draw the sector's cumulative abnormal return around each event, beside quiet dates.

    The shaded columns are the event window; the band holds the stated share of placebo paths.
    """
    if paths.reason:
        return nothing(f"{label(paths.sector)}: {paths.reason}")
    outside = ((paths.paths < paths.low) | (paths.paths > paths.high)).sum(axis=1)
    words = "; ".join(
        f"{event} ends at {percent(float(path[-1]))}, outside the band on {days} of "
        f"{len(paths.offsets)} days"
        for event, path, days in zip(paths.events, paths.paths, outside, strict=True)
    )
    days = zip(paths.events, paths.sessions, strict=True)
    shown = {f"{event}, {day}": (paths, k) for k, (event, day) in enumerate(days)}
    alt = (
        f"Cumulative abnormal return of {label(paths.sector)} around each primary event with the "
        f"{level(1 - paths.level)} band of {paths.shifts} placebo calendars. {words}."
    )
    return _bands(shown, alt, "sessions from day 0", window=True)


def _bands(
    shown: Mapping[str, tuple[EventPaths, int]], alt: str, words: str, *, window: bool
) -> Picture:
    """Draw paths, by their heads and each the k-th of its record, over the band of quiet dates."""
    import seaborn as sns

    def draw(axes: Axes, place: int, _: bool) -> None:
        paths, k = [*shown.values()][place]
        if window:
            axes.axvspan(paths.window[0] - 0.5, paths.window[1] + 0.5, color=WINDOW, zorder=0)
        axes.fill_between(paths.offsets, paths.low[k], paths.high[k], color=BAND, linewidth=0)
        axes.axhline(0, color=QUIET, linewidth=0.8)
        line = {"color": tone(paths.sector), "linewidth": 1.8, "errorbar": None}
        sns.lineplot(x=paths.offsets, y=paths.paths[k], ax=axes, **line)

    return panels([*shown], draw, alt, (2.4, 2.0), words=words)


def plot_campaign(paths: Sequence[EventPaths]) -> Picture:
    """Draw every sector through the whole campaign, beside windows as long in quiet years."""
    return _through(paths, "campaign", "Cumulative abnormal return", "the first event")


def plot_since(paths: Sequence[EventPaths]) -> Picture:
    """Draw every sector since the thesis was published, beside quiet windows as long."""
    return _through(
        paths, "time since publication", "Return less beta times the market's", "publication"
    )


def _through(paths: Sequence[EventPaths], what: str, number: str, start: str) -> Picture:
    if not paths:
        return nothing(f"No {what} lies inside the data.")
    words = "; ".join(
        f"{label(path.sector)} ends at {percent(float(path.paths[0][-1]), 0)}, band "
        f"{percent(float(path.low[0][-1]), 0)} to {percent(float(path.high[0][-1]), 0)}"
        for path in paths
    )
    alt = (
        f"{number} per sector through the whole {what} from "
        f"{paths[0].sessions[0]}, with the band that holds {level(1 - paths[0].level)} of windows "
        f"as long in quiet years, day by day. {words}."
    )
    shown = {label(path.sector): (path, 0) for path in paths}
    return _bands(shown, alt, f"sessions from {start}", window=False)


# --- laws --------------------------------------------------------------------------------------


def plot_placebo(law: Placebo) -> Picture:
    """Draw one group's statistic on every placebo calendar, and where the real one lies."""
    name = law.groups[0]
    if law.reason:
        return nothing(f"{label(name)}: {law.reason}")
    real = float(law.statistic[0])

    def draw(axes: Axes, narrow: bool) -> None:
        _law(axes, law.null_statistic[:, 0], "placebo calendars")
        _mark(axes, real, "the real dates", tone(name), linewidth=2.5)
        words = "S: abnormal return in the expected direction over its guarded standard error"
        axes.set_xlabel(wrapped(words, 42) if narrow else words)

    alt = (
        f"Histogram of S on {len(law)} placebo calendars for {label(name)}; the real dates have "
        f"S = {number(real, 2)}, placebo p {p_value(float(law.p[0]))}."
    )
    return single(draw, alt, (2.6, 2.6))


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
    alt = f"Share of planted effects that is found on random calendars, by their size: {shares}."
    return single(draw, alt, (2.8, 2.8))


def _law(axes: Axes, values: Any, words: str) -> None:
    """Draw what a statistic is on quiet dates."""
    import seaborn as sns

    sns.histplot(x=values, bins=40, color=BAND, edgecolor="white", ax=axes)
    axes.set_ylabel(words)


def _mark(axes: Axes, x: float, text: str, colour: str, up: int = 3, **line: Any) -> None:
    """Draw a value into a law, with its name above the axes, so many points up."""
    axes.axvline(x, color=colour, **line)
    note(axes, text, (x, 1), (0, up), **TOP, color=colour, fontweight="bold")


def plot_exposure(row: Exposure, *, public: bool = True) -> Picture:
    """Draw the slope on every quiet day, the one at the events, and what the thesis implies.

    For the ``public`` it draws the quiet days alone when one firm carries the slope; without a
    slope it shows what is implied and says why there is no more.
    """
    found = row.slope
    hidden = public and found is not None and not found.safe
    said = [exposure_words(row), *([row.headline] if found and found.rests_on else [])]
    if found:
        value = "withheld" if hidden else number(100 * found.value, 1)
        said.append(
            f"histogram of the slope on {len(found.law)} quiet days, centred at "
            f"{number(100 * found.raw.center, 1)}; at the events it is {value}, "
            f"p {p_value(found.raw.p_cdf)}" + (f" ({row.remark})" if row.remark else "")
        )
    else:
        said.append(f"no slope: {row.reason}")
    if row.implied:
        values = ", ".join(f"{case} {number(100 * v, 1)}" for case, v in row.implied.items())
        said.append(f"the thesis implies {values}")
    alt = f"Cents of market value per dollar announced. {'; '.join(said)}."
    return single(partial(_exposure, row, hidden), alt, (2.8, 2.8))


def _exposure(row: Exposure, hidden: bool, axes: Axes, narrow: bool) -> None:
    axes.set_xlabel("cents of market value per dollar announced")
    found = row.slope
    if found:
        _law(axes, 100 * found.quiet, "quiet days")
        if not hidden:
            _mark(axes, 100 * found.value, "the events", INK, linewidth=2.5)
    else:
        axes.set_yticks([])
        axes.axvline(0, color=QUIET, linewidth=1)
        text = wrapped(row.reason.replace("; ", ";\n"), 40 if narrow else 90)
        box = {"facecolor": "white", "edgecolor": BAND}
        axes.text(0.5, 0.15, text, transform=axes.transAxes, ha="center", fontsize=TEXT, bbox=box)
    if row.implied:
        low, base, high = (100 * row.implied[case] for case in CASES)
        axes.axvspan(low, high, color=IMPLIED, alpha=0.18, linewidth=0)
        up = 15 if found and not hidden else 3  # above the name of the slope
        _mark(axes, base, "the thesis", IMPLIED, up, linewidth=1.5, linestyle=":")
        if not found:
            far = max(abs(low), abs(base), abs(high))
            axes.set_xlim(*((-0.3 * far, 1.5 * far) if high >= 0 else (-1.5 * far, 0.3 * far)))


# --- reactions ---------------------------------------------------------------------------------


def _counting(reactions: pd.DataFrame, roles: Sequence[str]) -> pd.DataFrame:
    """Return the reactions at events of some roles: which count for their sector, and as words."""
    table = reactions[reactions["role"].isin(roles)]
    table = table.assign(own=np.array([counted(row) for row in records(table)], bool))
    marks = table["own"].map({True: "", False: f" {NOT_COUNTED}"})
    return table.assign(text=table["caar"].map(percent, na_action=None) + marks)


def _by_sector(table: pd.DataFrame) -> str:
    return ". ".join(
        f"{label(str(sector))}: {', '.join(rows['event'] + ' ' + rows['text'])}"
        for sector, rows in table.groupby("sector", sort=False)
    )


def plot_reactions(reactions: pd.DataFrame, roles: Sequence[str] = ("primary",)) -> Picture:
    """Draw the abnormal return of every sector at every event of some roles as a heat map.

    ``reactions`` is as `event_reactions` gives it. Each cell prints its number; a hollow circle
    marks what does not count for its sector, and such a cell has no colour.
    """
    table = _counting(reactions, roles)
    if table.empty or table["caar"].isna().all():
        return nothing("No event of these has an abnormal return.")
    table = table.assign(shown=table["caar"].where(table["own"], 0.0))
    order = [list(dict.fromkeys(table[name])) for name in ("sector", "event")]
    wide, text = (
        table.pivot(index="sector", columns="event", values=name).loc[order[0], order[1]]
        for name in ("shown", "text")
    )
    whole = bool(table["own"].all())
    key = "" if whole else f"{NOT_COUNTED} does not count for the row"
    marks = "" if whole else f" {NOT_COUNTED} marks what does not count for the row."
    alt = f"Abnormal return per sector and event. {_by_sector(table)}.{marks}"
    heights = (0.42 * len(wide) + 1.1, 0.66 * len(wide) + 1.1)
    return single(partial(_reactions, wide, text.fillna(""), key), alt, heights)


def _reactions(wide: pd.DataFrame, text: pd.DataFrame, key: str, axes: Axes, narrow: bool) -> None:
    """Draw the heat map; in the narrow form each sector's name has a line of its own."""
    import seaborn as sns
    from matplotlib.colors import LinearSegmentedColormap, to_hex

    size = float(np.nanmax(np.abs(wide.to_numpy()))) or 1.0
    names = [str(name) for name in wide.index]
    if narrow:
        lines = [part for name in names for part in (f"{name}:", name)]
        wide, text = wide.reindex(lines), text.reindex(lines, fill_value="")
        text = text.map(lambda cell: cell.replace(" ", "\n"))
    sns.heatmap(
        wide,
        annot=text,
        fmt="",
        cmap=LinearSegmentedColormap.from_list("reactions", [DOWN, PAPER, UP], N=257),
        vmin=-size,
        vmax=size,
        cbar=False,
        linewidths=1.5,
        linecolor="white",
        ax=axes,
        annot_kws={"color": ON_TINT, "fontsize": SMALL if narrow else TEXT},
    )
    faces = np.asarray(axes.collections[0].get_facecolor())[np.isfinite(wide.to_numpy().ravel())]
    for cell, face in zip(axes.texts, faces, strict=True):
        if to_hex(face) == PAPER.lower():  # it turns dark by night, and its words light
            cell.set_color(INK)
    axes.set(xlabel=key, ylabel="")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    if narrow:
        axes.set_yticks([])
        for k, name in enumerate(names):
            axes.text(0, 2 * k + 0.9, label(name), fontsize=TEXT, fontweight="bold")
    else:
        axes.set_yticks(axes.get_yticks(), [tag(name) for name in names], rotation=0)


def plot_events(reactions: pd.DataFrame, alpha: float) -> Picture:
    """Draw every sector's reaction to every primary event, one small panel a sector.

    The bars are forecast intervals of single events at level 1 - ``alpha``, from the guarded
    standard error and the normal law: a guide to the eye, not a test.
    """
    table = _counting(reactions, ["primary"])
    if table.empty:
        return nothing("No primary event has an abnormal return.")
    table = table.assign(half=NormalDist().inv_cdf(1 - alpha / 2) * table["se_guarded"])
    events = list(dict.fromkeys(table["event"]))
    sectors = {str(name): rows for name, rows in table.groupby("sector", sort=False)}

    def draw(axes: Axes, k: int, narrow: bool) -> None:
        colour, rows = tone([*sectors][k]), [*sectors.values()][k].dropna(subset=["caar"])
        axes.axhline(0, color=QUIET, linewidth=0.8)
        places = rows["event"].map(events.index)
        low, high = rows["caar"] - rows["half"], rows["caar"] + rows["half"]
        axes.vlines(places, low, high, colour, alpha=0.35)
        for own, face in ((True, colour), (False, "white")):
            dots = rows["caar"].where(rows["own"] == own)
            axes.plot(places, dots, "o", color=colour, markerfacecolor=face, markersize=5)
        axes.set_xticks(range(len(events)), events, rotation=90 if narrow else 0)
        axes.set_xlim(-0.5, len(events) - 0.5)
        axes.grid(visible=False, axis="x")

    alt = (
        f"Abnormal return of each sector at each primary event with a {level(alpha)} bar; hollow "
        f"dots ({NOT_COUNTED}) do not count for the sector. {_by_sector(table)}."
    )
    return panels([*map(label, sectors)], draw, alt, (2.0, 2.0), columns=4)


# --- the calendar and the market ---------------------------------------------------------------


def plot_calendar(panel: EventPanel) -> Picture:
    """Draw the events on a line of time, one row per role; filled marks count for the verdict."""
    days = {role: panel.days(role) for role in ROLES if panel.index(role)}
    if not days:
        return nothing("No event lies inside the data.")
    words = "; ".join(
        f"{role}: " + ", ".join(f"{id} {day.date()}" for id, day in dated.items())
        for role, dated in days.items()
    )
    alt = f"Events by role and first New York session. {words}."
    return single(partial(_calendar, days), alt, (0.5 * len(days) + 0.9, 0.62 * len(days) + 0.9))


def _calendar(days: Mapping[Any, Mapping[str, pd.Timestamp]], axes: Axes, narrow: bool) -> None:
    for row, (role, dated) in enumerate(days.items()):
        axes.axhline(row, color=BAND, linewidth=0.8, zorder=0)
        face = IMPLIED if role == "primary" else "white"
        axes.plot(list(dated.values()), [row] * len(dated), "o", color=IMPLIED, mfc=face, ms=6)  # type: ignore[arg-type]
        if narrow:
            above(axes, row, wrapped(f"{role}: {', '.join(dated)}", 46), 6)
            continue
        for k, (id, day) in enumerate(dated.items()):
            note(axes, id, (day, row), (0, 6 if k % 2 else -13), ha="center", fontsize=SMALL)
    axes.set_yticks([] if narrow else range(len(days)), [] if narrow else list(days))
    axes.set_ylim(len(days) - 0.4, -0.9 if narrow else -0.6)
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

    def draw(axes: Axes, narrow: bool) -> None:
        axes.axhline(0, color=QUIET, linewidth=0.8)
        for name in last.index:
            axes.plot(paths.index, paths[name], color=tone(str(name)), linewidth=1.3)
        _ends(axes, paths, last, narrow)
        for k, (id, day) in enumerate(events.items()):
            axes.axvline(day, color=IMPLIED, linewidth=0.8, linestyle=":")  # type: ignore[arg-type]
            up = 2 + 10 * (k % (3 if narrow else 2))
            note(axes, id, (day, 1), (0, up), **TOP, color=IMPLIED, fontsize=SMALL)
        axes.set_xlim(paths.index[0], paths.index[-1])
        axes.set_ylabel("sum of daily returns less the market's")
        _dates(axes, narrow)
        percent_axis(axes.yaxis)

    span = f"{paths.index[0].date()} to {paths.index[-1].date()}"
    alt = f"Sectors against the U.S. market, {span}, at the end: {words}."
    return single(draw, alt, (3.6, 4.0))


def _ends(axes: Axes, paths: pd.DataFrame, last: pd.Series[float], narrow: bool) -> None:
    """Name every line: at its end, or in the narrow form below the axis, the highest first."""
    room = 0.055 * float(np.nanmax(paths.to_numpy()) - np.nanmin(paths.to_numpy()))
    height = -np.inf
    for k, (name, value) in enumerate(last.items()):
        height = max(float(value), height + room)
        words = f"{tag(str(name))} {percent(float(value), 0)}"
        if narrow:
            shift = (0, -26 - 12 * (len(last) - 1 - k))
            place: tuple[Any, ...] = ((0, 0), shift, "axes fraction", "axes fraction")
        else:
            place = ((1.01, height), (0, 0), "axes fraction")
        note(axes, words, *place, color=tone(str(name)), va="top" if narrow else "center")


# --- doses ----------------------------------------------------------------------------------


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
    words = ", ".join(
        f"{firm['ticker']} dose {percent(firm['dose'], 0, sign=False)} return "
        f"{percent(firm['car_less_sector'])}{' (in blackout)' if firm['blackout'] else ''}"
        for firm in named.to_dict("records")
    )
    rise = row.slope.value if row.slope else None
    line = "" if rise is None else f"; the line rises {number(100 * rise, 1)} cents per dollar"
    alt = f"Abnormal return on dose, {len(rest)} unnamed firm-events at zero: {words}{line}."
    return single(partial(_dose_response, named, rest, rise), alt, (3.8, 3.8))


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
        colour = tone(firm["sector"])
        place = np.array([firm["dose"], firm["car_less_sector"]])
        inside = "white" if firm["blackout"] else colour
        axes.plot(*place, "o", color=colour, markerfacecolor=inside, markersize=7)
        step = step + 1 if (np.abs(place - near) < reach).all() else 0
        near = place
        words = f"{firm['ticker']}, {firm['event']}"
        note(axes, words, tuple(place), (6, 5 + 12 * step), color=colour)
    if slope is not None:
        end = float(named["dose"].max()) if len(named) else 0.0
        axes.plot([0.0, end], [0.0, slope * end], color=INK, linewidth=1.5)
    words = "dose: dollars announced over market value before the news"
    axes.set_xlabel(wrapped(words, 40) if narrow else words)
    axes.set_ylabel("abnormal return less unnamed")
    percent_axis(axes.yaxis)
    percent_axis(axes.xaxis)
