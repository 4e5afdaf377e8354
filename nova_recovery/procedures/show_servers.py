# SPDX-License-Identifier: Apache-2.0

"""Servers for the eye: from the databases, with the API beside them."""

from __future__ import annotations

from collections.abc import Callable
import datetime
import threading
from typing import Any, TYPE_CHECKING

from nova_recovery.cloud import secrets
from nova_recovery.cloud.db import compute_hosts, services
from nova_recovery.cloud.db import servers as servers_module
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import divide
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.cloud.db.servers import list_servers
from nova_recovery.cloud.records import Server, Service
from nova_recovery.exceptions import DatabaseUnavailable, RecoveryError
from nova_recovery.procedures import set_states, whereabouts
from nova_recovery.procedures.recover import read, ways
from nova_recovery.report.wording import ago

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

#: Seconds that the API may take; the databases have the answer anyway.
PATIENCE = 5
#: Power state -> nova's word.
POWER = {state: word for word, state in set_states.POWER_STATES.items()}
COLUMNS = (
    'Name',
    'ID',
    'VM state',
    'Power state',
    'Task state',
    'Status (API)',
    'Volumes',
    'Against evacuation',
    'Against a move',
    'May run elsewhere',
)
Unknown = dict[str, DatabaseUnavailable]


def silent_hosts(cloud: Cloud) -> list[str]:
    """Whose nova-compute isn't up, a line each: who would be named now."""
    silent: list[str] = []
    total = 0
    found, unknown = divide(cloud.databases.each_cell(_computes))
    for cell, (some, now) in found.items():
        for one in some:
            state = services.judged(one, now, cloud.nova.service_down_time)
            total += 1
            if not state.up:
                seen = one.last_seen
                when = f', last heartbeat {ago(seen, now)}' if seen else ''
                silent.append(f'  {one.host}  {state.state}{when}  ({cell})')
    silent += [f'  {error}' for error in unknown.values()]
    return silent or [f'  none is silent: all {total} are up']


def _computes(database: Database) -> tuple[list[Service], datetime.datetime]:
    with Reader.of(database) as reader:
        where = reader.database.tables['services'].c.binary == services.BINARY
        return services.read(reader, where=where), reader.now()


def of_host(
    cloud: Cloud, host: str
) -> tuple[tuple[str, ...], list[tuple[Any, ...]], Unknown]:
    """The servers of exactly this host.

    :returns: columns, rows, and the cells that don't answer
    :raises NotFound: no cell has such a host, and every cell was asked
    """
    found, unknown = list_servers(cloud.databases, host=host)
    if not found and not unknown:
        # An empty answer must be about a host that exists.
        compute_hosts.cell_of(cloud.databases, host)
    facts = servers_module.facts(cloud.databases, found)
    statuses = within(PATIENCE, lambda: _statuses(cloud, host)) or {}
    with_task = within(PATIENCE, lambda: cloud.compute.speaks('2.93'))
    places = within(PATIENCE, lambda: whereabouts.read(cloud, found)) or {}
    rows = []
    for server in sorted(found, key=lambda s: (s.name, s.uuid)):
        plain = read.of_facts(facts[server.uuid], {}, None, None, None)
        rows.append(
            (
                server.name,
                server.uuid,
                server.vm_state,
                power(server.power_state),
                server.task_state or '',
                statuses.get(server.uuid, 'unknown'),
                ', '.join(v.id for v in plain.volumes),
                '; '.join(ways.to_evacuate(plain, bool(with_task))),
                '; '.join(ways.to_move(plain)),
                places[server.uuid].because()
                if server.uuid in places
                else 'unknown',
            )
        )
    return COLUMNS, rows, unknown


def one(
    cloud: Cloud, server: Server
) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """One server: where it is, its states, its volumes, its past."""
    facts = servers_module.facts(cloud.databases, [server])[server.uuid]
    plain = read.of_facts(facts, {}, None, None, None)
    status = within(PATIENCE, lambda: cloud.compute.server(server.uuid))
    # Asked only where it matters, for every question may take its time.
    with_task = bool(server.task_state) and within(
        PATIENCE, lambda: cloud.compute.speaks('2.93')
    )
    last = facts.actions[-1] if facts.actions else None
    places = within(PATIENCE, lambda: whereabouts.read(cloud, [server]))
    fields = {
        'id': server.uuid,
        'name': server.name,
        'instance_name': server.instance_name,
        'database_id': server.id,
        'cell': server.cell,
        'host': server.host,
        'node': server.node,
        'vm_state': server.vm_state,
        'power_state': power(server.power_state),
        'task_state': server.task_state,
        'status_of_api': (status or {}).get('status', 'unknown'),
        'locked': server.locked,
        'project_id': server.project,
        'availability_zone': server.zone,
        'volumes': '\n'.join(
            f'{v.device or "no device"}  {v.id}'
            f'{"  boots from it" if v.root else ""}'
            f'  {v.protocol or "never connected"}'
            for v in plain.volumes
        ),
        'last_action': (
            f'{last.action} at {last.at}Z ({last.request_id})' if last else ''
        ),
        'guest_may_run': (places[server.uuid].told() if places else 'unknown'),
        'waiting_request': waiting(cloud, server),
        'against_evacuation': '\n'.join(
            ways.to_evacuate(plain, bool(with_task))
        ),
        'against_move': '\n'.join(ways.to_move(plain)),
    }
    return tuple(fields), tuple(fields.values())


def row(server: Server) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """Every column of its row, secrets masked, times as text for -f json.

    ``user_data`` is the tenant's and often holds passwords: only its size.
    """
    masked = dict(secrets.mask(server.row))
    if masked.get('user_data'):
        masked['user_data'] = f'{len(masked["user_data"])} characters'
    return tuple(masked), tuple(
        str(value) if isinstance(value, datetime.datetime) else value
        for value in masked.values()
    )


def power(state: int | None) -> str:
    """A power state in nova's word; a number that nova doesn't use as is."""
    if state is None:
        return ''
    return POWER.get(state, f'{state} (no state of nova)')


def waiting(cloud: Cloud, server: Server) -> str:
    """Whether a task looks like a request that waits in the message bus."""
    if not server.task_state or not server.host:
        return ''
    down = within(
        PATIENCE,
        lambda: cloud.compute.service(server.host or '')['state'] != 'up',
    )
    if down is False:
        return ''
    return (
        f'{server.task_state}: sent to {server.host}, which is '
        f'{"down" if down else "perhaps down"}; it waits in the queue '
        f'compute.{server.host} and is carried out when the host returns, '
        'unless that queue is purged first'
    )


def _statuses(cloud: Cloud, host: str) -> dict[str, str]:
    return {one['id']: one['status'] for one in cloud.compute.servers_of(host)}


def within(seconds: float, ask: Callable[[], Any]) -> Any:
    """The answer if it comes in time, else None: unknown.

    In a daemon thread, which doesn't keep the program from ending.
    """
    answer: list[Any] = []

    def run() -> None:
        try:
            answer.append(ask())
        except RecoveryError:
            answer.append(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return answer[0] if answer else None
