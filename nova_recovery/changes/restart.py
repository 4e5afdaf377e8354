# SPDX-License-Identifier: Apache-2.0
"""A server that ran before an outage is brought back, exactly once.

Whoever did it already, it isn't done again: nova itself
(``resume_guests_state_on_host_boot``), a reboot that the outage interrupted
and that nova-compute carries on, a colleague, or its owner. So the
hypervisor is asked first, then what was asked for since the outage.
"""

from __future__ import annotations

from collections.abc import Collection
import time

from nova_recovery import program
from nova_recovery.changes import cell, history, once
from nova_recovery.changes.base import At
from nova_recovery.changes.once import RebootServer, SentOnce
from nova_recovery.cloud import tasks
from nova_recovery.cloud.db import mappings
from nova_recovery.cloud.db.mappings import Unheld
from nova_recovery.engine.change import JSON, Observed, State
from nova_recovery.engine.plan import Item

#: Requests that start a guest, and those that leave it at rest.
STARTS = frozenset({'start', 'reboot', 'evacuate', 'rebuild'})
RESTS = frozenset({'stop', 'pause', 'suspend', 'shelve'})
#: Tasks that end by themselves; after an outage nova-compute carries them on
#: when it starts (``_init_instance`` in nova/compute/manager.py).
PASSING = frozenset(
    {
        'rebooting',
        'reboot_pending',
        'reboot_started',
        'rebooting_hard',
        'reboot_pending_hard',
        'reboot_started_hard',
        'powering-on',
        'powering-off',
        'rebuilding',
        'rebuild_block_device_mapping',
        'rebuild_spawning',
    }
)


class RestartServer(SentOnce):
    """Start or hard reboot, whichever the server needs when it is sent.

    Data: as SentOnce, and host; mark, the highest ``instance_actions.id`` of
    the cell before the outage, as far as is known (a snapshot's is older):
    what is above it was asked for since. And seen, the newest request of the
    server that had come to a good end when the plan was made: nothing of it
    is on its way, and if its guest is off, the outage came after it.
    """

    kind = 'restart-server'
    method = 'restart'
    starts = True

    def describe(self, item: Item) -> list[str]:
        return ['> started, or rebooted hard, once, if it does not run']

    def asked(self, image: JSON) -> str:
        return str(image['action'])

    def no_way_back(self, item: Item) -> str:
        return 'it runs; openstack server stop stops it'

    def look(self, at: At, known: Collection[str] = ()) -> Observed:
        """What it needs, once nothing is under way any more.

        What others asked for is waited for here, since it isn't ours to be
        journaled.
        """
        began = time.monotonic()
        while True:
            seen, seconds = self._look(at, known)
            if seen.state is not State.UNDERWAY:
                return seen
            if time.monotonic() - began > seconds:
                return Observed.unknown(
                    f'{seen.detail}, for {seconds:.0f} s; {_way_on(at)}'
                )
            at.progress(seen.detail)
            at.pause(once.POLL)

    def _look(self, at: At, known: Collection[str]) -> tuple[Observed, float]:
        """How it stands, and how long that may go on if it is UNDERWAY."""
        patience = float(at.data['patience'])
        row = cell.server_row(at)
        if once.moved_on(at, row):
            return _neither(f'the server is on {row["host"]}'), patience
        task = row['task_state']
        if task in PASSING:
            detail = f'it is {task}, which is not ours'
            if task not in tasks.LEFT:
                return Observed.underway(detail), patience
            up = once.compute_state(at, row['host'])
            if up == 'up':
                return Observed.underway(detail), min(patience, tasks.TAKEN_UP)
            return Observed.unknown(f'{detail}: nova-compute is {up}'), 0
        if task is not None:
            detail = f'the server is {row["vm_state"]}, task {task}'
            return _neither(detail), patience
        compute = at.cloud.compute
        state = once.compute_state(at, row['host'])
        if state != 'up':
            # Asked for a guest on it, nova would wait for an answer.
            detail = f'nova-compute on {row["host"]} is {state}'
            return Observed.unknown(detail), patience
        runs = compute.runs(at.data['uuid'])
        newest = None if at.again else _newest(at, known)
        if runs:
            return _running(row, newest), patience
        if newest and newest['id'] != at.data['seen']:
            return self._of_others(at, newest)
        return self._needs(at, row), patience

    def _of_others(self, at: At, newest: JSON) -> tuple[Observed, float]:
        """What became of what was asked for since, with the guest off."""
        settle = min(once.RECORDED, float(at.data['settle']))
        what = f'{newest["action"]} ({newest["request_id"]})'
        if newest['action'] in RESTS:
            detail = f'somebody asked for its {what} since'
            return _neither(f'{detail}; {once.anyway(at)}'), settle
        result = history.result_of(at, newest)
        if not result:
            # Its task is over, so its end is about to be recorded. If it
            # never is, nova-compute died in the middle.
            detail = f'waiting for the end of a {what}'
            return Observed.underway(detail), settle
        if result == 'error':
            reason = history.fault(at, since=0)
            detail = f'a {what} failed since: {reason or "see nova-compute"}'
            return _neither(f'{detail}; {once.again(at)}'), settle
        detail = f'it does not run, after a {what} that went well'
        return _neither(f'{detail}; {once.anyway(at)}'), settle

    def _needs(self, at: At, row: JSON) -> Observed:
        """What to send to a server whose guest is off."""
        if row['vm_state'] == 'stopped':
            action = 'start'
        elif row['vm_state'] in RebootServer.STATES:
            action = 'reboot'
        else:
            return _neither(f'the server is {row["vm_state"]}')
        uuid = at.data['uuid']
        volumes = mappings.unheld(at.cloud, cell.database(at), [uuid]).get(
            uuid, Unheld()
        )
        repair = 'see ' + program.call(f'volume attach {uuid} VOLUME')
        if volumes.foreign:
            return _neither(once.foreign(volumes.foreign))
        if volumes.lost:
            return _neither(
                f'cinder has no attachment of volume '
                f'{", ".join(volumes.lost)}, which nova might forget: {repair}'
            )
        if volumes.unnamed:
            return _neither(
                f'nova names no attachment of volume '
                f'{", ".join(volumes.unnamed)}: {repair}'
            )
        if volumes.unknown:
            return Observed.unknown(
                f'cinder was not asked for its volumes: {volumes.unknown}'
            )
        return Observed.before({'action': action})

    def send(self, at: At) -> str:
        once.require_up(at)
        once.about_to_send(at)
        compute = at.cloud.compute
        if at.image['action'] == 'start':
            return str(compute.start(at.data['uuid']))
        return str(compute.reboot_hard(at.data['uuid']))

    def standing(self, at: At, action: JSON) -> Observed:
        """As nova-compute recorded it, and as the hypervisor says."""
        row = cell.server_row(at)
        what = f'{action["action"]} ({action["request_id"]})'
        result = history.result_of(at, action)
        if not result or (result != 'error' and row['task_state']):
            return Observed.underway(
                row['task_state'] or 'waiting for nova-compute'
            )
        # Asking makes a fault, and an operator shall see the one that counts.
        broken = result == 'error' and row['vm_state'] == 'error'
        if not broken and at.cloud.compute.runs(at.data['uuid']):
            return Observed.after(f'runs on {row["host"]}: {what}')
        if result == 'error':
            reason = history.fault(at) or 'see nova-compute'
            return _neither(
                f'{what} failed on {row["host"]}: {reason}; {once.again(at)}'
            )
        return _neither(
            f'{what} went well, says nova-compute on {row["host"]}, but the '
            f'guest does not run; {once.again(at)}'
        )


def _way_on(at: At) -> str:
    """What ends a wait for others that took too long.

    A nova-compute of some releases leaves certain tasks for ever.
    """
    if cell.server_row(at)['task_state'] not in tasks.LEFT:
        return once.again(at)
    clear = tasks.unstuck(at.data['uuid'], at.item.label)
    return (
        f'nova-compute does not take that up: clear its task ({clear}), and '
        + once.again(at).removeprefix('once that is mended: ')
    )


def _newest(at: At, known: Collection[str]) -> JSON | None:
    """The newest request since the outage that starts or rests a guest.

    None after nova itself stopped it: its power sync (a stop by nobody) has
    seen that the guest is off, whatever was asked for before.
    """
    found = [
        action
        for action in history.actions(at)
        if action['id'] > at.data['mark']
        and action['action'] in STARTS | RESTS
        and action['request_id'] not in known
    ]
    if not found:
        return None
    newest = found[-1]
    by_nova = newest['action'] == 'stop' and newest['user_id'] is None
    return None if by_nova else newest


def _running(row: JSON, newest: JSON | None) -> Observed:
    if row['vm_state'] == 'stopped':
        return _neither(
            'its guest runs, but nova has it as stopped, and its power sync '
            'will stop it'
        )
    how = ''
    if newest and newest['action'] in STARTS:
        how = f': {newest["action"]} ({newest["request_id"]})'
    return Observed.after(f'runs already{how}')


def _neither(detail: str) -> Observed:
    return Observed.neither(detail)
