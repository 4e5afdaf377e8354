# SPDX-License-Identifier: Apache-2.0

"""The verb ``rules``: chains of packet filters, listed, or set for a trial.

``apply`` is to be started: it sets the chains back by itself unless somebody
says, within its seconds, that the host can be reached as before. Whoever
says so has come by a connection that is younger than the rules.
"""

import argparse
import base64
import json
import os
import re
import signal
import time
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple
import zlib

from nova_recovery.host.agent import files, kernel, programs
from nova_recovery.host.agent.lines import AgentError, Refused
from nova_recovery.host.agent.rules import chains
from nova_recovery.host.agent.rules.chains import Chain

HELP = 'rules of packet filters: list, apply chains, confirm that'

_LIST = {
    'iptables': ['iptables-save'],
    'ip6tables': ['ip6tables-save'],
    'ebtables': ['ebtables-save'],
    'iptables-legacy': ['iptables-legacy-save'],
    'ip6tables-legacy': ['ip6tables-legacy-save'],
    'nft': ['nft', '--stateless', 'list', 'ruleset'],
}
#: Where the kernel has tables of before nft, which iptables by nft does not
#: show; a container that brings its own iptables may have made them.
_BEFORE_NFT = {
    'iptables-legacy': '/proc/net/ip_tables_names',
    'ip6tables-legacy': '/proc/net/ip6_tables_names',
}
_SET = {tool: [tool + '-restore', '--noflush'] for tool in _LIST}
_SET['nft'] = ['nft', '-f', '-']
#: What has them only look at it; ebtables has nothing of the kind.
_TEST = {tool: ['--test'] for tool in _SET if tool != 'ebtables'}
_TEST['nft'] = ['--check']
#: Somebody else may be at the same rules: how often it is tried, with a
#: second in between; to take back what nobody confirmed, longer.
_TRIES, _UNDO_TRIES = 5, 60
#: Until the answer of who has started it is out.
_BREATH = 2
_TOKEN = re.compile(r'\d{1,20}$')

#: Of each chain, by its name: what was seen, and what is wanted.
Wanted = Dict[str, Tuple[Optional[Chain], Optional[Chain]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument('action', choices=['list', 'apply', 'confirm'])
    parser.add_argument(
        '--chain',
        action='append',
        metavar='NAME',
        help='for list: such as iptables:filter:INPUT; else all',
    )
    parser.add_argument('--wanted', help='for apply: see pack()')
    parser.add_argument(
        '--state', type=files.typed, help='where it is remembered what was'
    )
    parser.add_argument('--seconds', type=int, default=60)
    parser.add_argument('--token', help='for confirm: as apply said')


def run(parsed: argparse.Namespace, say: Callable[..., None]) -> int:
    if parsed.action == 'list':
        there, why = read()
        found = dict(there)  # type: Dict[str, Optional[Chain]]
        if parsed.chain is not None:
            found = {n: chains.of(there, n) for n in parsed.chain}
        say('result', chains=found, why=why)
        return 0
    if not parsed.state or os.geteuid():
        raise Refused('rules {}: as root, with --state'.format(parsed.action))
    if parsed.action == 'confirm':
        say('result', **confirm(parsed.state, parsed.token or ''))
        return 0
    with files.locked(os.path.join(parsed.home, 'rules.lock')):
        kept = apply(unpack(parsed.wanted), parsed.state, parsed.seconds, say)
    say('result', kept=kept)
    return 0 if kept else 4


def read() -> Tuple[Dict[str, Chain], Dict[str, str]]:
    """All chains of this host, and (tool -> why) which it doesn't show."""
    texts, why = {}, {}
    for tool, words in _LIST.items():
        try:
            if tool in _BEFORE_NFT and not _beside(tool):
                continue
            code, text, complained = programs.run(words)
        except programs.Missing as error:
            if tool in _BEFORE_NFT:
                why[tool] = 'there are rules of it, and {}'.format(error)
            continue
        except (AgentError, OSError) as error:
            code, text, complained = 1, '', str(error)
        if code:
            why[tool] = complained or 'ended with {}'.format(code)
        else:
            texts[tool] = text
    return chains.parse(texts, [t for t in texts if _by_nft(t)]), why


def _beside(tool: str) -> bool:
    """Whether there are tables of it that iptables itself doesn't show."""
    names = files.read(_BEFORE_NFT[tool])
    return bool(names) and _by_nft(tool.partition('-')[0])


def _by_nft(tool: str) -> bool:
    """Whether what a tool sets is nft's, as its --version says."""
    try:
        said = programs.run([tool, '--version'])[1]
    except (AgentError, OSError):
        return False
    return '(nf_tables)' in said


def pack(wanted: Wanted) -> str:
    """For ``--wanted``, which stands in the list of processes."""
    text = json.dumps(wanted, sort_keys=True)
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def unpack(text: str) -> Wanted:
    """:raises Refused: a chain is somebody else's, or a line is none"""
    wanted = json.loads(zlib.decompress(base64.b64decode(text)).decode())
    for name, some in wanted.items():
        tool, _colon, rest = name.partition(':')
        lines = [name] + [line for one in some for line in one or ()]
        if tool not in _SET or any(re.search('[\0-\x1f]', ln) for ln in lines):
            raise Refused('{!r}: no such chain'.format(name))
        if chains.others(rest):
            raise Refused('{}: others make and change it'.format(name))
    return dict(wanted)


def apply(
    wanted: Wanted, state: str, seconds: int, say: Callable[..., None]
) -> bool:
    """Set chains; back again unless somebody confirms in time.

    :returns: whether they are kept
    :raises Refused: one is neither as it was seen nor as it is wanted, or
        could not be set back
    :raises AgentError: a tool refused; they are as they were
    """
    path = os.path.join(state, 'before.json')
    # of one that was killed in the middle it is there already
    before = files.load(path)
    for attempt in range(_TRIES if before is None else _UNDO_TRIES):
        time.sleep(1 if attempt else 0)
        there, why = read()
        failed = _unknown(wanted, why)
        if not failed:
            break
    else:
        raise Refused('; '.join(failed))
    for name, (seen, new) in wanted.items():
        now = chains.own(chains.of(there, name))
        if now not in (chains.own(seen), chains.own(new)):
            raise Refused('{}: it was changed since'.format(name))
    if any(name[:9] == 'ebtables:' for name in wanted):
        # the old one's restore throws away whatever it is not given
        if not _by_nft('ebtables'):
            raise Refused('ebtables here can only be restored as a whole')
    if before is None:
        before = {name: chains.of(there, name) for name in wanted}
        _rehearse(before, there)
        files.save(path, before)
    signal.signal(signal.SIGTERM, _told_to_end)
    time.sleep(_BREATH)
    kept = False
    try:
        _put({name: new for name, (_seen, new) in wanted.items()}, _TRIES)
        token = str(int(time.clock_gettime(7) * 1000) + 1)  # CLOCK_BOOTTIME
        say('progress', token=token)
        kept = _confirmed(os.path.join(state, token), seconds)
    finally:
        if not kept:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            _put(before, _UNDO_TRIES)
    return kept


def _told_to_end(*_signal: Any) -> None:
    raise AgentError('it was told to end, and has set the rules back')


def _unknown(names: Iterable[str], why: Dict[str, str]) -> List[str]:
    """Why the tools of some chains don't show them."""
    tools = sorted({name.partition(':')[0] for name in names})
    return ['{}: {}'.format(_LIST[t][0], why[t]) for t in tools if t in why]


def _put(wanted: Dict[str, Optional[Chain]], tries: int) -> None:
    """Have all tools set these, with the rules of others as they are.

    :raises AgentError: one of them refused
    """
    for attempt in range(tries):
        time.sleep(1 if attempt else 0)
        there, why = read()
        failed = _unknown(wanted, why)
        # what is not shown may have rules of others: it is left alone
        shown = {
            name: chain
            for name, chain in wanted.items()
            if name.partition(':')[0] not in why
        }
        for tool, text in _scripts(shown, there):
            failed += _restored(_SET[tool], text)
        if not failed:
            return
    raise AgentError('; '.join(failed))


def _rehearse(before: Dict[str, Optional[Chain]], there: Any) -> None:
    """The way back can be walked: not all that is shown can be set.

    :raises Refused: it can't
    """
    for tool, text in _scripts(before, there):
        if tool in _TEST:
            for told in _restored(_SET[tool] + _TEST[tool], text):
                raise Refused(
                    'what is there could not be set back, so nothing is set; '
                    'mend that rule on the host first: {}'.format(told)
                )


def _scripts(
    wanted: Dict[str, Optional[Chain]], there: Dict[str, Chain]
) -> List[Tuple[str, str]]:
    """(tool, what it is given) to set these, as what is there needs it."""
    some = {}  # type: Dict[str, Dict[str, Optional[Chain]]]
    for name, chain in wanted.items():
        now = chains.of(there, name)
        if now is not None or chain is not None:
            tool = name.partition(':')[0]
            some.setdefault(tool, {})[name] = chains.merged(now, chain)
    return [
        (tool, chains.script(tool, given))
        for tool, given in sorted(some.items())
    ]


def _restored(words: List[str], text: str) -> List[str]:
    """Why not; [] if it is.

    Whatever goes wrong, the other tools and the next attempt have their
    turn, above all on the way back.
    """
    try:
        code, _said, complained = programs.run(words, given=text)
    except (AgentError, OSError) as error:
        return [str(error)]
    return ['{}: {}'.format(words[0], complained)] if code else []


def _confirmed(mark: str, seconds: int) -> bool:
    """Whether somebody else makes this file in time; else we do."""
    deadline = time.monotonic() + seconds
    while not os.path.exists(mark) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not _first(mark)


def _first(mark: str) -> bool:
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    return True


def confirm(state: str, token: str) -> Dict[str, bool]:
    """Say that the host can be reached.

    :returns: ``first``: False where it came too late, or was said before
    :raises Refused: by a connection that is older than the rules
    """
    if not _TOKEN.match(token) or not os.path.isdir(state):
        raise Refused('there is nothing to be confirmed')
    since = _login()
    if since is not None and since * 1000 < int(token):
        raise Refused(
            'this connection is older than the rules, and proves nothing'
        )
    return {'first': _first(os.path.join(state, token))}


def _login() -> Optional[float]:
    """When our connection was made, in seconds since boot; None: no ssh."""
    pid = os.getpid()
    while pid > 1:
        name, parent, began = kernel.process(pid)
        if name.startswith('sshd'):
            return began
        pid = parent
    return None
