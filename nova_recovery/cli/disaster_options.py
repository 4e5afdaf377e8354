# SPDX-License-Identifier: Apache-2.0

"""The options of the ``recovery disaster`` commands, and what they ask for."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
import contextlib
import datetime
import logging
import os
from typing import TYPE_CHECKING

from nova_recovery.cli import recovering
from nova_recovery.compat import utc
from nova_recovery.exceptions import RecoveryError

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.procedures.disaster.judge.wanted import Order
    from nova_recovery.procedures.disaster.request import Request
    from nova_recovery.procedures.disaster.scope import Scope
    from nova_recovery.snapshot.reading import Snapshot

LOG = logging.getLogger(__name__)


#: Options of a request; it has their defaults.
_PACE = ('wave_size', 'max_failures', 'per_host', 'everywhere', 'console_wait')


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which part of the cloud, and what tells how it was."""
    group = parser.add_argument_group(
        'scope',
        'The whole cloud, unless something is named. Each can be repeated; '
        'names of one sort add up, those of several narrow each other down. '
        'All are taken to the letter.',
    )
    for name, noun in (
        ('cell', 'cell'),
        ('az', 'availability zone'),
        ('aggregate', 'host aggregate'),
        ('host', 'compute host'),
        ('project', 'project, by its ID'),
    ):
        group.add_argument(
            f'--{name}',
            metavar=f'<{name}>',
            action='append',
            default=[],
            help=f'Only servers of this {noun}',
        )
    group.add_argument(
        '--skip-host',
        metavar='<host>=<reason>',
        action='append',
        default=[],
        help='Leave the servers of this host alone, such as one that will '
        'not come back: see host recover',
    )
    group.add_argument(
        '--skip-backend',
        metavar='<host@backend>=<reason>',
        action='append',
        default=[],
        help='Leave the servers alone that have volumes of this '
        'cinder-volume, such as one whose array is dead',
    )
    parser.add_argument(
        '--snapshot',
        metavar='<snapshot>',
        help='What tells how it was: a name in the configured directory, '
        '"latest", or the path of a file (default: the databases as they '
        'are)',
    )
    parser.add_argument(
        '--since',
        metavar='<time>',
        type=time,
        help='When the power went, UTC, such as 2026-11-22T14:49: without a '
        'snapshot it tells what nova has stopped since; beside one, which '
        'requests are older and count no more',
    )


def add_order(parser: argparse.ArgumentParser) -> None:
    """Who comes first."""
    parser.add_argument(
        '--first',
        metavar='<server>',
        action='append',
        default=[],
        help='This server before all others; repeat it for several, in '
        'their order',
    )
    parser.add_argument(
        '--group-first',
        metavar='<group>',
        action='append',
        default=[],
        help='This server group, by name or UUID, before others of the same '
        'priority; repeat it for several',
    )


def scope(parsed: argparse.Namespace) -> Scope:
    """The scope that the options name.

    :raises UsageError: a skipped host without a reason
    """
    from nova_recovery.procedures.disaster.scope import Scope

    return Scope(
        cells=tuple(dict.fromkeys(parsed.cell)),
        zones=tuple(dict.fromkeys(parsed.az)),
        aggregates=tuple(dict.fromkeys(parsed.aggregate)),
        hosts=tuple(dict.fromkeys(parsed.host)),
        projects=tuple(dict.fromkeys(parsed.project)),
        skip_hosts=recovering.pairs(
            parsed.skip_host, '--skip-host', form='HOST=REASON'
        ),
        skip_backends=recovering.pairs(
            parsed.skip_backend, '--skip-backend', form='HOST@BACKEND=REASON'
        ),
    )


@contextlib.contextmanager
def snapshot(
    parsed: argparse.Namespace, cloud: Cloud
) -> Iterator[Snapshot | None]:
    """The snapshot that was named, open; None if none was.

    :raises NotFound: there is no such file
    :raises RecoveryError: it is damaged
    """
    from nova_recovery.cloud.db import identity
    from nova_recovery.snapshot import reading, store
    from nova_recovery.snapshot.reading import Snapshot

    if not parsed.snapshot:
        yield None
        return
    path = store.resolve(
        cloud.conf.snapshot.directory,
        parsed.snapshot,
        cloud.nova.service_down_time,
        lambda: identity.of(cloud),
    )
    with Snapshot(path) as found:
        problems = reading.problems(found)
        if problems:
            raise RecoveryError(f'snapshot {path}: damaged: {problems[0]}')
        if not found.cloud:
            LOG.warning(
                '%s does not say of which cloud it is, as older versions made '
                'them: see to it that it is of this one',
                path,
            )
        yield found


def order(
    parsed: argparse.Namespace, cloud: Cloud, groups: Mapping[str, str]
) -> Order:
    """Who comes first, by the options and ``[disaster] priority_key``.

    :param groups: UUID -> name, as the situation has them
    :raises NotFound: no such server, or group
    :raises Ambiguous: a name means several
    """
    from nova_recovery.procedures.disaster.judge.wanted import Order
    from nova_recovery.procedures.disaster.look import layout

    servers = recovering.resolve(cloud, parsed.first)
    return Order(
        first=tuple(dict.fromkeys(server.uuid for server in servers)),
        key=cloud.conf.disaster.priority_key,
        groups=tuple(layout.named_groups(groups, parsed.group_first)),
    )


def time(text: str) -> datetime.datetime:
    """A time in UTC, without a zone as the databases have them."""
    try:
        return utc(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f'{text!r} is no time such as 2026-11-22T14:49'
        ) from error


def given(parsed: argparse.Namespace) -> list[str]:
    """The options for a new plan that were typed: a file has one already."""
    parser = argparse.ArgumentParser(add_help=False)
    add_plan(parser)
    names = [*vars(parser.parse_args([])), 'plan_file', 'override']
    return [name for name in names if getattr(parsed, name) not in (None, [])]


def add_plan(parser: argparse.ArgumentParser) -> None:
    """What a plan is made of; None or empty where nothing is typed."""
    from nova_recovery.cli import guest

    add_options(parser)
    add_order(parser)
    parser.add_argument(
        '--map',
        metavar='<file>',
        help='Attach the volumes again that this file names, a line "volume '
        'instance mountpoint" for each, in the place of those that the '
        'snapshot has',
    )
    parser.add_argument(
        '--dump',
        metavar='<file>',
        help='A dump of the databases that was made after the outage; its '
        'checksum is kept with the plan',
    )
    parser.add_argument(
        '--hosts',
        action='store_true',
        default=None,
        help='Ask the hosts of the servers themselves, over the [fleet], as '
        '"disaster assess --ready --hosts" does: what on them is in the way '
        'is a gate, now and whenever the plan is carried out',
    )
    recovering.add_not_running(parser)
    group = parser.add_argument_group('how fast')
    group.add_argument(
        '--wave-size',
        metavar='<number>',
        type=_positive,
        help='Servers of a wave (default: 50); between two waves it is '
        'looked whether the site is still ready',
    )
    group.add_argument(
        '--max-failures',
        metavar='<number>|<share>%',
        help='Pause when more servers of a wave fail (default: 5%%, rounded '
        'down); of the canaries none may',
    )
    group.add_argument(
        '--per-host',
        metavar='<number>',
        type=_positive,
        help='Servers that start side by side on one host (default: 4)',
    )
    group.add_argument(
        '--everywhere',
        metavar='<number>',
        type=_positive,
        help='Servers that start side by side in all (default: 16)',
    )
    group.add_argument(
        '--console-wait',
        metavar='<seconds>',
        type=_positive,
        help='How long a console log is watched for what became of the '
        'boot (default: 120)',
    )
    guest.add_guest_options(parser)
    parser.set_defaults(guests=None)


def request(parsed: argparse.Namespace, cloud: Cloud) -> Request:
    """What the options ask for; the snapshot is whole, as far as it goes.

    :raises UsageError: an option that means nothing
    :raises RecoveryError: the snapshot is damaged
    """
    from nova_recovery.cli import guest
    from nova_recovery.procedures.disaster.request import failures, Request

    pace = {
        name: value
        for name in _PACE
        if (value := getattr(parsed, name)) is not None
    }
    failures(pace.get('max_failures', '0'), 100)
    with snapshot(parsed, cloud) as found:
        path = None if found is None else os.path.abspath(found.path)
    first = recovering.resolve(cloud, parsed.first)
    conf = cloud.conf
    return Request(
        scope=scope(parsed),
        snapshot=path,
        map_file=_path(parsed.map),
        dump=_path(parsed.dump),
        first=tuple(dict.fromkeys(server.uuid for server in first)),
        groups_first=tuple(parsed.group_first),
        priority_key=conf.disaster.priority_key,
        since=parsed.since and parsed.since.isoformat(),
        ask_hosts=bool(parsed.hosts),
        not_running=recovering.not_running(cloud, parsed.not_running),
        settle=conf.timeouts.settle,
        patience=conf.timeouts.server,
        guests=guest.guest_request(parsed, conf),
        **pace,
    )


def _path(word: str | None) -> str | None:
    """A file so that it is the same one wherever the plan is applied."""
    return word and os.path.abspath(word)


def _positive(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(
            f'{text!r} is no whole number from 1 up'
        )
    return int(text)
