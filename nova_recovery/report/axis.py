# SPDX-License-Identifier: Apache-2.0

"""The axis of time of a picture, on which idle hours take no room.

Between a disaster and its repairs there may be days in which nothing was
done. They are drawn as a break of always the same width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
import dataclasses
import datetime

#: Seconds, inclusive of the first.
Span = tuple[float, float]

#: Distances of ticks, in seconds.
STEPS = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800,
    21600, 43200, 86400, 172800, 604800,
)  # fmt: skip
#: An idle time is broken if it takes more than this part of the rest.
BROKEN = 0.35
#: And if it lasts so long, in seconds.
SHORTEST = 60
#: What a break takes, and the least between two labels.
BREAK, APART = 44, 62


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of the axis that is drawn to scale, or a break.

    :ivar since: and ``until``: seconds since the epoch
    :ivar left: and ``right``: where it is drawn
    """

    since: float
    until: float
    left: float
    right: float
    broken: bool = False


class Axis:
    """Where a time is drawn.

    :param busy: times in which something was done, in seconds since the
        epoch
    :param since: where the axis begins, at the latest with the first of them
    """

    def __init__(
        self, busy: Iterable[Span], since: float, left: float, right: float
    ) -> None:
        spans = merged([*busy, (since, since)])
        self.pieces = _pieces(spans, left, right)

    def x(self, time: float) -> float:
        """Where a time is; of one outside, the end."""
        for piece in self.pieces:
            if time <= piece.until:
                break
        if piece.until == piece.since:
            return piece.left
        part = (time - piece.since) / (piece.until - piece.since)
        width = piece.right - piece.left
        return round(piece.left + min(max(part, 0.0), 1.0) * width, 1)

    @property
    def breaks(self) -> list[Piece]:
        return [piece for piece in self.pieces if piece.broken]

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Where the times are written, and how."""
        scaled = [piece for piece in self.pieces if not piece.broken]
        width = sum(piece.right - piece.left for piece in scaled)
        seconds = sum(piece.until - piece.since for piece in scaled)
        wanted = seconds * APART / max(width, 1)
        step = next((one for one in STEPS if one >= wanted), STEPS[-1])
        last = -float(APART)
        for piece in scaled:
            time = -(-piece.since // step) * step
            while time <= piece.until:
                at = self.x(time)
                if at - last >= APART * 0.9:
                    yield at, _clock(time, step)
                    last = at
                time += step


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same without overlaps, in order."""
    found: list[Span] = []
    for since, until in sorted(spans):
        if found and since <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], until)
        else:
            found.append((since, until))
    return found


def _pieces(
    spans: Sequence[Span], left: float, right: float
) -> tuple[Piece, ...]:
    total = sum(until - since for since, until in spans)
    parts: list[tuple[float, float, bool]] = [(*spans[0], False)]
    for since, until in spans[1:]:
        before = parts[-1][1]
        idle = since - before
        if idle > max(total * BROKEN, SHORTEST):
            parts += [(before, since, True), (since, until, False)]
        else:
            parts[-1] = parts[-1][0], until, False
    broken = sum(1 for *_, is_broken in parts if is_broken)
    seconds = sum(u - s for s, u, is_broken in parts if not is_broken)
    width = max(right - left - broken * BREAK, 1)
    found = []
    at = left
    for since, until, is_broken in parts:
        share = (until - since) / seconds if seconds else 1.0
        end = at + (BREAK if is_broken else width * share)
        found.append(Piece(since, until, at, end, is_broken))
        at = end
    return tuple(found)


def _clock(time: float, step: float) -> str:
    at = datetime.datetime.fromtimestamp(time, datetime.timezone.utc)
    if step >= 86400:
        return at.strftime('%m-%d')
    return at.strftime('%H:%M:%S' if step < 60 else '%H:%M')
