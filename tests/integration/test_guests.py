# SPDX-License-Identifier: Apache-2.0

"""Guests rebooted from inside: real ones, by the real ssh."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import contextlib
import io
import json
import os
import pathlib
import signal
import subprocess
import threading
import time
import types
from typing import Any, ClassVar

import fixtures

from nova_recovery.changes.guest_reboot import RebootGuest
from nova_recovery.engine.journal import Journal
from nova_recovery.engine.plan import Plan, Step
from nova_recovery.engine.progress import PlainReporter
from nova_recovery.engine.runner import Runner
from nova_recovery.guests import ssh
from nova_recovery.guests.ssh import Way
from nova_recovery.procedures.guests import reboot
from nova_recovery.procedures.guests.reboot import Request
from nova_recovery.shell import Shell
from tests.base import TestCase
from tests.guests import guest as guest_module
from tests.guests.guest import Guest
from tests.guests.image import build, Image
from tests.integration import dbserver, killing
from tests.integration.dbserver import Rows
from tests.integration.killing import Watch
from tests.unit.cli import programs
from tests.unit.cli.programs import Ended
from tests.unit.engine import world

TIMES = {'connect': 3, 'answer': 10, 'reach': 20, 'settle': 6, 'patience': 60}
KIND = RebootGuest.kind
NOVA = 'guests_nova'
#: ssh_config leads from here to a port of loopback.
FLOATING = '203.0.113.5'
NETWORK_INFO = [
    {
        'network': {
            'id': '9a1f6d5e-0000-4c1f-9d2b-1b8b1c1f9a11',
            'label': 'demo-net',
            'subnets': [
                {
                    'ips': [
                        {
                            'address': '10.0.2.15',
                            'floating_ips': [{'address': FLOATING}],
                        }
                    ]
                }
            ],
        }
    }
]


class TestGuests(TestCase):
    """One guest ends its sessions before it goes, the other vanishes."""

    commands: ClassVar[Mapping[str, Any]] = {}
    home: ClassVar[pathlib.Path]
    image: ClassVar[Image]
    polite: ClassVar[Guest]
    vanishing: ClassVar[Guest]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.image = build()
        home = fixtures.TempDir()
        home.setUp()
        cls.addClassCleanup(home.cleanUp)
        cls.home = pathlib.Path(home.path)
        cls.polite = Guest('polite', cls.image, cls.home)
        cls.vanishing = Guest('vanishing', cls.image, cls.home, vanishes=True)
        for one in (cls.polite, cls.vanishing):
            cls.addClassCleanup(one.stop)
            one.start()
        cls.write_ssh_config()
        for one in (cls.polite, cls.vanishing):
            one.wait_booted()

    @classmethod
    def write_ssh_config(cls) -> None:
        """What an operator has: aliases, a jump host, keys, known_hosts."""
        subprocess.run(
            ['ssh-keygen', '-q', '-t', 'ed25519', '-N', '',
             '-f', str(cls.home / 'other')], check=True,
        )  # fmt: skip
        here = ['127.0.0.1', guest_module.HOST]
        known = [
            f'[{address}]:{one.port} {cls.image.host_key}\n'
            for one in (cls.polite, cls.vanishing)
            for address in here
        ]
        (cls.home / 'known_hosts').write_text(''.join(known))
        other = (cls.home / 'other.pub').read_text().split()[:2]
        (cls.home / 'changed').write_text(
            f'[127.0.0.1]:{cls.polite.port} {" ".join(other)}\n'
        )
        (cls.home / 'config').write_text(f"""
Host polite never-seen changed-key wrong-key {FLOATING}
  HostName 127.0.0.1
  Port {cls.polite.port}
Host vanishing
  HostName 127.0.0.1
  Port {cls.vanishing.port}
Host behind
  HostName {guest_module.HOST}
  Port {cls.vanishing.port}
  ProxyJump polite
Host never-seen
  UserKnownHostsFile {cls.home}/none
Host changed-key
  UserKnownHostsFile {cls.home}/changed
Host wrong-key
  IdentityFile {cls.home}/other
Host * !wrong-key
  IdentityFile {cls.image.key}
Host *
  User root
  IdentitiesOnly yes
  UserKnownHostsFile {cls.home}/known_hosts
  GlobalKnownHostsFile /dev/null
  ServerAliveInterval 1
  ServerAliveCountMax 3
""")

    def setUp(self) -> None:
        super().setUp()
        self.directory = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.url = f'sqlite:///{self.directory / "journal.sqlite"}'
        self.before = {
            one.name: (one.boots(), one.asked())
            for one in (self.polite, self.vanishing)
        }

    # what a planner and a command do

    def create(
        self,
        addresses: Mapping[Guest, str],
        uuid: str | None = None,
        **times: int,
    ) -> str:
        """A run that reboots guests at these addresses; its id."""
        servers = [
            types.SimpleNamespace(
                uuid=uuid or one.uuid, name=one.name, cell='cell1',
                host='host1', project='demo', metadata={},
            )
            for one in addresses
        ]  # fmt: skip
        request = Request(
            ssh=True,
            servers=tuple(server.name for server in servers),
            addresses={one.name: at for one, at in addresses.items()},
            times={**TIMES, **times},
        )
        chosen = reboot.choose(servers, request)
        self.assertEqual({}, chosen.left)
        step = Step(reboot.STEP, reboot.TITLE, chosen.items)
        return killing.create_run(
            self.url, Plan('test', 'reboot guests', {}, (step,))
        )

    def cloud(self) -> Any:
        """No API is asked, but whoever carries it out has his own words."""
        guests = types.SimpleNamespace(config_file=str(self.home / 'config'))
        return types.SimpleNamespace(conf=types.SimpleNamespace(guests=guests))

    def carry_out(self, run_id: str, watch: Watch | None = None) -> int:
        """Carry the run out, or go on with it; the exit code."""
        kind = watch.journal_class() if watch else Journal
        with contextlib.closing(kind.open(self.url)) as journal:
            if watch:
                watch.learn(journal, run_id)
            return (
                Runner(
                    journal,
                    {KIND: RebootGuest()},
                    self.cloud(),
                    reporter=PlainReporter(io.StringIO()),
                    patience=20,
                )
                .carry_out(run_id)
                .exit_code
            )

    def process(self, run_id: str, watch: Watch | None = None) -> int:
        """As carry_out, in a process of its own, whose pid is returned."""
        return world.start(lambda: self.carry_out(run_id, watch))

    def items(self, run_id: str) -> dict[str, tuple[str, str]]:
        """Label -> state and detail."""
        with contextlib.closing(Journal.open(self.url)) as j:
            return {
                item.label: (item.state, item.detail)
                for item in j.items(run_id)
            }

    def assert_rebooted_once(self, run_id: str, *rebooted: Guest) -> None:
        """By the journal, and by what the guests' consoles show."""
        found = self.items(run_id)
        for one in rebooted:
            before, asked_before = self.before[one.name]
            boots = one.boots()
            self.assertEqual(len(before) + 1, len(boots))
            self.assertEqual(asked_before + 1, one.asked())
            state, detail = found[one.name]
            self.assertEqual('done', state, detail)
            self.assertIn(f'{before[-1]} -> {boots[-1]}', detail)
            self.assertNotEqual(before[-1], boots[-1])

    def assert_not_asked(self, *left: Guest) -> None:
        for one in left:
            now = (one.boots(), one.asked())
            self.assertEqual(self.before[one.name], now)

    def when_asked(
        self, one: Guest, act: Callable[[], Any]
    ) -> threading.Thread:
        """Do something as soon as the guest was asked to reboot."""
        asked = self.before[one.name][1]

        def wait() -> None:
            world.poll(lambda: one.asked() > asked, 60)
            act()

        thread = threading.Thread(target=wait)
        thread.start()
        self.addCleanup(thread.join)
        return thread

    def test_openssh_tells_what_the_operator_has_set(self) -> None:
        way = Way('polite', config_file=str(self.home / 'config'))
        known = ssh.configured(way)
        self.assertEqual(str(self.polite.port), known['port'])
        words = ' '.join(ssh.command(way, 'true', known))
        self.assertNotIn('ServerAlive', words)
        self.assertIn('ConnectTimeout=10', words)
        bare = ssh.configured(Way('polite', config_file='/dev/null'))
        self.assertEqual('0', bare['serveraliveinterval'])

    # how it goes

    def test_each_guest_reboots_once_whether_it_says_goodbye_or_not(
        self,
    ) -> None:
        run_id = self.create(
            {self.polite: 'polite', self.vanishing: 'vanishing'}
        )
        self.assertEqual(0, self.carry_out(run_id))
        self.assert_rebooted_once(run_id, self.polite, self.vanishing)
        self.assertEqual(0, self.carry_out(run_id))
        self.assert_rebooted_once(run_id, self.polite, self.vanishing)

    def test_the_jump_host_of_the_ssh_config_is_used(self) -> None:
        run_id = self.create({self.vanishing: 'behind'})
        self.assertEqual(0, self.carry_out(run_id))
        self.assert_rebooted_once(run_id, self.vanishing)
        self.assert_not_asked(self.polite)

    def test_nothing_is_sent_to_whom_is_not_proved_to_be_the_server(
        self,
    ) -> None:
        for address, words in (
            ('never-seen', 'Host key verification failed'),
            ('changed-key', 'Host key verification failed'),
            ('wrong-key', 'Permission denied'),
        ):
            run_id = self.create({self.polite: address})
            self.assertEqual(4, self.carry_out(run_id))
            state, detail = self.items(run_id)['polite']
            self.assertEqual('failed', state)
            self.assertIn(words, detail)
            self.assertIn('nothing was sent', detail)
        run_id = self.create({self.polite: 'polite'}, self.vanishing.uuid)
        self.assertEqual(4, self.carry_out(run_id))
        state, detail = self.items(run_id)['polite']
        self.assertEqual('conflict', state)
        self.assertIn(f'another machine: its UUID is {self.polite.uuid}',
                      detail)  # fmt: skip
        self.assertFalse((self.home / 'none').exists(), 'a key was learnt')
        self.assert_not_asked(self.polite)

    def test_a_guest_that_never_answers_is_given_up(self) -> None:
        self.vanishing.freeze()
        self.addCleanup(self.vanishing.thaw)
        run_id = self.create({self.vanishing: 'vanishing'}, reach=2)
        began = time.monotonic()
        self.assertEqual(4, self.carry_out(run_id))
        self.assertLess(time.monotonic() - began, 30)
        state, detail = self.items(run_id)['vanishing']
        self.assertEqual('failed', state)
        self.assertIn('nothing was sent: vanishing: ', detail)
        self.assert_not_asked(self.vanishing)

    def test_a_guest_that_does_not_return_is_in_doubt_until_it_does(
        self,
    ) -> None:
        """It stands still with the session open, in the middle of it."""
        run_id = self.create({self.vanishing: 'vanishing'}, patience=8)
        self.addCleanup(self.vanishing.thaw)
        frozen = self.when_asked(self.vanishing, self.vanishing.freeze)
        began = time.monotonic()
        self.assertEqual(4, self.carry_out(run_id))
        self.assertLess(time.monotonic() - began, 60)
        frozen.join()
        state, detail = self.items(run_id)['vanishing']
        self.assertEqual('doubt', state)
        self.assertIn('did not come back within 8 s', detail)
        self.vanishing.thaw()
        self.vanishing.wait_booted(len(self.before['vanishing'][0]) + 1)
        self.assertEqual(0, self.carry_out(run_id))
        self.assert_rebooted_once(run_id, self.vanishing)

    # the command of its own

    def command(self, *words: str) -> Ended:
        """A cloud that is one database, with the polite guest's server."""
        dbserver.load(NOVA, 'nova34-nova')
        rows = Rows(NOVA)
        rows.add_server(self.polite.uuid, 'np-rcc54', 'at3-ui02')
        rows.add(
            'instance_info_caches',
            instance_uuid=self.polite.uuid,
            network_info=json.dumps(NETWORK_INFO),
            deleted=0,
        )
        rows.add(
            'instance_metadata',
            instance_uuid=self.polite.uuid,
            key='recovery_user',
            value='root',
            deleted=0,
        )
        rows.close()
        (self.directory / 'nova.conf').write_text('[DEFAULT]\n')
        conf_file = self.directory / 'nova-recovery.conf'
        conf_file.write_text(
            f'[DEFAULT]\nnova_config_file = {self.directory}/nova.conf\n'
            f'[cells]\nconnection = cell1={dbserver.shared().url(NOVA)}\n'
            f'[journal]\nconnection = {self.url}\n'
            f'[guests]\nconfig_file = {self.home}/config\n'
            'connect_timeout = 3\n'
        )
        return programs.run(
            self, Shell, '',
            [*words, '--recovery-config-file', str(conf_file)],
        )  # fmt: skip

    def test_by_hand(self) -> None:
        ended = self.command('server', 'reboot-guest', 'at3-ui02', '--yes')
        self.assertEqual(0, ended.code, ended.stderr)
        self.assertIn(
            f'shutdown -r now in root@{FLOATING} (floating, demo-net), once',
            ended.stderr,
        )
        boots = self.polite.boots()
        self.assertEqual(len(self.before['polite'][0]) + 1, len(boots))
        self.assertIn(f'{boots[-2]} -> {boots[-1]}', ended.stdout)
        self.assertEqual(self.before['polite'][1] + 1, self.polite.asked())
        claims = dbserver.shared().sql(
            NOVA, "SELECT * FROM task_log WHERE task_name = 'nova-recovery'"
        )
        self.assertEqual([], list(claims))

    # a program that dies

    def test_killed_after_each_write_it_still_reboots_once(self) -> None:
        run_id = self.create({self.polite: 'polite'})
        noted = self.directory / 'points'
        deadly = {
            f'guest:{self.polite.uuid}': {
                f'{KIND}: journal {what}'
                for what in ('intent', 'notes accepted', 'sent', 'done')
            }
        }
        deaths = 0
        while True:
            watch = Watch(noted, deadly)
            code = world.ended(self.process(run_id, watch), 60)
            if code == 0:
                break
            self.assertEqual(-signal.SIGKILL, code)
            deaths += 1
        self.assertEqual(4, deaths, killing.points(noted))
        self.assert_rebooted_once(run_id, self.polite)

    def test_killed_while_the_request_is_on_its_way(self) -> None:
        """The answer is lost with the program, the request is not."""
        run_id = self.create({self.vanishing: 'vanishing'})
        pid = self.process(run_id)
        asked = self.before['vanishing'][1]
        world.poll(lambda: self.vanishing.asked() > asked, 60)
        os.kill(pid, signal.SIGKILL)
        self.assertEqual(-signal.SIGKILL, world.ended(pid))
        self.assertEqual('intent', self.items(run_id)['vanishing'][0])
        self.assertEqual(0, self.carry_out(run_id))
        self.assert_rebooted_once(run_id, self.vanishing)
