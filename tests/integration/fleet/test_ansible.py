# SPDX-License-Identifier: Apache-2.0

"""Hosts behind a real sshd, reached by the real ansible-playbook.

``NOVA_RECOVERY_TEST_ANSIBLE`` names another ansible-playbook than the one
beside this Python.
"""

from __future__ import annotations

from concurrent import futures
import os
import pathlib
import signal
import subprocess
import sys
import threading
from typing import Any

import fixtures

from nova_recovery.exceptions import ConfigError, OutcomeUnknown
from nova_recovery.fleet.ansible import Transport
from nova_recovery.host import zipapp
from tests import base
from tests.cloud import process
from tests.integration.agent import place
from tests.integration.fleet import reached

#: What an operator may have, none of which may matter.
_HOSTILE = """\
[defaults]
stdout_callback = minimal
no_log = True
strategy = free
gathering = smart
any_errors_fatal = True
forks = 1
timeout = 600
[ssh_connection]
retries = 3
[tags]
skip = agent
"""


class Fleet(base.TestCase):
    count = 2
    agent = True

    def setUp(self) -> None:
        super().setUp()
        self.hosts = self.useFixture(reached.Hosts(self.count, self.agent))
        self.temporary = pathlib.Path(self.useFixture(fixtures.TempDir()).path)

    def enter(self, *args: Any, **options: Any) -> Any:
        fleet = self.hosts.fleet(*args, **options)
        fleet.__enter__()
        self.addCleanup(fleet.__exit__, None, None, None)
        return fleet

    def block(self, name: str) -> pathlib.Path:
        """Have the identity of a host wait; where to write to end it."""
        path = self.hosts.places[name].root / 'etc/nova/nova.conf'
        path.unlink()
        os.mkfifo(path)
        self.addCleanup(self.unblock, path)
        return path

    @staticmethod
    def unblock(path: pathlib.Path, text: str = '') -> bool:
        """End the wait, where one waits."""
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return False
        os.write(descriptor, text.encode())
        os.close(descriptor)
        return True


class First(Fleet):
    agent = False

    def test_agent_is_sent_once_and_answers_for_its_host(self) -> None:
        fleet = self.enter()
        found = fleet.identify(['c1', 'c2'])
        self.assertEqual(
            {'c1': 'done', 'c2': 'done'},
            {host: one.state for host, one in found.items()},
            found,
        )
        for name, host in self.hosts.places.items():
            self.assertEqual(host.machine_id, fleet.identity(name).machine_id)
            agents = host.root / 'var/lib/nova-recovery'
            self.assertEqual(
                [zipapp.agent().name], [p.name for p in agents.iterdir()]
            )
        # without, then with it; from now on one command a call
        self.assertEqual(4, len(self.hosts.entered()))
        answer = fleet.run('c1', 'accounts show', {'uid': [5, 6]})
        self.assertEqual(
            {'5', '6', '108', '112'}, set(answer.need()['uses']['uid'])
        )
        self.assertEqual(5, len(self.hosts.entered()))


class Calls(Fleet):
    def test_host_that_is_not_there_holds_up_no_other(self) -> None:
        hosts: dict[str, Any] = {
            name: {'ansible_host': address}
            for name, address in self.hosts.addresses.items()
        }
        hosts['c9'] = {'ansible_host': '127.0.9.9', 'ansible_port': 9}
        self.hosts.inventory(hosts)
        found = self.enter().identify(['c1', 'c9', 'c2'])
        self.assertEqual(
            ('doubt', 'unreachable'), (found['c9'].state, found['c9'].reason)
        )
        self.assertEqual('done', found['c1'].state, found)
        self.assertEqual('done', found['c2'].state, found)
        self.assertRaises(OutcomeUnknown, found['c9'].need)

    def test_only_exact_names_are_sent_to(self) -> None:
        self.hosts.inventory(
            {n: {'ansible_host': a} for n, a in self.hosts.addresses.items()},
            {'c5': ['c1', 'c2']},
        )
        found = self.enter().identify(['c*', 'all', 'c5', 'c7', 'c1:c2'])
        self.assertEqual({'refused'}, {one.state for one in found.values()})
        self.assertEqual([], self.hosts.entered())

    def test_inventory_may_call_a_host_otherwise(self) -> None:
        addresses = self.hosts.addresses
        self.hosts.inventory(
            {
                'rack1-a': {
                    'ansible_host': addresses['c1'],
                    'nova_recovery_host': 'c1',
                    'nova_recovery_set': ['instances=/srv/{{ nova }}'],
                },
                'rack1-b': {'ansible_host': addresses['c2']},
            }
        )
        fleet = self.enter({'c2': 'rack1-b'})
        found = fleet.identify(['c1', 'c2'])
        self.assertEqual('done', found['c1'].state, found)
        self.assertEqual('done', found['c2'].state, found)
        self.assertEqual('rack1-b', fleet.identity('c2').name)

    def test_another_nova_host_than_mapped_is_refused(self) -> None:
        found = self.enter({'c1': 'c2'}).identify(['c1'])['c1']
        self.assertEqual('refused', found.state)
        self.assertIn(
            'c2 is the nova host c2 (/etc/nova/nova.conf), not c1',
            found.detail,
        )

    def test_two_names_with_one_machine_id_are_both_refused(self) -> None:
        clone = self.hosts.places['c1'].machine_id
        self.hosts.places['c2'].write('etc/machine-id', clone + '\n')
        fleet = self.enter()
        self.assertEqual('done', fleet.run('c1', 'status r1').state)
        for found in (fleet.run('c2', 'status r1'), fleet.run('c1', 'status')):
            self.assertEqual('refused', found.state)
            self.assertIn('are one machine', found.detail)

    def test_machine_that_was_exchanged_is_refused(self) -> None:
        fleet = self.enter()
        fleet.identify(['c1'])
        self.hosts.places['c1'].write('etc/machine-id', 'f' * 32 + '\n')
        found = fleet.run('c1', 'accounts show')
        self.assertEqual('refused', found.state)
        self.assertIn('another machine answers', found.detail)

    def test_noise_of_the_host_does_not_matter(self) -> None:
        self.hosts.gate.write('etc/noise', '** all is logged {{ here }} **\n')
        found = self.enter().identify(['c1'])['c1']
        self.assertEqual('done', found.state, found)

    def test_configuration_of_the_operator_changes_no_play(self) -> None:
        (self.temporary / 'ansible.cfg').write_text(_HOSTILE)
        fleet = self.enter(directory=str(self.temporary))
        found = fleet.identify(['c1', 'c2'])
        self.assertEqual(
            {'done'}, {one.state for one in found.values()}, found
        )

    def test_run_outlives_the_call_and_is_asked_about(self) -> None:
        fleet = self.enter()
        fleet.identify(['c1'])
        pipe = self.block('c1')
        found = fleet.start('c1', 'r1', 'identity')
        self.assertEqual('running', found.need()['state'])
        self.assertEqual('running', fleet.status('c1', 'r1').need()['state'])
        self.assertTrue(self.unblock(pipe, '[DEFAULT]\nhost = c1\n'))

        def done() -> Any:
            found = fleet.status('c1', 'r1').need()
            return found if found['state'] == 'done' else None

        ended: Any = process.wait_for(done, 30, 'the run')
        self.assertEqual('c1', ended['end']['nova_host'])


class Trouble(Fleet):
    def test_what_takes_too_long_is_in_doubt_and_goes_on(self) -> None:
        fleet = self.enter()
        fleet.identify(['c1', 'c2'])
        pipe = self.block('c1')
        # enough for Ansible to get there on a busy machine
        found = fleet.run('c1', 'identity', seconds=10)
        self.assertEqual(('doubt', 'timed out'), (found.state, found.reason))
        # it is at work there all the same
        self.assertTrue(self.unblock(pipe))

    def test_connection_that_breaks_is_not_tried_again(self) -> None:
        fleet = self.enter()
        fleet.identify(['c1'])
        before = len(self.hosts.entered())
        pipe = self.block('c1')
        with futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(fleet.run, 'c1', 'identity')
            process.wait_for(
                lambda: len(self.hosts.entered()) > before, 30, 'the call'
            )
            # ssh ends with 255, upon which Ansible would repeat it
            self.hosts.server.stop()
            found = asked.result()
        self.assertEqual(('doubt', 'unreachable'), (found.state, found.reason))
        self.assertEqual(before + 1, len(self.hosts.entered()))
        self.unblock(pipe)

    def test_cancelled_play_is_in_doubt(self) -> None:
        fleet = self.hosts.fleet()
        pipe = self.block('c1')
        with futures.ThreadPoolExecutor(1) as pool:
            with fleet:
                asked = pool.submit(fleet.identify, ['c1'])
                process.wait_for(lambda: self.hosts.entered(), 30, 'the call')
            found = asked.result()['c1']
        self.assertEqual(('doubt', 'cancelled'), (found.state, found.reason))
        self.unblock(pipe)

    def test_killed_controller_goes_on_to_no_other_host(self) -> None:
        pipe = self.block('c1')
        before = ansibles()
        script = (
            'import sys\n'
            'from nova_recovery import fleet\n'
            'from nova_recovery.fleet.ansible import Transport\n'
            'from nova_recovery.fleet.fleet import Fleet\n'
            'from tests.integration.fleet import reached\n'
            'conf = reached.options(inventory=[sys.argv[1]], forks=1,'
            ' ansible_playbook=sys.argv[2] or None)\n'
            'with Fleet(Transport(conf), {}, conf.fleet.home, 60) as fleet:\n'
            '    fleet.identify(["c1", "c2"])\n'
        )
        controller = subprocess.Popen(
            [
                *(sys.executable, '-c', script, str(self.hosts.path)),
                os.environ.get('NOVA_RECOVERY_TEST_ANSIBLE', ''),
            ],
            env={
                **os.environ,
                'PYTHONPATH': str(place.ROOT),
                'TMPDIR': str(self.temporary),
            },
        )
        process.wait_for(lambda: self.hosts.entered(), 30, 'the call')
        controller.send_signal(signal.SIGKILL)
        controller.wait()
        process.wait_for(
            # the host itself comes to its end, whoever waits for it
            lambda: self.unblock(pipe) or not ansibles() - before,
            30,
            'the end of what was begun',
        )
        process.wait_for(
            lambda: not ansibles() - before, 30, 'the end of Ansible'
        )
        self.assertEqual(['127.0.1.1'], self.hosts.entered())
        self.assertEqual([], list(self.temporary.rglob('*.json')))

    def test_inventory_that_is_not_there_is_an_error(self) -> None:
        self.hosts.path.unlink()
        error = self.assertRaises(ConfigError, self.enter().identify, ['c1'])
        self.assertIn('inventory', str(error))


class Missing(base.TestCase):
    def test_how_to_install_ansible_is_said(self) -> None:
        self.useFixture(fixtures.EnvironmentVariable('PATH', '/nowhere'))
        conf = reached.options(ansible_playbook='/nowhere/ansible-playbook')
        error = self.assertRaises(ConfigError, Transport, conf)
        self.assertIn("pip install 'nova-recovery[ansible]'", str(error))
        self.assertIn('apt install ansible-core', str(error))


def ansibles() -> set[int]:
    """The processes of ansible-playbook on this machine."""
    found = set()
    for entry in pathlib.Path('/proc').iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / 'cmdline').read_bytes()
                stat = (entry / 'stat').read_text()
            except OSError:
                continue
            # a zombie has ended
            if b'ansible-playbook' in words and ') Z ' not in stat:
                found.add(int(entry.name))
    return found


class Hundred(Fleet):
    count = 100

    def test_calls_of_a_hundred_workers_are_one_play(self) -> None:
        together = threading.Barrier(self.count)

        def work(name: str) -> Any:
            together.wait()
            return fleet.run(name, 'services list')

        fleet = self.enter(forks=50)
        with futures.ThreadPoolExecutor(self.count) as pool:
            found = list(pool.map(work, self.hosts.places))
        self.assertEqual({'done'}, {one.state for one in found}, found)
        # who it is, and what was asked
        self.assertEqual(200, len(self.hosts.entered()))
