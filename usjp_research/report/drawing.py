"""A figure as SVG: small, without ids, text as text, words on marks; and what a page may hold."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from usjp_research.runs.terminal import CONTROL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPACE = "http://www.w3.org/2000/svg"
HINT = "hint: "  # what is drawn under an id that begins so has the rest as its title
HEAD = "head"  # the id of the words above a picture; a page leaves them out and sets its own
# Verdana is as wide as DejaVu Sans, with which a drawing is measured.
ROOT = {"font-family": "DejaVu Sans, Verdana, sans-serif", "font-size": "9"}
UNSEEN = {"font-family", "stroke-linejoin", "stroke-linecap", "stroke-miterlimit"}
UNSEEN |= {"stroke-dashoffset"}
PAIR = re.compile(r"(-?[\d.]+(?:e-?\d+)?) (-?[\d.]+(?:e-?\d+)?)")
ROUND = re.compile(r"M0 ([\d.]+)(C[^C]+){8}z?", re.IGNORECASE)  # the outline of a circle
SPILL = 4  # points that a mark may lie over the edge of its axes

# What a picture in a page may be made of; one with more in it is an image, which runs nothing.
SHAPES = {"svg", "path", "circle", "text", "title"}
LOOKS = """width height viewBox x y cx cy r d class transform fill stroke opacity font-size
    font-weight font-style font-family text-anchor fill-opacity stroke-opacity stroke-width
    stroke-linejoin stroke-dasharray"""
VALUE = re.compile(r"[\w#.,+\-() ]*")


def vector(figure: Figure, ink: str, head: float, **how: Any) -> Element:
    """Return a figure as flat SVG in tenths of a point; ``head`` of its height are its title."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "usjp"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, **how)
    tree = ElementTree.fromstring(CONTROL.sub("", buffer.getvalue().decode()))
    for node in tree.iter():
        node.tag = node.tag.rpartition("}")[2]
    known = {node.attrib["id"]: node for node in tree.iter() if "id" in node.attrib}
    size = {name: tree.attrib[name] for name in ("width", "height", "viewBox")}
    more = {"fill": ink, "stroke-linejoin": "round", "data-head": f"{head:g}"}
    root, last = Element("svg", {"xmlns": SPACE, **size, **ROOT, **more}), Element("")
    for shape in _shapes(tree, known):
        if shape.tag == "path" and not len(shape) and _look(shape) == _look(last):
            last.set("d", last.attrib["d"] + shape.attrib["d"])  # as of a grid, text between
            continue
        root.append(shape)
        if shape.tag != "text":
            last = Element("") if len(shape) else shape
        elif shape.get("fill") == ink:
            del shape.attrib["fill"]
    return root


def _look(shape: Element) -> tuple[str, Mapping[str, str]]:
    return shape.tag, {key: value for key, value in shape.attrib.items() if key != "d"}


def _shapes(
    node: Element, known: Mapping[str, Element], said: str = "", clip: str = ""
) -> Iterator[Element]:
    """List what a node draws, without groups and references."""
    said = node.get("id", "") if node.get("id", "").startswith((HINT, HEAD)) else said
    clip = node.get("clip-path", clip)
    if node.tag in ("svg", "g"):
        for part in node:
            yield from _shapes(part, known, said, clip)
    if node.tag not in ("path", "use", "text"):
        return
    style = (part.partition(":") for part in node.get("style", "").split(";") if part)
    look = {key.strip(): value.strip() for key, _, value in style if key.strip() not in UNSEEN}
    shape = _text(node, look) if node.tag == "text" else _path(node, look, known)
    if said.startswith(HINT):
        ElementTree.SubElement(shape, "title").text = said.removeprefix(HINT)
    elif said:
        shape.set("class", HEAD)
    yield _clipped(shape, known[clip[5:-1]][0]) if clip else shape


def _text(node: Element, look: dict[str, str]) -> Element:
    turn = node.get("transform", "")
    place = re.fullmatch(r"translate\((\S+) (\S+)\)", turn)  # of a line among several
    x, y = place.groups() if place else (node.get("x", "0"), node.get("y", "0"))
    look |= {"font-size": look["font-size"].removesuffix("px")}
    look |= {"x": _short(float(x)), "y": _short(float(y))}
    look |= {} if place or turn.startswith("rotate(-0 ") else {"transform": turn}
    usual = {**ROOT, "text-anchor": "start"}
    shape = Element("text", {k: v for k, v in look.items() if v and v != usual.get(k)})
    shape.text = node.text
    return shape


def _path(node: Element, look: dict[str, str], known: Mapping[str, Element]) -> Element:
    x, y = float(node.get("x", 0)), float(node.get("y", 0))
    if node.tag == "use":
        node = known[node.attrib["{http://www.w3.org/1999/xlink}href"][1:]]
    if circle := ROUND.fullmatch(_moved(node.attrib["d"], 0, 0)):
        return Element("circle", {"cx": _short(x), "cy": _short(y), "r": circle[1], **look})
    return Element("path", {"d": _moved(node.attrib["d"], x, y), **look})


def _short(number: float) -> str:
    return f"{round(number, 1) + 0.0:g}"


def _moved(outline: str, x: float, y: float) -> str:
    flat = re.sub(r"\s*([A-Za-z])\s*", r"\1", outline).replace("\n", " ")
    return PAIR.sub(lambda p: f"{_short(x + float(p[1]))} {_short(y + float(p[2]))}", flat)


def _clipped(shape: Element, box: Element) -> Element:
    """Frame what lies outside its axes, so that the frame cuts it off."""
    left, top, wide, high = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
    spill = (
        max(left - float(x), float(x) - left - wide, top - float(y), float(y) - top - high)
        for x, y in PAIR.findall(shape.get("d", ""))
    )
    if max(spill, default=0.0) <= SPILL:
        return shape
    view = " ".join(_short(number) for number in (left, top, wide, high))
    frame = Element("svg", dict(zip(("x", "y", "width", "height"), view.split(), strict=True)))
    frame.set("viewBox", view)
    frame.append(shape)
    return frame


def inline(svg: str) -> str:
    """Return a picture as part of a page, without its title and style; nothing if it may act."""
    try:
        root = ElementTree.fromstring(svg)
        _, _, wide, high = map(float, root.get("viewBox", "").split())
        head = float(root.attrib.pop("data-head", "0"))
    except (ElementTree.ParseError, ValueError):
        return ""
    for style in root.findall(f"{{{SPACE}}}style"):  # the page has its colours
        root.remove(style)
    for node in root.iter():
        space, _, node.tag = node.tag.rpartition("}")
        values = all(map(VALUE.fullmatch, node.attrib.values()))
        if (
            space[1:] != SPACE
            or node.tag not in SHAPES
            or set(node.attrib) - {*LOOKS.split()}
            or not values
        ):
            return ""
    if root.tag != "svg" or "<!" in svg:
        return ""
    for title in root.findall(f"text[@class='{HEAD}']"):
        root.remove(title)
    root.attrib |= {
        "height": f"{high - head:g}pt",
        "viewBox": f"0 {head:g} {wide:g} {high - head:g}",
    }
    return ElementTree.tostring(root, encoding="unicode")
