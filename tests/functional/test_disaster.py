# SPDX-License-Identifier: Apache-2.0

"""The whole site loses its power, and everything comes back as it was."""

from __future__ import annotations

import csv
import io

from tests.functional.disaster import DisasterTest


class TestDisaster(DisasterTest):
    """Every nova-compute, cinder-volume, the message bus and the database."""

    def test_a_database_older_than_the_snapshot(self) -> None:
        """Restored from a dump: what it has forgotten would be done again."""
        self.take_snapshot()
        (newest,) = self.practice.sql(
            'nova', 'SELECT MAX(id) AS id FROM instance_actions'
        )
        for table, column in (
            ('instance_actions_events', 'action_id'),
            ('instance_actions', 'id'),
        ):
            self.practice.sql(
                'nova',
                f'DELETE FROM {table} WHERE {column} = %s',
                [newest['id']],
            )
            # a restored dump brings its counter, too; a purge keeps it
            self.practice.sql('nova', f'ALTER TABLE {table} AUTO_INCREMENT=1')
        plan = self.plan_file(code=3)
        (gate,) = self.gates(plan, 'database-not-older')
        self.assertEqual(('hard', 'refused'), (gate['klass'], gate['state']))
        self.assertIn('instance_actions', gate['observed'])
        self.assertIn(str(newest['id']), gate['observed'])

    def test_five_steps(self) -> None:
        """Begun while the hosts are still off, carried on when they are up.

        Each server that ran is started once, with the volumes, devices and
        tags that it had; whoever looks again finds nothing to do.
        """
        names = {one.name: one.uuid for one in self.everything().values()}
        self.attach(
            names['at3-ui07'],
            'rbd',
            device='/dev/sdk',
            tag='db',
            delete_on_termination=True,
        )
        self.attach(names['at3-ui07'], 'iscsi', device='/dev/sdj', tag='log')
        before = self.everything()
        self.take_snapshot()

        self.lose_power(database=True)
        self.power_on(compute=False)
        ended = self.apply(code=4)
        self.assertRegex(ended.stderr, 'paused')
        # the third one has no servers
        for host in ('host1', 'host2'):
            self.assertRegex(ended.stderr, f'(?s)not ready.*{host}')
            self.assertEqual(0, self.state.queued(host))
        self.assertEqual(
            [one.actions for one in before.values()],
            [one.actions for one in self.everything().values()],
        )
        down = {row['Name'] for row in self.down()}
        self.assertEqual(
            {one.name for one in before.values() if one.ran}, down
        )

        self.power_on()
        self.wait_up()
        self.done('run', 'resume', self.newest_run(), '--yes')
        self.assert_back(before.values())
        self.assertEqual([], self.down())

        after = self.everything()
        self.apply()
        self.assertEqual(after, self.everything())

    def down(self) -> list[dict[str, str]]:
        """Who is still down, as a spreadsheet gets it."""
        ended = self.recovery(
            'disaster', 'status', '--snapshot', self.snapshot, '-f', 'csv'
        )
        return list(csv.DictReader(io.StringIO(ended.stdout)))
