# SPDX-License-Identifier: Apache-2.0

"""A canary loses its power and its iSCSI sessions, and comes back.

The same with a real host, real sessions and libvirt is in
``tests/hosts/test_drill.py``.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

from tests.functional.base import FunctionalTest
from tests.functional.stand import Stand, target
from tests.unit.cli.programs import Ended

#: Where it is killed, in this order: what the journal has by then, as SQL
#: that finds a row.
DEADLY = (
    "SELECT 1 FROM items WHERE kind = 'cut-guest' AND state = 'intent'",
    "SELECT 1 FROM items WHERE kind = 'close-session' AND state = 'done'",
    "SELECT 1 FROM events WHERE kind = 'loss-seen'",
    "SELECT 1 FROM items WHERE kind = 'record-relations' AND state = 'done'",
    "SELECT 1 FROM items WHERE kind = 'restart-server' AND state = 'sent'",
    "SELECT 1 FROM runs WHERE procedure = 'disaster' AND state = 'done'",
)


class DrillTest(FunctionalTest):
    """A canary on host1, and a host that stands for host1."""

    def setUp(self) -> None:
        super().setUp()
        self.configure(
            fleet__driver='local',
            fleet__home=self.home / 'agent',
            snapshot__directory=self.home / 'snapshots',
            # the canary has just been made
            disaster__quiet=1,
        )
        where = self.practice.config.state / 'var' / 'compute-host1'
        self.stand = Stand(self.home / 'stand', where, 'host1')
        self.addCleanup(self.stand.end)

    def canary(self, *kinds: str) -> tuple[str, str, list[str]]:
        """A server, with its sessions: name, UUID, iSCSI volumes."""
        server = self.create_server('canary', volumes=kinds)
        devices = self.practice.guests('host1')[server.id]['volumes']
        volumes = [
            volume
            for (_device, volume), kind in zip(sorted(devices.items()), kinds)
            if kind == 'iscsi'
        ]
        self.stand.begin(server.id, volumes)
        return server.name, server.id, volumes

    def start(
        self, *words: Any, into: Any = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        """Type a command on the host.

        :param into: where it says things
        """
        program = pathlib.Path(sys.executable).parent / 'openstack'
        return subprocess.Popen(
            self.stand.inside(str(program), 'recovery', *self._words(words)),
            stdin=subprocess.DEVNULL,
            stdout=into,
            stderr=into,
            env={**os.environ, 'COLUMNS': '80'},
            text=True,
        )

    def typed(self, *words: Any, code: int = 0) -> Ended:
        begun = self.start(*words)
        out, err = begun.communicate(timeout=300)
        self.assertEqual(code, begun.returncode, f'{out}\n{err}')
        self.assertNotIn('Traceback', err)
        return Ended(begun.returncode, out, err)

    def assert_whole(self, server: str, volumes: list[str]) -> None:
        """It runs, with each of its disks, and was rebooted once."""
        self.assertEqual(
            sorted(map(target, volumes)),
            sorted(self.stand.sessions().values()),
        )
        row = self.state.row(server)
        self.assertEqual(
            ('active', 1, None),
            (row['vm_state'], row['power_state'], row['task_state']),
        )
        guest = self.practice.guests('host1')[server]
        self.assertEqual(('running', 2), (guest['state'], guest['boots']))
        claims = self.practice.sql(
            'nova', 'SELECT * FROM task_log WHERE host = %s', [server]
        )
        self.assertEqual([], claims)


class TestDrill(DrillTest):
    def test_power_loss_seen_brought_back_and_timed(self) -> None:
        name, server, volumes = self.canary('iscsi', 'iscsi', 'rbd')
        before = self.stand.sessions()
        words = ('drill', 'power-loss', '--server', name)
        self.typed(*words, '--dry-run')
        self.assertEqual(before, self.stand.sessions())
        self.assertEqual(1, self.practice.guests('host1')[server]['boots'])
        begun = self.start(
            *(*words, '--target', 'restart=300', '--target', 'back=1'),
            *('--yes', '-f', 'json'),
        )
        # on a real cloud nova hears of it from libvirt, and stops it
        self.until("SELECT 1 FROM items WHERE kind = 'cut-guest'"
                   " AND state = 'done'", begun)  # fmt: skip
        self.hear(server)
        out, err = begun.communicate(timeout=300)
        self.assertEqual(4, begun.returncode, f'{out}\n{err}')
        self.assertEqual(['stop', 'start'], self.state.actions(server)[-2:])
        rows = json.loads(out)
        steps = {row['Step']: row for row in rows}
        for step in ('seen', 'restart'):
            self.assertEqual('met', steps[step]['Result'], err)
        self.assertEqual('nothing to do', steps['attach']['Result'])
        self.assertLess(steps['seen']['Seconds'], steps['back']['Seconds'])
        # what was too slow is told
        self.assertEqual('missed', steps['back']['Result'])
        self.assertIn('FAILED: ', err)
        self.assert_whole(server, volumes)
        self.assertTrue(set(before).isdisjoint(self.stand.sessions()))
        # the journal tells it again, wherever
        again = self.done('drill', 'report', '-f', 'json', code=4)
        self.assertEqual(rows, json.loads(again.stdout))

    def test_killed_again_and_again_it_comes_to_the_same_end(self) -> None:
        name, server, volumes = self.canary('iscsi', 'iscsi')
        words = ('drill', 'power-loss', '--server', name, '--yes')
        for point in DEADLY:
            self.kill_at(point, *words)
            if 'record-relations' in point:
                # a way back that is taken back is not the last one
                self.typed('run', 'undo', self.newest_run(), '--yes')
        rows = json.loads(self.typed(*words, '-f', 'json').stdout)
        self.assertEqual(
            set(),
            {row['Result'] for row in rows}
            - {'met', 'timed', 'nothing to do'},
        )
        self.assert_whole(server, volumes)

    def test_nova_stops_it_while_it_is_brought_back(self) -> None:
        name, server, volumes = self.canary('iscsi')
        words = ('drill', 'power-loss', '--server', name, '--yes')
        begun = self.start(*words, '-f', 'json')
        self.until("SELECT 1 FROM events WHERE kind = 'loss-seen'", begun)
        self.hear(server)
        out, err = begun.communicate(timeout=300)
        self.assertEqual(0, begun.returncode, f'{out}\n{err}')
        steps = {row['Step']: row for row in json.loads(out)}
        for step in ('seen', 'restart', 'back'):
            self.assertIn(steps[step]['Result'], ('met', 'timed'), err)
        self.assert_whole(server, volumes)
        self.assertEqual('stop', self.state.actions(server)[-2])
        self.assertEqual(json.loads(out), self.answer('drill', 'report'))

    def hear(self, server: str) -> None:
        """Have libvirt tell nova that the guest is off, which then stops it.

        By its own driver nova waits 15 s for another event of the guest
        (nova/virt/libvirt/host.py, _event_emit_delayed).
        """
        told = self.practice.config.state / 'var' / 'compute-host1' / 'told'
        (told / server).touch()

    def kill_at(self, point: str, *words: Any) -> None:
        """Kill the command when its journal has that."""
        said = self.home / 'said'
        with open(said, 'w') as file:
            begun = self.start(*words, into=file)
        self.kill_when(begun, lambda: bool(self.journal_rows(point)), said)

    def until(self, point: str, begun: subprocess.Popen[str]) -> None:
        """Wait until the journal of a command that runs has that."""
        self.until_so(
            begun, lambda: bool(self.journal_rows(point)), self.home / 'said'
        )

    def test_refused_with_what_can_be_done(self) -> None:
        name, server, _volumes = self.canary('rbd')
        said = self.typed(
            'drill', 'power-loss', '--server', name, '--yes', code=3
        ).stderr
        self.assertIn(
            'no iSCSI session on host1: its volumes are by rbd',
            ' '.join(said.split()),
        )
        self.assertIn('disaster plan --host host1', said)
        guest = self.practice.guests('host1')[server]
        self.assertEqual(('running', 1), (guest['state'], guest['boots']))
