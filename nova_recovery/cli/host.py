# SPDX-License-Identifier: Apache-2.0

"""``recovery host …``"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nova_recovery.cli import recovering
from nova_recovery.cli.base import RecoveryLister, Table
from nova_recovery.cli.looking import add_hosts, LookingLister
from nova_recovery.exceptions import UsageError

if TYPE_CHECKING:
    from nova_recovery.engine.findings import Assessment


class RecoverHost(RecoveryLister):
    """Bring the servers of dead hosts back on others.

    What nova evacuates is evacuated; the rest is moved in the databases,
    with its allocation, ports and volumes. Nothing is done before it was
    shown, and nothing is done for a host that may still be alive: its
    heartbeat is watched, and somebody has to answer for its being off.

    Look first, then do it::

        openstack recovery host recover np-rcc54 --dry-run
        openstack recovery host recover np-rcc54 --fenced "PDU port 14 is off"
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'hosts',
            metavar='<host>',
            nargs='+',
            help='A dead host, its exact name as "openstack compute service '
            'list" shows it',
        )
        recovering.add_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        cloud = self.cloud(parsed_args)
        return recovering.recover(self, parsed_args, cloud, parsed_args.hosts)


class CheckHost(LookingLister):
    """Look at compute hosts for what goes wrong at the next outage.

    Lines of fstab that stop a boot without the storage, read-only, full and
    silent file systems, dead sessions and paths, volume groups, disks that a
    power loss left with the wrong owner, clocks, and uids that differ; disks
    of guests in files where they are named. Nothing is changed. Ends with 0
    if there is nothing but notes, 4 if there is or a host does not answer::

        openstack recovery host check np-rcc46 np-rcc54
        openstack recovery host check --monitoring
        openstack recovery host check np-rcc46 \\
            --image /var/lib/nova/instances/3f57699a-e773-…/disk
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        add_hosts(parser)
        parser.add_argument(
            '--image',
            metavar='<path>',
            action='append',
            default=[],
            help='A disk of a guest, or the directory of an instance, that '
            'is checked by qemu-img, without repair; may be repeated. With '
            'one host. A disk that a process has open is left alone',
        )
        parser.add_argument(
            '--running',
            action='store_true',
            help='Check also images that a process has open: what is wrong '
            'may only be under way',
        )
        return parser

    def assess(self, parsed_args: argparse.Namespace) -> Assessment:
        from nova_recovery.procedures import check_hosts

        if parsed_args.image and len(parsed_args.hosts) != 1:
            raise UsageError('--image: name the one host on which it lies')
        return check_hosts.assess(
            self.cloud(parsed_args),
            parsed_args.hosts,
            parsed_args.image,
            parsed_args.running,
        )
