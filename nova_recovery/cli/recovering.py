# SPDX-License-Identifier: Apache-2.0

"""What commands that recover servers, or name them, have in common."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import json
import re
from typing import Any, TYPE_CHECKING

from nova_recovery import exceptions
from nova_recovery.cli import approval
from nova_recovery.cli.base import RecoveryMixin, Table
from nova_recovery.exceptions import UsageError

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.cloud.records import Server
    from nova_recovery.procedures.recover.situation import Request

METHODS = ('auto', 'evacuate', 'move')


def add_options(parser: argparse.ArgumentParser) -> None:
    """How to recover, where to, and what is known of the hosts."""
    parser.add_argument(
        '--method',
        choices=METHODS,
        default='auto',
        help='auto evacuates what nova evacuates and moves the rest by hand; '
        'evacuate and move do only that (default: auto)',
    )
    parser.add_argument(
        '--target-host',
        metavar='<host>',
        help='Where the servers go (default: proposed from the room that '
        'placement has)',
    )
    parser.add_argument(
        '--target-for',
        metavar='<server>=<host>',
        action='append',
        default=[],
        help='Where this server goes; repeat it for several',
    )
    parser.add_argument(
        '--exclude',
        metavar='<server>',
        action='append',
        default=[],
        help='Leave this server alone; repeat it for several',
    )
    for noun, metavar, which in (
        ('project', '<project>', 'of this project, by its ID'),
        (
            'metadata',
            '<key>[=<value>]',
            'with this in their metadata, such as those that another '
            'service makes anew by itself',
        ),
        ('tag', '<tag>', 'with this tag'),
    ):
        parser.add_argument(
            f'--exclude-{noun}',
            metavar=metavar,
            action='append',
            default=[],
            help=f'Leave all servers alone {which}; repeat it for several',
        )
    parser.add_argument(
        '--leave-out-refused',
        action='store_true',
        help='Leave the servers alone that their gates refuse; the plan '
        'names them, with why',
    )
    add_fenced(parser)
    parser.add_argument(
        '--fence',
        action='store_true',
        help='Turn hosts off that are still on, with [fencing] command_off',
    )
    parser.add_argument(
        '--shared-storage',
        action='store_true',
        default=None,
        help='Your word that the targets see the disks of the servers: a '
        'shared instances directory or Ceph (default: as [storage] '
        'shared_instances says)',
    )
    parser.add_argument(
        '--connector',
        metavar='<host>=<file>',
        action='append',
        default=[],
        help='How a target connects to volumes: what "nova-manage '
        'volume_attachment get_connector --json" prints there (default: as '
        "cinder has it from the target's other volumes)",
    )
    add_not_running(parser)
    parser.add_argument(
        '--sql',
        action='store_true',
        help='Print the SQL that moves the servers and stop, as --method '
        'move, whatever the gates say; the only way on clouds older than '
        'cells and placement',
    )
    approval.add_plan_options(parser)


def add_fenced(parser: argparse.ArgumentParser) -> None:
    """The operator's word on the dead hosts."""
    parser.add_argument(
        '--fenced',
        metavar='<how>',
        default='',
        help='Your word that the hosts are off and how you know, such as '
        '"PDU port 14 is off"; it is kept in the journal',
    )


def add_not_running(parser: argparse.ArgumentParser) -> None:
    """The operator's word on where a guest is not."""
    parser.add_argument(
        '--not-running',
        metavar='<server>@<host>=<how>',
        action='append',
        default=[],
        help='Your word that the guest of this server does not run on that '
        'host, where it may, and how you know, such as "virsh list --all on '
        'np-rcc46 does not show it"; it is kept in the journal; repeat it '
        'for several',
    )


def not_running(cloud: Cloud, words: Sequence[str]) -> dict[str, str]:
    """The words of ``--not-running``: ``SERVER-UUID@HOST`` -> how.

    :raises UsageError: one of them is not of that form, or twice
    """
    found: dict[str, str] = {}
    for word in words:
        match = re.fullmatch(r'(.+?)@([^@=]+)=(.+)', word, re.DOTALL)
        if match is None:
            raise UsageError(
                f'--not-running {word}: give SERVER@HOST=HOW-YOU-KNOW'
            )
        name, host, how = match.groups()
        (server,) = resolve(cloud, [name])
        key = f'{server.uuid}@{host}'
        if key in found:
            raise UsageError(f'--not-running names {key} twice')
        found[key] = how
    return found


def pairs(
    words: Sequence[str],
    option: str,
    last: bool = False,
    form: str = 'KEY=VALUE',
) -> dict[str, str]:
    """``KEY=VALUE`` words as a dictionary.

    :param last: divide at the last ``=``: the name of a server may have
        one, that of a host can't
    :param form: what the message says to give
    :raises UsageError: one of them is not of that form, or twice
    """
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = (
            word.rpartition('=') if last else word.partition('=')
        )
        if not (key and equals and value):
            raise UsageError(f'{option} {word}: give {form}')
        if key in found:
            raise UsageError(f'{option} names {key} twice')
        found[key] = value
    return found


def connectors(words: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The files of ``--connector``, read.

    :raises UsageError: a file that is no connector of that host
    """
    found = {}
    for host, path in pairs(words, '--connector').items():
        try:
            with open(path, encoding='utf-8') as file:
                connector = json.load(file)
        except (OSError, ValueError) as error:
            why = exceptions.plainly(error)
            raise UsageError(
                f'--connector {host}: {path}: {why}; write it with '
                f'"nova-manage volume_attachment get_connector --json" there'
            ) from error
        # volume_attachment refresh of nova-manage makes the same check: a
        # connector of another host maps the volume to that one.
        if not isinstance(connector, dict) or connector.get('host') != host:
            raise UsageError(
                f'--connector {host}: {path} is not the connector of {host}'
            )
        found[host] = connector
    return found


def resolve(cloud: Cloud, words: Sequence[str]) -> list[Server]:
    """The servers that the operator names."""
    from nova_recovery.cloud.db import servers

    return [servers.find(cloud.databases, word) for word in words]


def recover(
    command: RecoveryMixin,
    parsed: argparse.Namespace,
    cloud: Cloud,
    hosts: Sequence[str],
    servers: Sequence[str] = (),
) -> Table:
    """Plan it; show it; carry it out if all agree.

    :param servers: uuids; none: all of the hosts
    """
    from nova_recovery.cli.stage import Stage
    from nova_recovery.procedures.recover import procedure

    where = Stage(command, parsed)
    plan = procedure.make_plan(
        cloud, _request(parsed, cloud, hosts, servers), where.say
    )
    if parsed.sql:
        return _sql(where, plan, cloud)
    return command.stage(parsed).settle(plan, cloud).table


def _request(
    parsed: argparse.Namespace,
    cloud: Cloud,
    hosts: Sequence[str],
    servers: Sequence[str],
) -> Request:
    from nova_recovery.procedures.recover.situation import Request

    conf = cloud.conf
    shared = parsed.shared_storage
    target_for: dict[str, str] = {}
    for word, host in pairs(parsed.target_for, '--target-for', True).items():
        (server,) = resolve(cloud, [word])
        if server.uuid in target_for:
            raise UsageError(f'--target-for names server {server.uuid} twice')
        target_for[server.uuid] = host
    return Request(
        hosts=tuple(dict.fromkeys(hosts)),
        servers=tuple(dict.fromkeys(servers)),
        # an evacuation has no SQL to print
        method='move' if parsed.sql else parsed.method,
        target_host=parsed.target_host,
        target_for=target_for,
        exclude=tuple(s.uuid for s in resolve(cloud, parsed.exclude)),
        exclude_projects=tuple(parsed.exclude_project),
        exclude_metadata=tuple(parsed.exclude_metadata),
        exclude_tags=tuple(parsed.exclude_tag),
        leave_out_refused=parsed.leave_out_refused,
        fenced=parsed.fenced,
        fence=parsed.fence,
        shared_storage=(
            conf.storage.shared_instances if shared is None else shared
        ),
        connectors=connectors(parsed.connector),
        not_running=not_running(cloud, parsed.not_running),
        per_target=conf.runner.per_target,
        settle=conf.timeouts.settle,
        patience=conf.timeouts.server,
    )


def _sql(where: Any, plan: Any, cloud: Cloud) -> Table:
    from nova_recovery.changes import record

    where.show(plan)
    where.say('\nOnly the SQL. Nothing was changed.')
    rows: list[tuple[Any, ...]] = [
        (item.label, statement)
        for item in plan.items()
        if item.kind == 'move-record'
        for statement in record.statements(
            cloud.databases.cell(item.data['cell']), item.data
        )
    ]
    return ('Server', 'SQL'), rows
