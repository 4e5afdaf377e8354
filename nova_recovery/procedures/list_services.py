# SPDX-License-Identifier: Apache-2.0

"""``host service list``: services of hosts, and what nova hears of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
import dataclasses
from typing import Any, TYPE_CHECKING

from nova_recovery import program
from nova_recovery.cloud import records
from nova_recovery.cloud.db import services
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.cloud.records import Service
from nova_recovery.engine import findings
from nova_recovery.engine.findings import Assessment, Columns, Finding
from nova_recovery.procedures import reached
from nova_recovery.procedures.reached import Reached

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

_COLUMNS: Columns = (
    ('Code', lambda one: one.code),
    ('Host', lambda one: one.host),
    ('Service', lambda one: one.label),
    ('Of', lambda one: one.more.get('group', '')),
    ('State', lambda one: one.cause),
    ('To do', lambda one: one.fix or one.expected),
)


def assess(cloud: Cloud, names: Collection[str]) -> Assessment:
    """Ask hosts, all of the cells where none is named, and the databases."""
    silent: tuple[str, ...] = ()
    if not names:
        names, silent = reached.hosts_of(cloud)
    hosts = reached.read(cloud, names, ('services list', {}))
    heard, unknown = _heard(cloud, names)
    return judge(hosts, heard, unknown, silent)


def _heard(
    cloud: Cloud, names: Collection[str]
) -> tuple[dict[str, Service], tuple[str, ...]]:
    """The nova-compute of each host as nova judges it."""

    def ask(cell: Database) -> list[Service]:
        found = services.compute_services(cell)
        with Reader.of(cell) as reader:
            now = reader.now()
        down_time = cloud.nova.service_down_time
        return [services.judged(one, now, down_time) for one in found]

    known, unknown = reached.of_cells(cloud, ask)
    return (
        {
            one.host: one
            for some in known.values()
            for one in some
            if one.host in names
        },
        unknown,
    )


def judge(
    hosts: Collection[Reached],
    heard: Mapping[str, Service],
    unknown: tuple[str, ...] = (),
    silent: tuple[str, ...] = (),
) -> Assessment:
    """A finding for each service, and one for what nova hears."""
    made = tuple(one for host in hosts for one in _of_host(host, heard))
    lines = tuple(f'not compared with nova: {why}' for why in unknown)
    return Assessment(hosts, made, _COLUMNS, lines, silent=silent)


def _of_host(host: Reached, heard: Mapping[str, Service]) -> Iterator[Finding]:
    subject = f'host:{host.name}'
    if host.problem:
        yield dataclasses.replace(reached.unknown(host), label='')
        return
    rows = host.said[0]['services']
    for row in rows:
        code, severity = _state(row)
        yield Finding(
            code,
            severity,
            f'{subject}:{row["name"]}',
            f'{row["state"]}, by {row["held"]}'
            if code == 'SERVICE-HELD'
            else row['state'],
            label=row['name'],
            host=host.name,
            more={'group': row['group']},
        )
    one = heard.get(host.name)
    if one is not None:
        told = f', disabled: {one.disabled_reason}' if one.disabled else ''
        restart, start = _mended(host, rows)
        down = one.state == records.DOWN
        yield Finding(
            'SERVICE-HEARD' if one.up else 'SERVICE-UNHEARD',
            findings.GOOD if one.up else findings.STALE,
            f'{subject}:nova',
            f'{one.state}{told}',
            label='nova-compute, as nova hears of it',
            host=host.name,
            fix=restart if down else '',
            expected=start if down else '',
        )


def _mended(
    host: Reached, rows: Collection[Mapping[str, Any]]
) -> tuple[str, str]:
    """What brings back a nova-compute of which nova does not hear.

    :returns: our command, where it runs; else that of the host, where it may
        be started
    """
    there = [row for row in rows if 'compute' in row['name']]
    if any(row['runs'] for row in there):
        return program.call(f'host service restart {host.name}'), ''
    for row in there:
        if not row['held']:
            return (
                '',
                f'{row.get("engine") or "systemctl"} start {row["name"]}',
            )
    return '', ''


def _state(row: Mapping[str, Any]) -> tuple[str, str]:
    if row['state'].startswith('failed'):
        return 'SERVICE-FAILED', findings.STALE
    if row['runs']:
        return 'SERVICE-RUNS', findings.GOOD
    if row['held']:
        return 'SERVICE-HELD', findings.STALE
    # many a socket and timer is not wanted
    return 'SERVICE-OFF', findings.NOTE
