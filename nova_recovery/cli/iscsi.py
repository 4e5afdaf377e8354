# SPDX-License-Identifier: Apache-2.0

"""``recovery iscsi …``: the sessions of compute hosts."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from nova_recovery import program
from nova_recovery.cli import approval
from nova_recovery.cli.base import RecoveryLister, Table
from nova_recovery.cli.looking import add_hosts, HOST, LookingLister
from nova_recovery.exceptions import UsageError

if TYPE_CHECKING:
    from nova_recovery.engine.findings import Assessment

_PORT = 3260
_PORTAL = re.compile(r'(?:[0-9A-Za-z.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?')


def portal(text: str) -> str:
    """``ADDRESS:PORT``, with the port that iSCSI has.

    :raises UsageError: it is none
    """
    found = _PORTAL.fullmatch(text)
    if found is None:
        raise UsageError(
            f'--portal {text}: give ADDRESS or ADDRESS:PORT, such as '
            '10.0.0.5:3260, and [ADDRESS]:PORT for IPv6'
        )
    return text if found[1] else f'{text}:{_PORT}'


class ListIscsiSession(LookingLister):
    """List the iSCSI sessions of hosts, and the volume and server of each.

    Volumes of active servers that have no session are listed too, and
    sessions that nobody uses. The table is wide; -c chooses columns. Ends
    with 4 if anything is wrong or a host does not answer::

        openstack recovery iscsi session list
        openstack recovery iscsi session list np-rcc54 -c Session -c Volume
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        add_hosts(parser)
        return parser

    def assess(self, parsed_args: argparse.Namespace) -> Assessment:
        from nova_recovery.procedures.iscsi import show

        return show.assess(self.cloud(parsed_args), parsed_args.hosts)


class DiscoverIscsi(LookingLister):
    """List the targets that a portal offers to a host; nothing is kept there.

    What "iscsiadm -m discovery -t st -p PORTAL" asks, without the records
    that it leaves::

        openstack recovery iscsi discover np-rcc54 --portal 10.0.0.1
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('host', metavar='<host>', help=HOST)
        _add_portal(parser)
        return parser

    def assess(self, parsed_args: argparse.Namespace) -> Assessment:
        from nova_recovery.procedures.iscsi import show

        return show.discover(
            self.cloud(parsed_args),
            parsed_args.host,
            portal(parsed_args.portal),
        )


class DeleteIscsiSession(RecoveryLister):
    """Close one iSCSI session of a host, by its number.

    Refused while a mount, a device mapper map, swap, a program or a guest
    uses one of its disks, and while several servers have theirs through it.
    The number must still mean the same target when it is closed. "run undo"
    opens a session to the same target again::

        openstack recovery iscsi session delete np-rcc54 --session 15 --dry-run
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('host', metavar='<host>', help=HOST)
        parser.add_argument(
            '--session',
            metavar='<number>',
            type=self._number,
            required=True,
            help='As "iscsi session list" shows it; another one after each '
            'login, and after each boot of the host',
        )
        approval.add_plan_options(parser)
        return parser

    def _number(self, text: str) -> int:
        # it is told while the words are read, before anything is run
        self._use_program()
        return _number(text)

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.procedures.iscsi import procedure

        cloud = self.cloud(parsed_args)
        request = procedure.Request(parsed_args.host, parsed_args.session)
        plan = procedure.make_plan(cloud, request)
        return self.stage(parsed_args).settle(plan, cloud).table


class CreateIscsiSession(RecoveryLister):
    """Open an iSCSI session of a host, such as to look at a disk.

    For the volumes of servers nova opens its own. Nothing is done where the
    host has such a session. "run undo" closes it::

        openstack recovery iscsi session create np-rcc54 \\
            --portal 10.0.0.1 --target iqn.2010-10.org.openstack:volume-…
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('host', metavar='<host>', help=HOST)
        parser.add_argument(
            '--target',
            metavar='<iqn>',
            required=True,
            help='The name of the target, as "iscsi discover" shows it',
        )
        _add_portal(parser)
        approval.add_plan_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.procedures.iscsi import procedure

        cloud = self.cloud(parsed_args)
        request = procedure.Request(
            parsed_args.host,
            target=parsed_args.target,
            portal=portal(parsed_args.portal),
        )
        plan = procedure.make_plan(cloud, request)
        return self.stage(parsed_args).settle(plan, cloud).table


def _add_portal(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--portal',
        metavar='<address>[:<port>]',
        required=True,
        help=f'Where the storage listens (port {_PORT} without one)',
    )


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(
            f'{text!r} is no number of a session, such as 3; '
            f'"{program.call("iscsi session list")}" lists them'
        )
    return int(text)
