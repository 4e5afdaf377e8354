# SPDX-License-Identifier: Apache-2.0

"""Guests that are rebooted from inside: ``recovery server reboot-guest``.

And the options of the same for step 5 of ``recovery disaster``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from nova_recovery.cli import approval, recovering
from nova_recovery.cli import server as server_module
from nova_recovery.cli.base import RecoveryLister, Table
from nova_recovery.exceptions import UsageError

if TYPE_CHECKING:
    from oslo_config import cfg

    from nova_recovery.procedures.guests.reboot import Request


def add_guest_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``disaster plan`` and ``disaster apply`` understand of it."""
    group = add_way_options(parser)
    group.add_argument(
        '--guests',
        choices=('ssh', 'none'),
        default='none',
        help='Reboot guests over ssh, or list them by project for whoever '
        'holds the keys (the default)',
    )
    group.add_argument(
        '--guest',
        metavar='<server>',
        action='append',
        default=[],
        help='Reboot the guest of this server, by its name or UUID, and no '
        'other but those named so. Repeat it for several. Without it: those '
        'whose metadata asks for it, and those that step 4 attaches volumes '
        'to',
    )


def add_way_options(
    parser: argparse.ArgumentParser,
) -> argparse._ArgumentGroup:
    """Add how guests are reached; return the group of the options."""
    group = parser.add_argument_group(
        'guests',
        'Guests that are rebooted from inside, and how they are reached. '
        'Your own ssh_config, keys, jump hosts and known_hosts count.',
    )
    group.add_argument(
        '--guest-address',
        metavar='<server>=[<user>@]<address>',
        action='append',
        default=[],
        help='Reach the guest of this server there, at an address or a host '
        'of your ssh_config. Repeat it for several',
    )
    group.add_argument(
        '--guest-network',
        metavar='<network>',
        help='Use the addresses on this network, by its name or ID',
    )
    group.add_argument(
        '--guest-user',
        metavar='<user>',
        help='Log in as this user, where metadata names none',
    )
    group.add_argument(
        '--ssh-option',
        metavar='<name>=<value>',
        action='append',
        default=[],
        help='An option for ssh, as in ssh_config(5). Repeat it for several',
    )
    return group


def guest_request(parsed: argparse.Namespace, conf: cfg.ConfigOpts) -> Request:
    """What ``add_guest_options`` and the configuration ask for.

    :raises UsageError: an option that ssh is not given from here
    """
    request = way_request(parsed, conf, parsed.guest, parsed.guests == 'ssh')
    if not request.ssh and (request.servers or request.addresses):
        raise UsageError(
            'a guest is named, but none is to be rebooted: add --guests ssh'
        )
    return request


def way_request(
    parsed: argparse.Namespace,
    conf: cfg.ConfigOpts,
    servers: Iterable[str],
    ssh_wanted: bool = True,
) -> Request:
    """What ``add_way_options`` and the configuration ask for.

    :param servers: names or UUIDs
    :raises UsageError: an option that ssh is not given from here
    """
    from nova_recovery.guests import ssh
    from nova_recovery.procedures.guests.reboot import Request

    own = conf.guests
    options = (*parsed.ssh_option, *own.ssh_option)
    ssh.check_options(options)
    user = parsed.guest_user or own.user
    if user:
        ssh.check_user(user)
    return Request(
        ssh=ssh_wanted,
        servers=tuple(dict.fromkeys(servers)),
        addresses=_addresses(parsed.guest_address),
        network=parsed.guest_network or own.network,
        user=user,
        options=options,
        prefer=own.prefer,
        identity=own.require_identity,
        keys={
            'reboot': own.reboot_key,
            'address': own.address_key,
            'network': own.network_key,
            'user': own.user_key,
        },
        times={
            'connect': own.connect_timeout,
            'answer': own.answer_timeout,
            'reach': own.reach_timeout,
            'settle': own.settle,
            'patience': own.return_timeout,
        },
    )


def _addresses(words: list[str]) -> dict[str, str]:
    from nova_recovery.guests import ssh

    found = {}
    for word in words:
        server, equals, address = word.partition('=')
        if not (server and equals and address):
            raise UsageError(
                f'--guest-address {word}: give SERVER=[USER@]ADDRESS'
            )
        user, at, host = address.rpartition('@')
        ssh.check(host, user if at else None)
        found[server] = address
    return found


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
        add_way_options(parser)
        approval.add_plan_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.procedures.guests import reboot

        cloud = self.cloud(parsed_args)
        found = recovering.resolve(cloud, parsed_args.servers)
        request = way_request(
            parsed_args, cloud.conf, [server.uuid for server in found]
        )
        plan = reboot.make_plan(cloud, request)
        return self.stage(parsed_args).settle(plan, cloud).table
