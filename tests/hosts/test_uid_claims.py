# SPDX-License-Identifier: Apache-2.0

"""Hosts of a cloud get other numbers: they are claimed in its databases.

And right before a nova-compute is started it is asked what that would destroy.
"""

from __future__ import annotations

import signal
import subprocess
from typing import Any

from tests.hosts.program import OfACell
from tests.hosts.test_uid import OneNumber

SERVER = '3f57699a-e773-4650-a443-b4b37eed5a06'
NUMBERS = ('--uid', 'nova=130', '--gid', 'nova=131', '--root', '/var')


class OfACloud(OfACell, OneNumber):
    """Two hosts, the second one disabled by somebody before."""

    given = ()

    def setUp(self) -> None:
        super().setUp()
        self.put_into_cell()
        self.cell.sql(
            "UPDATE services SET disabled = 1, disabled_reason = 'a fan is "
            "loud' WHERE host = 'compute2'"
        )
        self.free = self.services()

    def services(self) -> list[dict[str, Any]]:
        return self.cell.sql(
            'SELECT host, disabled, disabled_reason, forced_down'
            ' FROM services ORDER BY id'
        )

    def claimed(self) -> bool:
        return all(
            row['disabled'] and self.run_id() in str(row['disabled_reason'])
            for row in self.services()
        )

    def begin(self, *words: str) -> subprocess.Popen[str]:
        names = [host.name for host in self.beds]
        return self.typed('host', 'uid', 'set', *names, '--yes', *words)

    def ends(self, program: subprocess.Popen[str], code: int) -> str:
        said, _none = program.communicate(timeout=180)
        self.assertEqual(code, program.returncode, said)
        return said

    def test_claimed_from_the_first_stop_to_the_last_start(self) -> None:
        one, two = self.beds
        program = self.begin(*NUMBERS)
        self.begun(program, 'change-owners')
        # however long the others take on a busy machine
        program.send_signal(signal.SIGSTOP)
        self.addCleanup(program.send_signal, signal.SIGCONT)
        self.assertTrue(self.claimed(), self.services())
        # nobody else can begin on one of them, whoever asks from wherever
        said = self.run_program(
            *('host', 'service', 'restart', 'compute2', '--yes'), code=3
        )
        self.assertIn('host-unclaimed', said)
        # an operator takes the first for dead: no heartbeat came for long
        self.cell.add_server(SERVER, 'compute1', 'at3-ui02')
        self.cell.add(
            'migrations',
            id=1,
            instance_uuid=SERVER,
            source_compute='compute1',
            dest_compute='compute9',
            migration_type='evacuation',
            status='accepted',
            deleted=0,
        )
        program.send_signal(signal.SIGCONT)
        said = self.ends(program, 4)
        self.assertIn('not started: at3-ui02: an evacuation', said)
        # its nova-compute would destroy that guest; the other host goes on
        self.assertEqual(
            'inactive',
            one.run(
                'systemctl', 'is-active', 'nova-compute', check=False
            ).strip(),
        )
        self.assert_runs(two)
        self.assertIn(self.run_id(), str(self.services()[0]))
        self.assertEqual(self.free[1], self.services()[1])
        # a resume asks the same, and goes on when that is over
        said = self.run_program(
            'run', 'resume', self.run_id(), '--yes', code=3
        )
        self.assertIn('no-tombstone', said)
        self.cell.sql("UPDATE migrations SET status = 'completed'")
        self.run_program('run', 'resume', self.run_id(), '--yes')
        self.assert_runs(one)
        self.assertEqual(self.free, self.services())
        # and so is the way back
        program = self.typed('run', 'undo', self.run_id(), '--yes')
        self.begun(program, 'change-owners', {'reverting'})
        self.assertTrue(self.claimed(), self.services())
        self.ends(program, 0)
        self.assertEqual(self.free, self.services())
        for host in self.beds:
            self.assertEqual('108\n120\n64055\n', self.numbers(host))
            self.assert_runs(host)

    def test_a_claim_that_somebody_took_ends_the_run(self) -> None:
        program = self.begin(*NUMBERS)
        self.begun(program, 'set-accounts')
        self.cell.sql(
            'UPDATE services SET disabled = 0, disabled_reason = NULL'
            " WHERE host = 'compute1'"
        )
        said = self.ends(program, 3)
        self.assertIn('the claim on compute1 is gone', said)
