"""Results as figures: one theme, units on every axis, a description that comes with the picture."""

from __future__ import annotations

import base64
import io
import itertools
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from usjp_research.engine.placebo import Placebo
from usjp_research.report.strips import says, scoreboard_words
from usjp_research.report.tables import (
    counted,
    dollars,
    exposure_words,
    implied_digits,
    records,
    told,
    told_row,
)
from usjp_research.runs.store import write_whole
from usjp_research.spec.records import ROLES, in_project
from usjp_research.study.counterfactual import EXACT, POOR, Counterfactuals
from usjp_research.study.events import EventPanel
from usjp_research.study.exposure import Exposure
from usjp_research.study.reactions import EventPaths
from usjp_research.study.verdict import Verdict
from usjp_research.words import (
    NOT_COUNTED,
    label,
    level,
    moved,
    number,
    p_value,
    percent,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# Okabe and Ito's palette: told apart with any colour vision, and on paper.
COLOURS = {
    "power_utilities": "#0072B2",
    "ai_infrastructure": "#D55E00",
    "mining_metals": "#8C6D00",
    "defense_aerospace": "#4B4B4B",
    "manufacturing_logistics": "#007A5A",
    "pharma_biotech": "#A8477F",
}
INK, QUIET, BAND = "#1B1F24", "#5B6570", "#D5DAE0"
GRID, WINDOW, PAPER = "#E8EBEE", "#F3EBD9", "#FFFFFF"
IMPLIED = "#B3470B"
UP, DOWN = "#8FBCE6", "#F0B477"  # a rise and a fall, as in the table of the first page
ON_TINT = "#15191E"  # words on a light tint, which stays light by night

LONGEST = 34  # characters of a label on an axis
PIXELS, TONES = 120, 128  # per inch of a PNG, and its colours: half the bytes of all

# What each colour becomes where the reader's screen is dark; paper stays white.
NIGHT = {
    "#000000": "#E4E8ED",  # what matplotlib draws when nobody chose a colour
    INK: "#E4E8ED",
    QUIET: "#A5AFBB",
    BAND: "#3D4855",
    GRID: "#262E37",
    WINDOW: "#3A3220",
    PAPER: "#13171C",
    IMPLIED: "#FF9A5C",
    COLOURS["power_utilities"]: "#5DB7F0",
    COLOURS["ai_infrastructure"]: "#FF8F4A",
    COLOURS["mining_metals"]: "#D8B23C",
    COLOURS["defense_aerospace"]: "#B9C0C8",
    COLOURS["manufacturing_logistics"]: "#3CC79B",
    COLOURS["pharma_biotech"]: "#E58CC3",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure and the words for a reader who cannot see it.

    Attributes
    ----------
    figure : matplotlib Figure
        Not registered with pyplot, so that nothing is shown twice.
    alt : str
        Made from the numbers that are drawn.
    """

    figure: Figure
    alt: str

    @property
    def axes(self) -> list[Axes]:
        """The axes, to change anything about them."""
        return list(self.figure.axes)

    def svg(self) -> bytes:
        """Return the picture as SVG, dark on a dark screen; the same bytes for the same numbers."""
        import matplotlib

        buffer = io.BytesIO()
        with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "usjp"}):
            self.figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        head, end, _ = buffer.getvalue().rpartition(b"</svg>")
        return head + _night().encode() + end + b"\n"

    def png(self) -> bytes:
        """Return the picture as PNG, for readers that draw no SVG; same numbers, same bytes."""
        from PIL import Image

        drawn, packed = io.BytesIO(), io.BytesIO()
        self.figure.savefig(drawn, format="png", dpi=PIXELS, metadata={"Software": None})
        pixels = np.asarray(Image.open(drawn).convert("RGB")).astype(np.int32)
        values, place, counts = np.unique(
            pixels @ [1 << 16, 1 << 8, 1], return_inverse=True, return_counts=True
        )
        tones = (values[:, None] >> np.array([16, 8, 0])) & 255
        kept = tones[np.argsort(-counts, kind="stable")[:TONES]]  # areas and lines stay exact
        nearest = ((tones[:, None] - kept) ** 2).sum(axis=2).argmin(axis=1).astype(np.uint8)
        image = Image.fromarray(nearest[place].reshape(pixels.shape[:2]))
        image.putpalette(kept.astype(np.uint8).tobytes())
        image.save(packed, "PNG", optimize=True)
        return packed.getvalue()

    def save(self, path: str | Path) -> Path:
        """Write the SVG, and the words beside it with the ending ``.txt``."""
        path = in_project(Path(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, self.svg())
        write_whole(path.with_suffix(".txt"), self.alt.encode())
        return path

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        # JupyterLab draws no SVG in a notebook that another process ran: it is not trusted.
        data = {"image/svg+xml": self.svg().decode(), "text/plain": self.alt}
        data["image/png"] = base64.b64encode(self.png()).decode()
        width, height = (round(96 * inches) for inches in self.figure.get_size_inches())
        return data, {"alt": self.alt, "image/png": {"width": width, "height": height}}


def _night() -> str:
    """Return the style that exchanges the theme's colours; a picture cannot see its page's."""
    rules = "".join(
        f'[style*="{part}: {day.lower()}"]{{{part}:{night.lower()} !important}}'
        for day, night in NIGHT.items()
        for part in ("fill", "stroke")
    )
    rules = f"svg{{fill:{NIGHT[INK].lower()}}}{rules}"  # shapes that name no colour inherit it
    return f"<style>@media screen and (prefers-color-scheme:dark){{{rules}}}</style>"


def _canvas(width: float, height: float, rows: int = 1, columns: int = 1, **more: Any) -> Figure:
    import seaborn as sns
    from matplotlib.figure import Figure

    style = {
        "axes.edgecolor": BAND,
        "axes.labelcolor": QUIET,
        "xtick.color": QUIET,
        "ytick.color": INK,
        "text.color": INK,
        "grid.color": GRID,
        "font.family": "sans-serif",
        "font.size": 10,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
    }
    with sns.axes_style("whitegrid", rc=style):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)
        figure.subplots(rows, columns, squeeze=False, **more)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _tag(name: str) -> str:
    """Return a label that leaves room for the drawing, however long the name is."""
    lines = label(name).replace("$", r"\$").split(": ")
    return ":\n".join(line if len(line) <= LONGEST else f"{line[:LONGEST]}…" for line in lines)


def _percent_axis(axis: Any) -> None:
    """Label an axis in percent, with the digits that its ticks need to be told apart."""
    from matplotlib.ticker import FuncFormatter

    def words(value: float, _: object) -> str:
        return percent(value, tick_digits(axis.get_majorticklocs()))

    axis.set_major_formatter(FuncFormatter(words))


def tick_digits(places: Sequence[float]) -> int:
    """Return how many decimals of a percent show every tick as it is.

    Examples
    --------
    >>> tick_digits([-0.05, 0.0, 0.05]), tick_digits([0.0, 0.025]), tick_digits([0.0, 0.00125])
    (0, 1, 3)
    """
    ticks = 100 * np.asarray(places, float)
    return next((k for k in range(6) if np.allclose(ticks, ticks.round(k), rtol=0, atol=1e-9)), 6)


def plot_scoreboard(rows: Sequence[Verdict]) -> Picture:
    """Draw each row's interval against what the thesis implies.

    Parameters
    ----------
    rows : sequence of Verdict

    Returns
    -------
    Picture
    """
    figure = _canvas(9.2, 0.62 * len(rows) + 1.0)
    (axes,) = figure.axes
    axes.axvline(0, color=QUIET, linewidth=1)
    for place, (row, seen) in enumerate((row, told_row(row)) for row in rows):
        colour = COLOURS.get(row.name.split(":")[0], INK)
        axes.plot(
            [seen.low, seen.high],
            [place, place],
            color=colour,
            linewidth=5,
            solid_capstyle="butt",
            alpha=0.35,
        )
        axes.plot([seen.effect], [place], "o", color=colour, markersize=7)
        share = seen.share
        if share:
            axes.plot([share["low"], share["high"]], [place - 0.28] * 2, color=IMPLIED, linewidth=2)
            axes.plot([share["base"]], [place - 0.28], "D", color=IMPLIED, markersize=5)
        edge = max(0.0, *(end for end in (seen.high, *share.values()) if np.isfinite(end)), 0.0)
        axes.annotate(
            textwrap.fill(says(row), 36),
            (edge, place),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=INK,
        )
    axes.set_yticks(range(len(rows)), [_tag(row.name) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.7)
    low, high = axes.get_xlim()
    axes.set_xticks([tick for tick in axes.get_xticks() if low <= tick <= high])
    axes.set_xlim(low, high + 0.55 * (high - low))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(
        "dot and bar: observed abnormal return and its interval\n"
        "diamond and line: implied by the thesis, base case and range"
    )
    _percent_axis(axes.xaxis)
    return Picture(figure, scoreboard_words(rows))


def plot_caar(paths: EventPaths) -> Picture:
    """Draw the sector's cumulative abnormal return around each event, beside quiet dates.

    Parameters
    ----------
    paths : EventPaths

    Returns
    -------
    Picture
        One panel per event; the shaded columns are the event window, the band holds the stated
        share of placebo paths.
    """
    if paths.reason:
        return _nothing(f"{label(paths.sector)}: {paths.reason}")
    count = len(paths.events)
    columns = count if count < 4 else 2 if count == 4 else 3
    rows = -(-count // columns)
    figure = _canvas(9.2, 2.5 * rows + 0.3, rows, columns, sharex=True, sharey=True)
    colour = COLOURS.get(paths.sector, INK)
    words = []
    for k, axes in enumerate(figure.axes):
        if k >= count:
            axes.set_visible(False)
            continue
        axes.axvspan(paths.window[0] - 0.5, paths.window[1] + 0.5, color=WINDOW, zorder=0)
        axes.fill_between(paths.offsets, paths.low[k], paths.high[k], color=BAND, linewidth=0)
        axes.axhline(0, color=QUIET, linewidth=0.8)
        axes.plot(paths.offsets, paths.paths[k], color=colour, linewidth=1.8)
        axes.set_title(f"{paths.events[k]}, {paths.sessions[k]}")
        _percent_axis(axes.yaxis)
        end = float(paths.paths[k][-1])
        outside = int(((paths.paths[k] < paths.low[k]) | (paths.paths[k] > paths.high[k])).sum())
        words.append(
            f"{paths.events[k]} ends at {percent(end)}, outside the band on {outside} of "
            f"{len(paths.offsets)} days"
        )
    for axes in figure.axes[max(0, count - columns) : count]:
        axes.set_xlabel("sessions from day 0")
    alt = (
        f"Cumulative abnormal return of {label(paths.sector)} around each primary event with the "
        f"{level(1 - paths.level)} band of {paths.shifts} placebo calendars. {'; '.join(words)}."
    )
    return Picture(figure, alt)


def plot_campaign(paths: Sequence[EventPaths]) -> Picture:
    """Draw every sector through the whole campaign, beside windows as long in quiet years.

    Parameters
    ----------
    paths : sequence of EventPaths
        One per sector, as `campaign_paths` gives them.

    Returns
    -------
    Picture
    """
    if not paths:
        return _nothing("No campaign lies inside the data.")
    columns = 3
    rows = -(-len(paths) // columns)
    figure = _canvas(9.2, 2.3 * rows + 0.3, rows, columns, sharex=True, sharey=True)
    words = []
    for axes, path in itertools.zip_longest(figure.axes, paths):
        if path is None:
            axes.set_visible(False)
            continue
        colour = COLOURS.get(path.sector, INK)
        axes.fill_between(path.offsets, path.low[0], path.high[0], color=BAND, linewidth=0)
        axes.axhline(0, color=QUIET, linewidth=0.8)
        axes.plot(path.offsets, path.paths[0], color=colour, linewidth=1.6)
        axes.set_title(label(path.sector), fontsize=9)
        _percent_axis(axes.yaxis)
        words.append(
            f"{label(path.sector)} ends at {percent(float(path.paths[0][-1]), 0)}, band "
            f"{percent(float(path.low[0][-1]), 0)} to {percent(float(path.high[0][-1]), 0)}"
        )
    for axes in figure.axes[max(0, len(paths) - columns) : len(paths)]:
        axes.set_xlabel("sessions from the first event")
    return Picture(
        figure,
        f"Cumulative abnormal return per sector through the whole campaign from "
        f"{paths[0].sessions[0]}, with the band that holds {level(1 - paths[0].level)} of windows "
        f"as long in quiet years, day by day. {'; '.join(words)}.",
    )


def _nothing(why: str) -> Picture:
    """Draw a sentence in place of a figure."""
    figure = _canvas(9.2, 0.6)
    (axes,) = figure.axes
    axes.set_axis_off()
    axes.text(0, 0.5, why, color=QUIET, va="center", transform=axes.transAxes)
    return Picture(figure, why)


def plot_waterfall(rows: Sequence[Verdict]) -> Picture:
    """Draw how dollars announced become present value, per row that has an implied value.

    Parameters
    ----------
    rows : sequence of Verdict

    Returns
    -------
    Picture
        Bars are the size of the base case on a logarithmic axis, lines the low and high case.
    """
    shown = [row for row in rows if row.implied.share]
    if not shown:
        return _nothing("No row has an implied value: there is no thesis, or no market value.")
    columns = 2
    lines = -(-len(shown) // columns)
    figure = _canvas(9.2, 2.1 * lines + 0.4, lines, columns, sharex=True)
    words = []
    for axes, row in itertools.zip_longest(figure.axes, shown):
        if row is None:
            axes.set_visible(False)
            continue
        colour = COLOURS.get(row.name.split(":")[0], INK)
        steps = _waterfall(row)
        for place, (_, base, low, high) in enumerate(steps):
            axes.barh(place, abs(base), left=1e-3, color=colour, alpha=0.35, height=0.62)
            if low and high and low != high:
                axes.plot([abs(low), abs(high)], [place, place], color=colour, linewidth=1.4)
            axes.annotate(
                dollars(base),
                (max(map(abs, (base, low, high))), place),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        axes.set_xscale("log")
        axes.set_xlim(1e-3, 4e5)
        axes.set_yticks(range(len(steps)), [name for name, *_ in steps], fontsize=8)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="x", which="both", labelbottom=False, length=0)
        worth = told_row(row).share["base"]
        share = percent(worth, implied_digits(worth))
        name = label(row.name).replace(" minus unnamed", " firms")
        axes.set_title(f"{name}\n{share} of market value", fontsize=9)
        parts = ", ".join(f"{name} {dollars(base)}" for name, base, *_ in steps)
        words.append(f"{label(row.name)}: {parts} USD bn, {share} of market value")
    return Picture(figure, "From dollars announced to value, base case. " + ". ".join(words) + ".")


def _waterfall(row: Verdict) -> list[tuple[str, float, float, float]]:
    implied = row.implied
    steps = [("announced", implied.announced, 0.0, 0.0)]
    for name, part in (
        ("spent", implied.spent),
        ("revenue of listed firms", implied.revenue),
        ("profit", implied.profit),
        ("after tax", implied.after_tax),
        ("present value", implied.dollars),
    ):
        steps.append((name, part["base"], part["low"], part["high"]))
    steps.append(("market value", implied.market_value or 0.0, 0.0, 0.0))
    return steps


def plot_placebo(law: Placebo) -> Picture:
    """Draw the statistic on every placebo calendar, and where the real one lies.

    Parameters
    ----------
    law : Placebo
        Of one group.

    Returns
    -------
    Picture
    """
    import seaborn as sns

    if law.reason:
        return _nothing(f"{label(law.groups[0])}: {law.reason}")
    figure = _canvas(9.2, 2.6)
    (axes,) = figure.axes
    colour = COLOURS.get(law.groups[0], INK)
    sns.histplot(x=law.null_statistic[:, 0], bins=40, color=BAND, edgecolor="white", ax=axes)
    axes.axvline(float(law.statistic[0]), color=colour, linewidth=2.5)
    axes.annotate(
        "the real dates",
        (float(law.statistic[0]), axes.get_ylim()[1]),
        xytext=(6, -10),
        textcoords="offset points",
        color=colour,
        fontweight="bold",
    )
    axes.set_xlabel("S: abnormal return in the expected direction over its guarded standard error")
    axes.set_ylabel("placebo calendars")
    alt = (
        f"Histogram of S on {len(law)} placebo calendars for {label(law.groups[0])}; the real "
        f"dates have S = {number(float(law.statistic[0]), 2)}, "
        f"placebo p {p_value(float(law.p[0]))}."
    )
    return Picture(figure, alt)


def plot_counterfactuals(found: Counterfactuals) -> Picture:
    """Draw a sector's effect against every counterfactual, side by side with intervals.

    Parameters
    ----------
    found : Counterfactuals

    Returns
    -------
    Picture
        Dot and bar per model, the rule on top; a cross fits the sector poorly, and a row
        without a dot says what it needs.
    """
    rows = found.rows.to_dict("records")
    figure = _canvas(9.2, 0.42 * len(rows) + 1.0)
    (axes,) = figure.axes
    colour = COLOURS.get(found.sector, INK)
    axes.axvline(0, color=QUIET, linewidth=1)
    words = []
    for place, row in enumerate(rows):
        if row["reason"]:
            axes.annotate(
                EXACT if row["fit"] == EXACT else "not computed: the table says why",
                (0, place),
                xytext=(8, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
                color=QUIET,
            )
            lacking = "" if row["fit"] == EXACT else "not computed, "
            words.append(f"{row['model']}: {lacking}{row['reason']}")
            continue
        poor = row["fit"] == POOR
        seen = told(row["effect"], row["low"], row["high"], {}, int(row["sign"]))
        size = moved(row["effect"], int(row["sign"])) + (", fits poorly" if poor else "")
        axes.plot(
            [seen.low, seen.high],
            [place, place],
            color=colour,
            linewidth=5,
            solid_capstyle="butt",
            alpha=0.45 if place == 0 else 0.25,
        )
        axes.plot(
            [seen.effect],
            [place],
            "x" if poor else "o",
            color=colour,
            markersize=7,
            markeredgewidth=2 if poor else 1,
        )
        axes.annotate(
            size,
            (seen.high, place),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
        words.append(f"{row['model']} {size}, interval {seen.interval()}")
    axes.set_yticks(range(len(rows)), [str(row["model"]) for row in rows])
    axes.get_yticklabels()[0].set_fontweight("bold")
    axes.set_ylim(len(rows) - 0.4, -0.7)
    low, high = axes.get_xlim()
    axes.set_xticks([tick for tick in axes.get_xticks() if low <= tick <= high])
    axes.set_xlim(low, high + 0.25 * (high - low))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(
        "dot: abnormal return over the primary events, a cross where the fit is poor\n"
        f"bar: {level(found.alpha)} interval of the row alone"
    )
    _percent_axis(axes.xaxis)
    alt = f"{label(found.sector)} against each counterfactual. {'; '.join(words)}."
    return Picture(figure, alt)


def plot_reactions(reactions: pd.DataFrame, roles: Sequence[str] = ("primary",)) -> Picture:
    """Draw the abnormal return of every sector at every event of some roles as a heat map.

    Parameters
    ----------
    reactions : DataFrame
        As `event_reactions` gives it.
    roles : sequence of str

    Returns
    -------
    Picture
        Each cell prints its number; nothing is said by colour alone. A hollow circle marks what
        does not count for its sector; such a cell has no colour.
    """
    import seaborn as sns
    from matplotlib.colors import LinearSegmentedColormap

    table = reactions[reactions["role"].isin(roles)]
    if table.empty or table["caar"].isna().all():
        return _nothing("No event of these has an abnormal return.")
    inside = np.array([counted(row) for row in records(table)])
    table = table.assign(
        shown=table["caar"].where(inside, 0.0),
        text=[
            percent(value) + ("" if own else f" {NOT_COUNTED}")
            for value, own in zip(table["caar"], inside, strict=True)
        ],
    )
    order = [list(dict.fromkeys(table[name])) for name in ("sector", "event")]
    wide, text = (
        table.pivot(index="sector", columns="event", values=name).loc[order[0], order[1]]
        for name in ("shown", "text")
    )
    figure = _canvas(9.2, 0.42 * len(wide) + 1.1)
    (axes,) = figure.axes
    size = float(np.nanmax(np.abs(wide.to_numpy()))) or 1.0
    sns.heatmap(
        wide,
        annot=text.fillna(""),
        fmt="",
        cmap=LinearSegmentedColormap.from_list("reactions", [DOWN, PAPER, UP], N=257),
        vmin=-size,
        vmax=size,
        cbar=False,
        linewidths=1.5,
        linecolor="white",
        ax=axes,
        annot_kws={"color": ON_TINT, "fontsize": 9},
    )
    axes.set_yticks(axes.get_yticks(), [_tag(str(name)) for name in wide.index], rotation=0)
    whole = bool(inside.all())
    axes.set(xlabel="" if whole else f"{NOT_COUNTED} does not count for the row", ylabel="")
    axes.tick_params(length=0)
    words = [
        f"{label(str(name))}: "
        + ", ".join(
            f"{event} {text.loc[name, event]}"
            for event in wide.columns
            if isinstance(text.loc[name, event], str)
        )
        for name in wide.index
    ]
    key = "" if whole else f" {NOT_COUNTED} marks what does not count for the row."
    return Picture(figure, f"Abnormal return per sector and event. {'. '.join(words)}.{key}")


def plot_calendar(panel: EventPanel) -> Picture:
    """Draw the events on a line of time, one row per role.

    Parameters
    ----------
    panel : EventPanel

    Returns
    -------
    Picture
        Filled marks count for the verdict; the days of primary, secondary and leak events are
        masked when anything is estimated.
    """
    roles = list(dict.fromkeys(role for role in ROLES if panel.index(role)))
    if not roles:
        return _nothing("No event lies inside the data.")
    figure = _canvas(9.2, 0.5 * len(roles) + 0.9)
    (axes,) = figure.axes
    words = []
    for row, role in enumerate(roles):
        days = list(panel.days(role).items())
        axes.axhline(row, color=BAND, linewidth=0.8, zorder=0)
        face = IMPLIED if role == "primary" else "white"
        for k, (id, day) in enumerate(days):
            axes.plot([day], [row], "o", color=IMPLIED, markerfacecolor=face, markersize=6)  # type: ignore[arg-type]
            axes.annotate(
                id,
                (day, row),
                xytext=(0, 6 if k % 2 else -13),
                textcoords="offset points",
                ha="center",
                fontsize=7.5,
            )
        dated = ", ".join(f"{id} {day.date()}" for id, day in days)
        words.append(f"{role}: {dated}")
    axes.set_yticks(range(len(roles)), roles)
    axes.set_ylim(len(roles) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    return Picture(figure, f"Events by role and first New York session. {'; '.join(words)}.")


def plot_events(reactions: pd.DataFrame, alpha: float) -> Picture:
    """Draw every sector's reaction to every primary event, one small panel a sector.

    Parameters
    ----------
    reactions : DataFrame
        As `event_reactions` gives it.
    alpha : float
        Of the bars: forecast intervals of single events, from the guarded standard error and
        the normal law; a guide to the eye, not a test.

    Returns
    -------
    Picture
    """
    from statistics import NormalDist

    table = reactions[reactions["role"] == "primary"]
    sectors = list(dict.fromkeys(table["sector"]))
    events = list(dict.fromkeys(table["event"]))
    reach = NormalDist().inv_cdf(1 - alpha / 2)
    columns = 4
    lines = -(-len(sectors) // columns)
    figure = _canvas(9.2, 2.0 * lines + 0.4, max(1, lines), columns, sharex=True, sharey=True)
    words = []
    for axes in figure.axes[max(0, len(sectors) - columns) : len(sectors)]:
        axes.tick_params(labelbottom=True)
    for axes, sector in itertools.zip_longest(figure.axes, sectors):
        if sector is None:
            axes.set_visible(False)
            continue
        colour = COLOURS.get(str(sector), INK)
        rows = table[table["sector"] == sector].set_index("event").reindex(events)
        axes.axhline(0, color=QUIET, linewidth=0.8)
        for place, row in enumerate(rows.itertuples()):
            if np.isnan(row.caar):
                continue
            half = reach * row.se_guarded
            axes.plot([place] * 2, [row.caar - half, row.caar + half], color=colour, alpha=0.35)
            face = colour if counted(row._asdict()) else "white"
            axes.plot([place], [row.caar], "o", color=colour, markerfacecolor=face, markersize=5)
        axes.set_xticks(range(len(events)), events)
        axes.set_xlim(-0.5, len(events) - 0.5)
        axes.grid(visible=False, axis="x")
        axes.set_title(label(str(sector)), fontsize=9)
        _percent_axis(axes.yaxis)
        found = ", ".join(
            f"{row.Index} {percent(row.caar)}{'' if counted(row._asdict()) else f' {NOT_COUNTED}'}"
            for row in rows.dropna(subset=["sign"]).itertuples()
        )
        words.append(f"{label(str(sector))}: {found}")
    return Picture(
        figure,
        f"Abnormal return of each sector at each primary event with a {level(alpha)} bar; hollow "
        f"dots ({NOT_COUNTED}) do not count for the sector. {'. '.join(words)}.",
    )


def plot_sectors(paths: pd.DataFrame, events: Mapping[str, pd.Timestamp]) -> Picture:
    """Draw how far each sector has moved away from the market, with events marked.

    Parameters
    ----------
    paths : DataFrame of shape (n_days, n_sectors)
        Cumulated returns relative to the market, as decimals.
    events : mapping of str to Timestamp

    Returns
    -------
    Picture
    """
    figure = _canvas(9.2, 3.6)
    (axes,) = figure.axes
    axes.axhline(0, color=QUIET, linewidth=0.8)
    last = paths.ffill().iloc[-1].sort_values()
    room = 0.055 * float(np.nanmax(paths.to_numpy()) - np.nanmin(paths.to_numpy()))
    height = -np.inf
    for name, value in last.items():
        colour = COLOURS.get(str(name), INK)
        axes.plot(paths.index, paths[name], color=colour, linewidth=1.3)
        height = max(float(value), height + room)
        axes.annotate(
            f"{_tag(str(name))} {percent(float(value), 0)}",
            (1.01, height),
            xycoords=("axes fraction", "data"),
            color=colour,
            fontsize=9,
            va="center",
            annotation_clip=False,
        )
    for k, (id, day) in enumerate(events.items()):
        axes.axvline(day, color=IMPLIED, linewidth=0.8, linestyle=":")  # type: ignore[arg-type]
        axes.annotate(
            id,
            (day, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2 + 10 * (k % 2)),
            textcoords="offset points",
            fontsize=8,
            ha="center",
            color=IMPLIED,
            annotation_clip=False,
        )
    axes.set_xlim(paths.index[0], paths.index[-1])
    axes.set_ylabel("sum of daily returns less the market's")
    _percent_axis(axes.yaxis)
    words = ", ".join(f"{label(str(name))} {percent(float(v), 0)}" for name, v in last.items())
    return Picture(
        figure,
        f"Sectors against the U.S. market, {paths.index[0].date()} to "
        f"{paths.index[-1].date()}, at the end: {words}.",
    )


def plot_exposure(row: Exposure, *, public: bool = True) -> Picture:
    """Draw the slope on every quiet day, the one at the events, and what the thesis implies.

    Parameters
    ----------
    row : Exposure
    public : bool
        Draw only the quiet days when one firm carries the slope at the events.

    Returns
    -------
    Picture
        Without a slope it shows what is implied and says why there is no more.
    """
    import seaborn as sns

    figure = _canvas(9.2, 2.8)
    (axes,) = figure.axes
    found = row.slope
    axes.set_xlabel("cents of market value per dollar announced")
    said = [exposure_words(row)]
    if found:
        if found.rests_on:
            said.append(row.headline)
        sns.histplot(x=100 * found.quiet, bins=40, color=BAND, edgecolor="white", ax=axes)
        axes.set_ylabel("quiet days")
        words = f"withheld, p {p_value(found.raw.p_cdf)}"
        if found.safe or not public:
            words = f"{number(100 * found.value, 1)}, p {p_value(found.raw.p_cdf)}"
            axes.axvline(100 * found.value, color=INK, linewidth=2.5)
            side = "right" if found.value > found.quiet.max() else "left"
            shift = (-6 if side == "right" else 6, -12)
            _at_top(axes, 100 * found.value, "the events", INK, shift, side)
        said.append(
            f"histogram of the slope on {len(found.law)} quiet days, centred at "
            f"{number(100 * found.raw.center, 1)}; at the events it is {words}"
            + (f" ({row.remark})" if row.remark else "")
        )
    else:
        axes.set_yticks([])
        axes.axvline(0, color=QUIET, linewidth=1)
        axes.text(
            0.5,
            0.15,
            row.reason.replace("; ", ";\n"),
            transform=axes.transAxes,
            ha="center",
            bbox={"facecolor": "white", "edgecolor": BAND},
        )
        said.append(f"no slope: {row.reason}")
    if row.implied:
        low, base, high = (100 * row.implied[case] for case in ("low", "base", "high"))
        axes.axvspan(low, high, color=IMPLIED, alpha=0.18, linewidth=0)
        axes.axvline(base, color=IMPLIED, linewidth=1.5, linestyle=":")
        if not found:
            far = max(abs(low), abs(base), abs(high))
            axes.set_xlim(*((-0.3 * far, 1.5 * far) if high >= 0 else (-1.5 * far, 0.3 * far)))
        _at_top(axes, base, "the thesis", IMPLIED, (0, 3), "center")
        values = ", ".join(f"{case} {number(100 * v, 1)}" for case, v in row.implied.items())
        said.append(f"the thesis implies {values}")
    return Picture(figure, f"Cents of market value per dollar announced. {'; '.join(said)}.")


def _at_top(
    axes: Axes, x: float, text: str, colour: str, shift: tuple[int, int], side: str
) -> None:
    axes.annotate(
        text,
        (x, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=shift,
        textcoords="offset points",
        ha=side,
        color=colour,
        fontweight="bold",
        fontsize=9,
        annotation_clip=False,
    )


def plot_dose_response(responses: pd.DataFrame, row: Exposure) -> Picture:
    """Draw each firm's abnormal return against its dose; for local eyes, not for public pages.

    Parameters
    ----------
    responses : DataFrame
        As `dose_response` gives it.
    row : Exposure
        Its slope is the line.

    Returns
    -------
    Picture
        Abnormal returns are less the mean of the sector's unnamed firms at the event; hollow
        marks are firms in blackout, which the line does not use.
    """
    figure = _canvas(9.2, 1.0 if responses.empty else 3.8)
    (axes,) = figure.axes
    if responses.empty:
        axes.set_axis_off()
        text = row.reason or "no firm is named with dollars"
        words = text.replace("; ", ";\n")
        axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center")
        return Picture(figure, f"No picture of single firms' abnormal returns on dose: {text}.")
    named = responses[responses["dose"] > 0].sort_values("dose")
    rest = responses[(responses["dose"] == 0) & ~responses["blackout"]]
    axes.axhline(0, color=QUIET, linewidth=0.8)
    axes.plot(rest["dose"], rest["car_less_sector"], "o", color=BAND, markersize=3.5)
    near, step = -np.inf, 0
    for firm in named.to_dict("records"):
        colour = COLOURS.get(firm["sector"], INK)
        place = (firm["dose"], firm["car_less_sector"])
        inside = "white" if firm["blackout"] else colour
        axes.plot(*place, "o", color=colour, markerfacecolor=inside, markersize=7)
        step = step + 1 if firm["dose"] - near < 0.15 * named["dose"].max() else 0
        near = firm["dose"]
        axes.annotate(
            f"{firm['ticker']}, {firm['event']}",
            place,
            xytext=(6, 5 + 12 * step),
            textcoords="offset points",
            fontsize=9,
            color=colour,
        )
    if row.slope:
        ends = np.array([0.0, float(responses["dose"].max())])
        axes.plot(ends, row.slope.value * ends, color=INK, linewidth=1.5)
    axes.set_xlabel("dose: dollars announced over market value before the news")
    axes.set_ylabel("abnormal return less unnamed")
    _percent_axis(axes.yaxis)
    _percent_axis(axes.xaxis)
    words = ", ".join(
        f"{firm['ticker']} dose {percent(firm['dose'], 0, sign=False)} return "
        f"{percent(firm['car_less_sector'])}{' (in blackout)' if firm['blackout'] else ''}"
        for firm in named.to_dict("records")
    )
    rise = number(100 * row.slope.value, 1) if row.slope else ""
    line = f"; the line rises {rise} cents per dollar" if rise else ""
    return Picture(
        figure, f"Abnormal return on dose, {len(rest)} unnamed firm-events at zero: {words}{line}."
    )
