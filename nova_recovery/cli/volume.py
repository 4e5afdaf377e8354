# SPDX-License-Identifier: Apache-2.0

"""``recovery volume …``"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from nova_recovery.cli import approval, recovering
from nova_recovery.cli import server as server_module
from nova_recovery.cli.base import RecoveryLister, Table
from nova_recovery.cli.looking import LookingLister
from nova_recovery.exceptions import NotFound, UsageError

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.engine.findings import Assessment


class CheckVolume(LookingLister):
    """Compare nova's mappings of volumes with cinder's attachments.

    Lists what is wrong: danger (a reboot or a start may lose the disk),
    stale (something is left over) and note (nothing to be done here), each
    with the one command that mends it safely. Reads the databases only, and
    what differs a second time. What the hosts have connected is not looked
    at. Ends with 0 if there is nothing but notes, 4 if there is, 1 if a
    cell does not answer.

    Example: openstack recovery volume check --host np-rcc54
    """

    short = ('Code', 'Severity', 'Volume', 'Server', 'Cause')

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        add_whose(
            parser, 'Only volumes of this server; one that was deleted by UUID'
        )
        return parser

    def assess(self, parsed_args: argparse.Namespace) -> Assessment:
        from nova_recovery.procedures.volumes import assess
        from nova_recovery.procedures.volumes.read import Scope

        cloud = self.cloud(parsed_args)
        server = None
        if parsed_args.server:
            server = _server(cloud, parsed_args.server)
        scope = Scope(parsed_args.host, server, parsed_args.project)
        return assess.assess(cloud, scope)


class ResetVolume(RecoveryLister):
    """Reset what cinder says of volumes to what is so.

    Only volumes that are stale by the table in the user guide, each by
    compare-and-set on its row as it was seen; the others are refused with
    the reason. Statuses that are not of attachments (error_deleting,
    creating, backing-up …) are never touched::

        openstack recovery volume reset 81d7a173-e8b9-44c4-9daa-2c52a063da78
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'volumes',
            metavar='<volume>',
            nargs='+',
            help='A volume: its UUID, or its name if no other has it',
        )
        approval.add_plan_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.procedures.volumes import reset

        cloud = self.cloud(parsed_args)
        request = reset.Request(tuple(resolve(cloud, parsed_args.volumes)))
        stage = self.stage(parsed_args)
        plan = reset.make_plan(cloud, request, stage.say)
        return stage.settle(plan, cloud).table


class AttachVolume(RecoveryLister):
    """Give a server a volume again that it has lost.

    Where nova has lost the mapping, nova attaches it, once, and never to a
    server of a dead host. Where nova has it and cinder does not hold it for
    the server, cinder's attachment is made anew under the same mapping, for
    boot volumes too: do this before any reboot. Nothing is done where both
    sides agree::

        openstack recovery volume attach at3-ui02 \\
            81d7a173-e8b9-44c4-9daa-2c52a063da78
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_pair(parser)
        parser.add_argument(
            '--device',
            metavar='<device>',
            help='Such as /dev/vdb; nova takes it as a wish',
        )
        parser.add_argument(
            '--tag', metavar='<tag>', help='The tag that the guest sees'
        )
        parser.add_argument(
            '--connector',
            metavar='<host>=<file>',
            action='append',
            default=[],
            help="How the server's host connects to volumes: what "
            '"nova-manage volume_attachment get_connector --json" prints '
            'there (default: as cinder has it)',
        )
        parser.add_argument(
            '--mode',
            choices=('rw', 'ro'),
            help='Whether the server may write to it or only read it '
            '(default: as it was attached; nova itself attaches rw)',
        )
        approval.add_plan_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.procedures.volumes import attach

        cloud = self.cloud(parsed_args)
        (server,) = recovering.resolve(cloud, [parsed_args.server])
        (volume,) = resolve(cloud, [parsed_args.volume])
        request = attach.Request(
            server=server.uuid,
            volume=volume,
            device=parsed_args.device,
            tag=parsed_args.tag,
            connectors=recovering.connectors(parsed_args.connector),
            settle=cloud.conf.timeouts.settle,
            patience=cloud.conf.timeouts.server,
            mode=parsed_args.mode,
        )
        plan = attach.make_plan(cloud, request)
        return self.stage(parsed_args).settle(plan, cloud).table


class DetachStaleVolume(RecoveryLister):
    """Take away what ties a volume to a server that neither side needs.

    A mapping that a failed or replayed attach left, an attachment whose
    server or mapping is gone. Refused while the guest may have the volume
    connected. What the server has on both sides is not touched: that is
    "openstack server remove volume"::

        openstack recovery volume detach-stale at3-ui02 \\
            81d7a173-e8b9-44c4-9daa-2c52a063da78
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_pair(parser)
        approval.add_plan_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.procedures.volumes import detach

        cloud = self.cloud(parsed_args)
        (volume,) = resolve(cloud, [parsed_args.volume])
        request = detach.Request(_server(cloud, parsed_args.server), volume)
        stage = self.stage(parsed_args)
        plan = detach.make_plan(cloud, request, stage.say)
        return stage.settle(plan, cloud).table


def _add_pair(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'server', metavar='<server>', help=server_module.ANY_NAME
    )
    parser.add_argument(
        'volume',
        metavar='<volume>',
        help='The volume: its UUID, or its name if no other has it',
    )


def add_whose(parser: argparse.ArgumentParser, server_help: str) -> None:
    """Whose volumes: of a host, a server or a project; all if none."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        '--host',
        metavar='<host>',
        help='Only volumes of the servers of this host, to the letter',
    )
    which.add_argument('--server', metavar='<server>', help=server_help)
    which.add_argument(
        '--project',
        metavar='<project>',
        help='Only volumes of this project, by its ID',
    )


def resolve(cloud: Cloud, words: Iterable[str]) -> list[str]:
    """The UUIDs of volumes by UUID or name, each once.

    A UUID is not looked up: what is gone is told by the plan.

    :raises NotFound: no volume has that name; with those that nearly have
    :raises Ambiguous: several have it
    """
    return list(dict.fromkeys(_resolved(cloud, word) for word in words))


def _resolved(cloud: Cloud, word: str) -> str:
    from oslo_utils import uuidutils

    from nova_recovery.cloud.db import volumes

    if uuidutils.is_uuid_like(word):
        return word.strip().lower()
    cinder = cloud.databases.cinder
    if cinder is None:
        raise UsageError(
            f'{word!r} is no UUID of a volume, and names are in the database '
            'of cinder: give its cinder.conf, --cinder-config-file <file>'
        )
    return volumes.find(cinder, word)


def _server(cloud: Cloud, word: str) -> str:
    """The UUID of a server, which may be gone if it is given as such."""
    from oslo_utils import uuidutils

    try:
        (server,) = recovering.resolve(cloud, [word])
    except NotFound:
        if not uuidutils.is_uuid_like(word):
            raise
        return word.strip().lower()
    return server.uuid
