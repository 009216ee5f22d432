"""One look for every figure: colours by day and night, a wide and a narrow form, shared layouts."""

from __future__ import annotations

import base64
import io
import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from usjp_research.report.tables import Told, cases_words
from usjp_research.runs.store import write_whole
from usjp_research.spec.records import PALETTE, PAPERS, in_project
from usjp_research.words import SECTOR_COLOURS, label, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, BAND = "#1B1F24", "#5B6570", "#D5DAE0"
GRID, WINDOW, PAPER = "#E8EBEE", "#F3EBD9", PAPERS[0]
HUE, BAR = "#0B5394", "#6695CB"  # rows that are labelled directly need no colour each
NEWS = "#B3470B"  # when something was announced

# What each colour becomes where the reader's screen is dark; paper stays white.
NIGHT = {
    "#000000": "#E4E8ED",  # what matplotlib draws when nobody chose a colour
    INK: "#E4E8ED",
    QUIET: "#A5AFBB",
    BAND: "#3D4855",
    GRID: "#262E37",
    WINDOW: "#3A3220",
    PAPER: PAPERS[1],
    HUE: "#9CCBFA",
    BAR: "#4F82BC",
    NEWS: "#FF9A5C",
}

WIDTHS = {False: 8.6, True: 3.4}  # inches: on paper and on a phone nearly as they are drawn
TEXT, SMALL = 9, 8.5  # points: none is smaller: 11 pixels on a phone, 7 points on paper
TITLE = 11  # points of the finding above a picture
LONGEST = 34  # characters of a label on an axis
ACROSS, BESIDE = 46, 36  # characters of a line of the narrow form, and beside a bar
LINE, LIFT = 11.5, 19  # points: a line of text, and the words of a narrow row above its bar
DIGITS = 4  # decimals of the data of a picture: a hundredth of a percent
SVG = "image/svg+xml"
PIXELS = 120  # per inch of a PNG


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure in a wide and a narrow form, with what it found, and words for who cannot see it.

    In a notebook it is an SVG with its PNG. Its words and its data stand in the output's metadata,
    as does the narrow form, in ``metadata["image/svg+xml"]["narrow"]``, for pages that show the
    one that fits. No figure is registered with pyplot, so that nothing is shown twice.

    Attributes
    ----------
    figure, narrow : matplotlib Figure
        ``narrow`` is for the width of a phone; without one the figure serves every width.
    alt, title, source : str
        The numbers in words; what was found, which stands above; what is drawn, in which unit.
    data : DataFrame, optional
        What is drawn and no more, to download.
    """

    figure: Figure
    alt: str
    narrow: Figure | None = None
    title: str = ""
    source: str = ""
    data: pd.DataFrame | None = field(default=None, repr=False, compare=False)
    _drawn: dict[str, bytes] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def axes(self) -> list[Axes]:
        """The axes of the wide form, to change anything about them; it is then drawn again."""
        self._drawn.clear()
        return list(self.figure.axes)

    def svg(self) -> bytes:
        """Return the picture as SVG, dark on a dark screen; the same bytes for the same numbers."""
        return self._once("svg", _svg, self.figure)

    def narrow_svg(self) -> bytes:
        """Return the narrow form as SVG, or the wide one where there is no other."""
        return self._once("narrow", _svg, self.narrow) if self.narrow else self.svg()

    def png(self) -> bytes:
        """Return the picture as PNG, for readers that draw no SVG; same numbers, same bytes."""
        self.svg()  # whose layout it has
        return self._once("png", _png, self.figure)

    def _once(self, form: str, draw: Callable[[Figure, str], bytes], figure: Figure) -> bytes:
        return self._drawn.get(form) or self._drawn.setdefault(form, draw(figure, self.title))

    def csv(self) -> str:
        """Return what is drawn as CSV, to a hundredth of a percent; nothing without data."""
        return "" if self.data is None else self.data.round(DIGITS).to_csv(index=False)

    def save(self, path: str | Path) -> Path:
        """Write the SVG, beside it the narrow form as ``NAME-narrow.svg`` and the words as text."""
        path = in_project(Path(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, self.svg())
        write_whole(path.with_suffix(".txt"), self.alt.encode())
        if self.narrow:
            write_whole(path.with_name(f"{path.stem}-narrow{path.suffix}"), self.narrow_svg())
        return path

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, str], dict[str, Any]]:
        # JupyterLab draws no SVG in a notebook that another process ran: it is not trusted.
        words = f"{self.title}\n{self.alt}".strip()
        data = {SVG: self.svg().decode(), "text/plain": words}
        data["image/png"] = base64.b64encode(self.png()).decode()
        width, height = (int.from_bytes(self.png()[k : k + 4]) * 96 // PIXELS for k in (16, 20))
        about = {"alt": self.alt, "title": self.title, "source": self.source, "data": self.csv()}
        own = {"narrow": self.narrow_svg().decode()} if self.narrow else {}
        return data, {**about, "image/png": {"width": width, "height": height}, SVG: own}


@contextmanager
def _headed(figure: Figure, title: str) -> Iterator[tuple[dict[str, Any], float]]:
    """Set a title above a figure while it is saved: how to save it, and the points it is higher."""
    from matplotlib.transforms import Bbox

    wide, high = figure.get_size_inches()
    lines = textwrap.wrap(title.replace("$", r"\$"), int(10 * wide))
    head = round(1.35 * TITLE * len(lines) + 12, 1) if lines else 0.0
    how: dict[str, Any] = {"fontsize": TITLE, "fontweight": "bold", "color": INK}
    words = figure.text(0.008, 1 + 5 / 72 / high, "\n".join(lines), va="bottom", **how)
    before, figure.dpi = figure.dpi, 72
    try:
        yield {"bbox_inches": Bbox([[0, 0], [wide, high + head / 72]])}, head
    finally:
        figure.dpi = before
        words.remove()


def _svg(figure: Figure, title: str) -> bytes:
    from usjp_research.report.drawing import Flat

    with _headed(figure, title) as (how, head):
        wide, high = 72 * how["bbox_inches"].size
        renderer = Flat(wide, high, head, INK.lower(), PAPER.lower())
        figure.draw(renderer)
    root, colours = renderer.root, pairs(SECTOR_COLOURS.values())
    seen = {node.get(part) for node in root.iter() for part in ("fill", "stroke")}
    rules = night({day: dark for day, dark in colours.items() if day.lower() in seen})
    ElementTree.SubElement(root, "style").text = rules
    return ElementTree.tostring(root) + b"\n"


def _png(figure: Figure, title: str) -> bytes:
    drawn, engine = io.BytesIO(), figure.get_layout_engine()
    figure.set_layout_engine("none")
    try:
        with _headed(figure, title) as (how, _):
            figure.savefig(drawn, format="png", dpi=PIXELS, metadata={"Software": None}, **how)
    finally:
        figure.set_layout_engine(engine)
    return drawn.getvalue()


def pairs(own: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return each colour, a study's own too, with the one for it on a dark screen."""
    return {**dict(PALETTE), **dict(own), **NIGHT}


def night(colours: Mapping[str, str]) -> str:
    """Return the style that exchanges colours on a dark screen; what is printed keeps them."""
    rules = "".join(
        f'svg[{part}="{day.lower()}"],svg [{part}="{day.lower()}"]{{{part}:{dark.lower()}}}'
        for day, dark in colours.items()
        for part in ("fill", "stroke")
    )
    return f"@media screen and (prefers-color-scheme:dark){{{rules}}}"


def hint(mark: Any, words: str) -> None:
    """Let a mark say its words when a mouse is over it, or over one of several marks."""
    for one in mark if isinstance(mark, list) else [mark]:
        one.set_gid(words)


def tone(name: str) -> str:
    """Return the colour of a sector, or of the sector that a row's name begins with."""
    return SECTOR_COLOURS.get(name.partition(":")[0], (INK, ""))[0]


def tag(name: str) -> str:
    """Return a label that leaves room for the drawing, however long the name is."""
    lines = label(name).replace("$", r"\$").split(": ")
    return ":\n".join(line if len(line) <= LONGEST else f"{line[:LONGEST]}…" for line in lines)


def percent_axis(axis: Any) -> None:
    """Label an axis in percent, with the digits that its ticks need to be told apart."""
    from matplotlib.ticker import Formatter

    class Percent(Formatter):
        def set_locs(self, locs: Any) -> None:  # once for all ticks of a drawing
            self.digits = tick_digits(locs)

        def __call__(self, x: float, pos: object = None) -> str:
            return percent(x, self.digits)

    axis.set_major_formatter(Percent())


def tick_digits(places: Sequence[float]) -> int:
    """Return how many decimals of a percent show every tick as it is."""
    ticks = 100 * np.asarray(places, float)
    return next((k for k in range(6) if np.allclose(ticks, ticks.round(k), rtol=0, atol=1e-9)), 6)


def both(draw: Callable[[bool], Figure], **about: Any) -> Picture:
    """Return a picture from what draws its wide form (given False) and its narrow one (True)."""
    return Picture(draw(False), narrow=draw(True), **about)


def canvas(narrow: bool, height: float, rows: int = 1, columns: int = 1, **more: Any) -> Figure:
    """Return an empty figure in the theme; ``height`` in inches, ``more`` goes to the subplots."""
    import seaborn as sns
    from matplotlib.figure import Figure

    rc = {"axes.edgecolor": BAND, "axes.labelcolor": QUIET, "xtick.color": QUIET}
    rc |= {"ytick.color": INK, "text.color": INK, "grid.color": GRID, "font.family": "sans-serif"}
    with sns.axes_style("whitegrid", rc=rc):
        figure = Figure((WIDTHS[narrow], height), layout="constrained", facecolor=PAPER)
        figure.subplots(rows, columns, squeeze=False, **more)
    for axes in figure.axes:
        axes.patch.set_visible(False)
        axes.spines[["top", "right"]].set_visible(False)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_tick_params(labelsize=SMALL if narrow else TEXT)
            axis.label.set_fontsize(SMALL if narrow else TEXT)
    return figure


def single(draw: Callable[[Axes, bool], None], heights: Sequence[float], **about: Any) -> Picture:
    """Return a picture of one axes from what draws into it, given whether its form is narrow.

    ``heights`` in inches are those of the wide and of the narrow form.
    """

    def form(narrow: bool) -> Figure:
        figure = canvas(narrow, heights[narrow])
        draw(figure.axes[0], narrow)
        return figure

    return both(form, **about)


def panels(
    heads: Sequence[str],
    draw: Callable[[Axes, int, bool], None],
    heights: Sequence[float],
    columns: Sequence[int] = (3, 2),
    words: str = "",
    **about: Any,
) -> Picture:
    """Return small panels on shared scales from what draws into the k-th of them.

    They are as even as they go in at most so many ``columns``; ``heights`` are of one: of the wide
    and of the narrow form. The lowest of every column has the words of its axis under it.
    """

    def form(narrow: bool) -> Figure:
        lines = -(-len(heads) // columns[narrow])
        across = -(-len(heads) // lines)
        room = heights[narrow] * lines + 0.3
        figure = canvas(narrow, room, lines, across, sharex=True, sharey=True)
        for spare in figure.axes[len(heads) :]:
            spare.remove()
        for axes in figure.axes[-across:]:
            axes.tick_params(labelbottom=True)
            axes.set_xlabel(wrapped(words, 40 // across if narrow else 40))
        for k, (axes, head) in enumerate(zip(figure.axes, heads, strict=True)):
            draw(axes, k, narrow)
            text = wrapped(head, int(9 * WIDTHS[narrow] / across))
            bold: dict[str, Any] = {"fontsize": TEXT, "fontweight": "bold"}
            # Given a height, it is not looked for anew in every pass of the layout.
            axes.set_title(text if across > 1 else " ", loc="left", y=1, **bold)
            if across == 1:  # above its names too, which take half of the width
                place: tuple[Any, ...] = ((0.01, 1), (0, 5), "figure fraction", "axes fraction")
                note(axes, head, *place, in_layout=False, **bold)
        return figure

    return both(form, **about)


NOTHING = Told(math.nan, math.nan, math.nan, {}, 1)


@dataclass(frozen=True, slots=True)
class Interval:
    """One row of an interval figure: NaN where there is no number."""

    name: str
    says: str
    seen: Told = NOTHING
    mark: str = "o"
    hint: str = ""  # of its bar, where that is no interval

    def ends(self) -> list[float]:
        """Return the numbers that the scale must hold."""
        numbers = (self.seen.effect, self.seen.low, self.seen.high, *self.seen.share.values())
        return [x for x in numbers if math.isfinite(x)]


def interval_rows(rows: Sequence[Interval], narrow: bool, height: float, words: str) -> Figure:
    """Draw an interval a row on one scale, in percent; in the narrow form words stand above it.

    ``height`` is that of a row of the wide form in inches, ``words`` stand under the scale.
    """
    said = [wrapped(row.says, ACROSS if narrow else BESIDE) for row in rows]
    names = [wrapped(row.name.replace("\n", " "), ACROSS - 4) for row in rows]
    lifts = [LIFT if row.seen.share else LIFT - 10 if row.ends() else 0 for row in rows]
    tops = [up + LINE * (1 + text.count("\n")) for up, text in zip(lifts, said, strict=True)]
    heads = [up + LINE * (1 + name.count("\n")) for up, name in zip(tops, names, strict=True)]
    rooms = [(0.2 + head / 72) / height if narrow else 1.0 for head in heads]
    places = np.cumsum(rooms) - 1
    below = 0.2 / height if narrow else 0.6
    figure = canvas(narrow, height * (sum(rooms) + below - 0.6) + 1.0)
    (axes,) = figure.axes
    axes.axvline(0, color=QUIET, linewidth=1)
    for k, (row, place, text) in enumerate(zip(rows, places, said, strict=True)):
        _interval(axes, row, place)
        if narrow:
            above(axes, place, text, lifts[k])
            above(axes, place, names[k], tops[k], fontweight="bold")
        else:
            note(axes, text, (max(0.0, *row.ends(), 0.0), place), (8, 0), va="center")
    axes.set_yticks([] if narrow else places, [] if narrow else [row.name for row in rows])
    axes.set_ylim(places[-1] + below, -1 if narrow else -0.7)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(wrapped(words, ACROSS) if narrow else words)
    percent_axis(axes.xaxis)
    if not narrow:  # room for the words to the right of the bars, and no tick in it
        low, high = axes.get_xlim()
        axes.locator_params("x", nbins=6)  # they stand closer then
        axes.set_xticks([tick for tick in axes.get_xticks() if low <= tick <= high])
        share = max(len(line) for text in said for line in text.split("\n")) / BESIDE
        axes.set_xlim(low, high + (0.05 + 0.5 * share) * (high - low))
    return figure


def _interval(axes: Axes, row: Interval, place: float) -> None:
    seen, share = row.seen, row.seen.share
    name = row.name.replace("\n", " ")
    if math.isfinite(seen.effect):
        ends, thick = [seen.low, seen.high], 2 if row.mark == "x" else 1
        marks = axes.plot(ends, [place] * 2, color=BAR, linewidth=5, solid_capstyle="butt")
        marks += axes.plot([seen.effect], [place], row.mark, color=HUE, ms=7, mew=thick)
        said = row.hint or f"moved {seen.observed()}, interval {seen.interval()}"
        hint(marks, f"{name}: {said}")
    if share:
        up = place - 0.28
        marks = axes.plot([share["low"], share["high"]], [up, up], color=INK, linewidth=2)
        marks += axes.plot([share["base"]], [up], "D", color=INK, markersize=5)
        hint(marks, f"{name}: the thesis implies {cases_words(share)}")


def above(axes: Axes, place: float, text: str, points: float, **how: Any) -> None:
    """Write a text above a row of the narrow form, from the left edge on."""
    how |= {"va": "bottom", "bbox": {"facecolor": PAPER, "edgecolor": "none", "pad": 0.5}}
    note(axes, text, (0, place), (0, points), "axes fraction", "data", **how)


def note(
    axes: Axes,
    text: str,
    at: tuple[Any, Any],
    shift: tuple[float, float],
    across: str = "data",
    up: str = "data",
    **how: Any,
) -> None:
    """Write a text some points away from a place, in the axis' unit or as fraction of the axes."""
    how = {"fontsize": TEXT, "color": INK, "annotation_clip": False, **how}
    axes.annotate(text, at, shift, xycoords=(across, up), textcoords="offset points", **how)


def wrapped(text: str, most: int) -> str:
    """Break every line of a text after so many characters."""
    return "\n".join(textwrap.fill(line, most) for line in text.split("\n"))
