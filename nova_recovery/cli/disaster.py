# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""``recovery disaster assess`` and ``status``: what is, beside what was."""

from __future__ import annotations

import argparse
import contextlib

from nova_recovery.cli import base
from nova_recovery.cli import disaster_ready
from nova_recovery.cli import disaster_scope
from nova_recovery.cli import recovering
from nova_recovery import exit_codes


class AssessDisaster(base.RecoveryLister):
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

    def take_action(self, parsed_args: argparse.Namespace) -> recovering.Table:
        from nova_recovery.procedures.disaster import assess
        from nova_recovery.snapshot import reading

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
                    stack.enter_context(reading.Snapshot(path))
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
