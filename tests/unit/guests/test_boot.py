# SPDX-License-Identifier: Apache-2.0

"""The lines that guests are given, and what their answers mean."""

from __future__ import annotations

import os
import pathlib
import subprocess

import fixtures

from nova_recovery.guests import boot, ssh
from nova_recovery.guests.boot import Boot, NoAnswer
from nova_recovery.guests.ssh import Said
from tests.base import TestCase

BOOT = '7d3c1b52-8a5e-4c1f-9d2b-1b8b1c1f9a11'
OTHER = '00000000-8a5e-4c1f-9d2b-1b8b1c1f9a11'
MACHINE = '3f57699a-e773-4650-a443-b4b37eed5a06'


class TestAnswer(TestCase):
    def test_among_what_a_login_prints(self) -> None:
        said = Said(
            0,
            f'Welcome!\nboot_id {BOOT}\nmachine {MACHINE.upper()}\n'
            'state running\n',
        )
        self.assertEqual(Boot(BOOT, MACHINE), boot.parse(said))

    def test_a_guest_that_shuts_down(self) -> None:
        said = Said(0, f'boot_id {BOOT}\nmachine \nstate stopping\n')
        self.assertEqual(Boot(BOOT, '', True), boot.parse(said))

    def test_no_answer(self) -> None:
        for said, hopeless in (
            (Said(0, 'boot_id \nstate \n'), True),
            (Said(ssh.FAILED, err='Connection refused\n'), False),
            (Said(ssh.FAILED, err='Permission denied (x).\n'), True),
            (Said(None, f'boot_id {BOOT[:20]}'), False),
        ):
            error = self.assertRaises(NoAnswer, boot.parse, said)
            self.assertEqual(hopeless, error.hopeless)

    def test_only_a_boot_id_is_put_into_the_request(self) -> None:
        for text in ('', '$(reboot)', f'{BOOT} ', f"{BOOT}'"):
            self.assertRaises(ValueError, boot.request, text)


class TestLines(TestCase):
    """In a real shell, with other programs of the same names before it.

    They stand first on the PATH. Were they not found, the boot_id would be
    another, and nothing be shut down.
    """

    def setUp(self) -> None:
        super().setUp()
        self.path = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.program(
            'cat',
            f"""
case "$1" in
*/boot_id) echo {BOOT} ;;
*/product_uuid)
    test -n "$IS_ROOT" || {{ echo "cat: denied" >&2; exit 1; }}
    echo {MACHINE} ;;
esac
""",
        )
        self.program('id', 'echo "${IS_ROOT:-1000}"\n')
        self.program('sudo', 'echo "sudo $*" >> "$LOG"; shift\n'
                     'IS_ROOT=0; export IS_ROOT; "$@"\n')  # fmt: skip
        self.program('shutdown', 'echo "shutdown $*" >> "$LOG"\n')
        self.program('systemctl', 'echo running\n')
        self.log = self.path / 'log'

    def program(self, name: str, script: str) -> None:
        path = self.path / name
        path.write_text(f'#!/bin/sh\n{script}')
        path.chmod(0o755)

    def run_line(
        self, line: str, root: bool = True
    ) -> tuple[int, str, list[str]]:
        """Exit code, output, and what was called."""
        environment = {
            'PATH': f'{self.path}:{os.environ["PATH"]}',
            'LOG': str(self.log),
            **({'IS_ROOT': '0'} if root else {}),
        }
        done = subprocess.run(
            ['sh', '-c', line], env=environment, capture_output=True,
            text=True, timeout=30,
        )  # fmt: skip
        called = self.log.read_text() if self.log.exists() else ''
        return done.returncode, done.stdout, called.splitlines()

    def test_who_is_root_is_told_at_once(self) -> None:
        code, _out, called = self.run_line(boot.request(BOOT))
        self.assertEqual((0, ['shutdown -r now']), (code, called))

    def test_who_is_not_root_uses_sudo_and_is_never_asked(self) -> None:
        code, _out, called = self.run_line(boot.request(BOOT), root=False)
        self.assertEqual(
            (0, ['sudo -n shutdown -r now', 'shutdown -r now']), (code, called)
        )

    def test_another_boot_refuses(self) -> None:
        code, _out, called = self.run_line(boot.request(OTHER))
        self.assertEqual((boot.OTHER_BOOT, []), (code, called))

    def test_what_shutdown_says_is_what_we_hear(self) -> None:
        self.program('shutdown', 'echo "no such user" >&2; exit 1\n')
        self.assertEqual(1, self.run_line(boot.request(BOOT))[0])

    def test_look(self) -> None:
        for root in (True, False):
            code, out, _called = self.run_line(boot.LOOK, root)
            seen = boot.parse(Said(code, out))
            self.assertEqual(Boot(BOOT, MACHINE), seen)

    def test_look_without_the_right_to_read_the_machine(self) -> None:
        self.program('sudo', 'echo "sudo: a password is required" >&2; exit 1')
        code, out, _called = self.run_line(boot.LOOK, root=False)
        self.assertEqual(Boot(BOOT), boot.parse(Said(code, out)))
