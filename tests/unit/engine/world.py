# SPDX-License-Identifier: Apache-2.0

"""A small cloud in a file, changes for it, and processes that are killed."""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import dataclasses
import fcntl
import functools
import io
import json
import os
import pathlib
import signal
import tempfile
import threading
import time
import traceback
from typing import Any

from nova_recovery.changes.base import BaseChange
from nova_recovery.engine import undo
from nova_recovery.engine.change import At, Observed, Registry
from nova_recovery.engine.journal import ItemRecord, Journal, Writer
from nova_recovery.engine.plan import Item, Plan, Step
from nova_recovery.engine.progress import PlainReporter
from nova_recovery.engine.records import Outcome
from nova_recovery.engine.runner import Runner
from nova_recovery.exceptions import Conflict, NotRevertible


class World:
    """What happened, one line each, so that several processes share it."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        path.touch()

    def happened(self) -> list[dict[str, Any]]:
        with open(self.path, 'rb') as file:
            # or a line may be seen that is half written
            fcntl.flock(file, fcntl.LOCK_SH)
            return [json.loads(line) for line in file]

    def add(self, **values: Any) -> None:
        # one write, so that a kill leaves it whole or not there at all
        with open(self.path, 'ab', buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps(values).encode() + b'\n')

    def value(self, subject: str) -> str:
        """What a subject was set to last; all begin as ``old``."""
        values = [e['to'] for e in self.happened() if e.get('set') == subject]
        return values[-1] if values else 'old'

    def sent(self, item_id: str) -> int:
        return sum(e.get('sent') == item_id for e in self.happened())

    def ended(self, item_id: str) -> bool:
        return any(e.get('ended') == item_id for e in self.happened())


class Set(BaseChange):
    """Sets a subject from one value to another, by compare-and-set."""

    kind = 'set'

    def observe(self, at: At[World]) -> Observed:
        value = at.cloud.value(at.item.subject)
        if value == at.data['to']:
            return Observed.after(f'is {value}')
        if value == at.data['from']:
            return Observed.before({'value': value})
        return Observed.neither(f'is {value}')

    def apply(self, at: At[World]) -> str:
        if at.cloud.value(at.item.subject) != at.image['value']:
            raise Conflict(f'{at.item.subject} is not as it was')
        at.cloud.add(set=at.item.subject, to=at.data['to'], item=at.item.id)
        return f'set to {at.data["to"]}'

    def revert(self, at: At[World]) -> str:
        value = at.cloud.value(at.item.subject)
        if value == at.image['value']:
            return 'was back already'
        if value != at.data['to']:
            raise Conflict(f'{at.item.subject} is {value} by now')
        at.cloud.add(set=at.item.subject, to=at.image['value'])
        return f'set back to {at.image["value"]}'


class Once(BaseChange):
    """Is sent, and takes its time; must not be sent twice."""

    kind = 'once'
    once = True

    def observe(self, at: At[World]) -> Observed:
        if at.cloud.ended(at.item.id):
            return Observed.after('ended')
        if at.cloud.sent(at.item.id):
            return Observed.underway('on its way')
        return Observed.before({'sent': 0})

    def apply(self, at: At[World]) -> str:
        at.cloud.add(sent=at.item.id, item=at.item.id)
        at.note(request_id=f'req-{at.item.label}')
        return 'sent'

    def follow(self, at: At[World]) -> str:
        gate = at.data.get('gate')
        while gate and not os.path.exists(gate):
            at.wait(0.02)
        at.cloud.add(ended=at.item.id)
        return 'ended'

    def revert(self, at: At[World]) -> str:
        raise NotRevertible('it was sent', 'nothing helps')


class Scripted(Set):
    """As ``set``, but what a test put in its place comes first."""

    kind = 'scripted'

    def __init__(self) -> None:
        self.script: dict[str, Callable[..., Any]] = {}

    def observe(self, at: At[World]) -> Observed:
        return self.script.get('observe', super().observe)(at)

    def apply(self, at: At[World]) -> str:
        return self.script.get('apply', super().apply)(at)

    def follow(self, at: At[World]) -> str:
        return self.script.get('follow', super().follow)(at)

    def revert(self, at: At[World]) -> str:
        return self.script.get('revert', super().revert)(at)

    def past_undoing(self, at: At[World]) -> str:
        return self.script.get('past_undoing', super().past_undoing)(at)


def set_item(
    subject: str, to: str = 'new', from_: str = 'old', kind: str = 'set',
    follows: tuple[str, ...] = (), **data: Any,
) -> Item:  # fmt: skip
    return Item(
        f'{kind}-{to}:{subject}', kind, subject, subject,
        {'from': from_, 'to': to, **data}, follows,
    )  # fmt: skip


def once_item(subject: str, **data: Any) -> Item:
    return Item(f'once:{subject}', 'once', subject, subject, data)


def plan_of(*steps: list[Item], limits: Any = None) -> Plan:
    return Plan(
        'test', 'A test', {},
        tuple(
            Step(f's{n}', f'Step {n}', tuple(items), limits or {})
            for n, items in enumerate(steps)
        ),
    )  # fmt: skip


@functools.cache
def empty_journal() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / 'journal.sqlite'
        Journal.open(f'sqlite:///{path}').close()
        return path.read_bytes()


@dataclasses.dataclass
class Site:
    """A directory with a world, a journal, and what was reported."""

    directory: pathlib.Path
    journal_class: type[Journal] = Journal
    scripted: Scripted = dataclasses.field(default_factory=Scripted)
    output: Any = dataclasses.field(default_factory=io.StringIO)

    def __post_init__(self) -> None:
        self.world = World(self.directory / 'world')
        path = self.directory / 'journal.sqlite'
        self.url = f'sqlite:///{path}'
        if not path.exists():
            # making one takes as long as ten runs
            path.write_bytes(empty_journal())

    def open(self) -> Journal:
        return self.journal_class.open(self.url)

    def create(self, made: Plan) -> str:
        with contextlib.closing(Journal.open(self.url)) as j:
            return j.create_run(
                made, who='anna', machine='ctl1', command='test'
            )

    def run(self, run_id: str, **options: Any) -> Outcome:
        return self._session(Runner, options).carry_out(run_id)

    def undo(self, run_id: str, **options: Any) -> Outcome:
        return self._session(undo.Undo, options).undo(run_id)

    @property
    def registry(self) -> Registry:
        changes = (Set(), Once(), self.scripted)
        return {one.kind: one for one in changes}

    def _session(self, kind: Any, options: Any) -> Any:
        options.setdefault('workers', 4)
        return kind(
            self.open(),
            self.registry,
            self.world,
            reporter=PlainReporter(self.output),
            patience=0,
            **options,
        )

    def items(self, run_id: str) -> dict[str, ItemRecord]:
        with contextlib.closing(Journal.open(self.url)) as j:
            return {record.id: record for record in j.items(run_id)}

    def states(self, run_id: str) -> dict[str, str]:
        return {id_: one.state for id_, one in self.items(run_id).items()}


class Killer:
    """Kills the process it is in, before or after its Nth write."""

    def __init__(self, when: str, number: int) -> None:
        self._when = when
        self._left = number
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def around(self) -> Any:
        with self._lock:
            self._left -= 1
            now = not self._left
        if now and self._when == 'before':
            os.kill(os.getpid(), signal.SIGKILL)
        yield
        if now:
            os.kill(os.getpid(), signal.SIGKILL)


def killing(killer: Killer) -> type[Journal]:
    """A journal whose process is killed at one of its writes."""

    class KillingWriter(Writer):
        def _commit(self, group: Any) -> None:
            with killer.around():
                super()._commit(group)

    class KillingJournal(Journal):
        writer_class = KillingWriter

        def _write(self, change: Any) -> Any:
            with killer.around():
                return super()._write(change)

    return KillingJournal


def start(act: Callable[[], int]) -> int:
    """Run *act* in a process of its own, which ends with what it returns."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        code = act()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(pid: int, seconds: float = 30) -> int:
    """The exit code of a process; -9 for a killed one."""
    poll(lambda: os.waitid(
        os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT
    ), seconds)  # fmt: skip
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def poll(done: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait until something is so; fail when the seconds are over."""
    deadline = time.monotonic() + seconds
    while not (found := done()):
        if time.monotonic() > deadline:
            raise AssertionError(f'waited {seconds} s in vain')
        time.sleep(0.01)
    return found
