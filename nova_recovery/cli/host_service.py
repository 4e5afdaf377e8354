# SPDX-License-Identifier: Apache-2.0

"""``recovery host service …``: nova and libvirt on compute hosts."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nova_recovery.cli import approval
from nova_recovery.cli.base import RecoveryLister, Table
from nova_recovery.cli.looking import add_hosts, HOST, LookingLister

if TYPE_CHECKING:
    from nova_recovery.engine.findings import Assessment


class ListHostService(LookingLister):
    """List the services of nova and libvirt on hosts, and whether they run.

    Units of systemd, with the sockets and timers that would start them, and
    containers that no unit looks after; with what nova hears of the host.
    Ends with 4 if anything has failed or a host does not answer::

        openstack recovery host service list np-rcc54
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        add_hosts(parser)
        return parser

    def assess(self, parsed_args: argparse.Namespace) -> Assessment:
        from nova_recovery.procedures import list_services

        return list_services.assess(self.cloud(parsed_args), parsed_args.hosts)


class RestartHostService(RecoveryLister):
    """Restart nova-compute, and libvirt if asked, on hosts that are named.

    What runs of them is stopped, nova first, and started in reverse; then it
    is waited for until nova hears of nova-compute. The hosts are claimed
    meanwhile. Refused while nova-compute would destroy a guest at its start,
    since an evacuation away from its host is not completed::

        openstack recovery host service restart np-rcc54 --dry-run
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('hosts', metavar='<host>', nargs='+', help=HOST)
        parser.add_argument(
            '--libvirt',
            action='store_true',
            help='libvirt, too. Guests run on, unless it is in a container',
        )
        approval.add_plan_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.procedures import restart_services

        cloud = self.cloud(parsed_args)
        request = restart_services.Request(
            tuple(dict.fromkeys(parsed_args.hosts)), parsed_args.libvirt
        )
        plan = restart_services.make_plan(cloud, request)
        return self.stage(parsed_args).settle(plan, cloud).table
