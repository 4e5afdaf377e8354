# SPDX-License-Identifier: Apache-2.0

"""Throw away what waits for nova-computes that are down, by exact name.

Their queues outlive them, and what nova sent meanwhile is carried out when
they return: a stop over a server that was just started, a second reboot.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
import dataclasses
import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from nova_recovery.cloud import clock
from nova_recovery.cloud.bus import bus_of, compute_queue, of_cloud, Queue
from nova_recovery.cloud.db import services
from nova_recovery.cloud.db.databases import divide
from nova_recovery.cloud.records import Service
from nova_recovery.engine.plan import Gate, Item, Plan, Step
from nova_recovery.procedures import Procedure
from nova_recovery.report import wording

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.cloud.db.database import Database

NAME = 'bus-purge'


@dataclasses.dataclass(frozen=True)
class Waiting:
    """A queue in which messages wait for a nova-compute.

    :ivar age: seconds since the host reported, by the database's clock;
        None: it never did
    """

    service: Service
    queue: Queue
    age: float | None

    @property
    def name(self) -> str:
        return compute_queue(self.service.host)


def read(cloud: Cloud, hosts: Collection[str] | None = None) -> list[Waiting]:
    """The queues of nova-computes in which messages wait.

    Also those that somebody listens to: it is the gates that tell.

    :param hosts: only of these, to the letter; None: of all
    :raises DatabaseUnavailable: a cell doesn't answer
    :raises BusUnavailable: a message bus doesn't
    """
    answers, silent = divide(cloud.databases.each_cell(_services))
    for error in silent.values():
        raise error
    buses = of_cloud(cloud)
    found = []
    for cell, (own, now) in answers.items():
        place = bus_of(buses, cell)
        wanted = {
            compute_queue(one.host): one
            for one in own
            if hosts is None or one.host in hosts
        }
        if place is None or not wanted:
            continue
        for name, queue in place[1].queues(wanted).items():
            if queue is not None and queue.messages:
                service = wanted[name]
                seen = service.last_seen
                found.append(
                    Waiting(
                        service,
                        queue,
                        (now - seen).total_seconds() if seen else None,
                    )
                )
    return found


def make_plan(cloud: Cloud, hosts: Collection[str] | None) -> Plan:
    """Read the cloud and decide.

    :param hosts: whose queues; None: of all
    :raises RecoveryError: see ``read``
    """
    return decide(
        read(cloud, hosts), hosts, cloud.nova.service_down_time, clock.now()
    )


def decide(
    found: Collection[Waiting],
    hosts: Collection[str] | None,
    down_time: int,
    now: str = '',
) -> Plan:
    """One change for each queue.

    :param hosts: what was asked for; None: all
    :param down_time: ``service_down_time`` of nova
    """
    items = tuple(_item(one) for one in _dead(found))
    return Plan(
        procedure=NAME,
        title=(
            f'purge {wording.count(len(items), "queue")} of hosts that are '
            'down'
        ),
        arguments={'hosts': None if hosts is None else sorted(hosts)},
        steps=(Step('purge', 'purge the queues', items),) if items else (),
        gates=tuple(_gates(found, down_time, frozenset())),
        notes=(
            'There is no way back: what is purged was asked of hosts while '
            'they were down, and has to be asked again where it is still '
            'wanted. A server that was being built or deleted there keeps '
            'its task state until nova-compute starts.',
        )
        if items
        else (),
        created_at=now,
    )


def check(
    plan: Plan, cloud: Cloud, touched: frozenset[str]
) -> tuple[Gate, ...]:
    """The gates as they are now."""
    hosts = {item.data['host'] for item in plan.items()}
    return tuple(
        _gates(read(cloud, hosts), cloud.nova.service_down_time, touched)
    )


def _gates(
    found: Collection[Waiting], down_time: int, touched: frozenset[str]
) -> Iterator[Gate]:
    for one in _dead(found):
        if _subject(one) in touched:
            continue
        if one.age is None or one.age > down_time:
            last = 'never' if one.age is None else f'{one.age:.0f} s ago'
            yield Gate(
                'host-down',
                one.service.host,
                'hard',
                'ok',
                f'nobody listens to {one.name}; it reported {last}',
            )
        else:
            yield Gate(
                'host-down',
                one.service.host,
                'hard',
                'refused',
                f'nova-compute reported {one.age:.0f} s ago',
                f'wait until it is down ({down_time} s), or let it work: '
                'it will listen again',
            )


def _dead(found: Collection[Waiting]) -> list[Waiting]:
    """Those that nobody listens to; the others are being worked off."""
    return [one for one in found if not one.queue.consumers]


def _item(one: Waiting) -> Item:
    return Item(
        id=f'purge-queue:{one.service.cell}:{one.name}',
        kind='purge-queue',
        subject=_subject(one),
        label=one.name,
        data={
            'cell': one.service.cell,
            'queue': one.name,
            'host': one.service.host,
            'service_id': one.service.id,
            'report_count': one.service.report_count,
            'messages': one.queue.messages,
        },
    )


def _subject(one: Waiting) -> str:
    return f'queue:{one.service.cell}:{one.name}'


def _services(database: Database) -> tuple[list[Service], datetime.datetime]:
    with database.reader() as connection:
        now = connection.execute(
            sa.select(sa.func.utc_timestamp())
        ).scalar_one()
    return services.compute_services(database), now


PROCEDURE = Procedure(NAME, make_plan, check)
