# SPDX-License-Identifier: Apache-2.0

"""A dead host whose service, node and mapping somebody deleted."""

from __future__ import annotations

from tests.functional.recovered import RecoveredTest

SOURCE, TARGET = 'host1', 'host2'
FENCED = ('--fenced', 'PDU port 14 is off')


class TestForgottenHost(RecoveredTest):
    """nova evacuates nothing from it, and its servers still name it."""

    fresh = True

    def forget(self) -> None:
        """As *openstack compute service delete* and ``delete_host`` do it."""
        for database, statement in (
            (
                'nova',
                'UPDATE services SET deleted = id WHERE host = %s AND '
                "`binary` = 'nova-compute'",
            ),
            ('nova', 'UPDATE compute_nodes SET deleted = id WHERE host = %s'),
            ('nova_api', 'DELETE FROM host_mappings WHERE host = %s'),
        ):
            self.practice.sql(database, statement, [SOURCE])

    def remember(self) -> None:
        for table in ('services', 'compute_nodes'):
            self.practice.sql(
                'nova', f'UPDATE {table} SET deleted = 0 WHERE host = %s',
                [SOURCE],
            )  # fmt: skip
        self.practice.sql(
            'nova_api',
            'INSERT INTO host_mappings (created_at, cell_id, host) SELECT '
            'UTC_TIMESTAMP(), cell_id, %s FROM host_mappings WHERE host = %s',
            [SOURCE, TARGET],
        )

    def test_its_servers_are_found_and_moved(self) -> None:
        server = self.create_server(host=SOURCE, boot_from_volume='rbd')
        (before,) = self.before([server.id])
        self.lose_power(SOURCE)
        self.practice.wait_compute_down(SOURCE)
        self.forget()
        self.addCleanup(self.remember)

        listed = self.answer('server', 'list', '--host', SOURCE)
        self.assertIn(server.name, [row['Name'] for row in listed])
        words = (
            'server', 'recover', server.name, '--target-host', TARGET,
        )  # fmt: skip
        refused = self.plan(*words, code=3)
        (gate,) = self.gates(refused, 'source-fenced')
        self.assertEqual(('hard', 'unknown'), (gate['klass'], gate['state']))

        self.done(*words, *FENCED, '--yes')
        self.assert_recovered(before, True, (TARGET,))

        told = self.recovery('server', 'list', '--host', 'HOST2')
        self.assertEqual(1, told.code)
        self.assertIn('host2', told.stderr)
