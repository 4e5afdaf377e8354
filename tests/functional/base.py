# SPDX-License-Identifier: Apache-2.0

"""What the tests on the practice cloud share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent import futures
import contextlib
import fcntl
import functools
import itertools
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import time
from typing import Any, ClassVar
import uuid as uuid_module

import fixtures

from tests.base import TestCase
from tests.cloud import services, settings
from tests.cloud.cloud import PracticeCloud
from tests.functional import state
from tests.unit.cli import programs
from tests.unit.cli.programs import Ended

JSON = dict[str, Any]


@functools.cache
def own_cloud() -> PracticeCloud:
    """The practice cloud that this process has to itself until it ends.

    The one that NOVA_RECOVERY_CLOUD names; else the first of ``.cloud``,
    ``.cloud-2`` and so on that no other process has: stestr's workers don't
    tell their numbers. What is missing of it is brought up.
    """
    if 'NOVA_RECOVERY_CLOUD' in os.environ:
        return PracticeCloud()
    first = settings.default_state()
    for number in itertools.count(1):
        state = first if number == 1 else first.with_name(f'.cloud-{number}')
        state.mkdir(exist_ok=True)
        held = os.open(state / 'tests.lock', os.O_CREAT | os.O_RDWR, 0o600)
        try:
            # never closed: the kernel lets go of it with the process
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            continue
        os.environ['NOVA_RECOVERY_CLOUD'] = str(state)
        practice = PracticeCloud()
        practice.up()
        return practice
    raise AssertionError('unreachable')


class FunctionalTest(TestCase):
    """A test on the real practice cloud, with a journal of its own.

    The environment has an administrator's credentials, as an operator's
    shell has after ``source openrc``.

    :cvar fresh: put the cloud back as seeded before the first test of the
        class, which takes some 20 s. The others take it as it is: all
        services up, servers of other tests perhaps there.
    """

    fresh: ClassVar[bool] = False
    practice: ClassVar[PracticeCloud]
    state: ClassVar[state.State]
    #: For programs.run: no commands but those that are installed.
    commands: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.practice = own_cloud()
        if cls.fresh or cls.practice.needs_reset():
            cls.practice.reset()
        cls.practice.ensure_up()
        cls.state = state.State(cls.practice)
        if cls.state.out_of_service():
            # Another test left it so.
            cls.practice.reset()

    def setUp(self) -> None:
        super().setUp()
        self.home = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.conf_file = self.home / 'nova-recovery.conf'
        self.journal = self.home / 'journal.sqlite'
        self.configure()
        self.log_in('admin')

    def log_in(self, user: str) -> None:
        """Have the credentials of admin or of the plain member demo."""
        for name, value in self.practice.environment(user).items():
            self.useFixture(fixtures.EnvironmentVariable(name, value))

    def configure(self, path: pathlib.Path | None = None, **given: Any) -> str:
        """Write a nova-recovery.conf; return its path.

        :param path: ``self.conf_file``, which commands get by themselves,
            when None
        :param given: options as GROUP__NAME=value; replaces those below
        """
        options: dict[str, Any] = {
            'DEFAULT__nova_config_dir': self.practice.config.etc / 'nova',
            'DEFAULT__cinder_config_file': self.practice.cinder_config_file(),
            'journal__connection': f'sqlite:///{self.journal}',
            # Nothing here holds on to a request as long as a proxy may.
            'timeouts__settle': 5,
            'timeouts__server': 120,
            **given,
        }
        path = path or self.conf_file
        with open(path, 'w') as file:
            for name, value in options.items():
                group, _, option = name.partition('__')
                file.write(f'[{group}]\n{option} = {value}\n')
        return str(path)

    # commands

    def recovery(self, *words: Any) -> Ended:
        """Run ``openstack recovery …`` in this process."""
        from openstackclient import shell

        return programs.run(
            self, shell.OpenStackShell, 'recovery ', self._words(words)
        )

    def standalone(self, *words: Any) -> Ended:
        """Run ``nova-recovery …`` in this process."""
        from nova_recovery import shell

        return programs.run(self, shell.Shell, '', self._words(words))

    def subprocess_recovery(
        self, *words: Any, program: str = 'openstack', **options: Any
    ) -> Ended:
        """Run either program as an operator does.

        :param program: ``openstack`` or ``nova-recovery``
        :param options: for subprocess.run
        """
        prefix = ['recovery'] if program == 'openstack' else []
        done = subprocess.run(
            [
                str(pathlib.Path(sys.executable).parent / program),
                *prefix,
                *self._words(words),
            ],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=300,
            **options,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def kill_when(
        self,
        begun: subprocess.Popen[str],
        so: Callable[[], bool],
        said: pathlib.Path,
    ) -> None:
        """Kill a command by SIGKILL as soon as something is so.

        :param said: where it says things, for who wonders why it ended
        """
        self.until_so(begun, so, said)
        begun.send_signal(signal.SIGKILL)
        self.assertEqual(-signal.SIGKILL, begun.wait(30), said.read_text())

    def until_so(
        self,
        begun: subprocess.Popen[str],
        so: Callable[[], bool],
        said: pathlib.Path,
    ) -> None:
        """Wait until something is so, while a command runs."""
        while not so():
            told = said.read_text() if said.exists() else ''
            self.assertIsNone(begun.poll(), told)
            time.sleep(0.005)

    def journal_rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the journal has just now, by SQL; nothing before it is made."""
        try:
            with contextlib.closing(
                sqlite3.connect(f'file:{self.journal}?mode=ro', uri=True)
            ) as journal:
                return journal.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []

    def _words(self, words: tuple[Any, ...]) -> list[str]:
        texts = [str(word) for word in words]
        if '--recovery-config-file' not in texts:
            texts += ['--recovery-config-file', str(self.conf_file)]
        return texts

    def done(self, *words: Any, code: int = 0) -> Ended:
        """``recovery``, which must end with this exit code."""
        ended = self.recovery(*words)
        self.assertEqual(code, ended.code, f'{ended.stdout}\n{ended.stderr}')
        self.assertNotIn('Traceback', ended.stderr)
        return ended

    def answer(self, *words: Any, code: int = 0) -> Any:
        """What a command prints with ``-f json``, and nothing beside it."""
        return json.loads(self.done(*words, '-f', 'json', code=code).stdout)

    def plan(self, *words: Any, code: int = 0) -> JSON:
        """The plan that a command would carry out, as JSON.

        :param words: of the command; the plan is saved, not carried out
        :param code: 3 where a gate refuses
        """
        path = self.home / f'{uuid_module.uuid4()}.plan'
        self.done(*words, '--plan-file', path, code=code)
        plan = self.answer('plan', 'show', path)
        plan['file'] = path
        return dict(plan)

    def newest_run(self, *words: Any) -> str:
        """The id of the newest run of the journal."""
        return str(self.answer('run', 'list', *words)[0]['ID'])

    def gates(self, plan: JSON, name: str | None = None) -> list[JSON]:
        """The gates of a plan that refuse, or all of a name."""
        return [
            gate
            for gate in plan['gates']
            if (gate['name'] == name if name else gate['state'] != 'ok')
        ]

    # the cloud

    @functools.cached_property
    def admin(self) -> Any:
        """An administrator's connection."""
        return self.practice.connection()

    def create_server(self, name: str = 'own', **options: Any) -> Any:
        """A server of this test, deleted after it; see cloud.servers."""
        return self.create_servers({name: options})[0]

    def create_servers(self, wanted: Mapping[str, JSON]) -> list[Any]:
        """Several, side by side; their names get a tail of their own."""
        tail = uuid_module.uuid4().hex[:6]
        with futures.ThreadPoolExecutor(4) as pool:
            made = list(
                pool.map(
                    lambda item: self.practice.create_server(
                        f'{item[0]}-{tail}', **item[1]
                    ),
                    wanted.items(),
                )
            )

        def delete() -> None:
            with futures.ThreadPoolExecutor(4) as pool:
                list(
                    pool.map(
                        self.practice.delete_server,
                        [server.id for server in made],
                    )
                )

        self.addCleanup(delete)
        return made

    def kill_compute(self, host: str) -> None:
        """Kill a host's nova-compute; it comes back after the test.

        Its guests go on running, and nova takes it for alive for 15 s.
        """
        self.practice.kill(services.compute(host))
        self.addCleanup(self.revive, host)

    def lose_power(self, host: str) -> None:
        """Kill a host's nova-compute and its guests, until the test ends."""
        self.practice.power_loss(host)
        self.addCleanup(self.revive, host)

    def revive(self, host: str) -> None:
        """Start a host's nova-compute and put the host back to use."""
        self.practice.start(services.compute(host))
        self.state.set_service(host, status='enabled', forced_down=False)
        self.practice.wait_compute_up(host)

    def stop_service(self, name: str) -> None:
        """Kill a service of the control plane until the test ends."""
        self.addCleanup(self.practice.start, name)
        self.practice.kill(name)

    def connector(self, host: str) -> str:
        """``HOST=FILE`` for ``--connector``, made by the hypervisor."""
        path = self.home / f'{host}.connector'
        path.write_text(json.dumps(self.state.connector(host)))
        return f'{host}={path}'

    def wait_for(
        self, predicate: Callable[[], object], what: str, seconds: float = 60
    ) -> object:
        """Poll until it is true; fail naming what."""
        return self.practice.wait_for(predicate, seconds, what)

    def without(self, *names: str) -> None:
        """Unset environment variables until the test ends."""
        for name in names:
            if name in os.environ:
                self.useFixture(fixtures.EnvironmentVariable(name))
