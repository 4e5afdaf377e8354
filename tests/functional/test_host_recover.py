# SPDX-License-Identifier: Apache-2.0

"""A whole host is recovered, by each method."""

from __future__ import annotations

from tests.cloud.process import CloudError
from tests.functional.recovered import RecoveredTest

DEAD = 'host1'
HOW = 'PDU port 14 is off'


class TestHostRecover(RecoveredTest):
    """Ten servers of six kinds on a host that lost its power."""

    def setUp(self) -> None:
        super().setUp()
        self.practice.reset()
        uuids = [row['uuid'] for row in self.state.rows(DEAD).values()]
        self.assertEqual(10, len(uuids))
        self.servers = self.before(uuids)
        self.lose_power(DEAD)

    def test_auto(self) -> None:
        """Nova evacuates nine, the paused one is moved; the host returns."""
        rows = self.answer(
            'host', 'recover', DEAD, '--fenced', HOW, '--shared-storage',
            '--yes',
        )  # fmt: skip
        self.assertEqual({'done'}, {row['Outcome'] for row in rows})
        targets = {
            self.assert_recovered(
                one, one.name == 'at3-ui06', ('host2', 'host3')
            )
            for one in self.servers
        }
        # Each got the host with the most room at that point.
        self.assertEqual({'host2', 'host3'}, targets)
        self.assert_out_of_service(DEAD, self.newest_run())
        self._returns()

    def _returns(self) -> None:
        """The dead host's nova-compute cleans up after itself."""
        error = self.assertRaises(
            CloudError, self.state.set_service, DEAD, forced_down=False
        )
        self.assertIn('`done` evacuation', str(error))
        self.assertEqual(10, len(self.practice.guests(DEAD)))
        self.revive(DEAD)
        self.assertEqual({}, self.practice.guests(DEAD))
        for one in self.servers:
            row = self.state.row(one.uuid)
            self.assertEqual(
                {row['host']}, set(self.state.allocations(one.uuid))
            )
            migration = self.state.migrations(one.uuid)[-1]
            self.assertEqual('completed', migration['status'])
            if one.ran:
                self.assertEqual(
                    {row['host']: 'running'}, self.state.guests(one.uuid)
                )

    def test_evacuate(self) -> None:
        """Nothing but nova: what it refuses has to be left out."""
        words = (
            'host', 'recover', DEAD, '--method', 'evacuate', '--target-host',
            'host2', '--fenced', HOW, '--shared-storage',
        )  # fmt: skip
        ended = self.done(*words, '--yes', code=3)
        self.assertRegex(ended.stderr, r'evacuable +at3-ui06')
        self.assertEqual(0, self.state.service(DEAD)['disabled'])

        # placement has something of it left over, which nobody told it
        left = next(one for one in self.servers if one.name == 'at3-ui01')
        self.allocate(left.uuid, 'host3')
        looked = f'{left.uuid}@host3=virsh list --all'
        rows = self.answer(
            *words, '--yes', '--exclude', 'at3-ui06', '--not-running', looked,
            code=4,
        )  # fmt: skip
        failed = [r['ID'] for r in rows if r['Outcome'] == 'failed']
        self.assertEqual([left.uuid], failed)
        # it was moved all the same: nobody else is kept from the host
        run = self.newest_run()
        self.assert_out_of_service(DEAD, run)
        self.allocate(left.uuid, 'host3', False)
        self.done('run', 'resume', run, '--yes')
        for one in self.servers:
            if one.name == 'at3-ui06':
                self.assertEqual(one.row, self.state.row(one.uuid))
                self.assertEqual(one.actions, self.state.actions(one.uuid))
            else:
                self.assert_recovered(one, False, ('host2',))
        self.assert_out_of_service(DEAD, self.newest_run())

    def allocate(self, uuid: str, host: str, there: bool = True) -> None:
        """What a server holds on another host, too, or not any more."""
        placement = self.admin.placement
        path, version = f'/allocations/{uuid}', '1.28'
        body = placement.get(path, microversion=version).json()
        held = {
            provider: {'resources': one['resources']}
            for provider, one in body['allocations'].items()
        }
        node = self.state.node(host)['uuid']
        if there:
            held[node] = next(iter(held.values()))
        else:
            del held[node]
        answer = placement.put(
            path, json={**body, 'allocations': held}, microversion=version
        )
        self.assertEqual(204, answer.status_code, answer.text)

    def test_move(self) -> None:
        """All by hand, with their allocations, ports and volumes."""
        self.done(
            'host', 'recover', DEAD, '--method', 'move', '--target-host',
            'host3', '--connector', self.connector('host3'), '--fenced', HOW,
            '--shared-storage', '--yes',
        )  # fmt: skip
        for one in self.servers:
            self.assert_recovered(one, True, ('host3',))
        self.assert_out_of_service(DEAD, self.newest_run())
        self._dead_host_unmapped()

    def _dead_host_unmapped(self) -> None:
        """Each host-bound volume was taken from the dead host first."""
        calls: dict[str, list[tuple[str, str]]] = {}
        for call in self.practice.cinder_calls():
            if call['backend'] == 'iscsi' and 'connection' in call['call']:
                what = (call['call'], call['connector_host'])
                calls.setdefault(call['volume'], []).append(what)
        self.assertEqual(5, len(calls))
        for volume, what in calls.items():
            self.assertEqual(
                [
                    ('initialize_connection', 'host1'),
                    ('terminate_connection', 'host1'),
                    ('initialize_connection', 'host3'),
                ],
                what,
                volume,
            )
