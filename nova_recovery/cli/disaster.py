# SPDX-License-Identifier: Apache-2.0

"""``recovery disaster assess`` and ``status``: what is, beside what was."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
from typing import TYPE_CHECKING

from nova_recovery import exit_codes
from nova_recovery.cli import disaster_ready, disaster_scope
from nova_recovery.cli.base import RecoveryLister
from nova_recovery.cli.recovering import Table
from nova_recovery.cli.run import stage
from nova_recovery.exceptions import UsageError

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.procedures.disaster.run.status import Status


class AssessDisaster(RecoveryLister):
    """Tell what a power loss did to a cloud.

    Compares a snapshot with the databases as they are, reads what differs a
    second time, and lists it: danger (to go on as it is may lose a disk, or
    run a guest twice), stale (what the procedure mends) and note, each with
    a likely cause and the one safe command, where there is one. Changes
    nothing, and needs no API. With --hosts also what hosts have connected.
    Ends with 0 if there is nothing but notes, 4 if there is, 1 if a cell
    does not answer.

    Example: openstack recovery disaster assess --snapshot latest
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        disaster_scope.add_options(parser)
        parser.add_argument(
            '--hosts',
            metavar='<file>',
            action='append',
            default=[],
            help='A snapshot that "snapshot create --local" made on a host '
            'since, or one that others were merged into; repeat it for '
            'several',
        )
        parser.add_argument(
            '--code',
            metavar='<code>',
            action='append',
            help='Only findings of this code, such as SRV-DOWN; repeat it '
            'for several',
        )
        disaster_ready.add_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.procedures.disaster.judge import assess
        from nova_recovery.snapshot.reading import Snapshot

        cloud = self.cloud(parsed_args)
        disaster_ready.check_options(parsed_args)
        if parsed_args.ready:
            return disaster_ready.show(self, parsed_args, cloud)
        with contextlib.ExitStack() as stack:
            result = assess.assess(
                cloud,
                stack.enter_context(
                    disaster_scope.snapshot(parsed_args, cloud)
                ),
                disaster_scope.scope(parsed_args),
                [
                    stack.enter_context(Snapshot(path))
                    for path in parsed_args.hosts
                ],
                parsed_args.since,
            )
        self.app.stderr.write(f'{result.summary()}\n')
        if not result.consistent:
            self.exit_code = exit_codes.PARTLY
        for name, why in result.found.silent.items():
            self.log.error(
                'database of %s unavailable: %s; what is there was not judged',
                name,
                why,
            )
            self.exit_code = exit_codes.ERROR
        codes = parsed_args.code
        return assess.COLUMNS, [
            row for row in result.rows() if not codes or row[0] in codes
        ]


class StatusDisaster(RecoveryLister):
    """Tell who is still down: servers that are to run and do not.

    By project, priority and minutes. It looks at the cloud, not at a
    journal, so that what somebody else brought up is up; computes are asked
    about servers of which nothing else tells whether they run. Ends with 0
    if all are up, 4 if some are not, 1 if a cell does not answer.

    Example: openstack recovery disaster status --run 3f2a -f csv
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        disaster_scope.add_options(parser)
        disaster_scope.add_order(parser)
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
        self.app.stderr.write(f'{result.summary()}\n')
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

        with disaster_scope.snapshot(parsed_args, cloud) as snapshot:
            found = read.look(
                cloud,
                snapshot,
                disaster_scope.scope(parsed_args),
                since=parsed_args.since,
                with_volumes=False,
            )
        order = disaster_scope.order(parsed_args, cloud, found.groups)
        return status.status(cloud, found, order, ask=not parsed_args.no_api)

    def _of_run(self, parsed_args: argparse.Namespace, cloud: Cloud) -> Status:
        from nova_recovery.procedures.disaster import request
        from nova_recovery.procedures.disaster.look import read
        from nova_recovery.procedures.disaster.run import status

        if not disaster_scope.scope(parsed_args).everything:
            raise UsageError('--run has a scope of its own')
        with stage(self, parsed_args).journal() as journal:
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
        with disaster_scope.snapshot(parsed_args, cloud) as snapshot:
            found = read.look(
                cloud,
                snapshot,
                dataclasses.replace(asked.scope, skip_hosts={}),
                since=parsed_args.since
                or (asked.since and disaster_scope.time(asked.since))
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
