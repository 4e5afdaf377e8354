# SPDX-License-Identifier: Apache-2.0

"""The dead host comes back in the middle of a run, or after it."""

from __future__ import annotations

from collections.abc import Callable
import importlib
from typing import Any

import fixtures

from nova_recovery.exceptions import ChangeFailed
from tests.cloud import services
from tests.functional.recovered import RecoveredTest

DEAD, TARGET = 'host1', 'host2'
HOW = ('--fenced', 'PDU port 14 is off')


class TestHostReturns(RecoveredTest):
    """From each place where it stops, the printed commands lead to an end."""

    def setUp(self) -> None:
        super().setUp()
        self.configure(runner__workers=1)

    def die(self, **wanted: dict[str, Any]) -> list[str]:
        """Servers on a host that lost its power; their uuids."""
        made = self.create_servers(
            {name: {'host': DEAD, **one} for name, one in wanted.items()}
        )
        self.servers = self.before([server.id for server in made])
        self.lose_power(DEAD)
        self.practice.wait_compute_down(DEAD)
        return [server.id for server in made]

    def come_back(self) -> None:
        """Its nova-compute starts, cleans up and reports."""
        before = self.state.service(DEAD)['report_count']
        self.practice.start(services.compute(DEAD))
        self.wait_for(
            lambda: self.state.service(DEAD)['report_count'] > before,
            'a report of host1',
        )

    def after(
        self, what: str, act: Callable[[], None], times: int = 1
    ) -> None:
        """Act when a change was done so many times."""
        module, kind, name = what.split('.')
        path = f'nova_recovery.changes.{module}'
        real = getattr(getattr(importlib.import_module(path), kind), name)
        done: list[str] = []

        def then(*args: Any) -> Any:
            result = real(*args)
            done.append('x')
            if len(done) == times:
                act()
            return result

        self.useFixture(fixtures.MonkeyPatch(f'{path}.{kind}.{name}', then))

    def words(self, *uuids: str) -> tuple[Any, ...]:
        return (
            'server', 'recover', *uuids, '--target-host', TARGET,
            '--shared-storage', '--connector', self.connector(TARGET), *HOW,
        )  # fmt: skip

    def ends(self, rows: list[dict[str, Any]]) -> dict[str, str]:
        return {row['ID']: row['Outcome'] for row in rows}

    def lead_on(self, run: str) -> None:
        """Nothing holds the host any more, and it can be used again."""
        reason = self.state.service(DEAD)['disabled_reason']
        self.assertNotIn(f'run={run} ', reason or '')
        self.state.set_service(DEAD, forced_down=False)
        self.state.set_service(DEAD, status='enabled')
        self.practice.wait_compute_up(DEAD)

    def test_half_of_it_is_evacuated(self) -> None:
        """The others stay where they are, and each is told so."""
        uuids = self.die(a={}, b={}, c={}, paused={'state': 'paused'})
        self.after('once.EvacuateServer.follow', self.come_back)
        rows = self.answer(*self.words(*uuids), '--yes', code=4)
        ends = self.ends(rows)
        self.assertEqual(
            ['done', 'skipped', 'skipped', 'skipped'], sorted(ends.values())
        )
        for row in rows:
            if row['Outcome'] == 'skipped':
                self.assertIn('host1 is alive again', row['Detail'])
        for one in self.servers:
            host = TARGET if ends[one.uuid] == 'done' else DEAD
            self.assertEqual(host, self.state.row(one.uuid)['host'])
            self.assertEqual({host}, set(self.state.allocations(one.uuid)))
            self.assertEqual(0, self.state.row(one.uuid)['locked'])
        run = self.newest_run()
        shown = self.done('run', 'show', run).stdout
        self.assertIn('openstack compute service set --up host1', shown)
        self.assertNotIn('Go on:', shown)
        ended = self.done('run', 'resume', run, '--yes')
        self.assertIn('Nothing is left', ended.stderr)
        self.lead_on(run)

    def test_stopped_and_back_before_it_is_resumed(self) -> None:
        """A resume closes the run, whatever gate is asked of a dead host."""
        uuids = self.die(a={}, b={})

        with fixtures.MonkeyPatch(
            'nova_recovery.changes.once.EvacuateServer.send', _refuse
        ):
            self.done(*self.words(*uuids), '--yes', code=4)
        run = self.newest_run()
        self.come_back()
        ended = self.done('run', 'resume', run, '--yes', code=4)
        self.assertIn('source-returned', ended.stderr)
        self.assertNotIn('stop nova-compute', ended.stderr)
        self.lead_on(run)

    def test_half_moved_by_hand(self) -> None:
        """What was done so far to a server that stays is taken back."""
        (uuid,) = self.die(paused={'state': 'paused', 'volumes': ['iscsi']})
        self.after('allocation.MoveAllocation.apply', self.come_back)
        (row,) = self.answer(*self.words(uuid), '--yes', code=4)
        self.assertEqual('skipped', row['Outcome'])
        server = self.state.row(uuid)
        self.assertEqual((DEAD, 0), (server['host'], server['locked']))
        self.assertEqual({DEAD}, set(self.state.allocations(uuid)))
        self.lead_on(self.newest_run())

    def test_moved_and_its_copy_is_perhaps_the_only_one(self) -> None:
        """Only a word says that the target sees its disk: nothing is deleted.

        It is not started on the target either, beside a host that is alive.
        """
        (uuid,) = self.die(paused={'state': 'paused'})
        self.after('record.MoveRecord.apply', self.come_back)
        (row,) = self.answer(*self.words(uuid), '--yes', code=4)
        self.assertEqual('conflict', row['Outcome'])
        self.assertEqual(
            'cancelled', self.state.migrations(uuid)[-1]['status']
        )
        self.assertEqual({DEAD}, set(self.state.guests(uuid)))
        run = self.newest_run()
        self.assertIn('run undo', row['Detail'])
        self.done('run', 'undo', run, '--yes')
        self.assertEqual(DEAD, self.state.row(uuid)['host'])
        self.assertEqual({DEAD}, set(self.state.allocations(uuid)))
        self.lead_on(run)

    def test_moved_and_cleaned_up(self) -> None:
        """The source has destroyed its copy: the move goes on to its end."""
        (uuid,) = self.die(
            paused={'state': 'paused', 'boot_from_volume': 'iscsi'}
        )
        self.after('record.MoveRecord.apply', self.come_back)
        self.done(*self.words(uuid), '--yes')
        self.assertEqual({TARGET: 'running'}, self.state.guests(uuid))
        self.lead_on(self.newest_run())

    def test_undo_after_it_cleaned_up(self) -> None:
        """Undo knows it before it begins, and names the way to the end."""
        (uuid,) = self.die(
            paused={'state': 'paused', 'boot_from_volume': 'iscsi'}
        )
        with fixtures.MonkeyPatch(
            'nova_recovery.changes.once.StartServer.send', _refuse
        ):
            self.done(*self.words(uuid), '--yes', code=4)
        run = self.newest_run()
        self.come_back()
        seen = self.state.row(uuid), self.state.devices(uuid)
        ended = self.done('run', 'undo', run, '--yes', code=3)
        self.assertIn(f'run resume {run}', ended.stderr)
        self.assertEqual(
            seen, (self.state.row(uuid), self.state.devices(uuid))
        )
        self.done('run', 'resume', run, '--yes')
        self.assertEqual({TARGET: 'running'}, self.state.guests(uuid))
        self.assertEqual({TARGET}, set(self.state.allocations(uuid)))
        self.lead_on(run)


def _refuse(*_: Any) -> str:
    raise ChangeFailed('nova said no')
