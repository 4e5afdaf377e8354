# SPDX-License-Identifier: Apache-2.0

"""The steps and their items, of what was decided.

Which servers come back first: one of each kind, then by priority. A canary
tells of trouble with a back end before fifty servers run into it. It is the
least important server of its kind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
import dataclasses

from nova_recovery.engine import claiming
from nova_recovery.engine.plan import Item, Step
from nova_recovery.procedures.disaster.judge import alive
from nova_recovery.procedures.disaster.judge.wanted import Answer, Wanted
from nova_recovery.procedures.disaster.plan.clean import Cleaned
from nova_recovery.procedures.disaster.plan.reattach import Reattached
from nova_recovery.procedures.disaster.request import failures, Request
from nova_recovery.procedures.disaster.situation import (
    Found,
    Server,
    Situation,
)
from nova_recovery.procedures.guests import reboot as guests
from nova_recovery.procedures.guests.reboot import Chosen
from nova_recovery.procedures.volumes import situation as volumes_module

NAME = 'disaster'
#: The steps of the guide.
RECORD, CLEAN, RESTART, REATTACH, GUESTS = 1, 2, 3, 4, 5


@dataclasses.dataclass(frozen=True)
class Decided:
    """What becomes of everything.

    :ivar running: W without those that can't be restarted, in order
    :ivar left: server -> why it is left alone
    """

    answer: Answer
    running: tuple[Wanted, ...]
    left: Mapping[str, str]
    cleaned: Cleaned
    reattached: Reattached
    chosen: Chosen


LOCAL = 'local disk'


@dataclasses.dataclass(frozen=True)
class Wave:
    """Servers that come back together.

    :ivar name: short and stable
    :ivar servers: UUIDs, the most important first
    """

    name: str
    title: str
    servers: tuple[str, ...]
    canary: bool = False


def divide(
    ordered: Sequence[str], kinds: Mapping[str, frozenset[str]], size: int
) -> list[Wave]:
    """The waves of servers.

    :param ordered: UUIDs, the most important first
    :param kinds: UUID -> what it is an example of, see ``kinds_of``
    :param size: of each wave after the canaries
    """
    first = canaries(ordered, kinds)
    rest = [uuid for uuid in ordered if uuid not in first]
    waves = []
    if first:
        waves.append(
            Wave(
                'canary',
                'canary: one server of each back end and kind',
                tuple(uuid for uuid in ordered if uuid in first),
                canary=True,
            )
        )
    total = -(-len(rest) // size)
    for number in range(total):
        some = rest[number * size : (number + 1) * size]
        waves.append(
            Wave(
                f'wave-{number + 1}',
                f'wave {number + 1} of {total}',
                tuple(some),
            )
        )
    return waves


def canaries(
    ordered: Sequence[str], kinds: Mapping[str, frozenset[str]]
) -> frozenset[str]:
    """As few of the least important ones as show every kind."""
    shown: set[str] = set()
    chosen = set()
    for uuid in reversed(ordered):
        if not kinds[uuid] <= shown:
            chosen.add(uuid)
            shown |= kinds[uuid]
    return frozenset(chosen)


def kinds_of(server: Server, volumes: Iterable[str | None]) -> frozenset[str]:
    """What a server is an example of.

    Each back end that it needs, with whether the server boots from a volume
    or from an image.

    :param volumes: the cinder-volume of each of its volumes, as
        ``host@backend#pool``; None: not known
    """
    boots = 'volume' if server.boots_from_volume else 'image'
    ends = {backend(host) for host in volumes}
    if not server.boots_from_volume:
        ends.add(LOCAL)
    return frozenset(f'{end}, boots from {boots}' for end in ends)


def backend(host: str | None) -> str:
    """``host@backend`` of a volume: its pools are of one storage."""
    return (host or 'unknown').partition('#')[0]


def by_server(found: volumes_module.BothSides | None) -> dict[str, list[str]]:
    """Server -> its volumes, as nova maps them."""
    volumes: dict[str, list[str]] = {}
    for mapping in found.mappings if found else ():
        volumes.setdefault(mapping.server, []).append(mapping.volume)
    return volumes


#: What the record is of.
RECORDS = 'record:relations'
#: Seconds after which a console that rests holds up no other server. Most
#: guests tell nothing there; canaries are watched all the same.
QUIET = 20


def steps(
    request: Request, found: Found, decided: Decided
) -> tuple[Step, ...]:
    """All five, empty ones too: each can be the last one for now."""
    claims = _claims(found, decided)
    every = (
        Step(
            'record',
            'record what belongs together',
            (_record(found, decided),),
            number=RECORD,
            failures=0,
        ),
        Step('claim', 'claim the servers', claims, number=RECORD, failures=0),
        *_cleaning(request, found, decided),
        *_restarts(request, found, decided),
        Step(
            'attach',
            'attach volumes again',
            decided.reattached.items,
            number=REATTACH,
            at_a_time=request.everywhere,
        ),
        Step(
            guests.STEP,
            guests.TITLE,
            decided.chosen.items,
            {'host': request.per_host},
            number=GUESTS,
            at_a_time=request.everywhere,
        ),
        Step(
            'release',
            'give the claims back',
            _releases(
                claims,
                (
                    *decided.cleaned.items,
                    *decided.reattached.items,
                    *decided.chosen.items,
                ),
            ),
        ),
    )
    needed = Needed(found.situation)
    return tuple(
        dataclasses.replace(step, items=tuple(map(needed.noted, step.items)))
        for step in every
    )


#: What is sent, and waits for the storage where it is.
SENT = frozenset(
    {
        'attach-volume',
        'drop-attachment',
        'recreate-attachment',
        'restart-server',
    }
)


class Needed:
    """The back ends that servers and volumes need."""

    def __init__(self, here: Situation) -> None:
        both = here.volumes
        self.ends = {
            uuid: backend(volume.host)
            for uuid, volume in (both.volumes if both else {}).items()
        }
        self._volumes = {
            uuid: [device.volume for device in some]
            for uuid, some in here.devices.items()
        }
        for uuid, some in by_server(both).items():
            self._volumes.setdefault(uuid, []).extend(some)

    def of_server(self, uuid: str) -> dict[str, str]:
        """Back end -> a volume of the server there, had it or has it."""
        return {
            self.ends[volume]: volume
            for volume in self._volumes.get(uuid, ())
            if volume in self.ends
        }

    def noted(self, item: Item) -> Item:
        """The item, which says what it waits for."""
        if item.kind not in SENT:
            return item
        kind, _, uuid = item.subject.partition(':')
        names = (
            sorted(self.of_server(uuid))
            if kind == 'server'
            else [self.ends[uuid]]
            if uuid in self.ends
            else []
        )
        return dataclasses.replace(item, data={**item.data, BACKENDS: names})


#: Of an item's data: the back ends that it needs.
BACKENDS = 'backends'


def ends_of(items: Iterable[Item]) -> frozenset[str] | None:
    """The back ends that items need; None: a plan of before doesn't tell."""
    found: set[str] = set()
    for item in items:
        if item.kind in SENT:
            if BACKENDS not in item.data:
                return None
            found |= set(item.data[BACKENDS])
    return frozenset(found)


def _cleaning(
    request: Request, found: Found, decided: Decided
) -> tuple[Step, ...]:
    if found.legacy is not None and found.legacy.steps:
        return found.legacy.steps
    return (
        Step(
            'clean',
            'clean what is stale of volumes',
            decided.cleaned.items,
            number=CLEAN,
            failures=failures(
                request.max_failures, len(decided.cleaned.items)
            ),
        ),
    )


def _record(found: Found, decided: Decided) -> Item:
    here = found.situation
    cells = {server.cell for server in here.servers.values()}
    return Item(
        id='record-relations:disaster',
        kind='record-relations',
        subject=RECORDS,
        label='the cloud as it is now',
        data={
            'cells': sorted(cells),
            'wanted': [one.uuid for one in decided.answer.servers],
            'marks': dict(here.marks),
            'marked': dict(here.marked),
            'dump': None
            if found.dump is None
            else {'path': found.dump.path, 'sha256': found.dump.sha256},
        },
    )


def _claims(found: Found, decided: Decided) -> tuple[Item, ...]:
    """On the servers that something is done to, where they can be kept."""
    uuids = {one.uuid: None for one in decided.running}
    for item in (*decided.cleaned.items, *decided.reattached.items):
        for subject in item.follows:
            kind, _, uuid = subject.partition(':')
            if kind == 'server':
                uuids[uuid] = None
    here = found.situation.servers
    return tuple(
        claiming.server(uuid, here[uuid].name or uuid, cell, (RECORDS,))
        for uuid in uuids
        if uuid in here and (cell := here[uuid].cell) in found.claimable
    )


def _releases(
    claims: Iterable[Item], items: Iterable[Item]
) -> tuple[Item, ...]:
    """A claim is kept while something of its server is left to be done.

    :param items: those of other subjects
    """
    # in their order, each once: a volume may have several changes
    left: dict[str, dict[str, None]] = {}
    for item in items:
        for subject in item.follows:
            left.setdefault(subject, {})[item.subject] = None
    return tuple(
        claiming.release(claim, tuple(left.get(claim.subject, ())))
        for claim in claims
    )


def _restarts(request: Request, found: Found, decided: Decided) -> list[Step]:
    """A step for the canaries and for each wave, at least an empty one."""
    title = 'reboot or start'
    here = found.situation
    running = {one.uuid: one for one in decided.running}
    mapped = by_server(here.volumes)
    known = here.volumes.volumes if here.volumes else {}
    kinds = {
        uuid: kinds_of(
            one.server,
            (
                known[volume].host if volume in known else None
                for volume in mapped.get(uuid, ())
            ),
        )
        for uuid, one in running.items()
    }
    steps = []
    for wave in divide(list(running), kinds, request.wave_size):
        some = [running[uuid] for uuid in wave.servers]
        steps.append(
            Step(
                wave.name,
                f'{title}, {wave.title}',
                _wave(request, found, decided, some, wave.canary),
                {'host': request.per_host},
                number=RESTART,
                at_a_time=request.everywhere,
                failures=0
                if wave.canary
                else failures(request.max_failures, len(some)),
            )
        )
    return steps or [Step('restart', title, (), number=RESTART)]


def _wave(
    request: Request,
    found: Found,
    decided: Decided,
    some: Sequence[Wanted],
    canary: bool,
) -> tuple[Item, ...]:
    """Each server, then each console: who waits for one starts none."""
    restarts = []
    boots = []
    quiet = {} if canary else {'quiet': min(QUIET, request.console_wait)}
    for one in some:
        server = one.server
        subject = f'server:{server.uuid}'
        before = server.before
        restarts.append(
            Item(
                id=f'restart-server:{server.uuid}',
                kind='restart-server',
                subject=subject,
                label=server.name or server.uuid,
                data={
                    'uuid': server.uuid,
                    'cell': server.cell,
                    'host': server.host,
                    'project': server.project,
                    'was': before.vm_state if before else 'not recorded',
                    'why': one.why,
                    'mark': _mark(found.situation, server.cell),
                    'seen': _well_ended(server),
                    'settle': request.settle,
                    'patience': request.patience,
                },
                follows=_volumes(decided.cleaned.touched, server.uuid),
            )
        )
        boots.append(
            Item(
                id=f'watch-boot:{server.uuid}',
                kind='watch-boot',
                subject=f'boot:{server.uuid}',
                label=server.name or server.uuid,
                # no host: while it boots, the next one may be started
                data={
                    'uuid': server.uuid,
                    'seconds': request.console_wait,
                    **quiet,
                },
                follows=(subject,),
            )
        )
    return (*restarts, *boots)


def _mark(here: Situation, cell: str) -> int:
    """The highest id of a request of before the outage, as far as known."""
    return here.before_outage.get(cell, here.marks.get(cell, 0))


def _well_ended(server: Server) -> int:
    """The newest request to bring it up, 0 if none went well since the mark.

    The mark of a snapshot may be a day older than the outage: what its owner
    did in between was before it.
    """
    last = alive.brought_up(server)
    return last.id if last is not None and last.result == 'Success' else 0


def _volumes(
    touched: Mapping[str, Collection[str]], uuid: str
) -> tuple[str, ...]:
    """A server follows the volumes that are cleaned before it starts."""
    return tuple(f'volume:{volume}' for volume in touched.get(uuid, ()))


def starts(steps: Iterable[Step]) -> frozenset[str]:
    """The servers that the steps start."""
    return frozenset(
        item.data['uuid']
        for step in steps
        for item in step.items
        if item.kind == 'restart-server'
    )


def touches(steps: Iterable[Step]) -> list[str]:
    """The servers that the steps do something to, in their order."""
    return list(
        {
            str(item.data['uuid']): None
            for step in steps
            for item in step.items
            if item.data.get('uuid')
        }
    )
