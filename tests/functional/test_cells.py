# SPDX-License-Identifier: Apache-2.0

"""Cells that are down or alike, odd passwords, hosts of similar names.

On copies of the cloud's databases, so that nova itself is left alone.
"""

from __future__ import annotations

import time
from typing import ClassVar
import urllib.parse
import uuid as uuid_module

from tests.functional.base import FunctionalTest

PASSWORD = 'a$b%c{d}@:/?#'
CELL2 = '22222222-2222-4222-8222-222222222222'
API, ONE, TWO = 'copy_api', 'copy_cell1', 'copy_cell2'


class TestCells(FunctionalTest):
    """Two cells, which nova.conf reaches through templates."""

    port: ClassVar[int]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.port = cls.practice.config.port('mariadb')
        cls.addClassCleanup(cls.drop)
        cls.drop()
        for source, copy in (('nova_api', API), ('nova', ONE), ('nova', TWO)):
            cls.practice.database.create_database(copy)
            for row in cls.practice.sql(
                source,
                'SELECT table_name AS name FROM information_schema.tables'
                ' WHERE table_schema = DATABASE()',
            ):
                table = row['name']
                cls.practice.sql(
                    copy, f'CREATE TABLE `{table}` LIKE {source}.`{table}`'
                )
        cls.practice.sql(
            None,
            "CREATE OR REPLACE USER odd@'%%' IDENTIFIED BY %s",
            [PASSWORD],
        )
        for copy in (API, ONE, TWO):
            cls.practice.sql(None, f"GRANT SELECT ON {copy}.* TO odd@'%'")

    @classmethod
    def drop(cls) -> None:
        for copy in (API, ONE, TWO):
            cls.practice.sql(None, f'DROP DATABASE IF EXISTS {copy}')
        cls.practice.sql(None, "DROP USER IF EXISTS odd@'%'")

    def setUp(self) -> None:
        super().setUp()
        # % and $ as they have to be written in a file of oslo.config
        password = urllib.parse.quote(PASSWORD, safe='$').replace('$', '$$')
        base_url = (
            f'mysql+pymysql://odd:{password}@127.0.0.1:{self.port}'
            '/{}?charset=utf8'
        )
        conf = self.home / 'nova.conf'
        conf.write_text(
            f'[DEFAULT]\nreport_interval = 3\n'
            f'[api_database]\nconnection = {base_url.format(API)}\n'
            f'[database]\nconnection = {base_url.format("nova_cell0")}\n'
        )
        self.configure(
            DEFAULT__nova_config_dir=self.home / 'none.d',
            DEFAULT__nova_config_file=conf,
        )
        (self.home / 'none.d').mkdir()
        self._fill()

    def _fill(self) -> None:
        for source, copy, tables in (
            ('nova_api', API, ('cell_mappings', 'host_mappings',
                               'instance_mappings', 'request_specs')),
            ('nova', ONE, ('instances', 'services', 'compute_nodes',
                           'instance_extra', 'block_device_mapping')),
            ('nova', TWO, ('instances', 'services')),
        ):  # fmt: skip
            for table in tables:
                self.practice.sql(copy, f'DELETE FROM {table}')
                self.practice.sql(
                    copy, f'INSERT INTO {table} SELECT * FROM {source}.{table}'
                )
        # The second cell: one server, with the id of one of the first.
        self.practice.sql(
            TWO, "DELETE FROM instances WHERE display_name != 'at3-ui07'"
        )
        self.twin = str(uuid_module.uuid4())
        self.practice.sql(
            TWO,
            "UPDATE instances SET uuid = %s, display_name = 'twin',"
            " host = 'np-rcc46'",
            [self.twin],
        )
        self.practice.sql(TWO, "DELETE FROM services WHERE host != 'host1'")
        self.practice.sql(TWO, "UPDATE services SET host = 'np-rcc46'")
        template = '{scheme}://{username}:{password}@{hostname}:{port}/'
        self.practice.sql(
            API,
            'INSERT INTO cell_mappings (uuid, name, transport_url,'
            " database_connection, disabled) VALUES (%s, 'cell2',"
            " 'none:///', '', 0)",
            [CELL2],
        )
        for cell, copy in (('cell1', ONE), ('cell2', TWO)):
            self._connect(cell, f'{template}{copy}?{{query}}')
        self.practice.sql(
            API,
            'INSERT INTO host_mappings (host, cell_id) SELECT %s, id'
            ' FROM cell_mappings WHERE uuid = %s',
            ['np-rcc46', CELL2],
        )
        self.uuid = self.state.uuid('at3-ui07')
        self.number = self.state.row(self.uuid)['id']

    def _connect(self, cell: str, url: str) -> None:
        self.practice.sql(
            API,
            'UPDATE cell_mappings SET database_connection = %s'
            ' WHERE name = %s',
            [url, cell],
        )

    def _cut(self, cell: str) -> None:
        self._connect(cell, 'mysql+pymysql://odd:x@127.0.0.1:1/nowhere')

    def names(self, host: str) -> list[str]:
        rows = self.answer('server', 'list', '--host', host)
        return [row['Name'] for row in rows]

    def test_one_name_in_two_cells(self) -> None:
        for name in (f'instance-{self.number:08x}', str(self.number)):
            ended = self.done('server', 'show', name, code=1)
            self.assertIn('could be any of 2 servers', ended.stderr)
            self.assertRegex(ended.stderr, rf'{self.uuid} .* cell cell1')
            self.assertRegex(ended.stderr, rf'{self.twin} .* cell cell2')
        for name, uuid in (('at3-ui07', self.uuid), ('twin', self.twin)):
            self.assertEqual(uuid, self.answer('server', 'show', name)['id'])
        self.assertEqual(['twin'], self.names('np-rcc46'))

    def test_another_cell_is_down(self) -> None:
        """Its servers are unknown; those that are known can be helped."""
        self._cut('cell2')
        began = time.monotonic()
        ended = self.done('server', 'list', '--host', 'host1', code=1)
        self.assertLess(time.monotonic() - began, 30)
        self.assertIn('at3-ui07', ended.stdout)
        self.assertIn('database of cell2 unavailable', ended.stderr)
        self.done('server', 'show', self.uuid)
        # It could have one of the same name.
        ended = self.done('server', 'show', 'at3-ui07', code=1)
        self.assertIn('database of cell2 unavailable', ended.stderr)

    def test_its_own_cell_is_down(self) -> None:
        """Nothing is known, so nothing is said of it nor done."""
        self._cut('cell1')
        began = time.monotonic()
        for words in (
            ('server', 'list', '--host', 'host1'),
            ('server', 'show', self.uuid),
            ('server', 'recover', self.uuid, '--yes'),
            ('host', 'recover', 'host1', '--yes', '--fenced', 'off'),
            ('server', 'reboot', self.uuid, '--yes'),
        ):
            ended = self.done(*words, code=1)
            self.assertIn('database of cell1 unavailable', ended.stderr)
            self.assertNotIn('Nothing to do', ended.stderr)
        self.assertLess(time.monotonic() - began, 60)
        self.assertEqual([], self.answer('run', 'list'))
        self.assertEqual(0, self.state.service('host1')['disabled'])

    def test_similar_names_of_hosts(self) -> None:
        """np-rcc4 is not np-rcc46: novaclient's host-evacuate takes both."""
        self.practice.sql(
            ONE,
            "UPDATE instances SET host = 'np-rcc4', node = 'np-rcc4'"
            " WHERE display_name = 'at3-ui07'",
        )
        self.practice.sql(
            ONE, "UPDATE services SET host = 'np-rcc4' WHERE host = 'host1'"
        )
        self.practice.sql(
            ONE,
            "UPDATE instances SET host = 'np-rcc40'"
            " WHERE display_name = 'at3-ui08'",
        )
        self.practice.sql(
            API,
            "UPDATE host_mappings SET host = 'np-rcc4' WHERE host = 'host1'",
        )
        self.assertEqual(['at3-ui07'], self.names('np-rcc4'))
        self.assertEqual(['twin'], self.names('np-rcc46'))
        plan = self.plan(
            'host', 'recover', 'np-rcc4', '--fenced', 'off',
            '--shared-storage', '--target-host', 'host2', code=3,
        )  # fmt: skip
        self.assertEqual(['np-rcc4'], plan['arguments']['hosts'])
        self.assertEqual(
            {'np-rcc4', 'at3-ui07'},
            {item['label'] for s in plan['steps'] for item in s['items']},
        )
