# SPDX-License-Identifier: Apache-2.0

"""``recovery guest …``: guests as the hosts have them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nova_recovery.cli.looking import LookingLister

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
        parser.add_argument(
            'hosts',
            metavar='<host>',
            nargs='*',
            help='A compute host, its exact name as "openstack compute '
            'service list" shows it; see [fleet] for how it is reached. All '
            'of them without',
        )
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
