# SPDX-License-Identifier: Apache-2.0

"""``recovery guest …``: guests as the hosts have them."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from nova_recovery.cli import approval
from nova_recovery.cli.base import RecoveryLister, Table
from nova_recovery.cli.looking import add_hosts, LookingLister
from nova_recovery.exceptions import UsageError

if TYPE_CHECKING:
    from nova_recovery.engine.findings import Assessment


class CheckGuest(LookingLister):
    """Compare the guests that hosts have with where nova has them.

    What runs on two hosts, runs or is defined where nova has it elsewhere,
    runs and was deleted, and what should run and does not. By libvirt and by
    the processes of the hosts; nothing is changed. Ends with 0 if there is
    nothing but notes, 4 if there is or a host does not answer::

        openstack recovery guest check
        openstack recovery guest check np-rcc46 np-rcc54
    """

    everything = False

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        add_hosts(parser)
        return parser

    def assess(self, parsed_args: argparse.Namespace) -> Assessment:
        from nova_recovery.procedures import check_guests

        return check_guests.assess(
            self.cloud(parsed_args), parsed_args.hosts, self.everything
        )


class ListGuest(CheckGuest):
    """List the guests of hosts, and what their XML says of the guide's two.

    The address that the console listens on, and DHCPSERVER; with the server
    and the host that nova has for each. The table is wide; -c chooses
    columns. Ends as "guest check" does::

        openstack recovery guest list np-rcc54 -c Domain -c State -c VNC
    """

    everything = True


_UUID = re.compile('[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')


class StopGuest(RecoveryLister):
    """End a guest on a host where nova does not have it: one that runs twice.

    At once, as "virsh destroy" does it; there is no way back. Refused where
    nova has it, and unless it runs on the host where nova has it, too. One
    guest of one host at a time::

        openstack recovery guest stop UUID --host np-rcc46 --dry-run
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'server', metavar='<server>', help='A server: its UUID'
        )
        parser.add_argument(
            '--host',
            metavar='<host>',
            required=True,
            help='The exact name of the host on which it is to be ended',
        )
        approval.add_plan_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.procedures import stop_guest

        uuid = parsed_args.server.lower()
        if not _UUID.fullmatch(uuid):
            raise UsageError(f'{parsed_args.server}: the UUID of a server')
        cloud = self.cloud(parsed_args)
        request = stop_guest.Request(uuid, parsed_args.host)
        plan = stop_guest.make_plan(cloud, request)
        return self.stage(parsed_args).settle(plan, cloud).table
