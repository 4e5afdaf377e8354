# SPDX-License-Identifier: Apache-2.0

"""``recovery host path …``: disks of volumes on compute hosts."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nova_recovery.cli.looking import add_hosts, LookingLister

if TYPE_CHECKING:
    from nova_recovery.engine.findings import Assessment


class ListHostPath(LookingLister):
    """List the disks of volumes on hosts, their paths, and whose they are.

    Disks over iSCSI, Fibre Channel, NVMe-oF and RBD, maps of multipath with
    the state of each path, and what qemu reaches by itself; with volume and
    server as nova, libvirt and the disk itself tell. Volumes of active
    servers that no disk is are listed, too. Ends with 4 if anything is wrong
    or a host does not answer::

        openstack recovery host path list
        openstack recovery host path list np-rcc54 -c Disk -c Paths -c Volume
    """

    short = ('Code', 'Host', 'Disk', 'Paths', 'Volume')

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        add_hosts(parser)
        return parser

    def assess(self, parsed_args: argparse.Namespace) -> Assessment:
        from nova_recovery.procedures import list_paths

        return list_paths.assess(self.cloud(parsed_args), parsed_args.hosts)
