# SPDX-License-Identifier: Apache-2.0

"""Work on hosts, each of which has first said who it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent import futures
import dataclasses
import shlex
import threading
from types import TracebackType
from typing import Any, Protocol

from nova_recovery.compat import pairs
from nova_recovery.exceptions import Refused
from nova_recovery.fleet import answer, hosts, script
from nova_recovery.fleet.answer import Answer, Said
from nova_recovery.fleet.gather import Call, Gatherer
from nova_recovery.fleet.hosts import Inventory
from nova_recovery.host import zipapp

_LACKS = {
    'python': 'no Python 3.6 or newer is there: looked for '
    + ', '.join(script.PYTHONS),
    'place': 'the agent could not be put into {home}: who logs in must be '
    'root, or become it ([fleet] become)',
    'agent': 'the agent that was just put into {home} is not there',
}


class Transport(Protocol):
    """How scripts reach hosts: the extension point ``nova_recovery.fleet``.

    Its class is called with the options of ``nova-recovery.conf``. One that
    keeps connections has ``carry_anew`` as well: as ``carry``, by new ones.
    """

    def inventory(self, seconds: float = hosts.PATIENCE) -> Inventory:
        """The hosts that there are; asked once.

        :param seconds: that it may take
        :raises ConfigError: that can't be known
        """

    def carry(
        self, scripts: Mapping[str, str], seconds: float
    ) -> Mapping[str, Said]:
        """Give each host a script for its ``/bin/sh``, as root.

        Never twice, whatever happens. What nothing came back of may be left
        out: it is in doubt.

        :param scripts: by the names of the inventory
        :param seconds: that one host may take
        """

    def cancel(self) -> None:
        """End what is being carried, from another thread, for good."""


@dataclasses.dataclass(frozen=True)
class Identity:
    """Who a host said that it is, when it was first asked.

    :ivar name: what the inventory calls it
    :ivar found: all that it said, see the agent's ``identity``
    """

    host: str
    name: str
    machine_id: str
    found: Mapping[str, Any]


def starting(run: str, verb: str) -> str:
    """The verb that starts another one as a run of that name."""
    return f'start {run} {verb}'


class Fleet:
    """The hosts that the inventory has; a context manager.

    Leaving it ends what is under way, and leaves that in doubt.

    :param mapped: nova host -> inventory name
    :param home: the directory on the hosts for the agent
    :param seconds: that one host may take for one call
    """

    def __init__(
        self,
        transport: Transport,
        mapped: Mapping[str, str],
        home: str,
        seconds: float,
    ) -> None:
        self._transport = transport
        self._mapped = mapped
        self._home = home
        self._seconds = seconds
        self._gatherer = Gatherer(self._carry)
        self._lock = threading.Lock()
        self._inventory: Inventory | None = None
        self._identities: dict[str, Identity] = {}

    def __enter__(self) -> Fleet:
        self._gatherer.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._transport.cancel()
        self._gatherer.__exit__(kind, error, trace)

    def identify(self, wanted: Iterable[str]) -> dict[str, Answer]:
        """Who these hosts are, asked anew, all at once.

        :param wanted: exact names of nova hosts
        :returns: by nova host; what is wrong with one is a refusal
        """
        answers: dict[str, Answer] = {}
        calls = []
        for host in dict.fromkeys(wanted):
            try:
                calls.append(self._call(host, ['identity'], self._seconds))
            except Refused as error:
                answers[host] = answer.refused(host, str(error))
        for call, found in pairs(calls, self._gatherer.ask(calls)):
            answers[call.host] = self._identified(call, found)
        # two names of one machine: neither is known to be the right one
        return {
            host: self._once(found) if found.state == answer.DONE else found
            for host, found in answers.items()
        }

    def knows(self, host: str) -> bool:
        """Whether the inventory has a name for it, of its own."""
        try:
            hosts.name_of(host, self._mapped, self._known())
        except Refused:
            return False
        return self._known().only is None

    def run(
        self,
        host: str,
        verb: str,
        data: Mapping[str, Any] | None = None,
        seconds: float | None = None,
        anew: bool = False,
    ) -> Answer:
        """Have a host carry out a verb of the agent, in any thread.

        The calls of threads that come at about the same time are carried
        together. A host that was not asked yet is first asked who it is.

        :param verb: such as ``accounts show``
        :param data: its options, see :func:`script.verb`
        :param seconds: that it may take there
        :param anew: by a new connection, where the transport keeps some
        """
        known = self._identities.get(host)
        if known is None:
            found = self.identify([host])[host]
            if found.state != answer.DONE:
                return found
            known = self._identities[host]
        else:
            found = self._once(Answer(host, answer.DONE))
            if found.state != answer.DONE:
                return found
        words = ['--expect', known.machine_id, *script.verb(verb, data)]
        call = self._call(host, words, seconds or self._seconds, anew)
        return self._gatherer.ask([call])[0]

    def several(self, host: str, *calls: script.Words) -> Answer:
        """Have a host carry out verbs one after the other, in one call.

        :param calls: each a verb and its options
        :returns: with ``answers``, one each; the first that is not done ends
            it, and is the answer
        """
        typed = [shlex.join(script.verb(*call)) for call in calls]
        return self.run(host, 'several', {'call': typed})

    def each(
        self, names: Sequence[str], ask: Callable[[str], Answer]
    ) -> dict[str, Answer]:
        """Ask hosts side by side, so that it can be carried as one.

        :param ask: asks one of them, by any of the other calls
        """
        if not names:
            return {}
        with futures.ThreadPoolExecutor(len(names)) as pool:
            return dict(pairs(names, pool.map(ask, names)))

    def start(
        self,
        host: str,
        run: str,
        verb: str,
        data: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Start what takes long; the same once more goes on with it.

        :param run: its name on the host, by which :meth:`status` finds it
        """
        return self.run(host, starting(run, verb), data)

    def status(self, host: str, run: str, since: int = 0) -> Answer:
        """How such a run stands, see the agent's ``status``."""
        return self.run(host, f'status {run}', {'since': since})

    def identity(self, host: str) -> Identity | None:
        """Who a host said that it is; None before it was asked."""
        return self._identities.get(host)

    def names(self, seconds: float = hosts.PATIENCE) -> frozenset[str]:
        """What the inventory calls its hosts; none of them is asked.

        :param seconds: that the inventory may take
        :raises ConfigError: that can't be known
        """
        known = self._known(seconds)
        only = known.only
        return frozenset(known.hosts if only is None else (only,))

    def _known(self, seconds: float = hosts.PATIENCE) -> Inventory:
        with self._lock:
            if self._inventory is None:
                self._inventory = self._transport.inventory(seconds)
            return self._inventory

    def _call(
        self, host: str, words: list[str], seconds: float, anew: bool = False
    ) -> Call:
        known = self._known()
        name = hosts.name_of(host, self._mapped, known)
        overrides = known.hosts[name].overrides
        sets = [word for text in overrides for word in ('--set', text)]
        return Call(name, host, [*sets, *words], seconds, anew)

    def _identified(self, call: Call, found: Answer) -> Answer:
        """Keep who answered, where it is who was asked."""
        if found.state != answer.DONE:
            return found
        host, who = call.host, found.result
        if who['machine_id'] is None:
            return answer.refused(
                host, f'{call.name} has no machine-id: see machine-id(5)'
            )
        if who['nova_host'] != host:
            named = who['nova_host'] or 'unknown'
            return answer.refused(
                host,
                f'{call.name} is the nova host {named} '
                f'({who["nova_host_from"]}), not {host}',
            )
        before = self._identities.get(host)
        if before and before.machine_id != who['machine_id']:
            return answer.refused(
                host,
                f'{call.name} was the machine {before.machine_id}, and now '
                f'{who["machine_id"]} answers',
            )
        with self._lock:
            self._identities[host] = Identity(
                host, call.name, who['machine_id'], who
            )
        return found

    def _once(self, found: Answer) -> Answer:
        """The answer, unless another name has the same machine."""
        with self._lock:
            mine = self._identities[found.host]
            same = [
                f'{other.name} ({other.host})'
                for other in self._identities.values()
                if other.machine_id == mine.machine_id
                and other.host != mine.host
            ]
        if same:
            return answer.refused(
                found.host,
                f'{mine.name} and {", ".join(same)} are one machine, '
                f'{mine.machine_id}: a clone must get a machine-id of its '
                f'own, a second name must go',
            )
        return found

    def _carry(self, calls: list[Call]) -> dict[str, Answer]:
        """Carry calls; those that lack the agent, a second time with it."""
        answers, lacking = self._carried(calls, send=False)
        again = [call for call in calls if lacking.get(call.name) == 'agent']
        if again:
            more, still = self._carried(again, send=True)
            answers |= more
            lacking = {
                name: what
                for name, what in lacking.items()
                if name not in more
            }
            lacking |= still
        for call in calls:
            if call.name in lacking:
                # nothing was carried out: the script says so
                answers[call.name] = answer.refused(
                    call.host,
                    f'{call.name}: '
                    + _LACKS[lacking[call.name]].format(home=self._home),
                )
        return answers

    def _carried(
        self, calls: list[Call], send: bool
    ) -> tuple[dict[str, Answer], dict[str, str]]:
        marks = {call.name: script.mark() for call in calls}
        carry = self._transport.carry
        if any(call.anew for call in calls):
            carry = getattr(self._transport, 'carry_anew', carry)
        said = carry(
            {
                call.name: script.call(
                    zipapp.agent(),
                    self._home,
                    marks[call.name],
                    call.words,
                    send,
                )
                for call in calls
            },
            max(call.seconds for call in calls),
        )
        answers, lacking = {}, {}
        for call in calls:
            mark = marks[call.name]
            got = said.get(call.name) or Said(reason=answer.NO_RESULT)
            lack = answer.lacks(mark, got)
            if lack:
                lacking[call.name] = lack
            else:
                answers[call.name] = answer.read(call.host, mark, got)
        return answers, lacking
