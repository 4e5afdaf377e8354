# SPDX-License-Identifier: Apache-2.0

"""The agent as a program, and as the one file that is sent to hosts."""

from __future__ import annotations

import ast
import base64
import json
import pathlib
import re
import shutil
import subprocess

import fixtures

from nova_recovery.host import zipapp
from tests import base
from tests.integration.agent import place

AGENT = place.ROOT / 'nova_recovery/host/agent'


class Sources(base.TestCase):
    def test_syntax_is_of_python_3_6(self) -> None:
        for path in AGENT.rglob('*.py'):
            tree = ast.parse(path.read_text(), feature_version=(3, 6))
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom):
                    # annotations came with 3.7
                    self.assertNotEqual('__future__', node.module, path)

    def test_nothing_but_the_standard_library_is_imported(self) -> None:
        done = subprocess.run(
            [
                # no site-packages
                *(place.pythons()[-1], '-I', '-S', '-c'),
                f'import sys; sys.path.insert(0, {str(place.ROOT)!r})\n'
                'import nova_recovery.host.agent.__main__\n'
                'print([n for n in sys.modules if n[:13] == "nova_recovery"'
                ' and "agent" not in n])',
            ],
            capture_output=True,
            text=True,
        )
        self.assertEqual('', done.stderr)
        self.assertEqual(
            ['nova_recovery', 'nova_recovery.host'],
            ast.literal_eval(done.stdout),
        )


class Zipapp(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)

    def test_same_sources_give_the_same_bytes(self) -> None:
        copy = self.folder / 'nova_recovery'
        shutil.copytree(place.ROOT / 'nova_recovery', copy)
        self.assertEqual(zipapp.agent(), zipapp.build(copy))
        (copy / 'host/agent/layout.py').write_text('CHANGED = 1\n')
        self.assertNotEqual(zipapp.agent().name, zipapp.build(copy).name)

    def test_it_fits_on_a_command_line(self) -> None:
        self.assertLess(len(zipapp.agent().packed), 80_000)

    def test_every_python_runs_it(self) -> None:
        path = self.folder / zipapp.agent().name
        path.write_bytes(zipapp.agent().content)
        for python in place.pythons():
            done = subprocess.run(
                [python, '-I', str(path), 'identity'],
                capture_output=True,
                text=True,
            )
            self.assertEqual('', done.stderr, python)
            self.assertEqual(
                'result', json.loads(done.stdout)['event'], python
            )


class Host(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.place = self.useFixture(place.Place())


class Identity(Host):
    def look(self, *words: str) -> dict:
        code, line = self.place.agent(*words, 'identity')
        self.assertEqual((0, 'result'), (code, line['event']))
        return line

    def test_host_says_who_it_is(self) -> None:
        found = self.look()
        self.assertEqual(self.place.machine_id, found['machine_id'])
        self.assertEqual('c1', found['hostname'])
        self.assertEqual(
            (self.place.root / 'boot_id').read_text().strip(), found['boot_id']
        )

    def test_name_in_nova_is_read_as_nova_reads_it(self) -> None:
        for text, name in (
            ('[DEFAULT]\nhost = a\n[x]\nhost = b\n', 'a'),
            ('[DEFAULT]\nhost=a\nhost: "b"\n', 'b'),
            ('[DEFAULT]\n#host = a\n', 'c1'),
            ('', 'c1'),
            # what can't be told is unknown
            ('[DEFAULT]\nhost = $my_ip\n', None),
        ):
            self.place.write('etc/nova/nova.conf', text)
            self.assertEqual(name, self.look()['nova_host'], text)
        self.place.write('etc/nova/nova.conf', '[DEFAULT]\nhost = a\n')
        self.place.write('etc/nova/nova.conf.d/5.conf', '[DEFAULT]\nhost=5\n')
        self.assertEqual('5', self.look()['nova_host'])
        self.assertEqual(
            '/etc/nova/nova.conf.d/5.conf', self.look()['nova_host_from']
        )

    def test_layout_is_told_by_what_lies_there(self) -> None:
        def layout(*words: str) -> dict:
            return self.look(*words)['layout']

        self.assertEqual('custom', layout()['layout'])
        self.place.write('etc/systemd/system/nova-compute.service', '')
        found = layout()
        self.assertEqual('package', found['layout'])
        self.assertEqual(64055, found['numbers']['user libvirt-qemu'])
        # two at once are none
        self.place.write(
            'etc/kolla/nova-compute/nova.conf', '[DEFAULT]\nhost = k1\n'
        )
        found = layout()
        self.assertEqual(
            ('custom', ['kolla', 'package']),
            (found['layout'], found['evidence']),
        )
        found = self.look('--set', 'layout=kolla')
        self.assertEqual('k1', found['nova_host'])
        self.assertEqual(42436, found['layout']['numbers']['user nova'])
        self.assertEqual(42427, found['layout']['numbers']['user qemu'])
        self.assertEqual(42473, found['layout']['numbers']['group libvirt'])

    def test_what_is_shown_wrongly_can_be_set(self) -> None:
        found = self.look(
            *('--set', 'nova_conf=/etc/x.conf /etc/y.conf'),
            *('--set', 'number.user nova=162'),
        )['layout']
        self.assertEqual(['/etc/x.conf', '/etc/y.conf'], found['nova_conf'])
        self.assertEqual(162, found['numbers']['user nova'])
        self.assertEqual(
            ['nova_conf', 'number.user nova'], found['overridden']
        )
        self.assertIn(
            'KEY=VALUE with one of',
            self.place.refused('--set', 'colour=red', 'identity'),
        )


class Answers(Host):
    def marked(self, *words: str) -> tuple[int, list[dict]]:
        done = self.place.run(*place.agent_words(['--answer', 'm4rk', *words]))
        match = re.fullmatch(
            r'\nnova-recovery:m4rk:(\d+):([A-Za-z0-9+/=]*):end\n', done.stdout
        )
        assert match, done
        text = base64.b64decode(match[2]).decode()
        self.assertEqual(done.returncode, int(match[1]))
        return done.returncode, [json.loads(x) for x in text.splitlines()]

    def test_answer_is_one_line_between_marks(self) -> None:
        code, (line,) = self.marked('identity')
        self.assertEqual((0, 'c1'), (code, line['nova_host']))

    def test_wrong_words_are_an_answer_too(self) -> None:
        code, (line,) = self.marked('identitty')
        self.assertEqual((2, 'usage'), (code, line['event']))
        self.assertIn('identitty', line['text'])

    def test_error_that_nobody_expected_is_an_answer_too(self) -> None:
        self.place.write('etc/passwd', 'nova:x:1:1:\n')
        (self.place.root / 'etc/group').unlink()
        (self.place.root / 'etc/group').mkdir()
        code, (line,) = self.marked('accounts', 'show')
        self.assertEqual((1, 'error'), (code, line['event']))

    def test_other_machine_refuses(self) -> None:
        code, (line,) = self.marked('--expect', '0' * 32, 'identity')
        self.assertEqual((3, 'refused'), (code, line['event']))
        self.assertIn('another machine answers', line['text'])
        code, (line,) = self.marked(
            '--expect', self.place.machine_id, 'identity'
        )
        self.assertEqual(0, code)


_SYSTEMCTL = """
units=/var/units
case "$1" in
list-units) cat $units ;;
list-unit-files) [ ! -e /var/files ] || cat /var/files ;;
is-active) grep -q "^$3 loaded active" $units ;;
stop) echo "$@" >> /var/asked
    sed -i "s/^$2 loaded active running/$2 loaded inactive dead/" $units ;;
daemon-reload) [ ! -e /var/no-reload ] || exit 1
    cat /etc/systemd/system/*.d/*.conf 2> /dev/null |
        sed -n s/ConditionPathExists=!//p | sort -u > /var/conditions ;;
start) echo "$@" >> /var/asked
    # one condition for all, as long as there are any
    for path in $(cat /var/conditions); do [ ! -e $path ] || exit 0; done
    sed -i "s/^$2 loaded inactive dead/$2 loaded active running/" $units ;;
esac
"""


class Services(Host):
    """systemd is a script here; a real one is in the beds' tests."""

    STATE = ('--state', '/var/lib/state')

    def setUp(self) -> None:
        super().setUp()
        self.place.program('systemctl', _SYSTEMCTL)
        self.units = self.place.write(
            'var/units',
            ''.join(
                f'{name} loaded {state} text\n'
                for name, state in (
                    ('nova-compute.service', 'active running'),
                    ('nova-serialproxy.service', 'inactive dead'),
                    ('libvirtd.service', 'active running'),
                    ('libvirtd.socket', 'active running'),
                    ('virtlogd.service', 'active running'),
                    ('sshd.service', 'active running'),
                )
            ),
        )
        self.place.systemd = True

    def do(self, *words: str) -> dict:
        code, line = self.place.agent('services', *words)
        self.assertEqual((0, 'result'), (code, line['event']), line)
        return line

    def asked(self) -> list[str]:
        path = self.place.root / 'var/asked'
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def test_what_runs_is_stopped_and_started_as_it_was(self) -> None:
        before = self.units.read_text()
        stopped = [
            'nova-compute.service',
            # first what would start the next one again
            'libvirtd.socket',
            'libvirtd.service',
        ]
        both = ('--group', 'nova', '--group', 'libvirt', *self.STATE)
        self.assertEqual(stopped, self.do('stop', *both)['stopped'])
        self.assertEqual([f'stop {n}' for n in stopped], self.asked())
        # again: nothing to do, and nothing is forgotten
        self.assertEqual(stopped, self.do('stop', *both)['stopped'])
        self.assertEqual([], self.asked())
        self.do('start', *self.STATE)
        self.assertEqual(
            [f'start {n}' for n in reversed(stopped)], self.asked()
        )
        self.assertEqual(before, self.units.read_text())
        # somebody stops one later: it was not ours
        self.place.shell('systemctl stop nova-compute.service')
        self.asked()
        self.do('start', *self.STATE)
        self.assertEqual([], self.asked())

    def test_what_is_installed_and_was_never_enabled_is_off(self) -> None:
        # systemd has not loaded it
        kept = self.units.read_text().splitlines(keepends=True)
        self.units.write_text(''.join(kept[1:]))
        self.place.write(
            'var/files',
            'nova-compute.service disabled enabled\n'
            'nova-serialproxy.service disabled enabled\n'
            'nova-novncproxy@.service disabled enabled\n'
            'nova-metadata.service masked enabled\n',
        )
        rows = self.do('list', '--group', 'nova')['services']
        self.assertEqual(
            [
                ('nova-compute.service', 'inactive (dead)', False),
                ('nova-serialproxy.service', 'inactive (dead)', False),
            ],
            [(row['name'], row['state'], row['runs']) for row in rows],
        )
        self.do('stop', '--hold', *self.STATE)
        self.assertEqual([], self.asked())
        # and stays so, whoever starts it
        self.assertIn('nova-compute.service.d', self.drop_ins())

    def test_reboot_in_between_started_it_again(self) -> None:
        before = self.units.read_text()
        self.do('stop', *self.STATE)
        self.units.write_text(before)
        self.asked()
        self.do('stop', '--group', 'nova', *self.STATE)
        self.assertEqual(['stop nova-compute.service'], self.asked())
        self.do('start', *self.STATE)
        self.assertEqual(before, self.units.read_text())

    def held(self) -> bool:
        return bool(self.do('list', *self.STATE)['held'])

    def drop_ins(self) -> list[str]:
        folder = self.place.root / 'etc/systemd/system'
        return sorted(path.parent.name for path in folder.glob('*.d/*'))

    def test_nobody_starts_them_before_they_are_given_back(self) -> None:
        before = self.units.read_text()
        units = self.place.root / 'etc/systemd/system'
        own = self.place.write(
            'etc/systemd/system/nova-compute.service.d/own.conf', '# mine\n'
        )
        self.do('stop', '--hold', *self.STATE)
        self.assertTrue(self.held())
        names = ['nova-compute.service.d', 'nova-serialproxy.service.d']
        # what is off may be started meanwhile, too
        self.assertEqual([names[0], *names], self.drop_ins())
        (made,) = (units / names[1]).iterdir()
        self.assertIn(
            'services start --state /var/lib/state', made.read_text()
        )
        rows = self.do('list')['services']
        self.assertEqual(
            ['/var/lib/state/held'] * 2 + [''] * 2,
            [row['held'] for row in rows],
        )
        self.place.shell('systemctl start nova-compute.service')
        self.assertNotIn(
            'nova-compute.service loaded active', self.units.read_text()
        )
        self.do('start', *self.STATE)
        self.assertEqual(before, self.units.read_text())
        self.assertFalse(self.held())
        self.assertEqual(names[:1], self.drop_ins())
        self.assertEqual('# mine\n', own.read_text())

    def test_what_another_run_holds_stays_held(self) -> None:
        self.do('stop', '--hold', *self.STATE)
        self.do('stop', '--hold', '--state', '/var/lib/other')
        self.do('start', '--state', '/var/lib/other')
        self.assertEqual(2, len(self.drop_ins()))
        self.assertTrue(self.held())

    def test_killed_on_the_way_back_it_goes_on(self) -> None:
        before = self.units.read_text()
        self.do('stop', '--hold', *self.STATE)
        # released, and nothing more
        (self.place.root / 'var/lib/state/held').unlink()
        self.do('start', *self.STATE)
        self.assertEqual(before, self.units.read_text())
        self.assertEqual([], self.drop_ins())

    def test_where_nothing_could_be_held_nothing_is_stopped(self) -> None:
        self.place.write('etc/systemd/system', 'no directory')
        code, line = self.place.agent(
            'services', 'stop', '--hold', *self.STATE
        )
        self.assertEqual((1, 'error'), (code, line['event']), line)
        self.assertIn('nothing would keep it off at a reboot', line['text'])
        self.assertEqual([], self.asked())

    def test_systemd_has_read_what_holds_them_before_they_are_held(
        self,
    ) -> None:
        fails = self.place.write('var/no-reload', '')
        words = ('services', 'stop', '--hold', *self.STATE)
        code, line = self.place.agent(*words)
        self.assertEqual((1, 'error'), (code, line['event']), line)
        self.assertIn('systemctl daemon-reload', line['text'])
        self.assertFalse(self.held())
        # the drop-ins are there by now
        code, line = self.place.agent(*words)
        self.assertEqual((1, 'error'), (code, line['event']), line)
        self.assertFalse(self.held())
        fails.unlink()
        self.do(*words[1:])
        self.place.shell('systemctl start nova-compute.service')
        self.assertNotIn(
            'nova-compute.service loaded active', self.units.read_text()
        )

    def test_another_unit_is_held_though_the_reload_for_it_failed(
        self,
    ) -> None:
        self.do('stop', '--hold', *self.STATE)
        fails = self.place.write('var/no-reload', '')
        conditions = self.place.root / 'var/conditions'
        conditions.write_text('')
        both = ('--group', 'nova', '--group', 'libvirt')
        words = ('services', 'stop', '--hold', *both, *self.STATE)
        self.assertEqual(1, self.place.agent(*words)[0])
        fails.unlink()
        self.do(*words[1:])
        self.assertNotEqual('', conditions.read_text())

    def test_list_shows_all_that_is_theirs(self) -> None:
        rows = self.do('list', '--unit', 'sshd.service')['services']
        self.assertEqual(
            [
                ('nova', 'nova-compute.service', True),
                ('nova', 'nova-serialproxy.service', False),
                ('named', 'sshd.service', True),
                ('libvirt', 'libvirtd.socket', True),
                ('libvirt', 'libvirtd.service', True),
            ],
            [(row['group'], row['name'], row['runs']) for row in rows],
        )

    def test_unit_that_is_not_there_is_refused(self) -> None:
        self.assertIn(
            'no such unit: nova-x.service',
            self.place.refused(
                'services', 'stop', '--unit', 'nova-x.service', *self.STATE
            ),
        )
        self.assertEqual([], self.asked())


_DOCKER = """
case "$1" in
inspect)
    state=$(cat /var/container-$6 2> /dev/null) ||
        { echo "Error: No such container: $6" >&2; exit 1; }
    case "$5" in
    *Running*) [ "$state" = running ] && echo true || echo false ;;
    *) echo "$state" ;;
    esac ;;
stop) echo "$@" >> /var/asked; echo exited > /var/container-$2 ;;
start) echo "$@" >> /var/asked; echo running > /var/container-$2 ;;
esac
"""


class Containers(Host):
    """kolla of before 2023.1: no unit looks after a container."""

    STATE = ('--state', '/var/lib/state')

    def setUp(self) -> None:
        super().setUp()
        self.place.program('docker', _DOCKER)
        self.place.write('etc/kolla/nova-compute/nova.conf', '')
        for name, state in (
            ('nova_compute', 'running'),
            ('nova_libvirt', 'running'),
            ('nova_ssh', 'exited'),
        ):
            self.place.write(f'var/container-{name}', state + '\n')

    def asked(self) -> list[str]:
        return (self.place.root / 'var/asked').read_text().splitlines()

    def test_container_that_runs_is_stopped_and_started(self) -> None:
        code, line = self.place.agent('services', 'stop', *self.STATE)
        self.assertEqual((0, ['nova_compute']), (code, line['stopped']))
        # that of libvirt's is only stopped by name
        self.assertEqual(['stop nova_compute'], self.asked())
        code, line = self.place.agent('services', 'start', *self.STATE)
        self.assertEqual((0, ['nova_compute']), (code, line['started']))
        self.assertEqual(
            ['stop nova_compute', 'start nova_compute'], self.asked()
        )

    def test_all_of_them_are_listed_as_they_are(self) -> None:
        _code, line = self.place.agent('services', 'list')
        self.assertEqual(
            [
                ('nova', 'nova_compute', True),
                ('nova', 'nova_ssh', False),
                ('libvirt', 'nova_libvirt', True),
            ],
            [
                (row['group'], row['name'], row['runs'])
                for row in line['services']
            ],
        )
        (self.place.root / 'var/container-nova_ssh').unlink()
        _code, line = self.place.agent('services', 'list')
        self.assertNotIn('nova_ssh', str(line))
