# SPDX-License-Identifier: Apache-2.0

"""What takes long outlives who started it, and says how it stands."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from tests import base
from tests.cloud import process
from tests.integration.agent import place


class Runs(base.TestCase):
    """The verb that takes long is one whose nova.conf is a pipe."""

    def setUp(self) -> None:
        super().setUp()
        self.place = self.useFixture(place.Place(processes=False))
        self.conf = self.place.root / 'etc/nova/nova.conf'
        self.conf.unlink()
        os.mkfifo(self.conf)
        self.addCleanup(self.kill)

    def start(self, *words: str) -> tuple[int, dict[str, Any]]:
        return self.place.agent('start', 'r1', *(words or ('identity',)))

    def status(self) -> dict[str, Any]:
        return self.place.agent('status', 'r1')[1]

    def pid(self) -> int | None:
        lock = self.place.root / 'var/lib/nova-recovery/runs/r1/lock'
        for entry in os.listdir('/proc'):
            if entry.isdigit():
                try:
                    for name in os.listdir(f'/proc/{entry}/fd'):
                        path = f'/proc/{entry}/fd/{name}'
                        if os.path.samestat(os.stat(path), lock.stat()):
                            return int(entry)
                except OSError:
                    continue
        return None

    def kill(self) -> None:
        pid = self.pid()
        if pid:
            os.kill(pid, signal.SIGKILL)

            def gone() -> bool:
                return self.status()['state'] != 'running'

            process.wait_for(gone, 10, 'the end of the run')

    def feed(self) -> None:
        """Let the verb come to its end."""
        threading.Thread(
            target=self.conf.write_text, args=('[DEFAULT]\nhost = c7\n',)
        ).start()

    def ended(self) -> dict[str, Any]:
        def done() -> Any:
            found = self.status()
            return found if found['state'] == 'done' else None

        found: Any = process.wait_for(done, 20, 'the end of the run')
        return found

    def test_of_a_run_that_nobody_started_nothing_is_known(self) -> None:
        self.assertEqual('unknown', self.status()['state'])

    def test_it_works_on_and_tells_its_result(self) -> None:
        code, line = self.start()
        self.assertEqual((0, True), (code, line['started']))
        self.assertEqual('running', self.status()['state'])
        self.feed()
        found = self.ended()
        self.assertEqual((0, 'c7'), (found['code'], found['end']['nova_host']))

    def test_second_start_does_not_start_it_twice(self) -> None:
        self.start()
        pid = self.pid()
        _code, line = self.start()
        self.assertEqual(('running', False), (line['state'], line['started']))
        self.assertEqual(pid, self.pid())
        self.feed()
        self.ended()
        _code, line = self.start()
        self.assertEqual(('done', False), (line['state'], line['started']))
        self.assertEqual(1, self.status()['begun'])

    def test_killed_it_is_lost_and_a_start_goes_on_with_it(self) -> None:
        self.start()
        self.kill()
        self.assertEqual('lost', self.status()['state'])
        _code, line = self.start()
        self.assertTrue(line['started'])
        self.feed()
        self.assertEqual(2, self.ended()['begun'])

    def test_run_is_of_one_request(self) -> None:
        self.start()
        code, line = self.start('accounts', 'show')
        self.assertEqual((3, 'refused'), (code, line['event']))
        self.assertIn('run r1 is of "identity"', line['text'])

    def test_refusal_is_the_end_and_can_be_tried_again(self) -> None:
        self.start('accounts', 'undo')
        found = self.ended()
        self.assertEqual(
            (3, 'refused'), (found['code'], found['end']['event'])
        )
        _code, line = self.start('accounts', 'undo')
        self.assertTrue(line['started'])
        self.ended()

    def test_name_that_leads_elsewhere_is_refused(self) -> None:
        self.assertIn(
            'name a run', self.place.refused('start', '../r1', 'identity')
        )
