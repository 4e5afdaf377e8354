# SPDX-License-Identifier: Apache-2.0

"""What is given to ssh, and what a hanging or talking one can do to us."""

from __future__ import annotations

import os
import pathlib
import time

import fixtures

from nova_recovery.exceptions import ConfigError, UsageError
from nova_recovery.guests import ssh
from nova_recovery.guests.ssh import Said, Way
from tests.base import TestCase
from tests.unit.engine import world

#: Says what it was given, one word a line; with -G what would be done.
TELLING = """\
for word; do
    if [ "$word" = -G ]; then echo "connecttimeout none"; exit 0; fi
done
printf '%s\n' "$@"
"""


class FakeSsh(fixtures.Fixture):
    """A program called ssh that does what a shell script says."""

    def __init__(self, script: str) -> None:
        self._script = script

    def _setUp(self) -> None:
        self.path = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        program = self.path / 'ssh'
        program.write_text(f'#!/bin/sh\n{self._script}')
        program.chmod(0o755)
        path = f'{self.path}:{os.environ["PATH"]}'
        self.useFixture(fixtures.EnvironmentVariable('PATH', path))


class TestWords(TestCase):
    def refused(self, words: str, *args: object) -> None:
        error = self.assertRaises(UsageError, ssh.check, *args)
        self.assertIn(words, str(error))
        self.assertTrue(str(error).isprintable(), str(error))

    def test_addresses(self) -> None:
        for address in (
            '10.0.0.5', '2001:db8::5', 'fe80::1%br-ex', 'web', 'web.example',
            '_gateway', 'a-b',
        ):  # fmt: skip
            ssh.check(address)

    def test_what_ssh_would_take_for_an_option_is_refused(self) -> None:
        for address in (
            '-oProxyCommand=reboot', '--', '-', '', 'web -v', 'web;reboot',
            '$(reboot)', '`reboot`', 'a|b', 'web\n', 'web\x1b[2J', 'ssh://web',
            'root@web', '%h', 'fe80::1%$(x)', "a'b", 'wéb', '.',
        ):  # fmt: skip
            self.refused('neither an address', address)

    def test_users(self) -> None:
        for user in ('root', 'debian', 'ec2-user', 'anna@example.org', '_a'):
            ssh.check('web', user)
        for user in ('-l', '', 'a b', 'a;b', 'a\n', '$(x)', 'root:x', 'a%h'):
            self.refused('no name of a user', 'web', user)

    def test_options(self) -> None:
        ssh.check_options((
            'Port=2222', 'proxyjump=anna@jump1:22,[2001:db8::1]:2222',
            'IdentityFile=~/.ssh/my key', 'StrictHostKeyChecking=accept-new',
        ))  # fmt: skip
        for words, option in (
            ('give NAME=VALUE', 'Port'),
            ('give NAME=VALUE', 'Port='),
            ('give NAME=VALUE', '-oPort=1'),
            ('give NAME=VALUE', 'User=a\nProxyCommand=b'),
            ('into your ssh_config', 'ProxyCommand=reboot'),
            ('into your ssh_config', 'PROXYCOMMAND=reboot'),
            ('into your ssh_config', 'LocalCommand=reboot'),
            ('into your ssh_config', 'KnownHostsCommand=reboot'),
            ('into your ssh_config', 'PKCS11Provider=/tmp/a.so'),
            ('into your ssh_config', 'ForwardAgent=yes'),
            ('into your ssh_config', 'Include=/tmp/a'),
            ('host keys are checked', 'StrictHostKeyChecking=no'),
            ('host keys are checked', 'stricthostkeychecking= OFF'),
            ('no jump host', 'ProxyJump=-oProxyCommand=x'),
            ('no jump host', 'ProxyJump=a$(reboot)'),
            ('no jump host', 'ProxyJump=a b'),
        ):
            self.refused(words, 'web', None, [option])

    def test_a_plan_that_was_tampered_with_is_refused_too(self) -> None:
        for way in (
            Way('-oProxyCommand=reboot'),
            Way('web', '-oProxyCommand=reboot'),
            Way('web', options=('ProxyCommand=reboot',)),
        ):
            self.assertRaises(UsageError, ssh.run, way, 'true')


class TestCommand(TestCase):
    def test_only_what_ssh_config_does_not_say_is_added(self) -> None:
        way = Way('web', 'anna', ('Port=2222',), '/etc/my', connect=7)
        words = ssh.command(way, 'true', {})
        for option in (
            'BatchMode=yes', 'ForwardAgent=no', 'ControlPath=none',
            'ConnectTimeout=7', 'ServerAliveInterval=5',
            'ServerAliveCountMax=3', 'Port=2222',
        ):  # fmt: skip
            self.assertEqual('-o', words[words.index(option) - 1])
        self.assertEqual(['ssh', '-F', '/etc/my'], words[:3])
        self.assertEqual('anna', words[words.index('-l') + 1])
        self.assertEqual(['--', 'web', 'true'], words[-3:])
        self.assertNotIn('StrictHostKeyChecking', ' '.join(words))
        known = {'connecttimeout': '30', 'serveraliveinterval': '10'}
        text = ' '.join(ssh.command(way, 'true', known))
        self.assertNotIn('ConnectTimeout', text)
        self.assertNotIn('ServerAlive', text)

    def test_the_operators_own_ssh_config_is_left_to_ssh(self) -> None:
        words = ssh.command(Way('web'), 'true', {})
        self.assertNotIn('-F', words)
        self.assertNotIn('-l', words)
        self.assertNotIn('-i', words)


class TestRun(TestCase):
    def test_words_arrive_as_they_are(self) -> None:
        self.useFixture(FakeSsh(TELLING))
        line = 'sh -c \'echo "$(id -u)"; x\''
        said = ssh.run(Way('web'), line)
        self.assertEqual(0, said.code)
        self.assertEqual(['--', 'web', line], said.out.splitlines()[-3:])

    def test_one_that_hangs_is_killed_with_all_that_it_started(self) -> None:
        fake = self.useFixture(
            FakeSsh('sleep 60 & echo $! > "${0%ssh}pid"; sleep 60\n')
        )
        began = time.monotonic()
        said = ssh._run(['ssh'], 1)
        self.assertLess(time.monotonic() - began, 10)
        self.assertIsNone(said.code)
        self.assertIn('did not end in time', said.problem)
        pid = int((fake.path / 'pid').read_text())
        world.poll(lambda: not _alive(pid))

    def test_a_shared_connection_that_stays_open_is_not_waited_for(
        self,
    ) -> None:
        self.useFixture(FakeSsh('sleep 20 & echo $!; exit 3\n'))
        began = time.monotonic()
        said = ssh._run(['ssh'], 15)
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual(3, said.code)
        os.kill(int(said.out), 9)

    def test_output_without_end_is_not_kept(self) -> None:
        self.useFixture(FakeSsh('head -c 5000000 /dev/zero; echo end >&2\n'))
        said = ssh._run(['ssh'], 30)
        self.assertEqual((0, 'end\n'), (said.code, said.err))
        self.assertEqual(ssh.KEPT, len(said.out))

    def test_nothing_to_read_from_the_terminal(self) -> None:
        self.useFixture(FakeSsh('cat; readlink /proc/self/fd/0\n'))
        self.assertEqual('/dev/null\n', ssh._run(['ssh'], 30).out)

    def test_without_ssh(self) -> None:
        empty = self.useFixture(fixtures.TempDir()).path
        self.useFixture(fixtures.EnvironmentVariable('PATH', empty))
        error = self.assertRaises(ConfigError, ssh.run, Way('web'), 'true')
        self.assertIn('install the OpenSSH client', str(error))


class TestSaid(TestCase):
    def test_the_last_complaint_and_what_helps(self) -> None:
        said = Said(
            ssh.FAILED, err='Some motd\r\nHost key verification failed.\r\n'
        )
        self.assertIn('Host key verification failed.: its ', said.problem)
        self.assertTrue(said.hopeless)

    def test_of_a_jump_host_it_is_what_the_jump_host_said(self) -> None:
        echo = 'Connection closed by UNKNOWN port 65535\r\n'
        said = Said(
            ssh.FAILED,
            err='ssh: Could not resolve hostname c1: Name or service not '
            f'known\r\n{echo}',
        )
        self.assertTrue(said.problem.startswith('ssh: Could not resolve'))
        self.assertEqual(echo.strip(), Said(ssh.FAILED, err=echo).problem)

    def test_a_guest_can_not_paint_the_terminal(self) -> None:
        said = Said(1, err='\x1b[2Jdone\u202e\n')
        self.assertTrue(said.problem.isprintable(), said.problem)

    def test_a_complaint_of_the_command_is_none_of_ssh(self) -> None:
        self.assertFalse(Said(1, err='Permission denied').hopeless)
        refused = Said(ssh.FAILED, err='Connection refused')
        self.assertFalse(refused.hopeless)


def _alive(pid: int) -> bool:
    try:
        state = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except FileNotFoundError:
        return False
    return state.rpartition(')')[2].split()[0] != 'Z'
