# SPDX-License-Identifier: Apache-2.0

"""Side by side where that is allowed, in order where it is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import heapq
import threading
from types import MappingProxyType

from nova_recovery.compat import pairs
from nova_recovery.engine.plan import Item

_TICK = 0.2
#: How many watch at a time: what they do is to ask the API now and then.
WATCHERS = 64
_POOLS = _WORKERS, _WATCHERS = 0, 1
#: The lane of all items: no key of their data.
_ALL = ''

#: For each item the places of those that have to be over before it.
Waits = list[set[int]]


def in_order(items: Sequence[Item]) -> Waits:
    """Each item waits for earlier ones of its subject and of ``follows``.

    Only the last one of each subject is named: it waits for the others.
    """
    last: dict[str, int] = {}
    waits: Waits = []
    for place, item in enumerate(items):
        subjects = (item.subject, *item.follows)
        waits.append({last[s] for s in subjects if s in last})
        last[item.subject] = place
    return waits


def in_reverse(items: Sequence[Item]) -> Waits:
    """Each item waits for later ones that waited for it."""
    waits: Waits = [set() for _ in items]
    for place, earlier in enumerate(in_order(items)):
        for one in earlier:
            waits[one].add(place)
    return waits


class Schedule:
    """What may start next, for workers that ask.

    :param items: of one step
    :param waits: from ``in_order`` or ``in_reverse``
    :param limits: as in ``Step.limits``
    :param at_a_time: as in ``Step.at_a_time``
    :param looks: whether an item only looks
    :param watches: whether an item mostly waits: such have threads of their
        own beside the workers
    :param stopped: asked before an item starts; true means none does
    """

    def __init__(
        self,
        items: Sequence[Item],
        waits: Waits,
        stopped: Callable[[], bool],
        limits: Mapping[str, int] = MappingProxyType({}),
        at_a_time: int | None = None,
        looks: Callable[[Item], bool] = lambda item: False,
        watches: Callable[[Item], bool] = lambda item: False,
    ) -> None:
        self._stopped = stopped
        # whose each item is: of the workers, or of those who watch
        self._pools = [int(watches(item)) for item in items]
        self._limits = dict(limits)
        self._lanes: list[list[tuple[str, object]]] = [
            [(key, item.data[key]) for key in limits if key in item.data]
            for item in items
        ]
        if at_a_time is not None:
            self._limits[_ALL] = at_a_time
            for item, lanes in pairs(items, self._lanes):
                if not looks(item):
                    lanes.append((_ALL, None))
        self._busy: dict[tuple[str, object], int] = {}
        self._parked: dict[tuple[str, object], list[int]] = {}
        self._left = [len(places) for places in waits]
        self._released: list[list[int]] = [[] for _ in items]
        for place, places in enumerate(waits):
            for one in places:
                self._released[one].append(place)
        # in the order of the plan, heaps already
        self._ready = tuple(
            [
                place
                for place, left in enumerate(self._left)
                if not left and self._pools[place] == pool
            ]
            for pool in _POOLS
        )
        self._unfinished = len(items)
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._over = threading.Event()
        self._working = 0

    def run(
        self,
        work: Callable[[int], None],
        workers: int,
        meanwhile: Callable[[], None],
    ) -> bool:
        """Call *work* with the place of each item, in several threads.

        Returns whether all are over; if not, it was stopped, and none is
        in flight. When *work* raises, nothing more is started, and the
        error is raised here once the others are over.

        :param meanwhile: called in this thread several times a second, and
            at the end
        """
        threads = [
            threading.Thread(
                target=self._work, args=(work, pool), name=f'{name}-{n}'
            )
            for pool, name, many in (
                (_WORKERS, 'worker', workers),
                (_WATCHERS, 'watcher', WATCHERS),
            )
            for n in range(min(many, self._pools.count(pool)))
        ]
        self._working = len(threads)
        started: list[threading.Thread] = []
        try:
            for thread in threads:
                thread.start()
                started.append(thread)
            while threads and not self._over.wait(_TICK):
                meanwhile()
            meanwhile()
        except BaseException as error:
            # Whoever is at work must not be left behind: the journal is
            # closed next, and somebody else may take the run.
            self._abort(error)
        for thread in started:
            thread.join()
        if self._error:
            raise self._error
        return not self._unfinished

    def _work(self, work: Callable[[int], None], pool: int) -> None:
        try:
            while (place := self._take(pool)) is not None:
                try:
                    work(place)
                except BaseException as error:
                    self._abort(error)
                finally:
                    self._finish(place)
        finally:
            with self._changed:
                self._working -= 1
                if not self._working:
                    self._over.set()

    def _take(self, pool: int) -> int | None:
        with self._changed:
            while self._unfinished and not self._error and not self._stopped():
                place = self._startable(pool)
                if place is not None:
                    return place
                # whoever is in flight wakes us up: the waits have no cycle
                self._changed.wait()
            self._changed.notify_all()
            return None

    def _startable(self, pool: int) -> int | None:
        while self._ready[pool]:
            place = heapq.heappop(self._ready[pool])
            full = next((p for p in self._lanes[place] if self._full(p)), None)
            if full is None:
                for lane in self._lanes[place]:
                    self._busy[lane] = self._busy.get(lane, 0) + 1
                return place
            heapq.heappush(self._parked.setdefault(full, []), place)
            for lane in self._lanes[place]:
                self._unpark(lane)
        return None

    def _full(self, lane: tuple[str, object]) -> bool:
        return self._busy.get(lane, 0) >= self._limits[lane[0]]

    def _unpark(self, lane: tuple[str, object]) -> None:
        """Let the next one of a lane try, if the lane has room."""
        if self._parked.get(lane) and not self._full(lane):
            self._make_ready(heapq.heappop(self._parked[lane]))

    def _make_ready(self, place: int) -> None:
        heapq.heappush(self._ready[self._pools[place]], place)

    def _finish(self, place: int) -> None:
        with self._changed:
            self._unfinished -= 1
            for lane in self._lanes[place]:
                self._busy[lane] -= 1
                self._unpark(lane)
            for one in self._released[place]:
                self._left[one] -= 1
                if not self._left[one]:
                    self._make_ready(one)
            self._changed.notify_all()

    def _abort(self, error: BaseException) -> None:
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()
