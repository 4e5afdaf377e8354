# SPDX-License-Identifier: Apache-2.0

"""``recovery disaster``: what is beside what was, and the five steps."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
from typing import TYPE_CHECKING

from nova_recovery import exit_codes, program
from nova_recovery.cli import approval, disaster_options
from nova_recovery.cli.base import RecoveryLister, RecoveryMixin, Table
from nova_recovery.cli.looking import LookingLister
from nova_recovery.exceptions import (
    DatabaseUnavailable,
    RecoveryError,
    Refused,
    UsageError,
)

if TYPE_CHECKING:
    from nova_recovery.cli.stage import Result
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.engine.findings import Assessment
    from nova_recovery.engine.plan import Plan
    from nova_recovery.procedures.disaster.run.status import Status


#: What --hosts is given where no file is.
_FLEET = ''


class AssessDisaster(LookingLister):
    """Tell what a power loss did to a cloud.

    Compares a snapshot with the databases as they are, reads what differs a
    second time, and lists it: danger (to go on as it is may lose a disk, or
    run a guest twice), stale (what the procedure mends) and note, each with
    a likely cause and the one safe command, where there is one. Changes
    nothing, and needs no API. With --hosts the hosts are asked, too: their
    guests, sessions and disks, file systems, clocks and accounts. Ends with
    0 if there is nothing but notes, 4 if there is, 1 if a cell does not
    answer.

    Example: openstack recovery disaster assess --snapshot latest
    """

    short = (
        *('Code', 'Severity', 'Subject', 'Name', 'Host'),
        *('Cause', 'Layer', 'State', 'Observed'),
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        disaster_options.add_options(parser)
        parser.add_argument(
            '--hosts',
            metavar='<file>',
            nargs='?',
            const=_FLEET,
            action='append',
            default=[],
            help='Ask the compute hosts of the scope themselves, over the '
            '[fleet], and the hosts of volumes that its inventory has. With '
            'a file: a snapshot that "snapshot create --local" made on a '
            'host since, or one that others were merged into; repeat it for '
            'several',
        )
        parser.add_argument(
            '--code',
            metavar='<code>',
            action='append',
            help='Only findings of this code, such as SRV-DOWN; repeat it '
            'for several',
        )
        add_ready(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        check_ready(parsed_args)
        if parsed_args.purge:
            cloud = self.cloud(parsed_args)
            self._meant = _hosts(self, parsed_args, cloud)
            purged = _purge(self, parsed_args, cloud, self._meant)
            if parsed_args.dry_run or parsed_args.plan_file or self.exit_code:
                return purged.table
        return super().take_action(parsed_args)

    def assess(self, parsed_args: argparse.Namespace) -> Assessment:
        from nova_recovery import readiness
        from nova_recovery.cloud.db import identity
        from nova_recovery.procedures.disaster.judge import ready
        from nova_recovery.readiness import Site

        cloud = self.cloud(parsed_args)
        if not parsed_args.ready:
            return self._damage(parsed_args, cloud)
        if parsed_args.purge:
            hosts = self._meant
        else:
            hosts = _hosts(self, parsed_args, cloud)
        told = None
        if parsed_args.hosts:
            scope = disaster_options.scope(parsed_args)
            say = self.stage(parsed_args).say
            told = ready.rows(cloud, hosts, scope, say)
        with disaster_options.snapshot(parsed_args, cloud) as snapshot:
            if snapshot and identity.another(
                snapshot.cloud, identity.of(cloud)
            ):
                raise Refused(
                    f'{snapshot.path} was taken of another cloud: '
                    f'{", ".join(sorted(snapshot.cloud))}; name one of this '
                    f'cloud, see {program.call("snapshot list")}'
                )
            site = Site(
                cloud,
                snapshot,
                hosts,
                without=frozenset(
                    disaster_options.scope(parsed_args).skip_backends
                ),
                ours=lambda: self._sent(parsed_args),
                local=parsed_args.local,
                told=told,
            )
            return readiness.assess(site, _layers(parsed_args, cloud))

    def _sent(self, parsed_args: argparse.Namespace) -> frozenset[str]:
        """What our own runs asked of nova lately, if there is a journal."""
        from nova_recovery.cli import stage

        with (
            contextlib.suppress(RecoveryError),
            self.stage(parsed_args).journal() as journal,
        ):
            return stage.requests_of_others(journal, '')
        return frozenset()

    def _damage(
        self, parsed_args: argparse.Namespace, cloud: Cloud
    ) -> Assessment:
        from nova_recovery.procedures.disaster.judge import assess
        from nova_recovery.snapshot.reading import Snapshot

        with contextlib.ExitStack() as stack:
            result = assess.assess(
                cloud,
                stack.enter_context(
                    disaster_options.snapshot(parsed_args, cloud)
                ),
                disaster_options.scope(parsed_args),
                [
                    stack.enter_context(Snapshot(path))
                    for path in parsed_args.hosts
                    if path != _FLEET
                ],
                parsed_args.since,
                ask=_FLEET in parsed_args.hosts,
                progress=self.stage(parsed_args).say,
            )
        return dataclasses.replace(result, codes=tuple(parsed_args.code or ()))


class StatusDisaster(RecoveryLister):
    """Tell who is still down: servers that are to run and do not.

    By project, priority and minutes. It looks at the cloud, not at a
    journal, so that what somebody else brought up is up; computes are asked
    about servers of which nothing else tells whether they run. Ends with 0
    if all are up, 4 if some are not, 1 if a cell does not answer.

    Example: openstack recovery disaster status --run 3f2a -f csv
    """

    looks = True

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        disaster_options.add_options(parser)
        disaster_options.add_order(parser)
        parser.add_argument(
            '--run',
            metavar='<run>',
            help='The servers of this run, in its scope',
        )
        parser.add_argument(
            '--no-api',
            action='store_true',
            help='Databases only: ask no compute',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.procedures.disaster.run import status

        cloud = self.cloud(parsed_args)
        if parsed_args.run:
            result = self._of_run(parsed_args, cloud)
        else:
            result = self._of_scope(parsed_args, cloud)
        self.closing.append(result.summary())
        if result.unasked:
            self.log.warning('computes were not asked: %s', result.unasked)
        if result.rows:
            self.exit_code = exit_codes.PARTLY
        for name, why in result.found.silent.items():
            self.log.error(
                'database of %s unavailable: %s; what ran there is not known',
                name,
                why,
            )
            self.exit_code = exit_codes.ERROR
        return status.COLUMNS, result.table()

    def _of_scope(
        self, parsed_args: argparse.Namespace, cloud: Cloud
    ) -> Status:
        from nova_recovery.procedures.disaster.look import read
        from nova_recovery.procedures.disaster.run import status

        with disaster_options.snapshot(parsed_args, cloud) as snapshot:
            found = read.look(
                cloud,
                snapshot,
                disaster_options.scope(parsed_args),
                since=parsed_args.since,
                with_volumes=False,
            )
        order = disaster_options.order(parsed_args, cloud, found.groups)
        return status.status(cloud, found, order, ask=not parsed_args.no_api)

    def _of_run(self, parsed_args: argparse.Namespace, cloud: Cloud) -> Status:
        from nova_recovery.procedures.disaster import request
        from nova_recovery.procedures.disaster.look import read
        from nova_recovery.procedures.disaster.run import status

        if not disaster_options.scope(parsed_args).everything:
            raise UsageError(
                '--run looks at what that run is about: leave --host, '
                '--server and --project away'
            )
        with self.stage(parsed_args).journal() as journal:
            plan = journal.plan(journal.run(parsed_args.run).id)
        if plan.procedure != 'disaster':
            raise UsageError(
                f'run {parsed_args.run} is no disaster apply but '
                f'{plan.procedure}'
            )
        asked = request.of(plan.arguments)
        servers = status.planned(plan)
        if not parsed_args.snapshot:
            parsed_args.snapshot = asked.snapshot
        with disaster_options.snapshot(parsed_args, cloud) as snapshot:
            found = read.look(
                cloud,
                snapshot,
                dataclasses.replace(
                    asked.scope, skip_hosts={}, skip_backends={}
                ),
                since=parsed_args.since
                or (asked.since and disaster_options.time(asked.since))
                or None,
                marks=status.marks(servers.values()),
                with_volumes=False,
            )
        return status.status(
            cloud,
            found,
            status.order(asked),
            servers,
            ask=not parsed_args.no_api,
        )


class PlanDisaster(RecoveryLister):
    """Show what would bring a cloud back after a power loss.

    Nothing is changed, whatever is found. With --plan-file the plan is
    saved, to be read, approved by somebody else and carried out later with
    "disaster apply". Ends with 3 if a gate refuses.

    Five steps, in this order: what belongs together is recorded and the
    servers are claimed; what is stale of volumes is cleaned, and nothing
    else; each server that ran is rebooted or started, once, first one of
    each kind, then in waves; volumes that nova lost are attached again;
    guests are rebooted from inside, or listed::

        openstack recovery disaster plan --snapshot latest --dump nova.sql.gz
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        disaster_options.add_plan(parser)
        parser.add_argument(
            '--plan-file', metavar='<file>', help='Save the plan there'
        )
        approval.add_override(parser)
        parser.set_defaults(dry_run=True, approve=None, yes=False)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        cloud = self.cloud(parsed_args)
        plan = _make(self, parsed_args, cloud)
        return self.stage(parsed_args).settle(plan, cloud).table


class ApplyDisaster(RecoveryLister):
    """Bring a cloud back after a power loss: plan it, and carry it out.

    A plan that was saved is checked again and carried out, or a new one is
    made, shown and asked for. It pauses where it should not go on by
    itself: while the site is not ready, when canaries or too many servers
    of a wave fail, or after the step that --through names; "run resume"
    goes on, "disaster status" tells who is still down::

        openstack recovery disaster apply the.plan --approve dc9667957917f2e6
        openstack recovery disaster apply --snapshot latest --dump nova.sql.gz
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'file',
            metavar='<plan-file>',
            nargs='?',
            help='A plan of "disaster plan --plan-file"; without it one is '
            'made of the options',
        )
        disaster_options.add_plan(parser)
        approval.add_through(parser)
        approval.add_plan_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        if parsed_args.file:
            return self._saved(parsed_args)
        cloud = self.cloud(parsed_args)
        plan = _make(self, parsed_args, cloud)
        # where nothing is to do there is nothing to pause after
        through = parsed_args.through if plan.steps else None
        return self.stage(parsed_args).settle(plan, cloud, through).table

    def _saved(self, parsed: argparse.Namespace) -> Table:
        from nova_recovery.engine import planfile
        from nova_recovery.procedures.disaster.plan import steps

        given = disaster_options.given(parsed)
        if given:
            raise UsageError(
                f'--{given[0].replace("_", "-")} belongs to making a plan; '
                'the file has one already'
            )
        plan = planfile.load(parsed.file)
        if plan.procedure != steps.NAME:
            raise UsageError(
                f'{parsed.file} is a plan of {plan.procedure}: carry it out '
                'with plan apply'
            )
        return self.stage(parsed).settle_saved(plan).table


def _make(
    command: RecoveryMixin, parsed: argparse.Namespace, cloud: Cloud
) -> Plan:
    from nova_recovery.procedures.disaster import procedure

    return procedure.make_plan(
        cloud,
        disaster_options.request(parsed, cloud),
        command.stage(parsed).say,
    )


def add_ready(parser: argparse.ArgumentParser) -> None:
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
    approval.add_plan_options(parser)


def check_ready(parsed: argparse.Namespace) -> None:
    """:raises UsageError: options that mean nothing without others"""
    if not parsed.ready and (parsed.local or parsed.purge):
        raise UsageError('--local and --purge go with --ready')
    if parsed.ready and any(parsed.hosts or ()):
        raise UsageError('--ready asks the hosts themselves: --hosts alone')
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
    if parsed.purge and parsed.monitoring:
        raise UsageError('--monitoring only looks: --purge is for operators')


def _purge(
    command: RecoveryMixin,
    parsed: argparse.Namespace,
    cloud: Cloud,
    hosts: frozenset[str] | None,
) -> Result:
    from nova_recovery.procedures import bus_purge

    plan = bus_purge.make_plan(cloud, hosts)
    return command.stage(parsed).settle(plan, cloud)


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
    from nova_recovery.procedures.disaster import scope as scope_module
    from nova_recovery.procedures.disaster.look import layout

    scope = disaster_options.scope(parsed)
    if not (scope.by_host or scope.cells or scope.skip_hosts):
        return None
    try:
        services, silent = layout.of_cells(cloud)
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
