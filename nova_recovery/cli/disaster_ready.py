# SPDX-License-Identifier: Apache-2.0

"""``recovery disaster assess --ready``: is the site ready for guests?"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nova_recovery import exit_codes
from nova_recovery.cli import carry_out, disaster_scope
from nova_recovery.cli.base import RecoveryMixin
from nova_recovery.cli.carry_out import Result
from nova_recovery.cli.recovering import Table
from nova_recovery.exceptions import DatabaseUnavailable, UsageError

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.readiness import Row

COLUMNS = ('Layer', 'State', 'Subject', 'Observed', 'Expected', 'Mend')


def add_options(parser: argparse.ArgumentParser) -> None:
    """What ``assess`` does instead, when asked whether the site is ready."""
    group = parser.add_argument_group(
        'readiness',
        'Not what the outage did, but whether guests can be started: one '
        'line for each layer, and what mends it. Ends with 0 if all is go, '
        'else with 3.',
    )
    group.add_argument(
        '--ready', action='store_true', help='Tell whether the site is ready'
    )
    group.add_argument(
        '--local',
        action='store_true',
        help='With --ready: look at the compute host too on which this runs; '
        'compared with what "snapshot create --local" saw there',
    )
    group.add_argument(
        '--purge',
        action='store_true',
        help='With --ready: first throw away, for good, what waits in the '
        'queues of nova-computes that are down. The plan is shown before',
    )
    carry_out.add_plan_options(parser)


def check_options(parsed: argparse.Namespace) -> None:
    """:raises UsageError: options that mean nothing without others"""
    if not parsed.ready and (parsed.local or parsed.purge):
        raise UsageError('--local and --purge go with --ready')
    if not parsed.purge and (
        parsed.dry_run
        or parsed.plan_file
        or parsed.override
        or parsed.yes
        or parsed.approve
    ):
        raise UsageError(
            'only --purge changes something: --dry-run, --plan-file, '
            '--override, --yes and --approve go with it'
        )


def show(
    command: RecoveryMixin, parsed: argparse.Namespace, cloud: Cloud
) -> Table:
    """The screen; sets the command's exit code.

    With ``--purge`` the queues are purged before, and with ``--dry-run`` or
    ``--plan-file`` there is but the plan of that.
    """
    from nova_recovery import readiness
    from nova_recovery.readiness import Site

    hosts = _hosts(command, parsed, cloud)
    if parsed.purge:
        result = _purge(command, parsed, cloud, hosts)
        if parsed.dry_run or parsed.plan_file or command.exit_code:
            return result.table
    with disaster_scope.snapshot(parsed, cloud) as snapshot:
        site = Site(cloud, snapshot, hosts, local=parsed.local)
        rows = readiness.look(site, _layers(parsed, cloud))
    command.app.stderr.write(f'{summary(rows)}\n')
    if readiness.red(rows):
        command.exit_code = exit_codes.REFUSED
    return COLUMNS, [
        (
            row.layer,
            row.state,
            row.subject,
            row.observed,
            row.expected,
            row.remedy,
        )
        for row in rows
    ]


def summary(rows: list[Row]) -> str:
    """The verdict, in one line."""
    from nova_recovery import readiness

    red = readiness.red(rows)
    if not red:
        return 'Ready.'
    counted = [
        f'{count} {state}'
        for state in (readiness.NO_GO, readiness.UNKNOWN)
        if (count := sum(row.state == state for row in red))
    ]
    waiting = sum(row.state == readiness.WAITS for row in rows)
    if waiting:
        counted.append(f'{waiting} that wait for these')
    return f'Not ready: {", ".join(counted)}.'


def _purge(
    command: RecoveryMixin,
    parsed: argparse.Namespace,
    cloud: Cloud,
    hosts: frozenset[str] | None,
) -> Result:
    from nova_recovery.procedures import bus_purge

    plan = bus_purge.make_plan(cloud, hosts)
    return carry_out.settle(command, parsed, plan, cloud)


def _layers(parsed: argparse.Namespace, cloud: Cloud) -> frozenset[str] | None:
    """All, but on a compute host, whose nova.conf leads to no database."""
    if parsed.local and not (
        cloud.nova.api_database
        or cloud.nova.database
        or cloud.conf.cells.connection
    ):
        return frozenset({'local'})
    return None


def _hosts(
    command: RecoveryMixin, parsed: argparse.Namespace, cloud: Cloud
) -> frozenset[str] | None:
    """The compute hosts that are meant, None: all.

    A database that is down is what this is to show: then all are meant.
    """
    from nova_recovery.cloud.db.databases import divide
    from nova_recovery.procedures.disaster import scope as scope_module
    from nova_recovery.procedures.disaster.look import layout
    from nova_recovery.procedures.disaster.look import (
        services as services_module,
    )

    scope = disaster_scope.scope(parsed)
    if not (scope.by_host or scope.cells or scope.skip_hosts):
        return None
    down_time = cloud.nova.service_down_time
    try:
        services, silent = divide(
            cloud.databases.each_cell(
                lambda cell: services_module.read(cell, down_time)
            )
        )
        places, _groups = layout.read(cloud, services, silent)
    except DatabaseUnavailable as error:
        command.log.warning('%s: all hosts are looked at', error)
        return None
    meant = scope_module.hosts(scope, places)
    if meant is None:
        meant = frozenset(places.hosts)
    if scope.cells:
        meant = frozenset(
            host for host in meant if places.hosts.get(host) in scope.cells
        )
    return meant - set(scope.skip_hosts)
