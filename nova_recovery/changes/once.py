# SPDX-License-Identifier: Apache-2.0

"""Requests that may be sent at most once: start, hard reboot, evacuation.

nova writes a row in ``instance_actions`` before it asks the compute, and
nova-compute refuses to carry a request out that has none: no row is proof
that it was not carried out so far. The client can't choose the request id
that is recorded, so a request of ours is found by difference: what is there
now and was not there when the intent was written. Never by clocks.
"""

from __future__ import annotations

from collections.abc import Collection
import time
from typing import Any

from nova_recovery.changes import cell, history
from nova_recovery.changes.base import OneWay
from nova_recovery.engine.change import (
    Context,
    Interrupted,
    JSON,
    Observed,
    Past,
    State,
)
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed, OutcomeUnknown

#: Seconds between two looks at something under way.
POLL = 0.5


class SentOnce(OneWay):
    """What start, reboot and evacuation have in common.

    Data: cell, uuid, settle (seconds until a request without a row can't
    come through any more: the longest time that a proxy or a web server
    holds on to one), patience (seconds for the whole); perhaps mark, the
    newest ``instance_actions.id`` of the server when it was planned.
    """

    once = True
    #: What nova calls the request in ``instance_actions``.
    action: str

    def ready(self, row: JSON, item: Item) -> Observed:
        """Whether the request makes sense for a server in this state."""
        raise NotImplementedError

    def send(self, item: Item, context: Context, image: JSON) -> str:
        """Send the request, once; its id."""
        raise NotImplementedError

    def asked(self, image: JSON) -> str:
        """The action, where it depends on what the server was before."""
        return self.action

    def look(
        self, item: Item, context: Context, known: Collection[str] = ()
    ) -> Observed:
        """Whether it may be sent, before anything was.

        A start or reboot since the plan may be of this very run, of which
        an older copy is carried out elsewhere (``run export``).

        :param known: ids of requests that were there when it was decided
        """
        seen = self.ready(cell.server_row(item, context), item)
        if seen.state is not State.BEFORE or context.again:
            return seen
        mark = item.data.get('mark')
        if mark is None:
            return seen
        for action in history.actions(item, context):
            if (
                action['id'] > mark
                and action['action'] in ('start', 'reboot')
                and action['request_id'] not in known
            ):
                return Observed(
                    State.NEITHER,
                    f'somebody asked for its {action["action"]} '
                    f'({action["request_id"]}) since this was planned; '
                    f'{anyway(item)}',
                )
        return seen

    def standing(
        self, item: Item, context: Context, past: Past, action: JSON
    ) -> Observed:
        """What became of our request, whose row is ``action``.

        Judged by the event that nova-compute records when it is done.
        """
        database = cell.database(item, context)
        with database.reader() as connection:
            row = cell.instance(connection, database, item.data['uuid'])
        result = history.result_of(item, context, action)
        if result == 'error':
            if self.ready(row, item).state is State.AFTER:
                # Somebody mended it since.
                return Observed(State.AFTER, 'runs by now')
            reason = history.fault(item, context, past)
            return Observed(
                State.NEITHER,
                f'{action["action"]} failed on {row["host"]}: '
                f'{reason or "see the log of nova-compute"}; {again(item)}',
            )
        if result and row['task_state'] is None:
            return Observed(
                State.AFTER,
                f'{row["vm_state"]} on {row["host"]} ({action["request_id"]})',
            )
        return Observed(
            State.UNDERWAY, row['task_state'] or 'waiting for nova-compute'
        )

    def observe(
        self, item: Item, context: Context, past: Past | None
    ) -> Observed:
        if past is None:
            seen = self.look(item, context)
            if seen.state is not State.BEFORE:
                return seen
            row = cell.server_row(item, context)
            asked = history.actions(item, context)
            return Observed(
                State.BEFORE,
                image={
                    **seen.image,
                    'known': [action['request_id'] for action in asked],
                    'newest_migration': history.newest(
                        item, context, 'migrations'
                    ),
                    'newest_fault': history.newest(
                        item, context, 'instance_faults'
                    ),
                    'vm_state': row['vm_state'],
                    'power_state': row['power_state'],
                    'host': row['host'],
                },
            )
        ours = self._ours(item, context, past)
        if ours is not None:
            return self.standing(item, context, past, ours)
        return self._settled(item, context, past)

    def apply(self, item: Item, context: Context, image: JSON) -> str:
        request_id = self.send(item, context, image)
        context.note(request_id=request_id)
        return f'sent ({request_id})'

    def follow(self, item: Item, context: Context, past: Past) -> str:
        began = time.monotonic()
        deadline = began + item.data['patience']
        while True:
            ours = self._ours(item, context, past)
            if ours is not None:
                now = self.standing(item, context, past, ours)
            elif time.monotonic() - began < item.data['settle']:
                # We may read from another node of the cluster, which is a
                # little behind.
                now = Observed(State.UNDERWAY, 'nova has no record of it yet')
            else:
                raise OutcomeUnknown(
                    f'nova has no record of the {self.asked(past.image)} of '
                    f'server {item.data["uuid"]}'
                )
            if now.state is State.AFTER:
                return now.detail
            if now.state is State.NEITHER:
                raise ChangeFailed(now.detail)
            if time.monotonic() > deadline:
                raise OutcomeUnknown(
                    f'{self.asked(past.image)} of server '
                    f'{item.data["uuid"]} is under way for '
                    f'{item.data["patience"]} s: {now.detail}'
                )
            context.progress(now.detail)
            if context.stopping.wait(POLL):
                raise Interrupted

    def no_way_back(self, item: Item) -> str:
        return (
            f'the {self.action} of server {item.data["uuid"]} was carried '
            'out; to move it on, use openstack server migrate'
        )

    def _ours(self, item: Item, context: Context, past: Past) -> JSON | None:
        """The row of our request: the oldest new one of that name.

        Or the one with the id that nova answered, if it did: a member may
        have asked for the same in between.
        """
        known, asked = set(past.image['known']), self.asked(past.image)
        new = [
            action
            for action in history.actions(item, context)
            if action['action'] == asked and action['request_id'] not in known
        ]
        for action in new:
            if action['request_id'] == past.notes.get('request_id'):
                return action
        return new[0] if new else None

    def _settled(self, item: Item, context: Context, past: Past) -> Observed:
        """Prove that a request without a row was not carried out.

        Waits as long as it could still arrive; the server must show no
        task all the while.
        """
        if past.notes.get('request_id'):
            return Observed(
                State.UNKNOWN,
                f'nova accepted {past.notes["request_id"]} and has no '
                'record of it',
            )
        deadline = time.monotonic() + item.data['settle']
        while True:
            ours = self._ours(item, context, past)
            if ours is not None:
                return self.standing(item, context, past, ours)
            row = cell.server_row(item, context)
            if row['task_state'] is not None:
                return Observed(
                    State.UNKNOWN,
                    f'the server is {row["task_state"]} and nova has no '
                    f'record of our {self.asked(past.image)}',
                )
            if time.monotonic() > deadline:
                break
            context.progress('making sure that nothing is on its way')
            if context.stopping.wait(POLL):
                raise Interrupted
        seen = self.look(item, context, past.image['known'])
        if seen.state is not State.BEFORE:
            return seen
        if not seen.image.items() <= past.image.items():
            return Observed(
                State.NEITHER,
                f'it needs a {self.asked(seen.image)} by now, which is not '
                f'what was to be sent; {again(item)}',
            )
        return Observed(State.BEFORE, image=past.image)


def moved_on(row: JSON, item: Item) -> bool:
    """Whether it is on another host than the plan says.

    Somebody moves it by hand, and its volumes may not be connected there
    yet: what is stored of them is of the old host.
    """
    host = item.data.get('target') or item.data.get('host')
    return bool(host) and row['host'] != host


def rests(row: JSON, item: Item, states: Collection[str]) -> Observed:
    """BEFORE if it is on the plan's host, in such a state, without a task."""
    if moved_on(row, item):
        return Observed(State.NEITHER, f'the server is on {row["host"]}')
    if row['vm_state'] not in states or row['task_state'] is not None:
        return Observed(
            State.NEITHER,
            f'the server is {row["vm_state"]}, '
            f'task {row["task_state"] or "none"}',
        )
    return Observed(State.BEFORE)


def require_up(compute: Any, item: Item, context: Context) -> None:
    """Refuse to send to a host whose nova-compute isn't up.

    The request would wait in the message bus and be carried out when the
    host returns, perhaps days later.
    """
    host = cell.server_row(item, context)['host']
    state = compute_state(compute, host)
    if state != 'up':
        raise ChangeFailed(
            f'nova-compute on {host} is {state}; the request would wait in '
            'the message bus until it returns: not sent'
        )


def compute_state(compute: Any, host: str) -> str:
    """``up``, ``down`` or ``forced down``."""
    service = compute.service(host)
    return 'forced down' if service.get('forced_down') else service['state']


def again(item: Item) -> str:
    """How an operator who knows the reason has a request sent again."""
    return f'once that is mended: run resume … --again {item.label}=REASON'


def anyway(item: Item) -> str:
    """The same for one that others have been at."""
    return (
        'if it shall be sent nevertheless: run resume … --again '
        f'{item.label}=REASON'
    )
