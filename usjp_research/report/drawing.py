"""A figure as small SVG: shapes on one level, text as text, marks that say their words."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element, SubElement

from matplotlib.backend_bases import GraphicsContextBase, RendererBase
from matplotlib.colors import to_hex
from matplotlib.path import Path
from matplotlib.transforms import Affine2D, Transform

from usjp_research.runs.terminal import CONTROL
from usjp_research.words import InputError

LETTERS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C"}
ANCHORS = {"center": "middle", "right": "end"}
# Verdana is as wide as DejaVu Sans, with which a drawing is measured.
ROOT = {"font-family": "DejaVu Sans, Verdana, sans-serif", "font-size": "9"}


class Flat(RendererBase):
    """Draws at 72 dots per inch, in tenths of a point; the ``gid`` of an artist is its title.

    ``head`` of the ``height`` are above the figure; what is drawn in ``ink`` need not say so.
    """

    def __init__(self, width: float, height: float, head: float, ink: str, paper: str) -> None:
        super().__init__()
        self.width, self.height, self.said = width, height, [""]
        size = {"width": f"{width:g}pt", "height": f"{height:g}pt"}
        size |= {"viewBox": f"0 0 {width:g} {height:g}", "data-head": f"{head:g}"}
        look = {**ROOT, "fill": ink, "stroke-linejoin": "round"}
        self.root = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **size, **look})
        sheet = f"M0 0L{_points((width, 0, width, height, 0, height))}z"
        self.last = SubElement(self.root, "path", {"d": sheet, "fill": paper})

    def get_canvas_width_height(self) -> tuple[float, float]:
        """Return the size, by which texts are turned upside down."""
        return self.width, self.height

    def open_group(self, s: str, gid: str | None = None) -> None:
        """Keep the words of what is drawn next."""
        self.said.append(CONTROL.sub("", gid or self.said[-1]))

    def close_group(self, s: str) -> None:
        """Return to the words around."""
        self.said.pop()

    def draw_image(self, *_: Any, **__: Any) -> None:
        """Refuse pixels."""
        raise InputError("a picture with pixels in it (imshow): draw it with pcolormesh")

    def draw_path(
        self, gc: GraphicsContextBase, path: Path, transform: Transform, rgbFace: Any = None
    ) -> None:
        """Draw an area, or a line up to the edge of its axes."""
        flip, box = Affine2D().scale(1, -1).translate(0, self.height), gc.get_clip_rectangle()
        cut = tuple(flip.transform_bbox(box).extents) if box and rgbFace is None else None
        parts = path.iter_segments(transform + flip, clip=cut)  # type: ignore[arg-type]
        look = {"fill": "none"} if rgbFace is None else _paint("fill", rgbFace, gc)
        if gc.get_linewidth():
            look |= _paint("stroke", gc.get_rgb(), gc)
            look |= {"stroke-width": f"{gc.get_linewidth():.3g}"}
            if dashes := gc.get_dashes()[1]:
                look |= {"stroke-dasharray": _points(dashes)}
        outline = "".join(LETTERS[k] + _points(p) if k in LETTERS else "z" for p, k in parts)
        if path is Path.unit_circle():
            (x, y), (edge, _) = (transform + flip).transform([(0, 0), (1, 0)])
            half = f"a{_points([edge - x] * 2)} 0 1 0 "
            outline = f"M{_points((x, y))}m{_points((x - edge, 0))}" + "".join(
                f"{half}{_points((2 * way * (edge - x), 0))}" for way in (1, -1)
            )
        if self.said[-1] or look != {k: v for k, v in self.last.items() if k != "d"}:
            self.last = SubElement(self.root, "path", look)
        self.last.set("d", self.last.get("d", "") + outline)  # a grid is one shape
        if self.said[-1]:
            SubElement(self.last, "title").text = self.said[-1]
            self.last = Element("path")

    def draw_text(
        self,
        gc: GraphicsContextBase,
        x: float,
        y: float,
        s: str,
        prop: Any,
        angle: float,
        ismath: Any = False,
        mtext: Any = None,
    ) -> None:
        """Draw a line of text, as text unless it is a formula."""
        if ismath:
            return super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)
        size, weight, colour = prop.get_size_in_points(), prop.get_weight(), to_hex(gc.get_rgb())
        look = {"font-size": f"{size:g}", "font-weight": str(weight), "fill": colour}
        if mtext and not angle and mtext.get_ha() in ANCHORS:  # right with any font
            look["text-anchor"] = ANCHORS[mtext.get_ha()]
            x = mtext.get_transform().transform(mtext.get_unitless_position())[0]
        look |= {"x": _points([x]), "y": _points([y])}
        look |= {"transform": f"rotate({-angle:g} {_points([x, y])})"} if angle else {}
        usual = {**self.root.attrib, "font-weight": "normal"}
        text = SubElement(self.root, "text", {k: v for k, v in look.items() if usual.get(k) != v})
        text.text = CONTROL.sub("", s)


def _points(numbers: Any) -> str:
    return " ".join(f"{round(float(number), 1) + 0.0:g}" for number in numbers)


def _paint(part: str, colour: Any, gc: GraphicsContextBase) -> dict[str, str]:
    alpha = gc.get_alpha() if gc.get_forced_alpha() else [*colour, 1.0][3]
    return {part: to_hex(colour[:3])} | ({} if alpha == 1 else {f"{part}-opacity": f"{alpha:g}"})
