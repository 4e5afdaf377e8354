# SPDX-License-Identifier: Apache-2.0

"""libvirt's guests, asked through the virsh that lies beside libvirt."""

import os
import re
from typing import Any, Dict, List, Optional
from xml.etree import ElementTree  # nosec B405

from nova_recovery.host.agent import programs
from nova_recovery.host.agent.lines import AgentError

#: Of what nova writes into a domain (LibvirtConfigGuestMetaNovaInstance).
_NOVA = '{http://openstack.org/xmlns/libvirt/nova/'
#: instance_name_template; novas before Juno wrote nothing else
_NAMED = re.compile(r'instance-[0-9a-f]{8}$')
#: The file that has what virsh is given to read.
INPUT = '/dev/stdin'
#: Seconds; a destroy waits for what is in flight.
_PATIENCE = 60
#: What stands in the words of libvirt -> what is so, and what next
#: (src/rpc/virnetsocket.c, virnetclient.c, src/qemu/qemu_domainjob.c).
_WORDS = (
    (
        'socket.*(No such file|Connection refused)',
        'libvirt does not run there: start libvirtd, or virtqemud',
    ),
    (
        'Permission denied|uthentication (failed|unavailable)|'
        'authorization|access denied',
        'libvirt refuses this account: become root, or join the group libvirt',
    ),
    (
        'connection reset|client socket is closed|end of file',
        'libvirt broke the connection off: look at its log',
    ),
    ('[Dd]omain not found|failed to get domain', 'libvirt has no such guest'),
    (
        'cannot acquire state change lock',
        'another operation holds the guest: wait for its end, or look at '
        'virsh domjobinfo',
    ),
    (
        'no connection driver',
        'libvirt there has no driver for qemu: install it',
    ),
)
#: So much of what is not known is quoted.
_QUOTED = 200


def plain(text: str) -> str:
    """What libvirt complains of, one line with what to do.

    What is not known is quoted, without what virsh says before.
    """
    for words, told in _WORDS:
        if re.search(words, text, re.IGNORECASE):
            return told
    left = text.split('error: ')[-1].strip()
    return (
        'libvirt says "{}"'.format(left[:_QUOTED])
        if left
        else ('libvirt does not say why; look at its log')
    )


def run(found: Dict[str, Any], *words: str) -> str:
    """What one call of virsh prints, which must not write.

    :param found: as :func:`layout.detect`
    :param words: of virsh; each a command with its options
    :raises AgentError: libvirt is not there, or doesn't answer
    """
    uri = ['--readonly', '--quiet', '--connect', found['libvirt_uri']]
    code, printed, complained = programs.run(
        list(found['exec_prefix']) + ['virsh'] + uri + ['; '.join(words)]
    )
    if code:
        raise AgentError(plain(complained))
    return printed


def order(
    found: Dict[str, Any], *words: str, text: Optional[str] = None
) -> str:
    """Have virsh do something; what it prints.

    :param text: what it finds in the file ``INPUT``
    :raises AgentError: it did not
    """
    prefix = list(found['exec_prefix'])
    if text is not None and prefix[1:2] == ['exec']:
        # docker and podman give a program nothing to read without it
        prefix.insert(2, '-i')
    code, printed, complained = programs.run(
        prefix
        + ['virsh', '--quiet', '--connect', found['libvirt_uri']]
        + list(words),
        _PATIENCE,
        text or '',
    )
    if code:
        raise AgentError(
            'virsh {}: {}'.format(' '.join(words), plain(complained))
        )
    return printed


def parsed(text: str, what: str) -> ElementTree.Element:
    """What virsh printed; it is of libvirt itself, without what is secret.

    :param what: its command, with the name of what it is of
    :raises AgentError: it is no XML
    """
    try:
        return ElementTree.fromstring(text)  # nosec B314
    except ElementTree.ParseError as error:
        raise AgentError('virsh {}: {}'.format(what, error)) from None


def domains(found: Dict[str, Any]) -> List[Dict[str, Any]]:
    """The guests that libvirt knows, running or only defined.

    :returns: rows of ``uuid``, ``name``, ``active`` (it has a process),
        ``state`` (virsh's word), ``nova`` (nova made it), ``vnc`` (the
        address that its console listens on; '' where there is none),
        ``dhcp_server`` (of its filters), and ``disks``: the kernel's name of
        each disk that is a device -> its serial, which nova makes the id of
        the volume ('' where there is none); ``network``: the same of disks
        that qemu itself reaches, such as ``rbd:POOL/IMAGE``; ``serials``: of
        all disks that have one
    :raises AgentError: that can't be known
    """
    uuids = run(found, 'list --all --uuid').split()
    if not uuids:
        return []
    text = run(found, *['dumpxml {}'.format(uuid) for uuid in uuids])
    states = run(found, *['domstate {}'.format(uuid) for uuid in uuids])
    words = [line.strip() for line in states.splitlines() if line.strip()]
    top = parsed('<domains>{}</domains>'.format(text), 'dumpxml')
    rows = [_row(domain) for domain in top.findall('domain')]
    if not len(rows) == len(words) == len(uuids):
        raise AgentError('virsh: guests came or went meanwhile; look again')
    return [dict(row, state=word) for row, word in zip(rows, words)]


def _row(domain: ElementTree.Element) -> Dict[str, Any]:
    graphics = domain.find("./devices/graphics[@type='vnc']")
    servers = {
        parameter.get('value', '')
        for parameter in domain.iter('parameter')
        if parameter.get('name') == 'DHCPSERVER'
    }
    return {
        'uuid': domain.findtext('uuid', ''),
        'name': domain.findtext('name', ''),
        'active': 'id' in domain.attrib,
        'nova': bool(_NAMED.match(domain.findtext('name', '')))
        or any(_NOVA in str(one.tag) for one in domain.iter()),
        'vnc': '' if graphics is None else graphics.get('listen', ''),
        'dhcp_server': ', '.join(sorted(servers)),
        'disks': _disks(domain),
        'serials': sorted(
            serial.text.strip()
            for serial in domain.findall('./devices/disk/serial')
            if serial.text and serial.text.strip()
        ),
        'network': {
            '{}:{}'.format(source.get('protocol'), source.get('name')): (
                disk.findtext('serial') or ''
            ).strip()
            for disk in domain.iter('disk')
            for source in disk.findall('source')
            if source.get('protocol')
        },
    }


def _disks(domain: ElementTree.Element) -> Dict[str, str]:
    return {
        os.path.basename(os.path.realpath(source.attrib['dev'])): (
            disk.findtext('serial') or ''
        ).strip()
        for disk in domain.iter('disk')
        for source in disk.findall('source')
        if source.get('dev')
    }
