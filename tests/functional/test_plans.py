# SPDX-License-Identifier: Apache-2.0

"""A plan is shown, saved, looked at and carried out, or not."""

from __future__ import annotations

import contextlib
import json

from tests.functional.recovered import RecoveredTest

SOURCE, TARGET = 'host3', 'host2'


class TestPlans(RecoveredTest):
    """For servers of a host whose nova-compute was killed."""

    # The plans are of all servers of the host.
    fresh = True

    def setUp(self) -> None:
        super().setUp()
        self.left, self.server = self.create_servers(
            {'left': {'host': SOURCE}, 'taken': {'host': SOURCE}}
        )
        (self.server_before,) = self.before([self.server.id])
        (self.left_before,) = self.before([self.left.id])
        self.service = self.state.service(SOURCE)
        self.kill_compute(SOURCE)

    def words(self, *more: str) -> tuple[str, ...]:
        return (
            'host', 'recover', SOURCE, '--method', 'move', '--target-for',
            f'{self.server.name}={TARGET}', '--target-host', 'host1',
            '--exclude', self.left.name, '--fenced', 'PDU port 14', *more,
        )  # fmt: skip

    def assert_untouched(self) -> None:
        for before in (self.server_before, self.left_before):
            self.assertEqual(before.row, self.state.row(before.uuid))
            self.assertEqual([], self.state.migrations(before.uuid))
            self.assertEqual(before.actions, self.state.actions(before.uuid))
        now = self.state.service(SOURCE)
        for name in ('disabled', 'disabled_reason', 'forced_down'):
            self.assertEqual(self.service[name], now[name])

    def test_saved_and_applied(self) -> None:
        # The word that the disk can be reached is missing.
        disk = f'disk-reachable:{self.server.name}'
        ended = self.done(*self.words('--yes'), code=3)
        self.assertIn(f'--override {disk}=', ended.stderr)
        reason = '/var/lib/nova is NFS, looked at it on both'
        words = self.words('--override', f'{disk}={reason}')

        ended = self.done(*words, '--dry-run')
        self.assertIn('Dry run. Nothing was changed.', ended.stderr)
        ended = self.done(*words, '--approve', '0123456789abcdef', code=3)
        self.assertIn('the plan as it is now has the digest', ended.stderr)
        ended = self.done(*words, code=3)
        self.assertIn('There is no terminal to ask', ended.stderr)

        plan = self.plan(*words)
        labels = [i['label'] for s in plan['steps'] for i in s['items']]
        self.assertEqual({SOURCE, self.server.name}, set(labels))
        self.assertEqual(
            [
                {
                    'subject': f'server:{self.left.id}',
                    'label': self.left.name,
                    'why': 'excluded',
                }
            ],
            plan['left_out'],
        )
        self._tampered(plan['file'])
        self.assertEqual([], self.answer('run', 'list'))
        self.assert_untouched()

        ended = self.done('plan', 'apply', plan['file'], '--dry-run')
        self.assertIn(plan['digest'], ended.stderr)
        self.assert_untouched()
        self.done(
            'plan', 'apply', plan['file'], '--approve', plan['digest'][:16]
        )
        self.assert_recovered(self.server_before, True, (TARGET,))
        self.assertEqual(self.left_before.row, self.state.row(self.left.id))
        report = self.done('run', 'report', self.newest_run()).stdout
        self.assertIn(reason, ' '.join(report.split()))

        # Once more, it finds that nothing is as it was.
        ended = self.recovery('plan', 'apply', plan['file'], '--yes')
        self.assertNotEqual(0, ended.code)
        self.assertEqual(1, self.state.actions(self.server.id).count('start'))

    def _tampered(self, path: str) -> None:
        with open(path) as file:
            text = file.read()
        changed = self.home / 'tampered.plan'
        changed.write_text(text.replace(f'"{TARGET}"', '"host1"'))
        self.assertNotEqual(text, changed.read_text())
        for words in (('plan', 'show'), ('plan', 'apply', '--yes')):
            ended = self.done(*words, changed, code=3)
            self.assertIn('it was changed since it was saved', ended.stderr)

    def test_the_sql_alone(self) -> None:
        """It is what a move does, and only printed."""
        ended = self.done(*self.words('--sql', '-f', 'json'))
        self.assertIn('Only the SQL. Nothing was changed.', ended.stderr)
        rows = json.loads(ended.stdout)
        self.assertEqual({self.server.name}, {row['Server'] for row in rows})
        statements = [row['SQL'] for row in rows]
        self.assertEqual(
            ('BEGIN;', 'COMMIT;'), (statements[0], statements[-1])
        )
        self.assert_untouched()

        connection = self.practice.database.connect('nova')
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute('START TRANSACTION')
            # each meets exactly one row
            for statement in statements[1:-1]:
                self.assertEqual(1, cursor.execute(statement), statement)
            cursor.execute(
                'SELECT host, node, vm_state FROM instances WHERE uuid = %s',
                [self.server.id],
            )
            (row,) = cursor.fetchall()
            connection.rollback()
        self.assertEqual([TARGET, TARGET, 'stopped'], list(row.values()))

    def test_words_that_mean_nothing(self) -> None:
        for code, words, said in (
            (1, ('at3-ui99',), 'no server at3-ui99'),
            (1, ('0x7fffffff',), 'no server 0x7fffffff'),
            (
                2,
                (self.server.name, '--target-for', f'{self.left.name}=host1'),
                f'server {self.left.id} is none of those',
            ),
            (3, (self.server.name, '--target-host', 'host9'), 'target-ready'),
            (
                2,
                (self.server.name, '--override', 'cell-alive:cell1=so what'),
                "this gate doesn't refuse",
            ),
        ):
            ended = self.done('server', 'recover', *words, '--yes', code=code)
            self.assertIn(said, ended.stderr)
        self.assert_untouched()
