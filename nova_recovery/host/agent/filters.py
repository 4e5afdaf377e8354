# SPDX-License-Identifier: Apache-2.0

"""The verb ``filters``: libvirt's network filters, and who refers to them."""

import argparse
import hashlib
import os
import re
from typing import Any, Callable, Collection, Dict, Iterator, List, Optional
from xml.etree import ElementTree  # nosec B405

from nova_recovery.host.agent import files, layout, programs, virsh
from nova_recovery.host.agent.lines import AgentError, Refused

HELP = 'network filters of libvirt: list, define, undefine one'

#: A rule of ebtables's, in a chain that libvirt made for an interface.
_CHAIN = re.compile('Bridge chain: (?:libvirt-)?[A-Z]+-([^ ,]+)')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument('action', choices=['list', 'define', 'undefine'])
    parser.add_argument('--name', help='which; for list: this one alone')
    parser.add_argument('--xml', help='for define: all of it, with its uuid')
    parser.add_argument(
        '--was',
        default='',
        help='SHA-256 of its XML as it was; none: not there',
    )


def run(parsed: argparse.Namespace, say: Callable[..., None]) -> int:
    found = layout.detect(parsed.set)
    if parsed.action == 'list':
        say('result', **look(found, parsed.name))
        return 0
    if os.geteuid():
        raise Refused('only root can change filters')
    with files.locked(os.path.join(parsed.home, 'filters.lock')):
        change(found, parsed.name, parsed.was, parsed.xml)
    say('result', done=True)
    return 0


def look(found: Dict[str, Any], name: Optional[str] = None) -> Dict[str, Any]:
    """The filters, the interfaces of guests, and the rules that there are.

    :param name: of the one that is looked at; None: all
    :returns: ``filters``: rows of ``name``, ``uuid``, ``refs`` (names) and,
        of the one, ``xml``; None with ``why`` where libvirt doesn't tell.
        ``uses``: rows of ``server``, ``domain``, ``nova``, ``active``,
        ``mac``, ``filter`` ('' for none), ``parameters`` and ``target`` (the
        device of one that runs). ``rules``: device -> how many rules ebtables
        has for it; None where that can't be told
    """
    said: Dict[str, Any] = {'filters': None, 'uses': [], 'why': ''}
    said['rules'] = None
    try:
        uuids = _uuids(found)
        if name is not None:
            uuids = {one: uuids[one] for one in uuids if one == name}
        said['filters'] = [
            _row(one, uuid, _xml(found, uuid), name is not None)
            for one, uuid in uuids.items()
        ]
        if name is None:
            said['uses'] = list(_uses(found))
    except AgentError as error:
        said.update(filters=None, why=str(error))
    if name is None:
        devices = {use['target'] for use in said['uses'] if use['target']}
        said['rules'] = _rules(found, devices)
    return said


def _uuids(found: Dict[str, Any]) -> Dict[str, str]:
    """Those that are defined, by name."""
    lines = virsh.run(found, 'nwfilter-list').splitlines()
    pairs = [line.split(None, 1) for line in lines if line.split()]
    return {name.strip(): uuid for uuid, name in pairs}


def _xml(found: Dict[str, Any], uuid: str) -> str:
    # a name may have a quote in it, or begin as an option does
    return virsh.run(found, 'nwfilter-dumpxml {}'.format(uuid)).strip()


def _row(name: str, uuid: str, text: str, whole: bool) -> Dict[str, Any]:
    # libvirt escapes no name: one of somebody else's may have a quote in it
    bare = text.replace(" name='{}'".format(name), '', 1)
    top = virsh.parsed(bare, 'nwfilter-dumpxml {}'.format(name))
    return {
        'name': name,
        'uuid': uuid,
        'refs': [one.get('filter') for one in top.findall('filterref')],
        'xml': text if whole else None,
    }


def _uses(found: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """As they run, and as they are defined where that differs."""
    for row in virsh.domains(found):
        seen = []
        words = ['--inactive', ''] if row['active'] else ['--inactive']
        for word in reversed(words):
            text = virsh.run(found, 'dumpxml {} {}'.format(word, row['uuid']))
            top = virsh.parsed(text, 'dumpxml {}'.format(row['name']))
            for one in top.iterfind('./devices/interface'):
                made = _interface(one)
                if (made['mac'], made['filter']) not in seen:
                    seen.append((made['mac'], made['filter']))
                    yield dict(
                        made,
                        server=row['uuid'],
                        domain=row['name'],
                        nova=row['nova'],
                        active=row['active'] and not word,
                    )


def _interface(one: ElementTree.Element) -> Dict[str, Any]:
    mac, target = one.find('mac'), one.find('target')
    return {
        'mac': '' if mac is None else mac.get('address', ''),
        'target': '' if target is None else target.get('dev', ''),
        'filter': ''.join(
            r.get('filter', '') for r in one.iterfind('filterref')
        ),
        'parameters': {
            p.get('name'): p.get('value')
            for p in one.iterfind('./filterref/parameter')
        },
    }


def _rules(
    found: Dict[str, Any], devices: Collection[str]
) -> Optional[Dict[str, int]]:
    """How many there are for each device; None where that can't be told."""
    words = ['ebtables', '-t', 'nat', '-L']
    try:
        code, printed, _complained = programs.run(words)
        if code and found['exec_prefix']:
            code, printed, _complained = programs.run(
                list(found['exec_prefix']) + words
            )
    except AgentError:
        return None
    if code:
        return None
    counts: Dict[str, int] = {}
    mine: List[str] = []
    for line in printed.splitlines():
        if line.startswith('Bridge chain'):
            match = _CHAIN.match(line)
            # I-vnet0-mac: a chain of the protocol; tap0a1b2c3d-4e is a device
            chain = match.group(1) + '-' if match else ''
            mine = [one for one in devices if chain.startswith(one + '-')]
        elif line.strip():
            for device in mine:
                counts[device] = counts.get(device, 0) + 1
    return counts


def change(
    found: Dict[str, Any], name: str, was: str, xml: Optional[str]
) -> None:
    """Define a filter, or take it away, if it is as it was.

    :param was: SHA-256 of its XML; '': it is not there
    :param xml: as it shall be; None: not there
    :raises Refused: it is not as it was, or in use; nothing was changed
    """
    uuid = _uuids(found).get(name)
    now = None if uuid is None else _xml(found, uuid)
    digest = hashlib.sha256((now or '').encode()).hexdigest() if now else ''
    if digest != was:
        raise Refused('{}: it is not as it was'.format(name))
    if xml is not None:
        virsh.order(found, 'nwfilter-define', virsh.INPUT, text=xml)
        return
    try:
        virsh.order(found, 'nwfilter-undefine', name)
    except AgentError as error:
        raise Refused(str(error)) from None
