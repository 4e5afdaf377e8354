# SPDX-License-Identifier: Apache-2.0

"""``recovery disaster plan`` and ``apply``: the five steps."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from nova_recovery.cli import carry_out, disaster_scope, recovering
from nova_recovery.cli.base import RecoveryLister, RecoveryMixin
from nova_recovery.cli.recovering import Table
from nova_recovery.exceptions import UsageError

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.engine.plan import Plan
    from nova_recovery.procedures.disaster.request import Request

#: Options of a request; it has their defaults.
_PACE = ('wave_size', 'max_failures', 'per_host', 'everywhere', 'console_wait')


class PlanDisaster(RecoveryLister):
    """Show what would bring a cloud back after a power loss.

    Nothing is changed, whatever is found. With --plan-file the plan is
    saved, to be read, approved by somebody else and carried out later with
    "disaster apply". Ends with 3 if a gate refuses.

    Five steps, in this order: what belongs together is recorded and the
    servers are claimed; what is stale of volumes is cleaned, and nothing
    else; each server that ran is rebooted or started, once, first one of
    each kind, then in waves; volumes that nova lost are attached again;
    guests are rebooted from inside, or listed::

        openstack recovery disaster plan --snapshot latest --dump nova.sql.gz
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_options(parser)
        parser.add_argument(
            '--plan-file', metavar='<file>', help='Save the plan there'
        )
        carry_out.add_override(parser)
        parser.set_defaults(dry_run=True, approve=None, yes=False)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        cloud = self.cloud(parsed_args)
        plan = _make(self, parsed_args, cloud)
        return carry_out.settle(self, parsed_args, plan, cloud).table


class ApplyDisaster(RecoveryLister):
    """Bring a cloud back after a power loss: plan it, and carry it out.

    A plan that was saved is checked again and carried out, or a new one is
    made, shown and asked for. It pauses where it should not go on by
    itself: while the site is not ready, when canaries or too many servers
    of a wave fail, or after the step that --through names; "run resume"
    goes on, "disaster status" tells who is still down::

        openstack recovery disaster apply monday.plan --approve dc966795
        openstack recovery disaster apply --snapshot latest --dump nova.sql.gz
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'file',
            metavar='<plan-file>',
            nargs='?',
            help='A plan of "disaster plan --plan-file"; without it one is '
            'made of the options',
        )
        _add_options(parser)
        carry_out.add_through(parser)
        carry_out.add_plan_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        if parsed_args.file:
            return self._saved(parsed_args)
        cloud = self.cloud(parsed_args)
        plan = _make(self, parsed_args, cloud)
        # where nothing is to do there is nothing to pause after
        through = parsed_args.through if plan.steps else None
        return carry_out.settle(self, parsed_args, plan, cloud, through).table

    def _saved(self, parsed: argparse.Namespace) -> Table:
        from nova_recovery.engine import planfile
        from nova_recovery.procedures.disaster.plan import decided

        given = _given(parsed)
        if given:
            raise UsageError(
                f'--{given[0].replace("_", "-")} belongs to making a plan; '
                'the file has one already'
            )
        plan = planfile.load(parsed.file)
        if plan.procedure != decided.NAME:
            raise UsageError(
                f'{parsed.file} is a plan of {plan.procedure}: carry it out '
                'with plan apply'
            )
        return carry_out.settle_saved(self, parsed, plan).table


def _given(parsed: argparse.Namespace) -> list[str]:
    """The options for a new plan that were typed: a file has one already."""
    parser = argparse.ArgumentParser(add_help=False)
    _add_options(parser)
    names = [*vars(parser.parse_args([])), 'plan_file', 'override']
    return [name for name in names if getattr(parsed, name) not in (None, [])]


def _add_options(parser: argparse.ArgumentParser) -> None:
    """What a plan is made of; None or empty where nothing is typed."""
    from nova_recovery.cli import guest_options

    disaster_scope.add_options(parser)
    disaster_scope.add_order(parser)
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
    guest_options.add_guest_options(parser)
    parser.set_defaults(guests=None)


def _make(
    command: RecoveryMixin, parsed: argparse.Namespace, cloud: Cloud
) -> Plan:
    from nova_recovery.cli.stage import Stage
    from nova_recovery.procedures.disaster import planning

    return planning.make_plan(
        cloud, _request(parsed, cloud), Stage(command, parsed).say
    )


def _request(parsed: argparse.Namespace, cloud: Cloud) -> Request:
    """What the options ask for; the snapshot is whole, as far as it goes.

    :raises UsageError: an option that means nothing
    :raises RecoveryError: the snapshot is damaged
    """
    from nova_recovery.cli import guest_options
    from nova_recovery.procedures.disaster.request import failures, Request

    pace = {
        name: value
        for name in _PACE
        if (value := getattr(parsed, name)) is not None
    }
    failures(pace.get('max_failures', '0'), 100)
    with disaster_scope.snapshot(parsed, cloud) as found:
        snapshot = None if found is None else os.path.abspath(found.path)
    first = recovering.resolve(cloud, parsed.first)
    conf = cloud.conf
    return Request(
        scope=disaster_scope.scope(parsed),
        snapshot=snapshot,
        map_file=_path(parsed.map),
        dump=_path(parsed.dump),
        first=tuple(dict.fromkeys(server.uuid for server in first)),
        groups_first=tuple(parsed.group_first),
        priority_key=conf.disaster.priority_key,
        since=parsed.since and parsed.since.isoformat(),
        settle=conf.timeouts.settle,
        patience=conf.timeouts.server,
        guests=guest_options.guest_request(parsed, conf),
        **pace,
    )


def _path(word: str | None) -> str | None:
    """A file so that it is the same one wherever the plan is applied."""
    return word and os.path.abspath(word)


def _positive(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f'{text!r} is not 1 or more')
    return int(text)
