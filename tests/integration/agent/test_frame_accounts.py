# SPDX-License-Identifier: Apache-2.0

"""Users and groups get other numbers, by the real usermod and groupmod."""

from __future__ import annotations

from tests import base
from tests.integration.agent import place

STATE = ('--state', '/var/lib/state')
#: A chain of users, a ring of groups.
NUMBERS = (
    *('--uid', 'nova:112', '--uid', 'libvirt-qemu:119'),
    *('--gid', 'nova:124', '--gid', 'kvm:120'),
)
_FILES = ('passwd', 'group', 'shadow', 'gshadow')
#: Runs the real one, then kills the agent when it is its turn.
_KILLER = """
echo x >> /var/calls
if [ "$(wc -l < /var/calls)" = "$(cat /var/kill)" ]; then
    %s
    kill -9 $PPID
    exit 1
fi
exec /usr/sbin/%s "$@"
"""


class Accounts(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.place = self.useFixture(place.Place())

    def texts(self) -> dict[str, str]:
        return {
            name: (self.place.root / 'etc' / name).read_text()
            for name in _FILES
        }

    def set(self, *words: str) -> dict:
        code, line = self.place.agent('accounts', 'set', *words, *STATE)
        self.assertEqual((0, 'result'), (code, line['event']), line)
        return line

    def refused(self, *words: str) -> str:
        before = self.texts()
        said = self.place.refused('accounts', 'set', *words, *STATE)
        self.assertEqual(before, self.texts())
        return said


class Change(Accounts):
    def test_chain_and_ring_reach_their_numbers_and_go_back(self) -> None:
        before = self.texts()
        self.assertEqual('after', self.set(*NUMBERS)['stands'])
        self.assertEqual((112, '/var/lib/nova'), self.place.account('nova'))
        self.assertEqual(119, self.place.account('libvirt-qemu')[0])
        self.assertEqual(124, self.place.gid('nova'))
        self.assertEqual(120, self.place.gid('kvm'))
        code, line = self.place.agent('accounts', 'undo', *STATE)
        self.assertEqual((0, 'before'), (code, line['stands']))
        self.assertEqual(before, self.texts())

    def test_files_below_the_home_are_left_alone(self) -> None:
        look = 'stat -c "%u %g %a" /var/lib/nova/f'
        self.place.shell(
            'cd /var/lib; touch nova/f; chown 108:120 nova nova/f'
            '; chmod 6755 nova/f'
        )
        self.set('--uid', 'nova:150', '--gid', 'nova:150')
        self.assertEqual('108 120 6755\n', self.place.shell(look))

    def test_mail_spool_that_usermod_gives_away_comes_back(self) -> None:
        look = 'stat -c %u /var/mail/nova'
        self.place.shell('touch /var/mail/nova; chown 108 /var/mail/nova')
        line = self.set('--uid', 'nova:150')
        self.assertEqual('/var/mail/nova', line['mail'][0]['path'])
        self.assertEqual('150\n', self.place.shell(look))
        self.place.agent('accounts', 'undo', *STATE)
        self.assertEqual('108\n', self.place.shell(look))

    def test_once_more_does_nothing(self) -> None:
        self.set(*NUMBERS)
        self.assertEqual([], self.set(*NUMBERS)['steps'])

    def test_same_on_every_python(self) -> None:
        before = self.texts()
        for python in place.pythons():
            code, line = self.place.agent(
                'accounts', 'set', *NUMBERS, *STATE, python=python
            )
            self.assertEqual((0, 'after'), (code, line['stands']), python)
            code, line = self.place.agent(
                'accounts', 'undo', *STATE, python=python
            )
            self.assertEqual((0, 'before'), (code, line['stands']), python)
            self.assertEqual(before, self.texts())

    def test_lock_of_somebody_else_is_waited_for(self) -> None:
        # shadow's lock: a file with the number of a living process
        done = self.place.run(
            'sh',
            '-c',
            'cd /etc; echo $$ > passwd.lock; (sleep 1; rm passwd.lock) & "$@"',
            'sh',
            *place.agent_words(
                ['accounts', 'set', '--uid', 'nova:150', *STATE]
            ),
        )
        code, line = place.ended(done)
        self.assertEqual((0, 'after'), (code, line['stands']))

    def test_lock_that_stays_refuses(self) -> None:
        done = self.place.run(
            'sh',
            '-c',
            'echo $$ > /etc/passwd.lock; "$@"; code=$?; rm /etc/passwd.lock; '
            'exit $code',
            'sh',
            *place.agent_words(
                ['accounts', 'set', '--uid', 'nova:150', *STATE]
            ),
        )
        code, line = place.ended(done)
        self.assertEqual((3, 'refused'), (code, line['event']))
        self.assertIn('cannot lock /etc/passwd', line['text'])
        # nothing was changed, so other numbers are no contradiction
        self.set('--uid', 'nova:151')


class Killed(Accounts):
    def kill_at(self, call: int, first: str) -> None:
        self.place.write('var/calls', '')
        self.place.write('var/kill', f'{call}')
        for name in ('usermod', 'groupmod'):
            before = f'/usr/sbin/{name} "$@"' if first == 'after' else ':'
            self.place.program(name, _KILLER % (before, name))

    def test_killed_at_any_call_it_goes_on_and_back(self) -> None:
        before = self.texts()
        # before a call is after the one before it
        for call, when in [(1, 'before')] + [
            (n, 'after') for n in range(1, 8)
        ]:
            with self.subTest(call=call, when=when):
                self.kill_at(call, when)
                done = self.place.run(
                    *place.agent_words(['accounts', 'set', *NUMBERS, *STATE])
                )
                self.assertEqual(137, done.returncode, (when, call))
                self.assertIn(
                    self.place.agent('accounts', 'stands', *STATE)[1][
                        'stands'
                    ],
                    ('before', 'half', 'after'),
                )
                # back from the middle, killed there as well, and once more
                self.kill_at(2, when)
                self.place.run(
                    *place.agent_words(['accounts', 'undo', *STATE])
                )
                self.kill_at(0, when)
                code, line = self.place.agent('accounts', 'undo', *STATE)
                self.assertEqual((0, 'before'), (code, line['stands']))
                self.assertEqual(before, self.texts(), (when, call))
                # on from the middle
                self.kill_at(call, when)
                self.place.run(
                    *place.agent_words(['accounts', 'set', *NUMBERS, *STATE])
                )
                self.kill_at(0, when)
                self.assertEqual('after', self.set(*NUMBERS)['stands'])
                self.assertEqual(
                    (112, '/var/lib/nova'), self.place.account('nova')
                )
                self.place.agent('accounts', 'undo', *STATE)

    def test_home_that_is_aside_is_half(self) -> None:
        self.kill_at(1, 'after')
        self.place.run(
            *place.agent_words(
                ['accounts', 'set', '--uid', 'nova:150', *STATE]
            )
        )
        self.assertEqual((150, '/nonexistent'), self.place.account('nova'))
        line = self.place.agent('accounts', 'stands', *STATE)[1]
        self.assertEqual('half', line['stands'])


class Refusals(Accounts):
    def test_number_that_somebody_has(self) -> None:
        self.assertIn(
            'uid 99 is taken: passwd sshd', self.refused('--uid', 'nova:99')
        )
        self.assertIn(
            'gid 121 is taken: group libvirt',
            self.refused('--gid', 'nova:121'),
        )
        # no group has it, and a user's primary group is that number
        self.place.write(
            'etc/passwd',
            self.texts()['passwd'] + 'x:x:700:701::/:/bin/false\n',
        )
        self.assertIn(
            'gid 701 is taken: primary x', self.refused('--gid', 'nova:701')
        )

    def test_number_that_a_process_has(self) -> None:
        done = self.place.run(
            'sh',
            '-c',
            'setpriv --reuid 150 --regid 151 --clear-groups sleep 60 & '
            'sleep 0.2; "$@"',
            'sh',
            *place.agent_words(
                ['accounts', 'set', '--uid', 'nova:150', *STATE]
            ),
        )
        code, line = place.ended(done)
        self.assertEqual(3, code)
        self.assertIn('uid 150 is taken: process sleep', line['text'])

    def test_account_whose_processes_run(self) -> None:
        for kind, words in (
            ('uid 108', ['--uid', 'nova:150']),
            # groupmod itself would not mind
            ('gid 120', ['--gid', 'nova:150']),
        ):
            done = self.place.run(
                'sh',
                '-c',
                'setpriv --reuid 108 --regid 5 --groups 120 sleep 60 & '
                'sleep 0.2; "$@"',
                'sh',
                *place.agent_words(['accounts', 'set', *words, *STATE]),
            )
            code, line = place.ended(done)
            self.assertEqual(3, code, line)
            self.assertIn(f'{kind} is in use by sleep', line['text'])

    def test_two_names_on_one_number(self) -> None:
        self.place.write(
            'etc/passwd',
            self.texts()['passwd'] + 'novax:x:108:120::/:/bin/false\n',
        )
        self.assertIn(
            'user nova shares 108 with novax',
            self.refused('--uid', 'nova:150'),
        )

    def test_name_that_is_not_in_the_files(self) -> None:
        self.assertIn(
            'user glance is not in /etc/passwd',
            self.refused('--uid', 'glance:150'),
        )

    def test_directory_that_does_not_answer(self) -> None:
        # Hesiod is part of the C library, and isn't set up
        self.place.write(
            'etc/nsswitch.conf', 'passwd: files hesiod\ngroup: files\n'
        )
        self.assertIn(
            'NSS: hesiod of passwd does not answer',
            self.refused('--uid', 'nova:150'),
        )

    def test_change_on_top_of_another_change(self) -> None:
        self.set('--uid', 'nova:150')
        self.assertIn(
            'change to other numbers', self.refused('--uid', 'nova:151')
        )

    def test_what_somebody_else_changed_since(self) -> None:
        self.set('--uid', 'nova:150')
        self.place.shell('usermod -d /nonexistent -u 160 nova')
        said = self.place.refused('accounts', 'undo', *STATE)
        self.assertIn('user nova was 108, is 160, shall be 150', said)
        self.assertEqual(160, self.place.account('nova')[0])

    def test_words_that_make_no_sense(self) -> None:
        for words in (
            ('--uid', 'nova'),
            ('--uid', 'nova:0'),
            ('--uid', 'nova:4294967295'),
            ('--uid', 'nova:5', '--uid', 'nova:6'),
            ('--uid', 'nova:150', '--uid', 'libvirt-qemu:150'),
            (),
        ):
            self.refused(*words)


class Show(Accounts):
    def test_who_uses_a_number(self) -> None:
        self.place.write('etc/subuid', 'admin:100000:65536\n')
        self.place.write(
            'etc/tmpfiles.d/x.conf', '# none\nd /run/x 0755 108 - -\n'
        )
        self.place.write('etc/sysusers.d/x.conf', 'u nova 162:163 - /\n')
        _code, line = self.place.agent(
            *('accounts', 'show', '--uid', '100001', '--uid', '64055'),
            *('--uid', '162', '--gid', '163'),
        )

        def kinds(which: str, number: int) -> set[str]:
            return {use['kind'] for use in line['uses'][which][str(number)]}

        self.assertEqual({'subid'}, kinds('uid', 100001))
        self.assertEqual({'dynamic-range'}, kinds('uid', 64055))
        self.assertEqual({'sysusers.d'}, kinds('uid', 162))
        self.assertEqual({'sysusers.d'}, kinds('gid', 163))
        self.assertEqual({'passwd', 'tmpfiles.d'}, kinds('uid', 108))
        self.assertEqual(
            (108, 120, 'passwd'),
            tuple(
                line['users']['nova'][key] for key in ('uid', 'gid', 'source')
            ),
        )
        self.assertEqual(['group libvirt-qemu|qemu'], line['missing'])

    def test_user_that_only_nss_knows(self) -> None:
        # nss_systemd has nobody without any file
        self.place.write(
            'etc/nsswitch.conf', 'passwd: files systemd\ngroup: files\n'
        )
        _code, line = self.place.agent('accounts', 'show', '--uid', '65534')
        self.assertIn(
            {'kind': 'nss', 'who': 'nobody (systemd)'},
            line['uses']['uid']['65534'],
        )
        self.assertIn(
            'user nobody is not in /etc/passwd',
            self.refused('--uid', 'nobody:150'),
        )
