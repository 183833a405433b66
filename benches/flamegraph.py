"""
Flame graphs as plain SVG: no script, so they show in a page that allows none, and in a README.

The tools that draw flame graphs write the script that cuts their texts into the picture. Here it is
the width of each frame that does, when it is drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape

#: Frames from the outermost to the innermost; how often each stack was seen.
Stacks = Counter[tuple[str, ...]]
#: Whose a stack's innermost frame is.
Owner = Callable[[tuple[str, ...]], str]

WIDTH, ROW, LETTER = 1000, 17, 6.1
#: A frame that is narrower than this is left out.
NARROWEST = 1.0


@dataclass
class Frame:
    """A frame, how often it was seen, and what it called."""

    count: int = 0
    called: dict[str, Frame] = field(default_factory=dict)


def folded(text: str) -> Stacks:
    """The stacks of `py-spy record --format raw`: frames between semicolons, then the count."""
    stacks: Stacks = Counter()
    for line in text.splitlines():
        frames, _, count = line.rpartition(" ")
        stacks[tuple(frames.split(";"))] += int(count)
    return stacks


def svg(stacks: Stacks, title: str, colours: dict[str, tuple[str, str]], owner: Owner) -> str:
    """
    The picture: who called stands above whom it called, and is as wide as both took.

    :param colours: for each owner of frames: its colour, and what the legend says of it.
    :param owner: whose a stack's innermost frame is.
    """
    root = Frame()
    for stack, count in stacks.items():
        root.count += count
        frame = root
        for name in stack:
            frame = frame.called.setdefault(name, Frame())
            frame.count += count
    boxes: list[str] = []
    depth = _draw(boxes, root, (), 0.0, WIDTH / max(root.count, 1), colours, owner)
    legend, left = [], 0.0
    for colour, text in colours.values():
        legend.append(f'<rect x="{left:.0f}" y="26" width="12" height="12" fill="{colour}"/>')
        legend.append(f'<text x="{left + 17:.0f}" y="36">{escape(text)}</text>')
        left += 17 + LETTER * len(text) + 18
    height = _TOP + ROW * depth
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            'font-family="monospace" font-size="10">',
            f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
            f'<text x="0" y="14" font-size="13">{escape(title)}</text>',
            *legend,
            *boxes,
            "</svg>\n",
        ]
    )


_TOP = 48


def _draw(boxes, frame, stack, left, scale, colours, owner) -> int:
    """Draw what a frame called, widest first; how many rows that took."""
    deepest = 0
    for name, called in sorted(frame.called.items(), key=lambda item: -item[1].count):
        width = called.count * scale
        if width >= NARROWEST:
            inner = (*stack, name)
            y = _TOP + ROW * len(stack)
            colour = colours[owner(inner)][0]
            share = 100 * width / WIDTH
            letters = int((width - 4) / LETTER)
            text = name if len(name) <= letters else name[: letters - 1] + "…"
            boxes.append(
                f"<g><title>{escape(name)} ({share:.1f} %)</title>"
                f'<rect x="{left:.1f}" y="{y}" width="{width - 0.4:.1f}" height="{ROW - 1}" '
                f'fill="{colour}"/>'
                + (
                    f'<text x="{left + 2:.1f}" y="{y + 12}">{escape(text)}</text>'
                    if letters > 2
                    else ""
                )
                + "</g>"
            )
            deepest = max(deepest, 1 + _draw(boxes, called, inner, left, scale, colours, owner))
        left += width
    return deepest
