"""Results as figures: one theme, units on every axis, a description that comes with the picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from usjp_research.placebo import Placebo
from usjp_research.reactions import EventPaths
from usjp_research.results import write_whole
from usjp_research.spec import in_project
from usjp_research.strips import scoreboard_words
from usjp_research.verdict import Verdict
from usjp_research.words import label, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "Picture",
    "plot_caar",
    "plot_placebo",
    "plot_reactions",
    "plot_scoreboard",
    "plot_sectors",
]

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
ON_TINT = "#15191E"  # words on a light tint, which stays light by night

LONGEST = 34  # characters of a label on an axis

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

    def save(self, path: str | Path) -> Path:
        """Write the SVG, and the words beside it with the ending ``.txt``."""
        path = in_project(Path(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, self.svg())
        write_whole(path.with_suffix(".txt"), self.alt.encode())
        return path

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, str], dict[str, str]]:
        data = {"image/svg+xml": self.svg().decode(), "text/plain": self.alt}
        return data, {"alt": self.alt}


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


def _percent_axis(axis: Any, digits: int = 0) -> None:
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: percent(value, digits)))


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
    for place, row in enumerate(rows):
        colour = COLOURS.get(row.name.split(":")[0], INK)
        axes.plot(
            [row.low, row.high],
            [place, place],
            color=colour,
            linewidth=5,
            solid_capstyle="butt",
            alpha=0.35,
        )
        axes.plot([row.effect], [place], "o", color=colour, markersize=7)
        share = row.implied.share
        if share:
            axes.plot([share["low"], share["high"]], [place - 0.28] * 2, color=IMPLIED, linewidth=2)
            axes.plot([share["base"]], [place - 0.28], "D", color=IMPLIED, markersize=5)
        edge = max(row.high, share.get("high", row.high) if share else row.high)
        text = row.headline + (f": {row.reason}" if row.reason else "")
        axes.annotate(
            text,
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
        f"{paths.level:.0%} band of {paths.shifts} placebo calendars. {'; '.join(words)}."
    )
    return Picture(figure, alt)


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
    axes.set_xlabel("S: signed abnormal return over its guarded standard error")
    axes.set_ylabel("placebo calendars")
    alt = (
        f"Histogram of S on {len(law)} placebo calendars for {label(law.groups[0])}; the real "
        f"dates have S = {law.statistic[0]:.2f}, placebo p = {law.p[0]:.3f}."
    )
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
        Each cell prints its number; nothing is said by colour alone.
    """
    import seaborn as sns

    table = reactions[reactions["role"].isin(roles)]
    wide = table.pivot(index="sector", columns="event", values="caar")
    wide = wide.loc[list(dict.fromkeys(table["sector"])), list(dict.fromkeys(table["event"]))]
    figure = _canvas(9.2, 0.42 * len(wide) + 0.9)
    (axes,) = figure.axes
    size = float(np.nanmax(np.abs(wide.to_numpy())))
    text = wide.map(percent)
    sns.heatmap(
        wide,
        annot=text,
        fmt="",
        cmap="PuOr_r",
        vmin=-2.2 * size,
        vmax=2.2 * size,
        cbar=False,
        linewidths=1.5,
        linecolor="white",
        ax=axes,
        annot_kws={"color": ON_TINT, "fontsize": 9},
    )
    axes.set_yticks(axes.get_yticks(), [_tag(str(name)) for name in wide.index], rotation=0)
    axes.set(xlabel="", ylabel="")
    axes.tick_params(length=0)
    words = [
        f"{label(str(name))}: "
        + ", ".join(f"{event} {text.loc[name, event]}" for event in wide.columns)
        for name in wide.index
    ]
    return Picture(figure, "Abnormal return per sector and event. " + ". ".join(words) + ".")


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
