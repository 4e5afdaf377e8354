# SPDX-License-Identifier: Apache-2.0

"""``recovery server …``"""

from __future__ import annotations

import argparse
from typing import Any

from nova_recovery.cli import approval, recovering
from nova_recovery.cli.base import RecoveryLister, RecoveryShowOne, Table
from nova_recovery.exceptions import UsageError

ANY_NAME = (
    'A server: its UUID, name, database id, instance-000015b9, i-000015b9 or '
    '0x15b9'
)


class ListServer(RecoveryLister):
    """List the servers of a host from the databases, whatever its state.

    Beside each, what speaks against evacuating and against moving it. The
    status of the API is shown if it answers within seconds. The table is
    wide; -c chooses columns::

        openstack recovery server list --host np-rcc54 -c Name -c "VM state"
    """

    looks = True

    short = (
        *('Name', 'ID', 'VM state', 'Task state', 'Volumes'),
        *('Against evacuation', 'Against a move', 'May run elsewhere'),
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--host',
            metavar='<host>',
            help='The exact name of the host: np-rcc4 is not np-rcc46; '
            'without it, the hosts are told whose nova-compute is silent',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.procedures import show_servers

        cloud = self.cloud(parsed_args)
        if not parsed_args.host:
            raise UsageError(
                '\n'.join(
                    [
                        'servers are listed by host; name one with --host',
                        *show_servers.silent_hosts(cloud),
                    ]
                )
            )
        columns, rows, unknown = show_servers.of_host(cloud, parsed_args.host)
        for name, error in unknown.items():
            self.log.error('%s: %s', name, error)
            self.exit_code = error.exit_code
        return columns, rows


class ShowServer(RecoveryShowOne):
    """Show the row of a server, found by any of its names.

    Example: openstack recovery server show at3-ui02
    """

    looks = True

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('server', metavar='<server>', help=ANY_NAME)
        parser.add_argument(
            '--long',
            action='store_true',
            help='Every column of its row, as SELECT … \\G shows it',
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        from nova_recovery.cloud.db import servers
        from nova_recovery.procedures import show_servers

        cloud = self.cloud(parsed_args)
        server = servers.find(cloud.databases, parsed_args.server)
        if parsed_args.long:
            return show_servers.row(server)
        return show_servers.one(cloud, server)


class RecoverServer(RecoveryLister):
    """Bring single servers of a dead host back on another.

    As host recover, for the servers that are named. They may be of
    several dead hosts; the others of these hosts are left alone::

        openstack recovery server recover at3-ui02 --target-host np-rcc46
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'servers', metavar='<server>', nargs='+', help=ANY_NAME
        )
        recovering.add_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        cloud = self.cloud(parsed_args)
        found = recovering.resolve(cloud, parsed_args.servers)
        homeless = [server.name for server in found if not server.host]
        if homeless:
            raise UsageError(
                f'on no host, so not to be recovered: {", ".join(homeless)}'
            )
        return recovering.recover(
            self,
            parsed_args,
            cloud,
            [server.host or '' for server in found],
            [server.uuid for server in found],
        )


class AdoptServer(RecoveryLister):
    """Bring the rows of a server to the host where its guest runs.

    For a guest that the death of its host in the middle of a live migration
    or an evacuation left running on the target, while nova has it on the
    source: row, allocation and ports follow it. Nothing is started. In the
    end the hypervisor is asked; the old host keeps its copy until then, and
    run undo takes it all back::

        openstack recovery server adopt at3-ui07 --host np-rcc46 \\
            --seen-running "virsh list on np-rcc46" \\
            --fenced "PDU port 14 is off"
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('server', metavar='<server>', help=ANY_NAME)
        parser.add_argument(
            '--host',
            metavar='<host>',
            required=True,
            help='The exact name of the host where its guest runs',
        )
        parser.add_argument(
            '--seen-running',
            metavar='<how>',
            default='',
            help='Your word that its guest runs there and how you know, such '
            'as "virsh list shows it"; it is kept in the journal',
        )
        recovering.add_fenced(parser)
        recovering.add_not_running(parser)
        approval.add_plan_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.procedures import adopt

        cloud = self.cloud(parsed_args)
        (server,) = recovering.resolve(cloud, [parsed_args.server])
        if not server.host:
            raise UsageError(f'server {server.name} is on no host in its row')
        request = adopt.Request(
            uuid=server.uuid,
            source=server.host,
            target=parsed_args.host,
            seen_running=parsed_args.seen_running,
            fenced=parsed_args.fenced,
            not_running=recovering.not_running(cloud, parsed_args.not_running),
        )
        stage = self.stage(parsed_args)
        plan = adopt.make_plan(cloud, request, stage.say)
        return stage.settle(plan, cloud).table


class RebootServer(RecoveryLister):
    """Reboot servers, each exactly once: hard, or started if stopped.

    What was sent is never sent again unless it is proven that it was not
    carried out; a killed run goes on with run resume. Servers of a host
    that is down are refused: the request would wait in the message bus and
    be carried out when the host returns.

    Example: openstack recovery server reboot at3-ui02 --dry-run
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'servers', metavar='<server>', nargs='+', help=ANY_NAME
        )
        recovering.add_not_running(parser)
        approval.add_plan_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.procedures import reboot

        cloud = self.cloud(parsed_args)
        found = recovering.resolve(cloud, parsed_args.servers)
        request = reboot.Request(
            servers=tuple(dict.fromkeys(server.uuid for server in found)),
            settle=cloud.conf.timeouts.settle,
            patience=cloud.conf.timeouts.server,
            per_host=cloud.conf.runner.per_target,
            not_running=recovering.not_running(cloud, parsed_args.not_running),
        )
        plan = reboot.make_plan(cloud, request)
        return self.stage(parsed_args).settle(plan, cloud).table


class SetServer(RecoveryLister):
    """Correct the states of a server in its row.

    Only combinations that nova leaves alone; where "openstack server set
    --state" does the same, it says so. What is not given stays, but a new
    state takes its power state along::

        openstack recovery server set at3-ui02 --vm-state stopped
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('server', metavar='<server>', help=ANY_NAME)
        parser.add_argument(
            '--vm-state',
            metavar='<state>',
            help='active, stopped, paused, suspended, rescued, error or '
            'shelved',
        )
        parser.add_argument(
            '--power-state',
            metavar='<state>',
            help='nostate (0), running (1), paused (3), shutdown (4), '
            'crashed (6) or suspended (7)',
        )
        parser.add_argument(
            '--task-state',
            metavar='none',
            choices=('none',),
            help='none clears it; a task can not be set by hand',
        )
        recovering.add_not_running(parser)
        approval.add_plan_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.procedures import set_states

        wanted = parsed_args
        if not (wanted.vm_state or wanted.power_state or wanted.task_state):
            raise UsageError('give --vm-state, --power-state or --task-state')
        state = power = None
        if wanted.vm_state:
            state = set_states.vm_state(wanted.vm_state)
        if wanted.power_state:
            power = set_states.power_state(wanted.power_state)
        cloud = self.cloud(parsed_args)
        (server,) = recovering.resolve(cloud, [wanted.server])
        request = set_states.Request(
            uuid=server.uuid,
            cell=server.cell,
            vm_state=state,
            power_state=power,
            clear_task=wanted.task_state is not None,
            not_running=recovering.not_running(cloud, wanted.not_running),
        )
        plan = set_states.make_plan(cloud, request)
        return self.stage(parsed_args).settle(plan, cloud).table
