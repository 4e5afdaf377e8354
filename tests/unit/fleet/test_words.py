# SPDX-License-Identifier: Apache-2.0

"""What Ansible says, in one line that leads on."""

from __future__ import annotations

from nova_recovery.fleet.ansible import transport, words
from tests.base import TestCase


class TestHosts(TestCase):
    def test_each_tells_what_to_do(self) -> None:
        ssh = 'Failed to connect to the host via ssh: '
        for text, told in (
            (f'{ssh}connect to host c1 port 22: Connection refused', 'sshd'),
            (f'{ssh}ssh: Could not resolve hostname c1', 'ansible_host'),
            (f'{ssh}root@c1: Permission denied (publickey).', 'ansible_user'),
            (f'{ssh}Host key verification failed.', 'host key'),
            ('Missing sudo password', '[fleet] become_password_file'),
            ('sudo: a password is required', '[fleet] become_password_file'),
            (
                'ERROR! Attempting to decrypt but no vault secrets found',
                '[fleet] vault_password_file',
            ),
        ):  # fmt: skip
            self.assertIn(told, words.plain(text))

    def test_what_a_script_printed_is_no_word_of_ssh(self) -> None:
        for event, told in (
            ('failed', 'Permission denied"'),
            ('unreachable', 'refuses the login'),
        ):
            said = transport._said(
                {
                    'event': event,
                    'timed_out': False,
                    'words': 'non-zero return code ',
                    'text': f'{"x" * 300} cannot create /root/a: '
                    'Permission denied',
                }
            )
            self.assertIn(told, said.words)
        self.assertIn(
            'become_password_file', words.failed('Missing sudo password')
        )

    def test_what_failed_says_why_last(self) -> None:
        told = words.failed(f'first {"x" * 300} no space left')
        self.assertIn('no space left"', told)
        self.assertNotIn('first', told)

    def test_by_hand_shows_no_password(self) -> None:
        self.assertEqual(
            'ansible-inventory -i x --graph',
            words.by_hand(['ansible-inventory', '-i', 'x']),
        )

    def test_what_is_not_known_is_quoted_as_ansibles(self) -> None:
        self.assertEqual(
            'Ansible says "no such thing"',
            words.plain('[ERROR]: no\n such  thing'),
        )
        self.assertEqual('', words.plain(' [WARNING]: None '))
