# SPDX-License-Identifier: Apache-2.0

"""``recovery backup …``"""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from nova_recovery.cli import approval, recovering
from nova_recovery.cli.base import RecoveryLister, Table
from nova_recovery.cli.looking import LookingLister
from nova_recovery.cli.volume import add_whose, resolve
from nova_recovery.exceptions import UsageError

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.engine.findings import Assessment
    from nova_recovery.procedures.backups.read import Scope

_UNITS = {'': 86400, 'm': 60, 'h': 3600, 'd': 86400, 'w': 7 * 86400}


class CheckBackup(LookingLister):
    """List the volumes that have no good backup which is young enough.

    Good is a backup that can be restored: it is available, and so are all
    those on which it builds if it is incremental. Its age is that of the
    data in it. Whose backup it is doesn't matter. Cinder's database is
    read, and the cells for the names of servers; how many volumes of each
    project lack one is told on stderr. Ends with 0 if all have one, 4 if
    some have not, 1 if cinder's database does not answer.

    Example: openstack recovery backup check --older-than 1d
    """

    short = ('Volume', 'Name', 'Servers', 'Age', 'Why')

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_scope(parser)
        return parser

    def assess(self, parsed_args: argparse.Namespace) -> Assessment:
        from nova_recovery.procedures.backups import assess

        cloud = self.cloud(parsed_args)
        return assess.assess(
            cloud, _scope(cloud, parsed_args), parsed_args.older_than
        )


class CreateBackup(RecoveryLister):
    """Back up the volumes that "backup check" names.

    Those that never had a good backup come first, then those whose newest
    is the oldest. Each is asked for once, whatever happens, and waited for;
    a run that was stopped goes on with "run resume". The backups belong to
    your project and count for its quota. None is ever deleted.

    Example: openstack recovery backup create --dry-run
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_scope(parser)
        parser.add_argument(
            '--volume',
            metavar='<volume>',
            action='append',
            default=[],
            help='Only this volume: its name or UUID; repeat it for several',
        )
        parser.add_argument(
            '--limit',
            metavar='<count>',
            type=_count,
            help='At most so many volumes, the neediest',
        )
        parser.add_argument(
            '--incremental',
            action='store_true',
            help='Only what changed, where your project has a good backup '
            'to build on; the others are full, and the plan says why',
        )
        in_use = parser.add_mutually_exclusive_group()
        in_use.add_argument(
            '--force',
            dest='in_use',
            action='store_const',
            const='force',
            default='refuse',
            help='Volumes in use too; the backup of a running guest is '
            'crash-consistent only',
        )
        in_use.add_argument(
            '--skip-in-use',
            dest='in_use',
            action='store_const',
            const='skip',
            help='Leave volumes in use out',
        )
        parser.add_argument(
            '--per-backend',
            metavar='<count>',
            type=_count,
            default=2,
            help='At most so many at a time of one back end of cinder '
            '(default: 2)',
        )
        parser.add_argument(
            '--everywhere',
            metavar='<count>',
            type=_count,
            default=8,
            help='At most so many at a time in the whole cloud (default: 8)',
        )
        parser.add_argument(
            '--patience',
            metavar='<time>',
            type=_time,
            default='1d',
            help='How long one backup may take before it is no longer '
            'waited for, such as 90m, 12h or 2d (default: 1d)',
        )
        approval.add_plan_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.procedures.backups import create
        from nova_recovery.procedures.backups.create import Request

        cloud = self.cloud(parsed_args)
        request = Request(
            scope=_scope(cloud, parsed_args, parsed_args.volume),
            limit=parsed_args.older_than,
            at_most=parsed_args.limit,
            incremental=parsed_args.incremental,
            in_use=parsed_args.in_use,
            per_backend=parsed_args.per_backend,
            everywhere=parsed_args.everywhere,
            settle=cloud.conf.timeouts.settle,
            patience=parsed_args.patience,
        )
        plan = create.make_plan(cloud, request)
        return self.stage(parsed_args).settle(plan, cloud).table


def _add_scope(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--older-than',
        metavar='<age>',
        type=_time,
        default='7d',
        help='Volumes whose newest good backup is older than so many days, '
        'or than 90m, 12h, 2d or 1w; 0 is every volume (default: 7d)',
    )
    add_whose(parser, 'Only volumes of this server, by UUID or name')


def _scope(
    cloud: Cloud, parsed: argparse.Namespace, volumes: list[str] | None = None
) -> Scope:
    from nova_recovery.procedures.backups.read import Scope

    if volumes and (parsed.project or parsed.host or parsed.server):
        raise UsageError(
            '--volume names the volumes by itself: leave --project, --host '
            'and --server away'
        )
    ids = tuple(resolve(cloud, volumes or ()))
    server = None
    if parsed.server:
        (found,) = recovering.resolve(cloud, [parsed.server])
        server = found.uuid
    return Scope(parsed.project, parsed.host, server, ids)


def _time(word: str) -> int:
    """Seconds; a number alone is days."""
    match = re.fullmatch('([0-9]{1,6})([mhdw]?)', word.strip().lower())
    if match is None:
        raise argparse.ArgumentTypeError(
            f'{word!r} is no time: give days, or such as 90m, 12h, 2d or 1w'
        )
    return int(match[1]) * _UNITS[match[2]]


def _count(word: str) -> int:
    if not re.fullmatch('[1-9][0-9]{0,5}', word):
        raise argparse.ArgumentTypeError(
            f'{word!r} is no count: give a whole number from 1 up'
        )
    return int(word)
