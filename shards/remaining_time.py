"""How long work will still take, from its recent pace; unknown until enough of it has been seen."""

from __future__ import annotations

from collections import deque

START_SECONDS = 0.5
"""Units that finish within this time after the first one belong to the start: several workers report together."""
LEAST_UNITS = 3
LEAST_SECONDS = 5.0
"""Until both have passed since the start, the pace says nothing about the rest."""
MOST_POINTS = 400
LEAST_SPACING_SECONDS = 0.2


class RemainingTime:
    """Estimates how many seconds are left, from counts of finished units and the times at which they were reached.

    The time up to the first unit does not count: it went into starting processes, opening files or compiling. Of the
    time since then, the latter half counts, so that a slow beginning is forgotten, while pauses that recur, such as
    validations, are included.
    """

    def __init__(self) -> None:
        self._first_seconds: float | None = None
        self._start = self._last = (0.0, 0)
        self._points: deque[tuple[float, int]] = deque()

    def reached(self, done: int, seconds: float) -> None:
        """Takes in that `done` units are finished at the time `seconds` of a clock; neither ever decreases."""
        if self._first_seconds is None:
            self._first_seconds = seconds
        elif done == self._last[1]:
            return
        self._last = (seconds, done)
        if seconds - self._first_seconds <= START_SECONDS:
            self._start, self._points = self._last, deque([self._last])
            return
        points, elapsed = self._points, seconds - self._start[0]
        # The longer the work takes, the farther apart the points: days of it need no more memory than minutes.
        spacing = max(LEAST_SPACING_SECONDS, elapsed / MOST_POINTS)
        if len(points) > 1 and points[-1][0] - points[-2][0] < spacing:
            points.pop()
        points.append(self._last)
        while len(points) > 2 and points[1][0] <= seconds - elapsed / 2 and done - points[1][1] >= LEAST_UNITS:
            points.popleft()

    def seconds_left(self, total: int) -> float | None:
        """Seconds from the last time taken in until `total` units are finished; None while that is not known."""
        now, done = self._last
        if done - self._start[1] < LEAST_UNITS or now - self._start[0] < LEAST_SECONDS or done >= total:
            return None
        since, done_then = self._points[0]
        return (total - done) * (now - since) / (done - done_then)
