# SPDX-License-Identifier: Apache-2.0

"""``recovery guest filter …``: libvirt's network filters of guests."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nova_recovery.cli import approval
from nova_recovery.cli.base import RecoveryLister, Table
from nova_recovery.cli.looking import add_hosts, HOST, LookingLister

if TYPE_CHECKING:
    from nova_recovery.engine.findings import Assessment


class ListGuestFilter(LookingLister):
    """List libvirt's network filters of guests, and what they make.

    Nova's own, those of its instances, and those that guests refer to,
    running or not; which are missing, and which have no rule in ebtables.
    With neutron there are none. The table is wide; -c chooses columns. Ends
    with 4 if anything is wrong or a host does not answer::

        openstack recovery guest filter list np-rcc54
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        add_hosts(parser)
        return parser

    def assess(self, parsed_args: argparse.Namespace) -> Assessment:
        from nova_recovery.procedures import filters

        return filters.assess(self.cloud(parsed_args), parsed_args.hosts)


class RebuildGuestFilter(RecoveryLister):
    """Define network filters of nova again: those that are missing.

    What guests of the host refer to, also those that are off, as nova until
    Train defined it; one that is named is defined again though it is there.
    UUIDs stay. Where neutron filters it says what to do instead. "run undo"
    brings back what was::

        openstack recovery guest filter rebuild --host np-rcc54 --dry-run
        openstack recovery guest filter rebuild --host np-rcc54 nova-base
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'names',
            metavar='<filter>',
            nargs='*',
            help='A filter of nova, its exact name (default: all that are '
            'missing)',
        )
        parser.add_argument(
            '--host', metavar='<host>', required=True, help=HOST
        )
        approval.add_plan_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.procedures import rebuild_filters

        cloud = self.cloud(parsed_args)
        request = rebuild_filters.Request(
            parsed_args.host, tuple(parsed_args.names)
        )
        plan = rebuild_filters.make_plan(cloud, request)
        return self.stage(parsed_args).settle(plan, cloud).table
