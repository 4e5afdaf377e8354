# SPDX-License-Identifier: Apache-2.0

"""Is the site ready for guests? The extension point of that name.

One probe a layer, found under ``nova_recovery.readiness``: each says what it
saw, what it expected and the exact command that mends it. What can't be
known is not ready.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
import contextlib
import dataclasses
import fnmatch
import functools
from operator import attrgetter
import threading
from typing import Any, Protocol, TYPE_CHECKING, TypeVar

import stevedore

from nova_recovery import exit_codes
from nova_recovery.cloud.api import apis
from nova_recovery.engine import findings
from nova_recovery.engine.findings import Assessment, Columns, Finding
from nova_recovery.exceptions import ConfigError
from nova_recovery.readiness import bounded
from nova_recovery.snapshot.reading import Snapshot

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

T = TypeVar('T')

NAMESPACE = 'nova_recovery.readiness'

#: The layers in the order in which they are shown, and mended. Those of
#: others come after them.
LAYERS = (
    'database',
    'age',
    'bus',
    'keystone',
    'control',
    'volume',
    'compute',
    'placement',
    'network',
    'clocks',
    'quiet',
    'hosts',
    'local',
)

#: What must be so before the state of volumes is cleaned.
STORAGE = frozenset({'database', 'age', 'volume'})

#: What :func:`vital` asks.
VITAL = frozenset({'volume', 'compute'})

GO, NO_GO, UNKNOWN = findings.GOOD, findings.DANGER, findings.UNKNOWN

#: Not as it should be, and it can't be while another row is red: mend that
#: one first. Never without a red row.
WAITS = findings.STALE

#: How they are shown.
WORDS = {GO: 'go', NO_GO: 'no-go', UNKNOWN: 'unknown', WAITS: 'waits'}

COLUMNS: Columns = (
    ('Layer', attrgetter('code')),
    ('State', lambda row: WORDS.get(row.severity, row.severity)),
    ('Subject', attrgetter('subject')),
    ('Observed', attrgetter('cause')),
    ('Expected', attrgetter('expected')),
    ('Mend', attrgetter('fix')),
)

#: Seconds that a probe has.
PATIENCE = 10.0


@dataclasses.dataclass
class Site:
    """What is looked at.

    :ivar snapshot: how it was before; None: nothing is compared with
    :ivar hosts: the compute hosts that matter, to the letter; None: all
    :ivar backends: the cinder-volumes that matter, ``host@backend``; None:
        all that have volumes
    :ivar without: those that don't
    :ivar servers: those of which it matters whether others move them; None:
        all
    :ivar ours: the ids of the requests that this run sent to nova: what
        they left in nova's records is no movement of others
    :ivar unsure: servers for which the run may have sent something whose id
        it doesn't know, for it was killed, or the answer was lost
    :ivar local: look at the host on which this runs too
    :ivar told: rows of what the hosts told, of any layer; None: they were
        not asked
    :ivar brief: only what is quickly asked; see :func:`vital`
    """

    cloud: Cloud
    snapshot: Snapshot | None = None
    hosts: frozenset[str] | None = None
    backends: frozenset[str] | None = None
    without: frozenset[str] = frozenset()
    servers: frozenset[str] | None = None
    ours: Callable[[], frozenset[str]] = frozenset
    unsure: frozenset[str] = frozenset()
    local: bool = False
    told: tuple[Finding, ...] | None = None
    brief: bool = False
    #: What doesn't change between two looks and is slow to find.
    memory: dict[str, Any] = dataclasses.field(
        default_factory=dict, repr=False
    )
    _asked: dict[str, _Once] = dataclasses.field(
        default_factory=dict, init=False, repr=False
    )
    _lock: Any = dataclasses.field(
        default_factory=threading.Lock, init=False, repr=False
    )

    def covers(self, host: str | None) -> bool:
        """Whether a compute host matters."""
        return self.hosts is None or host in self.hosts

    @contextlib.contextmanager
    def before(self) -> Iterator[Snapshot | None]:
        """Yield the snapshot, opened for the thread that asks."""
        if self.snapshot is None:
            yield None
            return
        with Snapshot(self.snapshot.path) as opened:
            yield opened

    def once(self, name: str, ask: Callable[[], T]) -> T:
        """Ask what several probes need, once for all of them.

        An error is raised to each of them.
        """
        with self._lock:
            one = self._asked.setdefault(name, _Once(ask))
        answer: T = one.answer()
        return answer

    def apis(self) -> Cloud:
        """The cloud, logged in to.

        :raises ApiUnavailable: Keystone doesn't let us in
        """

        def log_in() -> None:
            with apis.reading('keystone', 'Keystone'):
                _ = self.cloud.connection

        self.once('login', log_in)
        return self.cloud


class _Once:
    """A question whose answer, or error, is kept."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._kept: list[Any] = []
        self._error: Exception | None = None

    def answer(self) -> Any:
        if not self._lock.acquire(timeout=PATIENCE):
            raise TimeoutError(f'no answer within {PATIENCE:g} s')
        try:
            if self._error is not None:
                raise self._error
            if not self._kept:
                try:
                    self._kept.append(self._ask())
                except Exception as error:
                    self._error = error
                    raise
            return self._kept[0]
        finally:
            self._lock.release()


class Probe(Protocol):
    """Looks at one layer. Changes nothing.

    :ivar needs: what every row of the layer is behind, see :class:`Finding`
    """

    needs: tuple[str, ...]

    def rows(self, site: Site) -> Iterable[Finding]:
        """Yield what was seen, each row as soon as it is known.

        A row's code is the layer. It is GO with no fix, or NO_GO or UNKNOWN
        with the command that mends it; those that it is behind, it needs:
        where one of them is red, that is why this one is.

        It may raise anything: what it didn't say by then, or within ten
        seconds, is unknown.
        """


def look(site: Site, layers: Collection[str] | None = None) -> list[Finding]:
    """Ask the probes, side by side; the rows in the order of the layers.

    :param layers: only these; None: all
    :raises ConfigError: there is no such layer
    """
    # what was asked once was so then, not now
    site = dataclasses.replace(site)
    probes = load()
    wanted = set(probes if layers is None else layers)
    for name in sorted(wanted):
        if name not in probes:
            raise ConfigError(
                f'no layer is called {name}; there are {", ".join(probes)}'
            )
    found: dict[str, list[Finding]] = {name: [] for name in wanted}
    ended = bounded.each(
        {
            name: functools.partial(_gather, probes[name], site, found[name])
            for name in probes
            if name in wanted
        },
        PATIENCE,
        workers=len(wanted),
    )
    rows = []
    for name, end in ended.items():
        # a copy: a probe that hangs may go on
        seen = list(found[name])
        if isinstance(end, BaseException):
            seen.append(_unanswered(name, end))
        rows += [_needing(row, probes[name].needs) for row in seen]
    order = {name: number for number, name in enumerate(probes)}
    return settled(
        sorted(rows, key=lambda row: order.get(row.code, len(order)))
    )


def vital(site: Site, layers: frozenset[str] = VITAL) -> list[Finding]:
    """Ask only what may break while servers are started, and quickly.

    That each nova-compute is up and each cinder-volume answers.

    :param layers: of these
    """
    return look(dataclasses.replace(site, brief=True), layers)


def assess(site: Site, layers: Collection[str] | None = None) -> Assessment:
    """Is it ready? See :func:`look`."""
    return told(look(site, layers))


def told(rows: Iterable[Finding]) -> Assessment:
    """The rows with the verdict, in one line."""
    result = Assessment(
        None,
        tuple(rows),
        COLUMNS,
        ends=dict.fromkeys((NO_GO, UNKNOWN), exit_codes.REFUSED),
    )
    counts = result.counts
    if not red(result.findings):
        return dataclasses.replace(result, summary=('Ready.',))
    counted = [
        f'{counts[state]} {WORDS[state]}'
        for state in (NO_GO, UNKNOWN)
        if state in counts
    ]
    if WAITS in counts:
        counted.append(f'{counts[WAITS]} that wait for these')
    return dataclasses.replace(
        result, summary=(f'Not ready: {", ".join(counted)}.',)
    )


def red(rows: Iterable[Finding]) -> list[Finding]:
    """The rows because of which the site is not ready."""
    return [row for row in rows if row.severity in (NO_GO, UNKNOWN)]


def settled(rows: Iterable[Finding]) -> list[Finding]:
    """The rows, with those that only follow from others told apart.

    A row waits if one that it is behind is red or waits itself. At the
    end of each such chain is a row that is red.
    """
    rows = list(rows)
    bad = [f'{row.code}/{row.subject}' for row in red(rows)]
    judged = [
        dataclasses.replace(row, severity=WAITS)
        if row.severity in (NO_GO, UNKNOWN) and _explained(row, bad)
        else row
        for row in rows
    ]
    # should extensions be behind each other
    return judged if red(judged) else rows


def load() -> Mapping[str, Probe]:
    """The probes by the names of their layers, in order."""
    manager: Any = stevedore.ExtensionManager(
        NAMESPACE, invoke_on_load=True, on_load_failure_callback=_not_loaded
    )
    found = {extension.name: extension.obj for extension in manager}
    order = {name: number for number, name in enumerate(LAYERS)}
    return {
        name: found[name]
        for name in sorted(
            found, key=lambda name: (order.get(name, len(order)), name)
        )
    }


def _not_loaded(manager: Any, entry: Any, error: BaseException) -> None:
    # a probe that can't be asked is a layer that nobody looked at
    raise ConfigError(
        f'{NAMESPACE}: {entry.name} can not be loaded: {error}'
    ) from error


def _gather(probe: Probe, site: Site, into: list[Finding]) -> None:
    for row in probe.rows(site):
        into.append(row)


def _unanswered(layer: str, error: BaseException) -> Finding:
    return Finding(
        layer,
        UNKNOWN,
        layer,
        bounded.words(error),
        'an answer',
        'mend what is said above, then look again',
    )


def _needing(row: Finding, needs: tuple[str, ...]) -> Finding:
    return dataclasses.replace(row, behind=(*row.behind, *needs))


def _explained(row: Finding, bad: Iterable[str]) -> bool:
    own = f'{row.code}/{row.subject}'
    return any(
        name != own and fnmatch.fnmatchcase(name, pattern)
        for name in bad
        for pattern in row.behind
    )
