# SPDX-License-Identifier: Apache-2.0

"""nova-recovery, as an operator of the beds types it."""

from __future__ import annotations

from collections.abc import Iterable
import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import fixtures

from tests import base
from tests.hosts.beds import Beds
from tests.integration import dbserver
from tests.integration.dbserver import Rows

ROOT = pathlib.Path(__file__).parents[2]


class ProgramTest(base.TestCase):
    """Some beds, an inventory of them, a journal; no databases.

    :ivar beds: whoever derives from it makes them before ``setUp``
    :ivar patience: seconds that a command may take
    """

    beds: Beds
    patience = 180

    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        (self.folder / 'nova.conf').write_text('[DEFAULT]\n')
        self.journal = f'sqlite:///{self.folder}/journal'
        self.conf = self.folder / 'nova-recovery.conf'
        self.conf.write_text(
            f'[journal]\nconnection = {self.journal}\n'
            f'[fleet]\ninventory = {self.beds.inventory()}\n'
        )

    def typed(
        self, *words: str, stderr: int = subprocess.STDOUT
    ) -> subprocess.Popen[str]:
        """Begin with a command of nova-recovery."""
        return subprocess.Popen(
            [
                *(sys.executable, '-m', 'nova_recovery.shell', *words),
                *('--recovery-config-file', str(self.conf)),
                *('--nova-config-file', str(self.folder / 'nova.conf')),
            ],
            cwd=ROOT,
            env={**os.environ, 'COLUMNS': '120'},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def run_program(self, *words: str, code: int = 0) -> str:
        """Type a command to its end; what it said."""
        program = self.typed(*words)
        said, _none = program.communicate(timeout=self.patience)
        self.assertEqual(code, program.returncode, said)
        return said

    def rows(self, *words: str, codes: Iterable[int]) -> list[dict[str, Any]]:
        """The rows of a command that only looks.

        :param codes: of which it ends with one
        """
        program = self.typed(*words, '-f', 'json', stderr=subprocess.PIPE)
        said, complained = program.communicate(timeout=180)
        self.assertIn(program.returncode, codes, complained)
        found: list[dict[str, Any]] = json.loads(said)
        return found

    def run_id(self) -> str:
        said = self.run_program('run', 'list', '-f', 'value', '-c', 'ID')
        return said.split()[0]


class OfACell(ProgramTest):
    """The beds are the compute hosts of a cell in MariaDB.

    :ivar cell: its database
    """

    cell: Rows

    def put_into_cell(self) -> None:
        for name in ('nova', 'nova_api'):
            dbserver.load(name, f'nova34-{name}')
        server = dbserver.shared()
        (self.folder / 'nova.conf').write_text(
            f'[database]\nconnection = {server.url("nova")}\n'
            f'[api_database]\nconnection = {server.url("nova_api")}\n'
        )
        api = Rows('nova_api')
        self.addCleanup(api.close)
        api.add(
            'cell_mappings',
            id=2,
            uuid='5f2b3f6e-0d5c-4c6f-9d0e-3a1f6c1f0a01',
            name='cell1',
            database_connection=server.url('nova'),
            transport_url='none:///',
            disabled=0,
        )
        self.cell = Rows('nova')
        self.addCleanup(self.cell.close)
        for number, host in enumerate(self.beds, 1):
            api.add('host_mappings', host=host.name, cell_id=2)
            self.cell.add(
                'services',
                id=number,
                host=host.name,
                binary='nova-compute',
                topic='compute',
                report_count=41,
                disabled=0,
                forced_down=0,
                deleted=0,
                version=66,
            )
