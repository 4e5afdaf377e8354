# SPDX-License-Identifier: Apache-2.0

"""``recovery server reboot-guest``"""

from __future__ import annotations

import argparse

from nova_recovery.cli import carry_out, guest_options, recovering
from nova_recovery.cli import server as server_module
from nova_recovery.cli.base import RecoveryLister
from nova_recovery.cli.recovering import Table


class RebootGuest(RecoveryLister):
    """Reboot guests from inside, over ssh, each exactly once.

    "shutdown -r now" is sent by your own ssh, with your ssh_config, keys,
    jump hosts and known_hosts, to a guest that proves to be the server, and
    its new boot_id is waited for. Nobody is asked for a password::

        openstack recovery server reboot-guest at3-ui02 --guest-user debian
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'servers',
            metavar='<server>',
            nargs='+',
            help=server_module.ANY_NAME,
        )
        guest_options.add_way_options(parser)
        carry_out.add_plan_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.procedures import reboot_guests

        cloud = self.cloud(parsed_args)
        found = recovering.resolve(cloud, parsed_args.servers)
        request = guest_options.way_request(
            parsed_args, cloud.conf, [server.uuid for server in found]
        )
        plan = reboot_guests.make_plan(cloud, request)
        return carry_out.settle(self, parsed_args, plan, cloud).table
