# SPDX-License-Identifier: Apache-2.0

"""``recovery config …``"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nova_recovery.cli.base import RecoveryCommand, RecoveryLister
from nova_recovery.cli.looking import LookingLister
from nova_recovery.exceptions import UsageError

if TYPE_CHECKING:
    from nova_recovery.engine.findings import Assessment

Table = tuple[tuple[str, ...], list[tuple[object, ...]]]

#: Clocks tell whole seconds; more than this is told.
APART = 3


class ShowConfig(RecoveryLister):
    """Show which files are read and what they say, secrets masked.

    No database and no API is asked: see "config check" for that. An option
    without an origin has its default.

    Example: openstack recovery config show
    """

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.procedures import show_config

        return ('File', 'Option', 'Value', 'From'), [
            (option.file, option.name, option.value, option.origin)
            for option in show_config.options(self.conf(parsed_args))
        ]


class CheckConfig(LookingLister):
    """Try all that the configuration leads to: each database, bus and API.

    The clock is that of the database or the API, in seconds ahead of this
    machine's. Of the journal and of snapshots it says whether they can be
    written, and of files with passwords whether all users may read them;
    nothing is made. What is broken stands with what mends it. Ends with 1
    if anything is configured wrongly or does not answer.

    Example: openstack recovery config check --no-api
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--no-api',
            action='store_true',
            help='Leave the APIs out, such as while Keystone is down',
        )
        return parser

    def assess(self, parsed_args: argparse.Namespace) -> Assessment:
        from nova_recovery.procedures import check_config

        result = check_config.assess(
            self.conf(parsed_args),
            None if parsed_args.no_api else self.connection,
        )
        apart = check_config.clocks_apart(result.findings)
        if apart > APART:
            self.log.warning('Clocks differ by %.0f seconds.', apart)
        return result


class GrantConfig(RecoveryCommand):
    """Print the least GRANT statements for a database user of ours.

    Making plans reads only; carrying them out changes a few tables of the
    cells. The databases are asked which of these tables they have. Create
    the user first; nothing is granted here.

    Example: openstack recovery config grants --user recovery
    """

    looks = True

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--user',
            metavar='<user>',
            default='nova-recovery',
            help='Whom to grant to (default: nova-recovery)',
        )
        parser.add_argument(
            '--from-host',
            metavar='<host>',
            default='%',
            help='Where that user comes from, as MySQL writes it '
            '(default: %%)',
        )
        parser.add_argument(
            '--planning',
            action='store_true',
            help='Only what making plans needs',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from nova_recovery.cloud.db import grants

        databases = self.cloud(parsed_args).databases
        asked = [(known.database, grants.CELL) for known in databases.cells]
        if databases.api is not None:
            asked.append((databases.api, grants.API))
        if databases.cinder is not None:
            asked.append((databases.cinder, grants.CINDER))
        for database, writes in asked:
            try:
                statements = grants.statements(
                    database,
                    writes,
                    parsed_args.user,
                    parsed_args.from_host,
                    parsed_args.planning,
                )
            except ValueError as error:
                raise UsageError(str(error)) from None
            self.app.stdout.write(f'-- {database.name}\n')
            for statement in statements:
                self.app.stdout.write(f'{statement}\n')
