# SPDX-License-Identifier: Apache-2.0

"""``recovery guest …``: guests as the hosts have them."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from nova_recovery.cli import approval
from nova_recovery.cli.base import RecoveryLister, Table
from nova_recovery.cli.looking import add_hosts, HOST, LookingLister
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
            raise UsageError(
                f'{parsed_args.server!r} is no UUID: a guest is ended by the '
                'whole UUID of its server, as "virsh list --uuid" shows it, '
                'for nova may not know its name'
            )
        cloud = self.cloud(parsed_args)
        request = stop_guest.Request(uuid, parsed_args.host)
        plan = stop_guest.make_plan(cloud, request)
        return self.stage(parsed_args).settle(plan, cloud).table


_GUEST = 'A guest: the UUID of its server, or the name of its domain'


def _add_guest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('guest', metavar='<guest>', help=_GUEST)
    parser.add_argument(
        '--host', metavar='<host>', required=True, help=f'{HOST}: where it is'
    )


class ShowGuest(RecoveryLister):
    """Show where a guest's console listens, and DHCPSERVER of its filters.

    As it runs, as its next power cycle makes it, as nova makes it at a hard
    reboot, and in the libvirt.xml that an old nova wrote; with what of
    nova.conf decides::

        openstack recovery guest show instance-0000000a --host np-rcc54
    """

    looks = True

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_guest(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.procedures import show_guest

        table, lines = show_guest.show(
            self.cloud(parsed_args), parsed_args.host, parsed_args.guest
        )
        self.closing.extend(lines)
        return table


_MAC = re.compile('[0-9a-f]{2}(:[0-9a-f]{2}){5}')


def dhcp_servers(words: list[str]) -> dict[str, str]:
    """MAC -> address; without a MAC it is of all interfaces.

    :raises UsageError: it is none
    """
    from nova_recovery.procedures import set_guest

    found: dict[str, str] = {}
    for word in words:
        mac, _equals, text = word.rpartition('=')
        mac = mac.lower()
        if mac and not _MAC.fullmatch(mac):
            raise UsageError(
                f'--dhcpserver {word}: {mac!r} is no MAC address, such as '
                'fa:16:3e:4c:2c:30'
            )
        found[mac] = set_guest.address(text)
    if '' in found and len(found) > 1:
        raise UsageError(
            '--dhcpserver: either one for all, or each by its MAC'
        )
    return found


class SetGuest(RecoveryLister):
    """Set where a guest's console listens, or DHCPSERVER of its filters.

    The guide's two changes of libvirt.xml: in the XML that libvirt keeps, in
    the guest that runs where libvirt can (DHCPSERVER; a console stays where
    it is until a power cycle), and in the libvirt.xml of an old nova. Nova
    writes the XML anew at a hard reboot. "run undo" brings the values back::

        openstack recovery guest set UUID --host np-rcc54 --vnc-listen
        openstack recovery guest set UUID --host np-rcc54 \\
            --dhcpserver 10.0.0.1 --dry-run
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_guest(parser)
        parser.add_argument(
            '--vnc-listen',
            metavar='<address>',
            nargs='?',
            const='host',
            help='Have its console listen there; "host", or nothing: where '
            '[vnc] server_listen in nova.conf of the host says. 0.0.0.0 and '
            ':: open it on every interface, and are refused unless overridden',
        )
        parser.add_argument(
            '--dhcpserver',
            metavar='[<mac>=]<address>',
            action='append',
            default=[],
            help='The DHCP server that its filters let through; repeat it by '
            'MAC where interfaces have several. Only clouds with nova-network',
        )
        approval.add_plan_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.procedures import set_guest

        vnc = parsed_args.vnc_listen
        if vnc not in (None, set_guest.HOST):
            vnc = set_guest.address(vnc)
        dhcp = dhcp_servers(parsed_args.dhcpserver)
        if vnc is None and not dhcp:
            raise UsageError('what is to be set? --vnc-listen or --dhcpserver')
        cloud = self.cloud(parsed_args)
        request = set_guest.Request(
            parsed_args.guest, parsed_args.host, vnc, dhcp
        )
        plan = set_guest.make_plan(cloud, request)
        return self.stage(parsed_args).settle(plan, cloud).table
