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
import shlex
import time

import sqlalchemy as sa

from nova_recovery import program
from nova_recovery.changes import cell, history
from nova_recovery.changes.base import At, OneWay
from nova_recovery.cloud.db import mappings
from nova_recovery.engine import clock
from nova_recovery.engine.change import JSON, Observed, State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed, OutcomeUnknown

#: Seconds between two looks at something under way.
POLL = 0.5
#: Seconds for what is recorded before nova answers to be read, after that.
RECORDED = 60.0


class SentOnce(OneWay):
    """What start, reboot and evacuation have in common.

    Data: cell, uuid, settle (seconds until a request without a row can't
    come through any more: the longest time that nova itself, a proxy or a
    web server holds on to one), patience (seconds for the whole); perhaps
    mark, the newest ``instance_actions.id`` of the server when it was planned.
    """

    once = confirms = True
    #: What nova calls the request in ``instance_actions``.
    action: str

    def ready(self, at: At, row: JSON) -> Observed:
        """Whether the request makes sense for a server in this state."""
        raise NotImplementedError

    def send(self, at: At) -> str:
        """Send the request, once, ``about_to_send`` right before; its id."""
        raise NotImplementedError

    def asked(self, image: JSON) -> str:
        """The action, where it depends on what the server was before."""
        return self.action

    def look(self, at: At, known: Collection[str] = ()) -> Observed:
        """Whether it may be sent, before anything was.

        A start or reboot since the plan may be of this very run, of which
        an older copy is carried out elsewhere (``run export``).

        :param known: ids of requests that were there when it was decided
        """
        seen = self.ready(at, cell.server_row(at))
        if seen.state is not State.BEFORE or at.again:
            return seen
        mark = at.data.get('mark')
        if mark is None:
            return seen
        for action in history.actions(at):
            if (
                action['id'] > mark
                and action['action'] in ('start', 'reboot')
                and action['request_id'] not in known
            ):
                return Observed.neither(
                    f'somebody asked for its {action["action"]} '
                    f'({action["request_id"]}) since this was planned; '
                    f'{anyway(at)}'
                )
        return seen

    def standing(self, at: At, action: JSON) -> Observed:
        """What became of our request, whose row is ``action``.

        Judged by the event that nova-compute records when it is done.
        """
        database = cell.database(at)
        with database.reader() as connection:
            row = cell.instance(connection, database, at.data['uuid'])
        result = history.result_of(at, action)
        if result == 'error':
            if self.ready(at, row).state is State.AFTER:
                # Somebody mended it since.
                return Observed.after('runs by now')
            reason = history.fault(at)
            return Observed.neither(
                f'{action["action"]} failed on {row["host"]}: '
                f'{reason or "see the log of nova-compute"}; {again(at)}'
            )
        if result and row['task_state'] is None:
            return Observed.after(
                f'{row["vm_state"]} on {row["host"]} ({action["request_id"]})'
            )
        return Observed.underway(
            row['task_state'] or 'waiting for nova-compute'
        )

    def observe(self, at: At) -> Observed:
        if not at.begun:
            seen = self.look(at)
            if seen.state is not State.BEFORE:
                return seen
            row = cell.server_row(at)
            asked = history.actions(at)
            return Observed.before(
                {
                    **seen.image,
                    **STAMPED,
                    'known': [action['request_id'] for action in asked],
                    'newest_migration': history.newest(at, 'migrations'),
                    'newest_fault': history.newest(at, 'instance_faults'),
                    'vm_state': row['vm_state'],
                    'power_state': row['power_state'],
                    'host': row['host'],
                }
            )
        ours = self._ours(at)
        if ours is not None:
            return self.standing(at, ours)
        return self._settled(at)

    def apply(self, at: At) -> str:
        request_id = self.send(at)
        at.note(request_id=request_id)
        return f'sent ({request_id})'

    def follow(self, at: At) -> str:
        began = time.monotonic()
        deadline = began + at.data['patience']
        while True:
            ours = self._ours(at)
            if ours is not None:
                now = self.standing(at, ours)
            elif time.monotonic() - began < min(RECORDED, at.data['settle']):
                # We may read from another node of the cluster, which is a
                # little behind.
                now = Observed.underway('nova has no record of it yet')
            else:
                raise OutcomeUnknown(
                    f'nova has no record of the {self.asked(at.image)} of '
                    f'server {at.data["uuid"]}'
                )
            if now.state is State.AFTER:
                return now.detail
            if now.state is State.NEITHER:
                raise ChangeFailed(now.detail)
            if time.monotonic() > deadline:
                raise OutcomeUnknown(
                    f'{self.asked(at.image)} of server '
                    f'{at.data["uuid"]} is under way for '
                    f'{at.data["patience"]} s: {now.detail}'
                )
            at.progress(now.detail)
            at.wait(POLL)

    def no_way_back(self, item: Item) -> str:
        return (
            f'the {self.action} was carried out; to move it on, use '
            'openstack server migrate'
        )

    def _ours(self, at: At) -> JSON | None:
        """The row of our request: the oldest new one of that name.

        Or the one with the id that nova answered, if it did: a member may
        have asked for the same in between.
        """
        known, asked = set(at.image['known']), self.asked(at.image)
        new = [
            action
            for action in history.actions(at)
            if action['action'] == asked and action['request_id'] not in known
        ]
        for action in new:
            if action['request_id'] == at.notes.get('request_id'):
                return action
        if not new:
            return None
        if not at.notes.get('request_id'):
            # Its answer was lost. What asks which requests are the run's own
            # has to find this one as well.
            at.note(request_id=new[0]['request_id'])
        return new[0]

    def _settled(self, at: At) -> Observed:
        """Prove that a request without a row was not carried out.

        Waits as long as it could still arrive; the server must show no
        task all the while.
        """
        if at.notes.get('request_id'):
            return Observed.unknown(
                f'nova accepted {at.notes["request_id"]} and has no '
                'record of it'
            )
        deadline = time.monotonic() + unsettled(at)
        while True:
            ours = self._ours(at)
            if ours is not None:
                return self.standing(at, ours)
            row = cell.server_row(at)
            if row['task_state'] is not None:
                return Observed.unknown(
                    f'the server is {row["task_state"]} and nova has no '
                    f'record of our {self.asked(at.image)}'
                )
            if time.monotonic() > deadline:
                break
            at.progress(
                'making sure that nothing is on its way, for '
                f'{max(0, deadline - time.monotonic()):.0f} s more'
            )
            at.pause(POLL)
        seen = self.look(at, at.image['known'])
        if seen.state is not State.BEFORE:
            return seen
        if not seen.image.items() <= at.image.items():
            return Observed.neither(
                f'it needs a {self.asked(seen.image)} by now, which is not '
                f'what was to be sent; {again(at)}'
            )
        return Observed.before(at.image)


#: In a before-image: ``about_to_send`` is noted, or nothing was sent.
STAMPED = {'stamped': True}


def about_to_send(at: At) -> None:
    """Note when, durably, and ask whether it may be sent: the last thing.

    :raises Exception: those of ``at.confirm``; nothing was sent
    """
    at.note(sending=clock.stamp())
    at.confirm()


def unsettled(at: At) -> float:
    """Seconds for which a request without an answer may still come through.

    Counted from when it was sent, where this machine was not booted since.
    """
    settle = float(at.data['settle'])
    sending = at.notes.get('sending')
    if sending is None and at.image.get('stamped'):
        # killed before it was sent
        return 0.0
    gone = clock.since(sending)
    return settle if gone is None else max(0.0, settle - gone)


def moved_on(at: At, row: JSON) -> bool:
    """Whether it is on another host than the plan says.

    Somebody moves it by hand, and its volumes may not be connected there
    yet: what is stored of them is of the old host.
    """
    host = at.data.get('target') or at.data.get('host')
    return bool(host) and row['host'] != host


def rests(at: At, row: JSON, states: Collection[str]) -> Observed:
    """BEFORE if it is on the plan's host, in such a state, without a task."""
    if moved_on(at, row):
        return Observed.neither(f'the server is on {row["host"]}')
    if row['vm_state'] not in states or row['task_state'] is not None:
        return Observed.neither(
            f'the server is {row["vm_state"]}, '
            f'task {row["task_state"] or "none"}'
        )
    return Observed.before()


def require_up(at: At) -> None:
    """Refuse to send to a host whose nova-compute isn't up.

    The request would wait in the message bus and be carried out when the
    host returns, perhaps days later.
    """
    host = cell.server_row(at)['host']
    state = compute_state(at, host)
    if state != 'up':
        raise ChangeFailed(
            f'nova-compute on {host} is {state}; the request would wait in '
            'the message bus until it returns: not sent'
        )


def compute_state(at: At, host: str) -> str:
    """``up``, ``down`` or ``forced down``."""
    service = at.cloud.compute.service(host)
    return 'forced down' if service.get('forced_down') else service['state']


def foreign(volumes: Collection[str]) -> str:
    """Why a server can't be started on volumes of another one."""
    return (
        f'what nova names of volume {", ".join(volumes)} is an attachment of '
        'another server: see ' + program.call('volume check')
    )


def again(at: At) -> str:
    """How an operator who knows the reason has a request sent again."""
    return f'once that is mended: {_resume(at)}'


def anyway(at: At) -> str:
    """The same for one that others have been at."""
    return f'if it shall be sent nevertheless: {_resume(at)}'


def _resume(at: At) -> str:
    word = shlex.quote(f'{at.item.label}=REASON')
    return program.call(f'run resume {at.run_id} --again {word}')


class StartServer(SentOnce):
    """Start a server that was moved; nova-compute defines it anew.

    ``os-start`` is a compare-and-set itself: nova refuses it with 409
    unless the server is stopped and without a task.
    """

    kind = 'start-server'
    action = method = 'start'
    starts = True

    def describe(self, item: Item) -> list[str]:
        return ['> started, once']

    def ready(self, at: At, row: JSON) -> Observed:
        seen = rests(at, row, {'stopped', 'active'})
        if seen.state is State.BEFORE and row['vm_state'] == 'active':
            return Observed.after('runs already')
        return seen

    def look(self, at: At, known: Collection[str] = ()) -> Observed:
        """And whether cinder holds its volumes for it, and for nobody else.

        Long after the gates were asked: the guide's own UPDATE, or whoever
        gave them to another server, may have come in between.
        """
        seen = super().look(at, known)
        if seen.state is not State.BEFORE:
            return seen
        uuid = at.data['uuid']
        volumes = mappings.unheld(
            at.cloud, cell.database(at), [uuid], started=True
        ).get(uuid)
        if volumes is None:
            return seen
        if volumes.foreign:
            return Observed.neither(foreign(volumes.foreign))
        if volumes.lost:
            return Observed.neither(
                f'cinder holds volume {", ".join(volumes.lost)} for nobody, '
                'so that another server may have it by now: see '
                + program.call(f'volume attach {uuid} VOLUME')
            )
        if volumes.unknown:
            return Observed.unknown(
                f'cinder was not asked for its volumes: {volumes.unknown}'
            )
        return seen

    def send(self, at: At) -> str:
        require_up(at)
        about_to_send(at)
        return str(at.cloud.compute.start(at.data['uuid']))


class RebootServer(SentOnce):
    """Hard reboot, or start if it is stopped; exactly once."""

    kind = 'reboot-server'
    action = method = 'reboot'
    starts = stops = True

    #: States in which nova takes a hard reboot (nova/compute/api.py).
    STATES = frozenset({'active', 'paused', 'suspended', 'error'})

    def describe(self, item: Item) -> list[str]:
        return ['> hard reboot, once']

    def ready(self, at: At, row: JSON) -> Observed:
        return rests(at, row, self.STATES)

    def send(self, at: At) -> str:
        require_up(at)
        about_to_send(at)
        return str(at.cloud.compute.reboot_hard(at.data['uuid']))


class EvacuateServer(SentOnce):
    """One evacuation.

    Data: as SentOnce, and source, target. Its migration tells how it goes;
    the server's own state tells when the guest is back.
    """

    kind = 'evacuate-server'
    action = method = 'evacuate'
    starts = True

    #: What nova evacuates (``evacuate`` in nova/compute/api.py).
    STATES = frozenset({'active', 'stopped', 'error'})

    def describe(self, item: Item) -> list[str]:
        return [f'> evacuated by nova to {item.data["target"]}, once']

    def ready(self, at: At, row: JSON) -> Observed:
        if row['host'] != at.data['source']:
            return Observed.neither(f'the server is on {row["host"]}')
        if row['vm_state'] not in self.STATES:
            return Observed.neither(f'the server is {row["vm_state"]}')
        if row['task_state'] != at.data['task_state']:
            return Observed.neither(f'the server is {row["task_state"]}')
        return Observed.before()

    def send(self, at: At) -> str:
        about_to_send(at)
        return str(
            at.cloud.compute.evacuate(at.data['uuid'], at.data['target'])
        )

    def standing(self, at: At, action: JSON) -> Observed:
        database = cell.database(at)
        migrations = database.tables['migrations']
        with database.reader() as connection:
            row = cell.instance(connection, database, at.data['uuid'])
            migration = (
                connection.execute(
                    sa.select(migrations)
                    .where(
                        migrations.c.instance_uuid == at.data['uuid'],
                        migrations.c.migration_type == 'evacuation',
                        migrations.c.id > at.image['newest_migration'],
                    )
                    .order_by(migrations.c.id.desc())
                )
                .mappings()
                .first()
            )
        status = migration['status'] if migration else 'accepted'
        if status in ('error', 'failed', 'cancelled'):
            reason = history.fault(at)
            return Observed.neither(
                f'evacuation {status}: {reason or "see the log of nova"}; '
                f'{again(at)}'
            )
        if row['host'] == at.data['source']:
            if row['vm_state'] == 'error' and row['task_state'] is None:
                # The scheduler or the API gave up before there was a
                # migration that could tell.
                reason = history.fault(at)
                return Observed.neither(f'evacuation failed: {reason}')
            return Observed.underway(status)
        if status in ('done', 'completed') and row['task_state'] is None:
            return Observed.after(f'{row["vm_state"]} on {row["host"]}')
        return Observed.underway(row['task_state'] or status)
