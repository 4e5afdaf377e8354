# SPDX-License-Identifier: Apache-2.0

"""``recovery run resume``: go on with what was interrupted."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
from typing import TYPE_CHECKING

from nova_recovery.cli import approval, recovering, run
from nova_recovery.cli.base import RecoveryLister, RecoveryMixin, Table
from nova_recovery.engine import claiming, states
from nova_recovery.engine.overrides import apply
from nova_recovery.exceptions import (
    Ambiguous,
    RecoveryError,
    Refused,
    UsageError,
)

if TYPE_CHECKING:
    from nova_recovery.cli.stage import Stage
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.engine.journal import Journal
    from nova_recovery.engine.plan import Item, Plan
    from nova_recovery.engine.records import ItemRecord, RunRecord


class ResumeRun(RecoveryLister):
    """Go on with a run that was interrupted, paused, killed or partly done.

    What is left is shown and asked for first, and the gates are asked again:
    an override holds for what was seen when it was given, and is given anew
    with --override where that has changed. What may have been sent is looked
    at before anything else: nothing is sent a second time unless it is proven
    that it wasn't carried out. Where that is in doubt, look at the server,
    then decide::

        openstack recovery run resume 3fb0 --again "at3-ui02=it does not run"
        openstack recovery run resume 3fb0 --skip "at3-ui02=it runs already"

    One host that died meanwhile holds up all others of a disaster; its
    servers are left out with::

        openstack recovery run resume 3fb0 --skip-host "np-rcc54=it is burnt"
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        run.add_run(parser)
        parser.add_argument(
            '--again',
            metavar='<server>=<reason>',
            action='append',
            default=[],
            help='Send again what failed or is in doubt for this server '
            '(or host): your word that a second time does no harm. Repeat it '
            'for several',
        )
        parser.add_argument(
            '--skip',
            metavar='<server>=<reason>',
            action='append',
            default=[],
            help='Leave out what is left for this server (or host), so that '
            'the run can end without it; its claim and lock are given back. '
            'Repeat it for several',
        )
        parser.add_argument(
            '--skip-host',
            metavar='<host>=<reason>',
            action='append',
            default=[],
            help='Leave out what is left for all servers of this host, such '
            'as one that died meanwhile, so that the others go on without '
            'it. Repeat it for several',
        )
        parser.add_argument(
            '--skip-backend',
            metavar='<host@backend>=<reason>',
            action='append',
            default=[],
            help='Leave out what is left for all servers with volumes of '
            'this cinder-volume, such as one whose array died meanwhile. '
            'Repeat it for several',
        )
        approval.add_through(parser)
        approval.add_override(approval.add_confirm_options(parser))
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        return resume(self, parsed_args)


def resume(command: RecoveryMixin, parsed: argparse.Namespace) -> Table:
    """Go on with a run, as the command does.

    :param parsed: as of the options of ``run resume``
    """
    from nova_recovery import procedures
    from nova_recovery.engine import undo
    from nova_recovery.procedures.gates import on_resume

    here = command.stage(parsed)
    with here.journal() as journal:
        found = here.run_of(journal)
        items = list(journal.items(found.id))
        plan = journal.plan(found.id)
        forward = undo.forward(plan, items, here.registry)
        if not forward:
            _check_forth(here, found)
        here.check_mine(found)
        here.check_kinds(plan)
        approval.check_through(plan, parsed.through)
        again = chosen(
            [item for item in items if item.state in states.BAD],
            parsed.again,
            '--again',
            lambda item: here.registry[item.kind].once,
        )
        skip = _left_out(plan, items, parsed)
        over = {
            i.id
            for i in items
            if i.state in states.FINAL or (forward and i.id not in forward)
        }
        rest = plan.remaining(over | skip.keys())
        if not any(rest.items()) and not skip:
            here.say(f'Nothing is left of run {found.id}.')
            return procedures.table(plan, items)
        cloud = command.cloud(parsed)
        if _ended_elsewhere(here, journal, found, rest, cloud):
            return here.run(journal, found.id, plan, cloud).table
        touched = claiming.touched(items)

        def gates_now(of: Plan) -> Plan:
            if all(i.kind in claiming.GIVES_BACK for i in of.items()):
                # giving back asks nobody
                return dataclasses.replace(of, gates=())
            asked = here.checked_again(of, cloud, touched)
            return dataclasses.replace(asked, gates=on_resume(asked.gates))

        left = gates_now(rest)
        given = approval.given(parsed)
        left = dataclasses.replace(left, gates=apply(left.gates, given))
        here.say(f'What is left of run {found.id}:')
        here.show(left)
        approval.refuse_if_blocked(left.gates, left.digest)
        here.say_decided('Sent again', again)
        here.say_decided('Left out', list(skip.items()))
        here.say_through(parsed.through)
        asked = left
        left = here.agree(left, lambda: gates_now(asked))
        me = here.who()
        del me['command']
        for one in given:
            journal.overridden(found.id, f'{one}: {one.reason}', **me)
        plan = dataclasses.replace(plan, gates=left.gates)
        for item_id, reason in again:
            journal.again(found.id, item_id, reason=reason, **me)
        for item_id, reason in skip.items():
            journal.skip(found.id, item_id, reason=reason, **me)
        return here.run(journal, found.id, plan, cloud, parsed.through).table


def _ended_elsewhere(
    here: Stage, journal: Journal, found: RunRecord, rest: Plan, cloud: Cloud
) -> bool:
    """Whether another controller has ended the run; what is left is left out.

    This journal knows nothing of it, and would see what the other one did as
    somebody else's work.
    """
    from nova_recovery.changes import claims

    if all(item.kind in claiming.GIVES_BACK for item in rest.items()):
        # ours, ended before it was written down
        return False
    items = {item.id: item.state for item in journal.items(found.id)}
    if any(
        item.kind in claiming.GIVES_BACK and items[item.id] in states.UNSETTLED
        for item in rest.items()
    ):
        # begun by us: it was we who gave it back
        return False
    try:
        hosts = claims.ended(
            journal.plan(found.id), cloud, found.id, items, found.marker
        )
    except RecoveryError:
        # the gates tell what can't be asked
        return False
    if not hosts:
        return False
    reason = (
        f'another controller ended the run and gave {", ".join(hosts)} back'
    )
    here.say(f'Nothing is left of run {found.id}: {reason}.')
    me = here.who()
    del me['command']
    for item in rest.items():
        if items[item.id] in states.SKIPPABLE:
            journal.skip(found.id, item.id, reason=reason, **me)
    return True


def _check_forth(here: Stage, found: RunRecord) -> None:
    """:raises Refused: it was taken back, at least in part"""
    if found.state == states.UNDONE:
        raise Refused(f'run {found.id} was undone; make a new plan')
    # Before --again and --skip are written down: an undo that was
    # interrupted still has to know what was begun.
    if states.UNDO & set(found.counts):
        raise Refused(
            f'run {found.id} was undone in part: make a new plan, or take '
            f'back the rest with: {here.call("run", "undo", found.id)}'
        )


def _left_out(
    plan: Plan, items: Sequence[ItemRecord], parsed: argparse.Namespace
) -> dict[str, str]:
    """What ``--skip`` and its like mean: item id -> the reason.

    Once taken, a claim or a lock must not stay on a server that is left out:
    nobody could work on it any more.
    """
    held = {(i.kind, i.subject) for i in items if i.state == states.DONE}
    possible = [
        item
        for item in items
        if item.state in states.SKIPPABLE
        and (claiming.GIVES_BACK.get(item.kind), item.subject) not in held
    ]
    skip = chosen(
        possible, parsed.skip, '--skip', known=items, about=about(plan)
    )
    reasons = recovering.pairs(
        parsed.skip_host, '--skip-host', form='HOST=REASON'
    )
    skip += of_hosts(plan, [item.id for item in possible], reasons)
    reasons = recovering.pairs(
        parsed.skip_backend, '--skip-backend', form='HOST@BACKEND=REASON'
    )
    skip += of_backends(plan, [item.id for item in possible], reasons)
    # all may mean the same one: the last reason is that of the back end
    return dict(skip)


def chosen(
    items: Iterable[ItemRecord],
    words: Sequence[str],
    option: str,
    fits: Callable[[ItemRecord], bool] = lambda item: True,
    known: Iterable[ItemRecord] = (),
    about: Mapping[str, str] | None = None,
) -> list[tuple[str, str]]:
    """The items that ``SUBJECT=REASON`` words mean, each with its reason.

    A server, its boot and its guest are one.

    :param items: those that the option can be for
    :param known: all: a server may have no item left but of its volumes
    :param about: item id -> the server that it is about, although it is
        done to something else, such as a volume
    :raises UsageError: a word that means none
    :raises Ambiguous: servers of several projects may have the same name
    """
    possible = [item for item in items if fits(item)]
    every = list(known)
    found: list[tuple[str, str]] = []
    for word in words:
        name, equals, reason = word.partition('=')
        named = _named(possible, name) or _named(every, name)
        if len(named) > 1:
            raise Ambiguous(
                f'{option} {word}: several are called {name}; give the ID of '
                'the one that is meant:',
                list(named),
            )
        some = [
            item.id
            for item in possible
            if _id(item) in named or (about or {}).get(item.id) in named
        ]
        if not (equals and reason.strip() and some):
            raise UsageError(
                f'{option} {word}: give SERVER=REASON with one of: '
                + (', '.join(sorted({i.label for i in possible})) or 'none')
            )
        found.extend((item_id, reason.strip()) for item_id in some)
    return found


def _named(items: Iterable[ItemRecord], name: str) -> dict[str, None]:
    """The servers, hosts or volumes that are called so, by their IDs."""
    return {
        _id(item): None for item in items if name in (item.label, _id(item))
    }


def _id(item: ItemRecord) -> str:
    """A server's UUID, the name of a host."""
    return item.subject.partition(':')[2]


def about(plan: Plan) -> dict[str, str]:
    """The servers whose volumes items are done to, by the items' ids.

    What is done to a volume for several servers is of none of them, unless
    it says of which.
    """
    found = {}
    for item in plan.items():
        servers = [
            uuid
            for kind, _, uuid in (one.partition(':') for one in item.follows)
            if kind == 'server'
        ]
        if item.data.get('uuid') in servers:
            found[item.id] = str(item.data['uuid'])
        elif item.subject.startswith('volume:') and len(servers) == 1:
            found[item.id] = servers[0]
    return found


def of_hosts(
    plan: Plan, left: Iterable[str], reasons: Mapping[str, str]
) -> list[tuple[str, str]]:
    """What is left of servers on these hosts, each item with the reason.

    :param left: ids of items that can be left out
    :param reasons: host -> why
    :raises UsageError: nothing is left of a host
    """
    servers = about(plan)

    def uuid(item: Item) -> str:
        return servers.get(item.id) or item.subject.partition(':')[2]

    hosts = {
        uuid(item): name for item in plan.items() if (name := host_of(item))
    }
    on = {
        item.id: host_of(item) or hosts.get(uuid(item))
        for item in plan.items()
    }
    found = [
        (item_id, reasons[host])
        for item_id in left
        if (host := on.get(item_id)) and host in reasons
    ]
    nothing = reasons.keys() - {on.get(item_id) for item_id, _ in found}
    if nothing:
        known = sorted({host for i in left if (host := on.get(i))})
        raise UsageError(
            f'--skip-host {sorted(nothing)[0]}: nothing is left of it, but '
            f'of: {", ".join(known) or "none"}'
        )
    return found


def of_backends(
    plan: Plan, left: Iterable[str], reasons: Mapping[str, str]
) -> list[tuple[str, str]]:
    """What is left of servers that need these back ends, with the reason.

    :param left: ids of items that can be left out
    :param reasons: ``host@backend`` -> why
    :raises UsageError: nothing that is left needs it
    """
    servers = about(plan)

    def whose(item: Item) -> str:
        return servers.get(item.id) or item.subject.partition(':')[2]

    needs: dict[str, set[str]] = {}
    for item in plan.items():
        needs.setdefault(whose(item), set()).update(
            item.data.get('backends', ())
        )
    of = {item.id: needs[whose(item)] for item in plan.items()}
    found = [
        (item_id, reasons[name])
        for item_id in left
        for name in sorted(of[item_id] & reasons.keys())
    ]
    known = sorted({name for item_id in left for name in of[item_id]})
    for name in sorted(reasons.keys() - set(known)):
        raise UsageError(
            f'--skip-backend {name}: nothing that is left needs it, but: '
            f'{", ".join(known) or "none"}'
        )
    return found


def host_of(item: Item) -> str:
    """The host that an item is about, '' where it doesn't say.

    Of a server that leaves its host: the one that it leaves.
    """
    source = item.data.get('source') or ''
    if isinstance(source, dict):
        source = source['host']
    return str(item.data.get('host') or source)
