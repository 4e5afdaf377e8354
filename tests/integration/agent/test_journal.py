# SPDX-License-Identifier: Apache-2.0

"""The before-images on a disk that is full, torn or wrong."""

from __future__ import annotations

import hashlib
import os
import pathlib
import subprocess

from nova_recovery.host.agent.owners import journal
from tests.integration.agent import base


class Journals(base.AgentTest):
    def setUp(self) -> None:
        super().setUp()
        self.build()
        self.journal = self.state / 'owners.journal'

    def test_its_digest_and_counts_are_told(self) -> None:
        self.assertEqual(0, self.agent('change'))
        first = self.result
        self.assertEqual(str(self.journal), first['journal'])
        self.assertEqual(self.journal.stat().st_size, first['bytes'])
        self.assertEqual(1, first['batches'])
        self.assertTrue(first['digest'].startswith('sha256:'))
        self.assertNotEqual(
            'sha256:' + hashlib.sha256().hexdigest(), first['digest']
        )
        self.assertEqual(0, self.agent('change'))
        self.assertEqual(first['digest'], self.result['digest'])
        self.assertEqual(0, self.agent('undo'))
        self.assertEqual(first['digest'], self.result['digest'])

    def test_nobody_else_may_read_it(self) -> None:
        self.assertEqual(0, self.agent('change'))
        self.assertEqual(0o700, self.state.stat().st_mode & 0o777)
        for path in self.state.iterdir():
            self.assertEqual(0o600, path.stat().st_mode & 0o777)

    def test_cut_short_or_never_written_at_its_end(self) -> None:
        self.assertEqual(0, self.agent('change'))
        whole = self.journal.read_bytes()
        for end in (b'\x07', b'\x40\0\0\0abcd' + b'x' * 9, b'\0' * 5000):
            self.journal.write_bytes(whole + end)
            self.assertEqual(0, self.agent('verify'))
            self.assertEqual(0, self.agent('change'), self.lines)
            self.assertTrue(self.journal.read_bytes().startswith(whole))
        self.journal.write_bytes(whole + b'\0' * 5000)
        self.assertEqual(0, self.agent('undo'), self.lines)
        self.assert_as_before()

    def test_damaged_nothing_is_done_with_it(self) -> None:
        self.assertEqual(0, self.agent('change'))
        after = bytearray(self.journal.read_bytes())
        after[len(after) // 2] ^= 1
        self.journal.write_bytes(after)
        for action in ('undo', 'change'):
            self.assertEqual(1, self.agent(action))
            self.assertIn('is damaged at byte', self.lines[-1]['text'])
            self.assert_changed()
            self.assertEqual(bytes(after), self.journal.read_bytes())

    def test_wherever_it_is_damaged_nothing_is_done_with_it(self) -> None:
        """Its lengths, too: what follows a wrong one is not cut off."""
        self.assertEqual(0, self.agent('change'))
        whole = self.journal.read_bytes()
        read = journal.Journal.read(str(self.journal))
        assert read is not None
        self.addCleanup(read.close)
        last = read.batches[-1].end
        opened = os.listdir('/proc/self/fd')
        for place in range(last):
            for bit in (0, 7):
                damaged = bytearray(whole)
                damaged[place] ^= 1 << bit
                self.journal.write_bytes(damaged)
                self.assertRaises(
                    journal.Damaged, journal.Journal.open, str(self.journal)
                )
                self.assertEqual(len(whole), self.journal.stat().st_size)
        self.assertEqual(opened, os.listdir('/proc/self/fd'))
        # killed, it has nothing after its last batch
        damaged = bytearray(whole[:last])
        damaged[3] ^= 1
        self.journal.write_bytes(damaged)
        self.assertEqual(1, self.agent('undo'))
        self.assertIn('is damaged at byte 0 of', self.lines[-1]['text'])
        self.journal.write_bytes(whole)
        self.assertEqual(0, self.agent('undo'))
        self.assert_as_before()

    def test_something_else_of_that_name(self) -> None:
        self.state.mkdir(0o700)
        self.journal.write_bytes(b'not a journal, but somebody needs it\n')
        self.assertEqual(1, self.agent('change'))
        self.assertIn('is damaged at byte 0 of', self.lines[-1]['text'])
        self.assertIn(b'needs it', self.journal.read_bytes())
        self.journal.unlink()
        os.mkfifo(self.journal)
        for action in ('change', 'verify', 'undo'):
            self.assertEqual(1, self.agent(action))
            self.assertIn('not a file of ours', self.lines[-1]['text'])
        self.assert_as_before()

    def test_somebody_elses(self) -> None:
        self.assertEqual(0, self.agent('change'))
        os.chown(self.journal, 5, 5)
        self.assertEqual(1, self.agent('undo'))
        self.assertIn('not a file of ours', self.lines[-1]['text'])
        self.assert_changed()

    def test_no_room_for_it(self) -> None:
        self.state.mkdir()
        small = f"""
            import subprocess, tempfile
            from nova_recovery.host.agent.owners import look
            look.MOST = 2
            real, count = os.write, [0]
            def write(descriptor, data):
                path = os.readlink('/proc/self/fd/%d' % descriptor)
                if path != {str(self.journal)!r}:
                    return real(descriptor, data)
                count[0] += 1
                if count[0] < 6:
                    return real(descriptor, data)
                return real(descriptor, data[:20])
            os.write = write
        """
        self.assertEqual(1, self.agent('change', hook=small))
        self.assertIn(
            'No space left on device: before-images', self.lines[-1]['text']
        )
        changed = int(
            subprocess.run(
                f'find {self.root} -uid 162 -o -gid 162 | wc -l',
                shell=True,
                check=True,
                capture_output=True,
            ).stdout
        )
        # two batches of two; one has two names
        self.assertIn(changed, range(3, 7))
        self.assertEqual(0, self.agent('change'), self.lines)
        self.assert_changed()
        self.assertEqual(0, self.agent('undo'))
        self.assert_as_before()

    def test_it_is_compact(self) -> None:
        many = self.root / 'many'
        many.mkdir()
        for number in range(2000):
            path = many / f'disk-{number}'
            path.touch()
            os.chown(path, 108, 120)
        size = self.entry_size(many)
        self.assertLess(size, 36)

    def entry_size(self, many: pathlib.Path) -> float:
        self.root = many
        self.assertEqual(0, self.agent('change'))
        return float(self.result['bytes']) / self.result['changed']
