# SPDX-License-Identifier: Apache-2.0
"""Servers of hosts that lost power are restarted, each once at most."""

from __future__ import annotations

from collections.abc import Iterable
import dataclasses
from typing import Any

from nova_recovery.compat import pairs
from nova_recovery.engine import planfile
from nova_recovery.engine.plan import Item, Plan, Step
from nova_recovery.procedures import reboot
from tests.cloud import services
from tests.functional import disaster
from tests.functional.base import FunctionalTest

#: All but one of the servers are here; nova's power sync is off on it.
HOST = 'host3'
#: Here it does its work; and here nova-compute stays down at first.
SYNCED, DEAD = 'host2', 'host1'
NO_ROOT = (
    'Gave up waiting for root file system device.  Common problems:\n'
    'ALERT!  UUID=5f3b2d8e does not exist.  Dropping to a shell!\n'
    '(initramfs) '
)


@dataclasses.dataclass(frozen=True)
class One:
    """A server of the test, and what happens to it.

    :ivar requests: what it may have been asked for in the end
    """

    name: str
    host: str
    requests: tuple[str, ...]
    uuid: str = ''


class TestRestart(FunctionalTest):
    fresh = True

    def setUp(self) -> None:
        super().setUp()
        wanted = (
            One('runs', HOST, ()),
            One('off', HOST, ('reboot',)),
            One('interrupted', HOST, ()),
            One('broken', HOST, ('reboot', 'reboot')),
            One('mute', HOST, ('reboot',)),
            One('synced', SYNCED, ('stop', 'start')),
            One('dead', DEAD, ('reboot',)),
        )
        made = self.create_servers(
            {one.name: {'host': one.host} for one in wanted}
        )
        self.servers = {
            one.name: dataclasses.replace(one, uuid=server.id)
            for one, server in pairs(wanted, made)
        }

    def mark(self) -> int:
        (row,) = self.practice.sql(
            'nova', 'SELECT MAX(id) AS mark FROM instance_actions'
        )
        return int(row['mark'])

    def lose_all_power(self) -> None:
        """While one of the servers is in the middle of a reboot."""
        interrupted = self.servers['interrupted'].uuid
        self.practice.next_boot(interrupted, seconds=60)
        self.state.server_action(interrupted, 'reboot', {'type': 'HARD'})
        self.wait_for(
            lambda: (
                self.state.row(interrupted)['task_state']
                == 'reboot_started_hard'
            ),
            'its reboot',
        )
        self.outage = self.mark()
        for host in (HOST, SYNCED, DEAD):
            self.lose_power(host)

    def power_returns(self) -> None:
        """To all hosts but one; a guest runs that nobody asked for."""
        guests = self.practice.guests(HOST)
        guests[self.servers['runs'].uuid]['state'] = 'running'
        self.practice.write_guests(HOST, guests)
        # nova-compute carries the reboot on before it serves
        self.practice.next_boot(self.servers['interrupted'].uuid, seconds=3)
        self.practice.next_boot(
            self.servers['broken'].uuid, error='no such volume'
        )
        self.practice.next_boot(self.servers['mute'].uuid, console=NO_ROOT)
        self.practice.start(services.compute(HOST), options=disaster.NO_SYNC)
        self.practice.start(services.compute(SYNCED))
        synced = self.servers['synced'].uuid
        self.wait_for(
            lambda: self.state.row(synced)['vm_state'] == 'stopped',
            'the power sync',
        )
        for host in (HOST, SYNCED):
            self.practice.wait_compute_up(host)
        self.practice.wait_compute_down(DEAD)

    def plan_file(self, wanted: Iterable[One], mark: int) -> str:
        """A plan that restarts servers and watches them come up."""
        of = self.plan('server', 'reboot', self.servers['runs'].uuid)
        (cell,) = {
            item['data']['cell']
            for step in of['steps']
            for item in step['items']
        }
        items: list[Item] = []
        for one in wanted:
            data: dict[str, Any] = {
                'uuid': one.uuid, 'host': one.host, 'cell': cell,
            }  # fmt: skip
            subject = f'server:{one.uuid}'
            items.append(
                Item(
                    f'restart-server:{one.uuid}', 'restart-server', subject,
                    one.name,
                    {**data, 'mark': mark, 'seen': 0, 'settle': 5,
                     'patience': 60},
                )
            )  # fmt: skip
            items.append(
                Item(
                    f'watch-boot:{one.uuid}', 'watch-boot',
                    f'boot:{one.uuid}', one.name, {**data, 'seconds': 3},
                    (subject,),
                )
            )  # fmt: skip
        path = self.home / 'restart.plan'
        planfile.save(
            Plan(
                reboot.NAME, 'restart what ran', {},
                (
                    Step(
                        'restart', 'restart', tuple(items), {'host': 3},
                        at_a_time=4,
                    ),
                ),
            ),
            str(path),
        )  # fmt: skip
        return str(path)

    def outcomes(self, rows: list[dict[str, Any]]) -> dict[str, str]:
        """``NAME`` and ``NAME boot`` -> outcome: detail."""
        names = {one.uuid: one.name for one in self.servers.values()}
        return {
            names[row['ID'].removeprefix('boot:')]
            + (' boot' if row['Kind'] == 'watch-boot' else ''): (
                f'{row["State"]}: {row["Detail"]}'
            )
            for row in rows
        }

    def items(self, run: str) -> dict[str, str]:
        shown = self.answer('run', 'show', run, '--items')
        return self.outcomes(
            [
                {
                    'ID': item['subject'].partition(':')[2],
                    'Kind': item['kind'],
                    'State': item['state'],
                    'Detail': item['detail'],
                }
                for item in shown['items']
            ]
        )

    def requests(self) -> dict[str, tuple[str, ...]]:
        """What each server was asked for since the outage."""
        rows = self.practice.sql(
            'nova',
            'SELECT instance_uuid, action FROM instance_actions'
            ' WHERE id > %s ORDER BY id',
            [self.outage],
        )
        return {
            one.name: tuple(
                row['action']
                for row in rows
                if row['instance_uuid'] == one.uuid
            )
            for one in self.servers.values()
        }

    def test_whoever_needs_it_is_restarted_once(self) -> None:
        self.lose_all_power()
        self.power_returns()
        path = self.plan_file(self.servers.values(), self.outage)
        self.done('plan', 'apply', path, '--yes', code=4)
        run = self.newest_run()
        found = self.items(run)
        for name, outcome in (
            ('runs', 'already: runs already'),
            ('interrupted', 'already: runs already'),
            ('off', f'done: runs on {HOST}: reboot (req-'),
            ('mute', f'done: runs on {HOST}: reboot (req-'),
            ('synced', f'done: runs on {SYNCED}: start (req-'),
            ('broken', 'failed: reboot (req-'),
            ('dead', 'failed: unknown, so nothing was sent: nova-compute'),
            ('off boot', 'done: booted'),
            ('synced boot', 'done: booted'),
            ('mute boot', 'failed: waiting for a disk: ALERT!  UUID=5f3b'),
            ('broken boot', 'blocked: '),
            ('dead boot', 'blocked: '),
        ):
            self.assertEqual(outcome, found[name][: len(outcome)], found[name])
        self.assertIn('no such volume', found['broken'])
        self.assertEqual(0, self.state.queued(DEAD))

        # what failed is not sent again by itself, what was never sent is
        self.practice.start(services.compute(DEAD), options=disaster.NO_SYNC)
        self.practice.wait_compute_up(DEAD)
        self.done('run', 'resume', run, '--yes', code=4)
        found = self.items(run)
        self.assertIn('conflict: ', found['broken'])
        self.assertIn('done: runs on host1', found['dead'])
        self.assertEqual(('reboot',), self.requests()['broken'])

        # but by the operator's word; the boot that was blocked follows
        self.done(
            'run', 'resume', run, '--yes', '--again', 'broken=mended',
            code=4,
        )  # fmt: skip
        found = self.items(run)
        self.assertIn('done: runs on', found['broken'])
        self.assertIn('done: booted', found['broken boot'])
        self.assertEqual(
            {one.name: one.requests for one in self.servers.values()},
            self.requests(),
        )
        for one in self.servers.values():
            self.assertEqual(
                {one.host: 'running'}, self.state.guests(one.uuid)
            )
