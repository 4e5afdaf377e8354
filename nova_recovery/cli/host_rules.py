# SPDX-License-Identifier: Apache-2.0

"""``recovery host rules …``: the packet filters of compute hosts."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from nova_recovery.cli import approval
from nova_recovery.cli.base import RecoveryLister, Table
from nova_recovery.cli.looking import add_hosts, HOST, LookingLister

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.engine.findings import Assessment


class SaveHostRules(LookingLister):
    """Save the packet-filter rules of hosts in a new file, mode 0600.

    All chains of iptables, ip6tables, ebtables and nft, also those of neutron
    and its like. Sets of nft are not saved. Ends with 4 if a host does not
    answer: the file has the others::

        openstack recovery host rules save np-rcc54 --file rules.json
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        add_hosts(parser)
        parser.add_argument(
            '--file',
            metavar='<file>',
            required=True,
            help='The file that is written; there must be none yet',
        )
        return parser

    def assess(self, parsed_args: argparse.Namespace) -> Assessment:
        from nova_recovery.procedures.rules import saved

        return saved.save(
            self.cloud(parsed_args), parsed_args.hosts, parsed_args.file
        )


class DiffHostRules(LookingLister):
    """Compare the packet-filter rules of hosts with a file or a snapshot.

    Chain by chain, without those that neutron, libvirt, docker, kube and OVN
    make, and without their rules in other chains. Ends with 4 if any chain
    differs or a host does not answer::

        openstack recovery host rules diff np-rcc54 --file rules.json
    """

    short = ('Code', 'Host', 'Chain', 'Difference')

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'hosts',
            metavar='<host>',
            nargs='*',
            help=f'{HOST}; all of the file without',
        )
        _add_source(parser)
        return parser

    def assess(self, parsed_args: argparse.Namespace) -> Assessment:
        from nova_recovery.procedures.rules import show

        cloud = self.cloud(parsed_args)
        path = _source(parsed_args, cloud)
        return show.assess(cloud, parsed_args.hosts, path)


class RestoreHostRules(RecoveryLister):
    """Restore chains of packet filters of hosts, as they were saved.

    Only those that are named, and never what neutron, libvirt, docker, kube
    or OVN make. One host after the other; each takes it back by itself unless
    it is reached by a new connection within 60 s. "run undo" brings back what
    was there::

        openstack recovery host rules restore np-rcc54 --file rules.json \\
            --chain iptables:filter:INPUT --dry-run
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('hosts', metavar='<host>', nargs='+', help=HOST)
        _add_source(parser)
        parser.add_argument(
            '--chain',
            metavar='<tool>:<table>:<chain>',
            dest='chains',
            action='append',
            required=True,
            help='A chain, as "host rules diff" shows it; may be repeated. '
            'One that was not there when it was saved is taken away',
        )
        approval.add_plan_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.procedures.rules import procedure

        cloud = self.cloud(parsed_args)
        request = procedure.Request(
            tuple(dict.fromkeys(parsed_args.hosts)),
            _source(parsed_args, cloud),
            tuple(dict.fromkeys(parsed_args.chains)),
        )
        plan = procedure.make_plan(cloud, request)
        return self.stage(parsed_args).settle(plan, cloud).table


def _add_source(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument(
        '--file',
        metavar='<file>',
        help='The file that "host rules save" wrote, or a snapshot',
    )
    group.add_argument(
        '--snapshot',
        metavar='<snapshot>',
        help='The snapshot that "snapshot create --hosts" made: its name in '
        'the configured directory, "latest", or the path of a file',
    )


def _source(parsed: argparse.Namespace, cloud: Cloud) -> str:
    """The path of either."""
    from nova_recovery.cloud.db import identity
    from nova_recovery.snapshot import store

    if parsed.file:
        return os.path.abspath(parsed.file)
    return store.resolve(
        cloud.conf.snapshot.directory,
        parsed.snapshot,
        ours=lambda: identity.of(cloud),
    )
