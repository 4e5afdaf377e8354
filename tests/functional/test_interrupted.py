# SPDX-License-Identifier: Apache-2.0

"""Ctrl-C, a lost terminal and a full disk in the middle of a run."""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import fcntl
import os
import pathlib
import pty
import resource
import signal
import subprocess
import sys
import termios
from typing import Any

from nova_recovery import exit_codes
from nova_recovery.engine import planfile
from nova_recovery.engine.journal import Journal
from tests.cloud import services
from tests.functional.dead_host import DeadHostTest
from tests.integration import killing
from tests.integration.killing import Watch
from tests.unit.engine import world


class TestInterrupted(DeadHostTest):
    wanted = {
        'a': {'volumes': ['iscsi']},
        'b': {},
        'c': {},
        'disk-evacuated': {},
        'disk-moved': {'volumes': ['iscsi'], 'state': 'paused'},
    }
    #: Bytes of a file: some ten pages of SQLite's write-ahead log.
    ROOM = 48 * 1024

    def setUp(self) -> None:
        super().setUp()
        # one after the other, so that there is a middle
        self.configure(runner__workers=1)

    def planned(self, *names: str) -> str:
        """A run, not begun yet, that recovers these servers; its id."""
        self.servers = [self.server(name) for name in names]
        path = self.plan(*self.words(*self.servers))['file']
        return killing.create_run(
            f'sqlite:///{self.journal}', planfile.load(str(path))
        )

    def items(self, run_id: str) -> dict[str, str]:
        """Item -> state."""
        with contextlib.closing(
            Journal.open(f'sqlite:///{self.journal}')
        ) as journal:
            return {item.id: item.state for item in journal.items(run_id)}

    def end(self, run_id: str) -> None:
        """The rest is done, and nothing a second time."""
        self.done('run', 'resume', run_id, '--yes')
        self.assertEqual(
            set(), set(self.items(run_id).values()) - {'done', 'already'}
        )
        for one in self.servers:
            paused = one.row['vm_state'] == 'paused'
            self.assert_recovered(one, paused, ('host2',))
            self.assertEqual(1, len(self.state.migrations(one.uuid)))

    # signals

    def started(
        self, run_id: str, name: str, **options: Any
    ) -> subprocess.Popen[str]:
        """The program, while it waits for the evacuation of a server."""
        program = pathlib.Path(sys.executable).parent / 'nova-recovery'
        process = subprocess.Popen(
            [
                program, 'run', 'resume', run_id, '--yes',
                '--recovery-config-file', self.conf_file,
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            **{'stderr': subprocess.PIPE, **options},
        )  # fmt: skip
        self.addCleanup(self._kill, process)
        uuid = self.server(name).uuid
        self.wait_for(
            lambda: 'evacuate' in self.state.actions(uuid),
            f'the evacuation of {name}',
        )
        return process

    @staticmethod
    def _kill(process: subprocess.Popen[str]) -> None:
        process.kill()
        process.communicate()

    def assert_interrupted(
        self, run_id: str, process: subprocess.Popen[str], **states: str
    ) -> str:
        """It ended so, with the evacuations in these states; its stderr."""
        _, stderr = process.communicate(timeout=90)
        self.assertEqual(exit_codes.INTERRUPTED, process.returncode, stderr)
        items = self.items(run_id)
        for name, state in states.items():
            uuid = self.server(name).uuid
            self.assertEqual(state, items[f'evacuate-server:{uuid}'], name)
            asked = self.state.actions(uuid).count('evacuate')
            self.assertEqual(int(state != 'pending'), asked, name)
        if stderr is not None:
            self.assertIn(f'run resume {run_id}', stderr)
            self.assertNotIn('Traceback', stderr)
        return stderr

    def test_signals(self) -> None:
        """Three evacuations, each with a signal in its middle."""
        run_id = self.planned('a', 'b', 'c')

        # Nova waits for cinder, so this one doesn't end by itself.
        storage = services.daemon(self.practice.config, 'cinder-volume').pid()
        self.assertIsNotNone(storage)
        self.addCleanup(os.killpg, storage, signal.SIGCONT)
        os.killpg(storage, signal.SIGSTOP)
        process = self.started(run_id, 'a')
        process.send_signal(signal.SIGINT)
        said = ''
        while 'once more stops waiting' not in said:
            line = process.stderr.readline()
            self.assertNotEqual('', line, said)
            said += line
        process.send_signal(signal.SIGINT)
        stderr = self.assert_interrupted(
            run_id, process, a='sent', b='pending', c='pending'
        )
        self.assertIn('not waiting any longer', stderr)
        os.killpg(storage, signal.SIGCONT)

        # Ctrl-C once: what is in flight comes to its end.
        process = self.started(run_id, 'b')
        process.send_signal(signal.SIGINT)
        stderr = self.assert_interrupted(
            run_id, process, a='done', b='done', c='pending'
        )
        self.assertIn('SIGINT: what is in flight', stderr)

        # As when ssh breaks: SIGHUP, and nobody reads any more.
        ours, theirs = pty.openpty()

        def take_terminal() -> None:
            os.setsid()
            fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

        process = self.started(
            run_id, 'c', stderr=theirs, preexec_fn=take_terminal
        )
        os.close(theirs)
        os.close(ours)
        self.assert_interrupted(run_id, process, a='done', b='done', c='done')
        self.assertIn('pending', self.items(run_id).values())
        self.end(run_id)

    # a full disk

    @classmethod
    def limited(cls, act: Callable[[], Any] = lambda: None) -> Any:
        """Let no file of this process become larger."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (cls.ROOM, cls.ROOM))
        return act()

    def test_journal_is_full(self) -> None:
        """Nothing is sent that could not be written down before."""
        run_id = self.planned('disk-evacuated', 'disk-moved')
        noted = self.home / 'points'
        watch = Watch(noted)
        pid = world.start(
            lambda: self.limited(
                lambda: killing.carry_out(self.conf_file, run_id, 1, watch)
            )
        )
        self.assertEqual(exit_codes.ERROR, world.ended(pid, 120))
        intended = set()
        for point in killing.points(noted):
            kind, _, what = point.what.partition(': ')
            if what == 'journal intent':
                intended.add((point.subject, kind))
            elif not what.startswith('journal'):
                self.assertIn((point.subject, kind), intended)
        self.assertGreater(len(intended), 1)
        self.assertIn('pending', self.items(run_id).values())

        ended = self.subprocess_recovery(
            *('run', 'resume', run_id, '--yes'),
            preexec_fn=self.limited,
            # What measures the coverage has no room for its file either,
            # and would say so with a traceback of its own.
            env={
                name: value
                for name, value in os.environ.items()
                if not name.startswith('COVERAGE')
            },
        )
        self.assertEqual(exit_codes.ERROR, ended.code, ended.stderr)
        self.assertIn(f'journal {self.journal}: ', ended.stderr)
        self.assertIn('make room on its file system', ended.stderr)
        self.assertNotIn('Traceback', ended.stderr)
        self.end(run_id)
