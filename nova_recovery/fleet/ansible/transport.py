# SPDX-License-Identifier: Apache-2.0

"""Scripts to hosts by ansible-playbook, and what came back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import json
import math
import os
import selectors
import signal
import subprocess  # nosec B404
import tempfile
import threading
import time
from typing import Any

from oslo_config import cfg

from nova_recovery.fleet import answer, hosts
from nova_recovery.fleet.ansible import inventory, programs
from nova_recovery.fleet.ansible import words as words_module
from nova_recovery.fleet.ansible.play import play
from nova_recovery.fleet.answer import Said
from nova_recovery.fleet.hosts import Inventory

#: Seconds for Ansible's start, its inventory, and its end.
_ASIDE = 60
#: Seconds from the polite end to the other one.
_POLITE = 3
#: How often is looked whether it should end.
_BEAT = 0.2
#: Nothing is sent twice; variables count before any ansible.cfg.
_EXTRA = {'ansible_ssh_retries': 0}
#: No connection that is there already, unless ssh's own arguments name one.
_ANEW = {**_EXTRA, 'ansible_control_path': 'none'}
#: What Ansible said is kept this far, for the hosts of which nothing came.
_KEPT = 20_000


class Transport:
    """Runs one play after the other."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf.fleet
        self._playbook, self._lister = programs.find(
            conf.fleet.ansible_playbook
        )
        self._arguments = programs.arguments(conf)
        self._secrets = programs.secrets(conf)
        self._cancelled = threading.Event()

    def inventory(self, seconds: float = hosts.PATIENCE) -> Inventory:
        return inventory.read(
            [self._lister, *self._arguments],
            self._conf.directory,
            programs.environment(),
            self._conf.inventory,
            seconds,
        )

    def carry(
        self, scripts: Mapping[str, str], seconds: float
    ) -> Mapping[str, Said]:
        return self._carried(scripts, seconds, _EXTRA)

    def carry_anew(
        self, scripts: Mapping[str, str], seconds: float
    ) -> Mapping[str, Said]:
        return self._carried(scripts, seconds, _ANEW)

    def _carried(
        self,
        scripts: Mapping[str, str],
        seconds: float,
        extra: Mapping[str, Any],
    ) -> Mapping[str, Said]:
        if self._cancelled.is_set():
            return {n: Said(reason=answer.CANCELLED) for n in scripts}
        # the directory is ours alone: Ansible reads what lies beside a play
        with tempfile.TemporaryDirectory(prefix='nova-recovery-') as folder:
            path = os.path.join(folder, 'play.json')
            with open(path, 'w', encoding='utf-8') as file:
                json.dump(play(scripts, seconds, self._conf.become), file)
            said, ended, words = self._run(
                path, self._patience(len(scripts), seconds), extra
            )
        left = Said(reason=ended or answer.NO_RESULT, words=words)
        return {name: said.get(name, left) for name in scripts}

    def cancel(self) -> None:
        self._cancelled.set()

    def _patience(self, count: int, seconds: float) -> float:
        turns = math.ceil(count / self._conf.forks)
        return turns * (seconds + self._conf.connect_timeout) + _ASIDE

    def _run(
        self, path: str, seconds: float, extra: Mapping[str, Any]
    ) -> tuple[dict[str, Said], str, str]:
        """(what hosts said, why it was ended before its end, its words)."""
        reading, writing = os.pipe()
        words = [
            self._playbook,
            *self._arguments,
            *self._secrets,
            f'--forks={self._conf.forks}',
            f'--timeout={self._conf.connect_timeout}',
            f'--extra-vars={json.dumps(extra)}',
            path,
        ]
        environment = programs.environment(
            NOVA_RECOVERY_EVENTS=str(writing),
            NOVA_RECOVERY_PARENT=str(os.getpid()),
            NOVA_RECOVERY_PLAY=path,
        )
        with os.fdopen(reading, 'rb', buffering=0) as events:
            try:
                process = subprocess.Popen(  # nosec B603
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    cwd=self._conf.directory,
                    env=environment,
                    pass_fds=[writing],
                    # Ctrl-C is for us: what was sent comes to its end
                    start_new_session=True,
                )
            except OSError as error:
                why = error.strerror or type(error).__name__
                return {}, answer.NO_RESULT, f'{self._playbook}: {why}'
            finally:
                os.close(writing)
            with process:
                told = _Told()
                ended = self._watch(process, events, told, seconds)
        return told.said(), ended, words_module.plain(told.words())

    def _watch(
        self,
        process: subprocess.Popen[bytes],
        events: Any,
        told: _Told,
        seconds: float,
    ) -> str:
        """Read until it ends, or has to; why it had to."""
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(events, selectors.EVENT_READ, told.events)
            output: Any = process.stdout
            selector.register(output, selectors.EVENT_READ, told.output)
            for key in _ready(selector, process):
                if key is not None:
                    chunk = os.read(key.fd, 1 << 16)
                    if chunk:
                        key.data.append(chunk)
                    else:
                        selector.unregister(key.fileobj)
                if self._cancelled.is_set():
                    _end(process)
                    return answer.CANCELLED
                if time.monotonic() > deadline:
                    _end(process)
                    return answer.TIMED_OUT
        return ''


class _Told:
    """What came through the two pipes."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.output: list[bytes] = []

    def said(self) -> dict[str, Said]:
        found = {}
        for line in b''.join(self.events).split(b'\n')[:-1]:
            event = json.loads(line)
            found[event['host']] = _said(event)
        return found

    def words(self) -> str:
        text = b''.join(self.output)[-_KEPT:].decode(errors='replace')
        return ' '.join(text.split())


def _said(event: Mapping[str, Any]) -> Said:
    reason = ''
    if event['event'] == 'unreachable':
        reason = answer.UNREACHABLE
    elif event['timed_out']:
        reason = answer.TIMED_OUT
    elif event['event'] == 'failed':
        reason = answer.NO_RESULT
    if not reason:
        return Said(event['text'])
    judge = (
        words_module.plain
        if reason == answer.UNREACHABLE
        else words_module.failed
    )
    words = judge(f'{event["words"]} {event["text"]}')
    return Said(event['text'], reason, words)


def _ready(
    selector: selectors.BaseSelector, process: subprocess.Popen[bytes]
) -> Iterator[Any]:
    """Each pipe that has something, None now and then; until both end.

    A program that Ansible left behind may hold one open: its own end ends it
    too, once nothing more comes.
    """
    while selector.get_map():
        found = selector.select(_BEAT)
        if not found and process.poll() is not None:
            return
        yield from (key for key, _events in found)
        yield None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End Ansible and what it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(_POLITE)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
