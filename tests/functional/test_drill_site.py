# SPDX-License-Identifier: Apache-2.0

"""A whole site loses its power for a drill, and comes back."""

from __future__ import annotations

import json
import os
import pathlib
import shlex
import subprocess
import sys
from typing import Any

from nova_recovery.engine import records
from tests.functional.disaster import DisasterTest


class TestDrillSite(DisasterTest):
    """All servers of the practice cloud, by programs that note each call."""

    def setUp(self) -> None:
        super().setUp()
        self.calls = self.home / 'calls'
        python = shlex.quote(sys.executable)
        self.configure(
            snapshot__directory=self.home / 'snapshots',
            disaster__quiet=1,
            drill__site_power_off=self.program(
                'off', f'{python} -m tests.cloud power-loss --site'
            ),
            drill__site_power_on=self.program(
                'on',
                f'{python} -m tests.cloud power-on '
                '--option sync_power_state_interval=-1',
            ),
        )
        # what the screens call it: no clouds.yaml names it
        self.name = '127.0.0.1'

    def program(self, name: str, command: str) -> pathlib.Path:
        path = self.home / name
        path.write_text(
            f'#!/bin/sh\necho {name} >> {self.calls}\n'
            f'exec env NOVA_RECOVERY_CLOUD={self.practice.config.state} '
            f'{command}\n'
        )
        path.chmod(0o755)
        return path

    def words(self, *more: Any) -> tuple[Any, ...]:
        return 'drill', 'site', '--cloud', self.name, *more

    def test_nobody_loses_power_by_mistake(self) -> None:
        names = sorted(self.everything())
        for words, code, told in (
            (self.words('--server', names[0], '--yes'), 3, names[1]),
            (
                ('drill', 'site', '--cloud', 'x', '--all-servers', '--yes'),
                3,
                f'this cloud is {self.name}',
            ),
            (self.words('--yes'), 2, '--all-servers'),
            (self.words('--all-servers'), 3, 'no terminal'),
            (self.words('--all-servers', '--dry-run'), 0, '3 nova-computes'),
        ):
            ended = self.done(*words, code=code)
            self.assertIn(told, ' '.join(ended.stderr.split()))
        self.assertFalse(self.calls.exists())

    def test_killed_when_the_power_was_sent_for(self) -> None:
        """The program goes on by itself, and is never run a second time."""
        before = self.everything()
        words = self.words('--all-servers', '--yes')
        self.kill_when_sent(*words)
        ended = self.done(*self.words('--yes', '-f', 'json'))
        rows = {row['Step']: row for row in json.loads(ended.stdout)}
        self.assertEqual(
            set(),
            {row['Result'] for row in rows.values()}
            - {'met', 'timed', 'nothing to do'},
        )
        self.assertLess(rows['restart']['Seconds'], rows['back']['Seconds'])
        self.assertEqual(['off', 'on'], self.calls.read_text().split())
        self.assert_back(before.values())
        for host in self.practice.config.hosts:
            service = self.state.service(host)
            self.assertEqual(
                (0, None), (service['disabled'], service['disabled_reason'])
            )
        again = self.answer('drill', 'report')
        self.assertEqual(list(rows.values()), again)

    def sent(self) -> bool:
        """Whether the program runs, and the journal knows it."""
        return any(
            'program' in records.unpack(notes)
            for (notes,) in self.journal_rows(
                "SELECT notes FROM items WHERE kind = 'power-off-site'"
            )
        )

    def kill_when_sent(self, *words: Any) -> None:
        said = self.home / 'said'
        program = pathlib.Path(sys.executable).parent / 'openstack'
        with open(said, 'w') as file:
            begun = subprocess.Popen(
                [str(program), 'recovery', *self._words(words)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, 'COLUMNS': '80'},
                text=True,
            )
        self.kill_when(begun, self.sent, said)
