# SPDX-License-Identifier: Apache-2.0

"""The message bus is there, and so are those who listen to it.

What waits in ``compute.HOST`` of a host that is down would be carried out
when it returns: reboots and stops that were sent before or during the
outage, over what the recovery did meanwhile. It is purged by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
import dataclasses
import functools
from typing import Optional

from nova_recovery import program, readiness
from nova_recovery.cloud.bus import (
    Bus,
    bus_of,
    compute_queue,
    of_cloud,
    of_files,
    Queue,
)
from nova_recovery.engine.findings import Finding
from nova_recovery.exceptions import DatabaseUnavailable, RecoveryError
from nova_recovery.readiness import bounded, common, Site

LAYER = 'bus'
_PATIENCE = 8.0

_row = functools.partial(Finding, LAYER)

Queues = Mapping[str, Optional[Queue]]


class Unheard(RecoveryError):
    """Nobody listens to the queue of a service: it is not there."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A queue that somebody has to listen to.

    :ivar who: the row of the service that does, ``layer/subject``
    :ivar program: what is started for it
    :ivar host: of a nova-compute; None: of another service
    """

    queue: str
    who: str
    program: str
    host: str | None = None


class Probe:
    """See :class:`nova_recovery.readiness.Probe`."""

    needs: tuple[str, ...] = ()

    def rows(self, site: Site) -> Iterator[Finding]:
        try:
            looked = look(site)
        except DatabaseUnavailable as error:
            yield Finding(
                LAYER,
                readiness.UNKNOWN,
                'cells',
                str(error),
                'the transport_url of each cell',
                'mend the database, then look again',
                ('database/*',),
            )
            yield from _reached(of_files(site.cloud))
            return
        yield from _reached(looked.buses)
        bad: list[Finding] = []
        seen = 0
        for names, queues in looked.queues.items():
            if isinstance(queues, BaseException):
                bad.append(unseen(names, queues))
                continue
            seen += len(queues)
            bad += judge(
                looked.wanted[names], queues, site.cloud.reaches_hosts
            )
        yield from common.on_one_line(
            bad,
            _row(
                readiness.GO,
                'queues',
                f'{seen} queues are listened to, or empty',
                'listened to; empty where the host is down',
            ),
        )


@dataclasses.dataclass(frozen=True)
class Looked:
    """What was seen of the buses, by the names of those who use them.

    :ivar wanted: the queues that matter
    :ivar queues: those as they are, or why they can't be seen
    :ivar unheard: who should listen and doesn't, as its row is named ->
        the queue
    """

    buses: Mapping[str, Bus]
    wanted: Mapping[str, list[Wanted]]
    queues: Mapping[str, Queues | BaseException]
    unheard: Mapping[str, str]


def look(site: Site) -> Looked:
    """Look at the queues, once for all probes.

    :raises DatabaseUnavailable: the cells are not known
    """

    def ask() -> Looked:
        buses = of_cloud(site.cloud)
        wanted = _wanted(site, buses)
        queues = bounded.each(
            {
                names: functools.partial(
                    bus.queues, [one.queue for one in wanted[names]]
                )
                for names, bus in buses.items()
            },
            _PATIENCE / 2,
        )
        unheard = {}
        for names, answer in queues.items():
            if isinstance(answer, BaseException):
                continue
            for one in wanted[names]:
                queue = answer[one.queue]
                if queue is None or not queue.consumers:
                    unheard[one.who] = one.queue
        return Looked(buses, wanted, queues, unheard)

    return site.once('queues', ask)


def unheard(site: Site, who: str) -> str:
    """The queue that a service should listen to, and nobody does; else ''.

    To send it a request would only leave a message there, and wait in vain.

    :param who: the service as its row is named, ``layer/subject``
    """
    return look(site).unheard.get(who, '')


def members(buses: Mapping[str, Bus]) -> dict[str, Mapping[str, str] | str]:
    """What is wrong with each server of each bus, '' if nothing.

    Or why none of a bus could be asked, instead.
    """
    answers = bounded.each(
        {names: bus.members for names, bus in buses.items()}, _PATIENCE / 2
    )
    return {
        names: bounded.words(answer)
        if isinstance(answer, BaseException)
        else answer
        for names, answer in answers.items()
    }


def _reached(buses: Mapping[str, Bus]) -> Iterator[Finding]:
    for names, answer in members(buses).items():
        yield reached(names, buses[names], answer)


def reached(names: str, bus: Bus, said: Mapping[str, str] | str) -> Finding:
    """Whether a bus is there.

    :param said: what is wrong with each of its servers, '' if nothing;
        or why none could be asked
    """
    if isinstance(said, str):
        down, up, observed = ['its servers'], [], said
        state = readiness.UNKNOWN
    else:
        down = [address for address, why in said.items() if why]
        up = [address for address, why in said.items() if not why]
        state = readiness.GO if up else readiness.NO_GO
        observed = '; '.join(
            f'{address}: {why or "answers"}' for address, why in said.items()
        )
    remedy = ''
    if state != readiness.GO:
        remedy = f'systemctl start rabbitmq-server  # on {common.many(down)}'
        if bus.problem:
            remedy = 'give the nova.conf and cinder.conf of a controller'
    return _row(state, f'broker {names}', observed, 'it answers AMQP', remedy)


def unseen(names: str, error: BaseException) -> Finding:
    """Queues that can't be looked at: what they hold is not known."""
    return dataclasses.replace(
        _row(
            readiness.UNKNOWN,
            f'queues {names}',
            bounded.words(error),
            'they can be looked at',
            'rabbitmqctl list_queues name messages consumers  # is it busy, '
            'and may the user of transport_url read?',
        ),
        behind=(f'{LAYER}/broker {names}',),
    )


def judge(
    wanted: Iterable[Wanted], queues: Queues, ours: bool = False
) -> Iterator[Finding]:
    """The queues that nobody listens to, and should or holds a message.

    :param ours: hosts are reached from here
    """
    for one in wanted:
        queue = queues[one.queue]
        if queue is not None and queue.consumers:
            continue
        if one.host is not None and queue is not None and queue.messages:
            yield _row(
                readiness.NO_GO,
                f'queue {one.queue}',
                f'{queue.messages} messages wait, and nobody listens: '
                f'{one.host} would carry them out when it returns',
                'empty while the host is down',
                program.call('disaster assess --ready --purge'),
            )
            continue
        observed = 'nobody listens to it'
        if queue is None:
            observed = 'there is no such queue'
        mend = f'systemctl restart {one.program}'
        if one.host:
            mend = common.restart(ours, one.host)
        yield dataclasses.replace(
            _row(
                readiness.NO_GO,
                f'queue {one.queue}',
                observed,
                f'{one.program} listens to it',
                mend,
            ),
            behind=(one.who,),
        )


def _wanted(site: Site, buses: Mapping[str, Bus]) -> dict[str, list[Wanted]]:
    """The queues that matter, by the names of their bus."""
    # a dictionary for its order, and because cells may share a bus
    found: dict[str, dict[Wanted, None]] = {names: {} for names in buses}

    def want(user: str, one: Wanted) -> None:
        place = bus_of(buses, user)
        if place is not None:
            found[place[0]][one] = None

    for cell in site.cloud.databases.cells:
        want(
            cell.cell.name,
            Wanted('conductor', 'control/nova-conductor', 'nova-conductor'),
        )
    want(
        'nova', Wanted('scheduler', 'control/nova-scheduler', 'nova-scheduler')
    )
    if site.cloud.databases.cinder is not None:
        binary = 'cinder-scheduler'
        want('cinder', Wanted(binary, f'control/{binary}', binary))
    for name in common.backends(site):
        want(
            'cinder',
            Wanted(f'cinder-volume.{name}', f'volume/{name}', 'cinder-volume'),
        )
    for host, cell_name in common.cells_of_hosts(site).items():
        want(
            cell_name,
            Wanted(
                compute_queue(host), f'compute/{host}', 'nova-compute', host
            ),
        )
    return {names: list(some) for names, some in found.items()}
