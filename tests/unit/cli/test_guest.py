# SPDX-License-Identifier: Apache-2.0

"""Options and configuration of step 5."""

from __future__ import annotations

import argparse
import pathlib

import fixtures

from nova_recovery import conf
from nova_recovery.cli import guest
from nova_recovery.compat import pairs
from nova_recovery.exceptions import UsageError
from nova_recovery.procedures.guests.reboot import Request
from tests.base import TestCase


class TestGuestOptions(TestCase):
    def request(self, *words: str, text: str = '') -> Request:
        path = pathlib.Path(self.useFixture(fixtures.TempDir()).path) / 'conf'
        path.write_text(text)
        parser = argparse.ArgumentParser()
        guest.add_guest_options(parser)
        return guest.guest_request(
            parser.parse_args(words), conf.load(files=[str(path)])
        )

    def test_nothing_is_done_unless_it_is_asked_for(self) -> None:
        request = self.request()
        self.assertFalse(request.ssh)
        self.assertTrue(request.identity)
        self.assertEqual('recovery_reboot', request.keys['reboot'])
        self.assertEqual(600, request.times['patience'])

    def test_the_command_comes_before_the_configuration(self) -> None:
        request = self.request(
            '--guests', 'ssh', '--guest', 'web', '--guest', 'web',
            '--guest-user', 'anna', '--ssh-option', 'Port=1',
            '--guest-address', 'web=root@web.example',
            text='[guests]\nuser=root\nnetwork=mgmt\nssh_option=Port=2\n'
            'ssh_option=LogLevel=ERROR\nconfig_file=/etc/my\n',
        )  # fmt: skip
        self.assertTrue(request.ssh)
        self.assertEqual(('web',), request.servers)
        self.assertEqual({'web': 'root@web.example'}, request.addresses)
        self.assertEqual(('anna', 'mgmt'), (request.user, request.network))
        self.assertEqual(
            ('Port=1', 'Port=2', 'LogLevel=ERROR'), request.options
        )

    def test_what_can_not_be_meant(self) -> None:
        for words, *given in (
            ('add --guests ssh', '--guest', 'web'),
            ('give SERVER=', '--guests', 'ssh', '--guest-address', 'web'),
            ('neither an address', '--guest-address', 'web=-oX=y'),
            ('no name of a user', '--guest-address', 'web=a b@10.0.0.5'),
            ('no name of a user', '--guest-user', '-l'),
            ('your ssh_config', '--ssh-option', 'ProxyCommand=reboot'),
        ):
            error = self.assertRaises(
                UsageError, self.request,
                *[f'{a}={b}' for a, b in pairs(
                    given[::2], given[1::2])],
            )  # fmt: skip
            self.assertIn(words, str(error))

    def test_an_impossible_option_in_the_configuration(self) -> None:
        self.assertRaises(
            UsageError, self.request,
            text='[guests]\nssh_option=LocalCommand=reboot\n',
        )  # fmt: skip
