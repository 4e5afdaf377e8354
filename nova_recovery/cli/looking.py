# SPDX-License-Identifier: Apache-2.0

"""What commands have in common that only look: one result, several forms."""

from __future__ import annotations

import argparse
from typing import Any, TYPE_CHECKING

from nova_recovery.cli.base import RecoveryLister, Table
from nova_recovery.exceptions import RecoveryError

if TYPE_CHECKING:
    from nova_recovery.engine.findings import Assessment


#: One that a command reaches over the fleet.
HOST = (
    'A compute host, its exact name as "openstack compute service list" '
    'shows it; see [fleet] for how it is reached'
)


def add_hosts(parser: argparse.ArgumentParser) -> None:
    """Add the hosts that are looked at, where none is all of them."""
    parser.add_argument(
        'hosts', metavar='<host>', nargs='*', help=f'{HOST}; all without'
    )


class LookingLister(RecoveryLister):
    """A command that makes an assessment.

    As a table, JSON or CSV, what else there is to say on stderr, and an exit
    code of ours; or, with --monitoring, one line and an exit code as Nagios
    and its kin want them.
    """

    looks = True

    # what could not be looked at, lines; where something else came of it
    # than an assessment, nothing
    _silent: tuple[str, ...] = ()

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--monitoring',
            action='store_true',
            help='One line for monitoring instead of the table: OK, WARNING, '
            'CRITICAL or UNKNOWN, with the exit codes 0, 1, 2 and 3 of a '
            'Nagios plugin',
        )
        return parser

    def assess(self, parsed_args: argparse.Namespace) -> Assessment:
        """Look."""
        raise NotImplementedError

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        if parsed_args.monitoring:
            return self._monitor(parsed_args)
        result = self.assess(parsed_args)
        self._silent = result.silent
        if parsed_args.formatter == 'table' and result.meaning:
            self.closing.append(result.meaning)
        self.closing.extend(result.summary)
        self.exit_code = result.exit_code
        if parsed_args.formatter in ('json', 'yaml'):
            return result.guided
        return result.table

    def _monitor(self, parsed_args: argparse.Namespace) -> Table:
        """Whatever goes wrong is told on that line: it is not known."""
        from nova_recovery.engine import findings

        try:
            result = self.assess(parsed_args)
        except Exception as error:
            if not isinstance(error, RecoveryError):
                self.log.exception('%s', error)
            result = findings.failed(str(error))
        self._line, self.exit_code = result.monitoring
        return result.table

    def produce_output(
        self, parsed_args: argparse.Namespace, column_names: Any, data: Any
    ) -> int:
        """The line, where it was asked for; else the result, whole or not."""
        if not parsed_args.monitoring:
            code = super().produce_output(parsed_args, column_names, data)
            for line in self._silent:
                self.log.error(line)
            return code
        from nova_recovery.engine import printable

        # with names that tenants chose
        self.app.stdout.write(f'{printable.clean(self._line)}\n')
        return 0
