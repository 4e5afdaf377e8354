# SPDX-License-Identifier: Apache-2.0
"""What a guest's console says: the texts are of real ones, shortened."""

from __future__ import annotations

import pathlib
import threading
from typing import Any
from unittest import mock

from nova_recovery.changes import console
from nova_recovery.changes.console import WatchBoot
from nova_recovery.engine.change import Interrupted, State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed
from tests.base import TestCase
from tests.unit.at import at

TEXTS = pathlib.Path(__file__).with_name('consoles')
KERNEL = '[    0.000000] Linux version 6.1.0-18-amd64\n'
LOGIN = KERNEL + 'Debian GNU/Linux 12 web ttyS0\n\nweb login: '
PANIC = KERNEL + '[    1.5] Kernel panic - not syncing: Attempted to kill init'


def text(name: str) -> str:
    return (TEXTS / f'{name}.txt').read_bytes().decode()


class ClassifyTest(TestCase):
    def check(self, name: str, what: str, line: str) -> None:
        seen = console.classify(text(name))
        self.assertEqual(what, seen.what, seen)
        self.assertIn(line, seen.line)

    def test_each_text_has_its_class(self) -> None:
        for name, what, line in (
            ('debian-login', 'booted', 'Reached target multi-user.target'),
            ('cirros-login', 'booted', 'cirros login:'),
            ('windows-booted', 'booted', 'The CMD command is now available'),
            ('debian-no-root', 'waiting for a disk', 'ALERT!  UUID=5f3b2d8e'),
            ('dracut-waiting', 'waiting for a disk', 'timeout scripts'),
            ('systemd-job', 'waiting for a disk', '29s / 1min 30s'),
            # why is told, not only that it gave up
            ('dracut-shell', 'emergency mode', 'dracut-initqueue timeout'),
            (
                'systemd-emergency',
                'emergency mode',
                'Timed out waiting for device /dev/disk/by-label/data',
            ),
            ('fsck-progress', 'fsck', '13.4%'),
            ('fsck-manual', 'fsck', 'RUN fsck MANUALLY'),
            ('seabios-nothing', 'no boot device', 'No bootable device.'),
            ('uefi-nothing', 'no boot device', 'BdsDxe: No bootable option'),
            ('grub-rescue', 'no boot device', 'error: no such device'),
            ('panic', 'panic', 'Kernel panic - not syncing: VFS: Unable'),
            ('windows-stop', 'panic', 'BLUESCREEN'),
            ('kernel-only', 'silent', 'EXT4-fs (vda1): mounted'),
            ('seabios-second-disk', 'silent', 'root=/dev/vdb1'),
        ):
            with self.subTest(name):
                self.check(name, what, line)

    def test_an_empty_log_is_silent(self) -> None:
        self.assertEqual(('silent', ''), console.classify(''))

    def test_only_the_last_boot_counts(self) -> None:
        for last, what in (
            (KERNEL, 'silent'),
            ('SeaBIOS (version 1.16.2)\n', 'silent'),
            ('BdsDxe: loading Boot0001\n', 'silent'),
            (PANIC, 'panic'),
            (text('seabios-nothing'), 'no boot device'),
        ):
            with self.subTest(last[:30]):
                seen = console.classify(f'{LOGIN}\n{last}')
                self.assertEqual(what, seen.what)
        self.assertEqual('booted', console.classify(PANIC + '\n' + LOGIN).what)

    def test_one_that_has_booted_stays_so_unless_it_panics(self) -> None:
        later = LOGIN + '\n[  300.1] I/O error, dev vdb, sector 0'
        self.assertEqual('booted', console.classify(later).what)
        later += '\n[  301.1] Kernel panic - not syncing: hung_task'
        self.assertEqual('panic', console.classify(later).what)

    def test_the_operator_of_the_guest_goes_on_from_the_shell(self) -> None:
        gone_on = text('systemd-emergency') + '\nweb login: '
        self.assertEqual('booted', console.classify(gone_on).what)

    def test_a_login_that_was_is_no_prompt(self) -> None:
        seen = console.classify(KERNEL + 'Last login: Mon Mar  2 on ttyS0')
        self.assertEqual('silent', seen.what)

    def test_the_summary_of_a_good_check_is_no_check(self) -> None:
        seen = console.classify(
            'systemd-fsck[42]: /dev/vda1: 35235/1310720 files '
            '(0.5% non-contiguous), 402118/5240315 blocks'
        )
        self.assertEqual('silent', seen.what)

    def test_the_line_is_short_printable_and_without_secrets(self) -> None:
        seen = console.classify(
            'Kernel panic - not syncing: \x1b[31mpassword=geheim\x07 '
            + 'x' * 500
        )
        self.assertNotIn('geheim', seen.line)
        self.assertNotIn('\x1b', seen.line)
        self.assertNotIn('\x07', seen.line)
        self.assertLess(len(seen.line), 250)


class WatchBootTest(TestCase):
    """A clock that only waiting moves, and what the console shows then."""

    def setUp(self) -> None:
        super().setUp()
        self.now = 0.0
        self.watching = WatchBoot()
        self.log: list[tuple[float, str | None]] = []
        self.stopping = mock.Mock(spec=threading.Event)
        self.stopping.wait.side_effect = self.wait
        self.cloud = mock.Mock()
        self.cloud.compute.console.side_effect = self.console
        patch = mock.patch('time.monotonic', lambda: self.now)
        patch.start()
        self.addCleanup(patch.stop)

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return False

    def console(self, uuid: str, lines: int) -> str | None:
        """What was on it at this time."""
        return [text for when, text in self.log if when <= self.now][-1]

    def watch(
        self, *log: tuple[float, str | None], seconds: int = 120, **data: int
    ) -> str:
        self.log = list(log)
        item = Item(
            'watch-boot:u1', 'watch-boot', 'boot:u1', 'web',
            {'uuid': 'u1', 'host': 'h', 'seconds': seconds, **data},
        )  # fmt: skip
        watching = self.watching
        where = at(item, self.cloud, stopping=self.stopping)
        self.assertIs(State.BEFORE, watching.observe(where).state)
        try:
            return watching.apply(where)
        finally:
            self.noted = where.notes

    def watch_fails(self, *log: tuple[float, str | None], **more: Any) -> str:
        return str(self.assertRaises(ChangeFailed, self.watch, *log, **more))

    def test_it_is_watched_until_it_has_booted(self) -> None:
        done = self.watch((0, ''), (5, KERNEL), (20, LOGIN))
        self.assertEqual('booted', done)
        self.assertLess(self.now, 35)

    def test_a_disk_that_comes_late_is_waited_for(self) -> None:
        waits = text('systemd-job')
        self.assertEqual(
            'booted', self.watch((0, waits), (90, waits + '\nweb login: '))
        )

    def test_one_that_waits_for_its_disk_is_told_in_the_end(self) -> None:
        told = self.watch_fails((0, text('debian-no-root')))
        self.assertIn('waiting for a disk: ALERT!', told)
        self.assertIn('volumes are attached', told)
        self.assertGreaterEqual(self.now, 120)

    def test_what_is_over_is_told_soon(self) -> None:
        told = self.watch_fails((0, text('systemd-emergency')))
        self.assertEqual({'console': 'emergency mode'}, self.noted)
        self.assertIn('emergency mode: ', told)
        self.assertIn('openstack console url show u1', told)
        self.assertLess(self.now, 20)

    def test_a_kernel_that_panics_and_starts_anew_is_not_over(self) -> None:
        done = self.watch((0, PANIC), (3, f'{PANIC}\n{LOGIN}'))
        self.assertEqual('booted', done)

    def test_nothing_to_judge_by_is_no_failure(self) -> None:
        self.assertEqual('silent', self.watch((0, '')))
        # most guests write nothing to it: they aren't waited for that long
        self.assertLess(self.now, 40)

    def test_a_kernel_without_a_login_is_silent_in_the_end(self) -> None:
        done = self.watch((0, text('kernel-only')))
        self.assertRegex(done, r'^silent: .*EXT4-fs \(vda1\): mounted')
        self.assertGreaterEqual(self.now, 120)

    def test_one_that_rests_holds_up_no_others(self) -> None:
        done = self.watch((0, text('kernel-only')), quiet=20)
        self.assertRegex(done, r'^silent: .*EXT4-fs \(vda1\): mounted')
        self.assertEqual(20, self.now)
        self.now = 0.0
        self.assertEqual('silent', self.watch((0, ''), quiet=20))
        self.assertEqual(20, self.now)

    def rest(self, count: int, *log: tuple[float, str | None]) -> list[float]:
        """How long each of so many is waited for."""
        took = []
        for _ in range(count):
            self.now = 0.0
            self.watch(*log, quiet=20)
            took.append(self.now)
        return took

    def test_after_a_row_that_rests_a_sample_is_waited_for(self) -> None:
        took = self.rest(console.ROW + 2 * console.EACH, (0, ''))
        self.assertEqual([20] * console.ROW, took[: console.ROW])
        left = took[console.ROW :]
        self.assertEqual(2, left.count(console.SAMPLE))
        self.assertEqual(2 * console.EACH - 2, left.count(0))
        self.assertEqual(
            'silent: looked at once, as those before it rest',
            self.watch((0, ''), quiet=20),
        )
        # each holds up its wave, of 10,000
        self.assertLessEqual(10_000 / console.EACH * console.SAMPLE, 200)

    def test_a_sample_on_which_a_kernel_writes_gets_its_time(self) -> None:
        self.rest(console.ROW + console.EACH - 1, (0, ''))
        self.now = 0.0
        # a boot loader that waits, then a kernel, then a login much later
        late = self.watch((0, ''), (4, KERNEL), (22, LOGIN), quiet=20)
        self.assertEqual('booted', late)
        self.rest(console.ROW + console.EACH - 1, (0, ''))
        self.now = 0.0
        self.watch((0, ''), (4, KERNEL), quiet=20)
        self.assertEqual(25, round(self.now))

    def test_what_tells_is_told_among_those_that_rest(self) -> None:
        self.rest(console.ROW + 1, (0, ''))
        self.watch_fails((0, PANIC), quiet=20)
        # and the next are waited for again
        self.assertEqual([20], self.rest(1, (0, '')))

    def test_among_those_that_rest_a_kernel_is_worth_waiting_for(self) -> None:
        self.rest(console.ROW + 1, (0, ''))
        done = self.watch((0, KERNEL), (10, LOGIN), quiet=20)
        self.assertEqual('booted', done)
        kernel = (0, text('kernel-only'))
        took = self.rest(console.ROW + 1, kernel)
        self.assertEqual([20] * console.ROW + [0], took)

    def test_a_canary_is_always_waited_for(self) -> None:
        self.rest(console.ROW + 1, (0, ''))
        self.now = 0.0
        self.watch((0, ''))
        self.assertEqual(console.EMPTY, self.now)

    def test_one_that_goes_on_is_watched_to_its_end(self) -> None:
        log = [(15 * n, KERNEL + '\nloading' * n) for n in range(7)]
        done = self.watch(*log, (100, LOGIN), quiet=20)
        self.assertEqual('booted', done)
        self.now = 0.0
        self.watch(*log, quiet=20, seconds=60)
        self.assertEqual(60, self.now)

    def test_one_that_waits_for_its_disk_may_take_its_time(self) -> None:
        waits = text('systemd-job')
        log = (0, waits), (90, waits + '\nweb login: ')
        self.assertEqual('booted', self.watch(*log, quiet=20))

    def test_without_a_log_there_is_nothing_to_wait_for(self) -> None:
        self.assertEqual('silent: nova keeps no log of it',
                         self.watch((0, None)))  # fmt: skip
        self.assertEqual(0, self.now)

    def test_one_look_only(self) -> None:
        self.watch_fails((0, PANIC), seconds=0)
        self.assertEqual(0, self.now)

    def test_an_operator_who_stops_is_not_kept_waiting(self) -> None:
        self.stopping.wait.side_effect = lambda seconds: True
        self.assertRaises(Interrupted, self.watch, (0, KERNEL))
