# SPDX-License-Identifier: Apache-2.0

"""Chains of packet filters: read from what saves them, written to restore.

A chain is a list of lines: its head (the policy, or for nft what it hangs
on), then its rules as the tool writes them. Its name says whose it is:
``iptables:filter:INPUT``, ``nft:inet:filter:input``.
"""

import re
from typing import Collection, Dict, Iterable, Iterator, List, Optional

Chain = List[str]

#: What others make and take away by themselves, by the names of chains and
#: interfaces: neutron and nova, docker (br-ID is a network of it), kube and
#: its networks, LXD and Incus, OVN, libvirt with its nwfilter (FI-vnet0,
#: I-vnet0-mac, libvirt-I-vnet0).
_OTHERS = re.compile(
    r'(?:^|[\s:"!,])(?:(?i:neutron|nova-|docker|podman|netavark|kube|calico'
    r'|cali|cni|cilium|flannel|weave|antrea|ovn|libvirt|lxdbr|lxcbr|incusbr)'
    r'|F[IOJP]-|H[IJ]-|[IOJP]-'
    r'|tap|qv[bo]|qbr|q[rg]-|vnet\d|virbr|br-int|br-[0-9a-f]{12}\b)'
)
#: What people say of a rule, as iptables-save and nft write it; but calico
#: and flannel know some of their rules by nothing else.
_COMMENT = re.compile(
    r'(?:--comment |\bcomment (?="))(?!"?(?:cali:|flanneld))'
    r'(?:"(?:[^"\\]|\\.)*"|\S+)'
)
#: The tables of iptables and its kin, which nft lists too.
_KIN = {'iptables': 'ip', 'ip6tables': 'ip6', 'ebtables': 'bridge'}
#: Those of iptables that are there also where nothing is listed of them.
_BUILT_IN = re.compile(
    r'(ip6?tables(-legacy)?|ebtables):\w+:(INPUT|FORWARD|(PRE|POST|B)ROUTING|OUTPUT)$'
)
_COUNTERS = re.compile(r'^\[\d+:\d+\] | \[\d+:\d+\]$')
_QUOTED = re.compile(r'"[^"]*"')


def others(text: str) -> bool:
    """Whether a chain, by its name, or a rule is somebody else's."""
    return bool(_OTHERS.search(_COMMENT.sub('', text)))


def of(found: Dict[str, Chain], name: str) -> Optional[Chain]:
    """One of them; None where there is none.

    What is built in, and not listed, lets everything pass.
    """
    if name not in found and _BUILT_IN.match(name):
        return ['ACCEPT']
    return found.get(name)


def own(chain: Optional[Chain]) -> Optional[Chain]:
    """A chain without the rules of others; None where there is none."""
    if chain is None:
        return None
    return chain[:1] + [line for line in chain[1:] if not others(line)]


def merged(now: Optional[Chain], wanted: Optional[Chain]) -> Optional[Chain]:
    """What is wanted, with the rules of others as they are now.

    Where these are the same they stay where they are wanted; else they come
    first, where those who make them put them.
    """
    theirs = [line for line in (now or [])[1:] if others(line)]
    if wanted is None or theirs == [ln for ln in wanted[1:] if others(ln)]:
        return wanted
    return wanted[:1] + theirs + (own(wanted) or [])[1:]


def parse(texts: Dict[str, str], by_nft: Collection[str]) -> Dict[str, Chain]:
    """All chains in what the tools print.

    :param texts: tool -> of ``iptables-save`` and its kin, or of ``nft
        --stateless list ruleset``
    :param by_nft: those of the tools whose tables nft lists, too
    :returns: without counters; those of iptables only once
    """
    found = {}  # type: Dict[str, Chain]
    for tool, text in sorted(texts.items(), reverse=True):
        if tool == 'nft':
            found.update(_nft(text))
            continue
        if tool in by_nft:
            places = ['nft:%s:%s:' % (_KIN[tool], t) for t in _tables(text)]
            for name in [n for n in found if n.startswith(tuple(places))]:
                del found[name]
        found.update(_saved(tool, text))
    return found


def _tables(text: str) -> List[str]:
    return [ln[1:].strip() for ln in text.splitlines() if ln[:1] == '*']


def _saved(tool: str, text: str) -> Dict[str, Chain]:
    found = {}  # type: Dict[str, Chain]
    table = ''
    for line in text.splitlines():
        line = _COUNTERS.sub('', line.strip())
        if line[:1] == '*':
            table = '%s:%s:' % (tool, line[1:])
        elif line[:1] == ':':
            name, _blank, policy = line[1:].partition(' ')
            found[table + name] = [policy]
        elif line[:3] == '-A ':
            name, _blank, rule = line[3:].partition(' ')
            found.setdefault(table + name, ['-']).append(rule)
    return found


def _nft(text: str) -> Dict[str, Chain]:
    found = {}  # type: Dict[str, Chain]
    table, name, part = '', None, ''  # type: str, Optional[str], str
    for line in text.splitlines():
        line = ' '.join([part, line.strip()]).strip()
        words = line.split()
        if words[:1] == ['table'] and words[-1] == '{':
            table = 'nft:%s:%s:' % (words[1], words[2])
        elif words[:1] == ['chain'] and words[-1] == '{':
            name = table + words[1]
            found[name] = ['']
        elif line == '}':
            name = None
        elif name and line and line[0] != '#':
            bare = _QUOTED.sub('', line)
            if bare.count('{') > bare.count('}'):
                # a set goes on in the next line
                part = line
                continue
            if line.startswith('type ') and len(found[name]) == 1:
                found[name][0] = line
            elif not line.startswith('comment "'):
                found[name].append(line)
        part = ''
    return found


def script(tool: str, chains: Dict[str, Optional[Chain]]) -> str:
    """What the tool's restore is given: exactly these chains, as one.

    :param chains: name -> the chain; None takes it away
    """
    if tool == 'nft':
        return ''.join(line + '\n' for line in _for_nft(chains))
    tables = {}  # type: Dict[str, Dict[str, Optional[Chain]]]
    for name, chain in sorted(chains.items()):
        _tool, table, inside = name.split(':', 2)
        tables.setdefault(table, {})[inside] = chain
    lines = []  # type: List[str]
    for table, some in sorted(tables.items()):
        lines += ['*' + table] + list(_for_save(tool, some))
        if tool != 'ebtables':
            lines.append('COMMIT')
    return '\n'.join(lines) + '\n'


def _for_save(tool: str, chains: Dict[str, Optional[Chain]]) -> Iterator[str]:
    counters = '' if tool == 'ebtables' else ' [0:0]'
    there = {name: chain for name, chain in chains.items() if chain}
    for name, chain in there.items():
        yield ':%s %s%s' % (name, chain[0], counters)
    # one that stays may be of one that goes, and the other way round
    for name in chains:
        yield '-F ' + name
    for name, chain in there.items():
        for rule in chain[1:]:
            yield '-A %s %s' % (name, rule)
    for name in set(chains) - set(there):
        yield '-X ' + name


def _for_nft(chains: Dict[str, Optional[Chain]]) -> Iterable[str]:
    there = {name: chain for name, chain in chains.items() if chain}
    first, then, last = [], [], []  # type: List[str], List[str], List[str]
    for name, chain in sorted(chains.items()):
        family, table, inside = name.split(':', 3)[1:]
        place = '%s %s %s' % (family, table, inside)
        if name in there and chain is not None:
            first.append('table %s %s {' % (family, table))
            first.append('chain %s {\n%s\n}\n}' % (inside, chain[0]))
            then += ['add rule %s %s' % (place, rule) for rule in chain[1:]]
        else:
            last.append('delete chain ' + place)
        first.append('flush chain ' + place)
    return first + then + last
