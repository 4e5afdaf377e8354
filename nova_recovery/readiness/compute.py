# SPDX-License-Identifier: Apache-2.0

"""Each nova-compute is up and answers over the message bus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
import functools
from typing import Any

import sqlalchemy as sa

from nova_recovery import readiness
from nova_recovery.cloud.db import schema
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import divide
from nova_recovery.engine.findings import Finding
from nova_recovery.readiness import bounded, bus, common, control, Site
from nova_recovery.readiness.bus import Unheard

LAYER = 'compute'
_PATIENCE = 8.0
_EXPECTED = 'up, and answers within 10 s'


class Probe:
    """See :class:`nova_recovery.readiness.Probe`.

    A server of the host is asked for its diagnostics, which nova-compute
    answers itself: with 409 where the guest doesn't run.
    """

    needs: tuple[str, ...] = (
        *control.NEEDS,
        'control/nova-api',
        'control/nova-conductor',
    )

    def rows(self, site: Site) -> Iterator[Finding]:
        computes = common.computes(site)
        up = {host for host, one in computes.items() if one['state'] == 'up'}
        deaf = {host: bus.unheard(site, f'{LAYER}/{host}') for host in up}
        answers: dict[str, Any] = {
            host: Unheard(f'nobody listens to {queue}')
            for host, queue in deaf.items()
            if queue
        }
        if not site.brief:
            nova = site.apis().compute
            answers |= bounded.each(
                {
                    host: functools.partial(nova.runs, server)
                    for host, server in _one_server_each(site).items()
                    if host in up and not deaf[host]
                },
                _PATIENCE,
                workers=32,
            )
        gone = sorted((site.hosts or frozenset()) - set(computes))
        ours = site.cloud.reaches_hosts
        yield from judge(computes, answers, gone, site.brief, ours)


def judge(
    computes: Mapping[str, Mapping[str, Any]],
    answers: Mapping[str, Any],
    gone: Iterable[str] = (),
    brief: bool = False,
    ours: bool = False,
) -> Iterator[Finding]:
    """One row for all that are well, one for each that isn't.

    :param computes: host -> its service as the API has it
    :param answers: host -> whether a guest runs, or why there is no answer
    :param gone: hosts without a service
    :param brief: nobody was asked
    :param ours: hosts are reached from here
    """
    bad = [
        _row(
            host,
            readiness.UNKNOWN,
            'nova has no nova-compute on it',
            f'leave it out with --skip-host {host}=REASON',
        )
        for host in gone
    ]
    unasked = []
    for host, one in computes.items():
        answer = answers.get(host)
        if one['state'] != 'up':
            forced = ' (forced down)' if one.get('forced_down') else ''
            bad.append(
                _row(
                    host,
                    readiness.NO_GO
                    if one['state'] == 'down'
                    else readiness.UNKNOWN,
                    f'heartbeat: {one["state"]}{forced}',
                    f'{common.start(ours, host)}; or leave it out with '
                    f'--skip-host {host}=REASON',
                )
            )
        elif isinstance(answer, BaseException):
            bad.append(
                _row(
                    host,
                    readiness.NO_GO
                    if isinstance(answer, Unheard)
                    else readiness.UNKNOWN,
                    f'heartbeat: up; {bounded.words(answer)}',
                    common.restart(ours, host),
                )
            )
        elif answer is None:
            unasked.append(host)
    observed = f'{len(computes)} up'
    if not brief:
        observed += f', {len(computes) - len(unasked)} answer'
        if unasked:
            observed += (
                f'; heartbeat only, for they have no server to ask for: '
                f'{common.many(unasked)}'
            )
    yield from common.on_one_line(
        bad, _row('hosts', readiness.GO, observed, '')
    )


def _one_server_each(site: Site) -> dict[str, str]:
    """A server of each host that matters; one that runs, if there is one."""
    answers, silent = divide(site.cloud.databases.each_cell(_one_server))
    for error in silent.values():
        raise error
    return {
        host: server
        for found in answers.values()
        for host, server in found.items()
        if site.covers(host)
    }


def _one_server(database: Database) -> dict[str, str]:
    table = database.tables['instances']
    query = (
        sa.select(table.c.host, sa.func.max(table.c.uuid))
        .where(schema.live(table), table.c.host.is_not(None))
        .group_by(table.c.host)
    )
    found: dict[str, str] = {}
    with database.reader() as connection:
        for wanted in (query, query.where(table.c.vm_state == 'active')):
            found |= {row[0]: row[1] for row in connection.execute(wanted)}
    return found


def _row(subject: str, state: str, observed: str, remedy: str) -> Finding:
    return Finding(LAYER, state, subject, observed, _EXPECTED, remedy)
