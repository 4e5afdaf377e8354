# SPDX-License-Identifier: Apache-2.0

"""libvirt's domains: through libvirt-python, or else virsh.

The connection is read-only. libvirt then leaves the passwords of VNC and
SPICE out by itself (``VIR_DOMAIN_XML_SECURE``); what an operator has put
elsewhere, such as into ``<qemu:commandline>``, is masked here.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import re
from typing import Any
from xml.etree import ElementTree  # nosec B405

from nova_recovery.host import commands
from nova_recovery.host.agent import virsh
from nova_recovery.host.commands import HostError

URI = 'qemu:///system'
MASK = '***'

# libvirt/include/libvirt/libvirt-domain.h: virDomainState, in virsh's words
_STATES = (
    'no state',
    'running',
    'idle',
    'paused',
    'in shutdown',
    'shut off',
    'crashed',
    'pmsuspended',
)

#: Attributes and elements that hold a secret.
_SECRET_ATTRIBUTES = ('passwd', 'password')
_SECRET_ELEMENTS = frozenset({'cookie', 'password', 'passphrase'})

# key=AQB…: in the names of rbd images (id=cinder:key=…), curl and the like
_KEY = re.compile(
    r'((?:key|secret|password|passwd|passphrase|token)=)[^\s:,;&"\'<]+',
    re.IGNORECASE,
)
_URL = re.compile(r'(\w[\w+.-]*://[^\s:/@]*):[^\s\'"/]*@')
_SECRET_NAME = re.compile(
    r'(pass|passwd|password|secret|token|key)$', re.IGNORECASE
)


@dataclasses.dataclass(frozen=True)
class Domain:
    """One domain, running or only defined.

    :ivar uuid: nova makes it the UUID of the server
    :ivar xml: as it is now, of a running one the live XML; masked
    :ivar disks: path or name of each disk's source -> its serial, which
        nova makes the id of the volume
    """

    uuid: str
    name: str
    state: str
    autostart: bool
    persistent: bool
    xml: str
    disks: dict[str, str]


def domains() -> list[Domain]:
    """The domains of this host, by name.

    :raises HostError: libvirt is not there, or doesn't answer
    """
    try:
        import libvirt
    except ImportError:
        found = _by_virsh()
    else:
        found = _by_libvirt(libvirt)
    return sorted(found, key=lambda domain: domain.name)


def masked(xml: str) -> str:
    """The XML of a domain without passwords and keys.

    :raises HostError: it is no XML
    """
    root = _parsed(xml)
    for element in root.iter():
        tag = str(element.tag).rpartition('}')[2]
        for name in _SECRET_ATTRIBUTES:
            if name in element.attrib:
                element.set(name, MASK)
        if tag in _SECRET_ELEMENTS and element.text:
            element.text = MASK
        # <qemu:env name="…" value="…"/>, <entry name="…">…</entry>
        if _SECRET_NAME.search(element.get('name', '')):
            if 'value' in element.attrib:
                element.set('value', MASK)
            elif tag == 'entry' and element.text:
                element.text = MASK
        for name, value in element.attrib.items():
            element.set(name, _text(value))
        if element.text and element.text.strip():
            element.text = _text(element.text)
    return ElementTree.tostring(root, encoding='unicode')


def disks(xml: str) -> dict[str, str]:
    """The serial of each disk by its source.

    :raises HostError: it is no XML
    """
    found = {}
    for disk in _parsed(xml).iter('disk'):
        source, serial = disk.find('source'), disk.findtext('serial')
        if source is None or not serial:
            continue
        for name in ('dev', 'file', 'name'):
            if source.get(name):
                found[source.attrib[name]] = serial
                break
    return found


def files(xml: str) -> list[str]:
    """The files of the disks that are no volumes, which have no serial.

    :raises HostError: it is no XML
    """
    return [
        source.attrib['file']
        for disk in _parsed(xml).iter('disk')
        if disk.get('device', 'disk') == 'disk' and not disk.findtext('serial')
        for source in disk.findall('source')
        if source.get('file')
    ]


def _text(value: str) -> str:
    return _KEY.sub(rf'\1{MASK}', _URL.sub(rf'\1:{MASK}@', value))


def _parsed(xml: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(xml)  # nosec B314
    except ElementTree.ParseError as error:
        raise HostError(
            'libvirt has a domain whose XML can not be read'
        ) from error


def _domain(
    uuid: str,
    name: str,
    state: str,
    autostart: bool,
    persistent: bool,
    xml: str,
) -> Domain:
    return Domain(
        uuid, name, state, autostart, persistent, masked(xml), disks(xml)
    )


def _by_libvirt(libvirt: Any) -> list[Domain]:
    # otherwise it writes each error to stderr itself
    libvirt.registerErrorHandler(lambda context, error: None, None)
    try:
        connection = libvirt.openReadOnly(URI)
        try:
            found = []
            for one in connection.listAllDomains():
                domain = _unless_gone(libvirt, _of_libvirt, one)
                if domain is not None:
                    found.append(domain)
            return found
        finally:
            connection.close()
    except libvirt.libvirtError as error:
        raise HostError(virsh.plain(str(error))) from error


def _of_libvirt(one: Any) -> Domain:
    state = one.state()[0]
    return _domain(
        one.UUIDString(),
        one.name(),
        _STATES[state] if 0 <= state < len(_STATES) else str(state),
        bool(one.autostart()),
        bool(one.isPersistent()),
        one.XMLDesc(0),
    )


def _unless_gone(
    libvirt: Any, ask: Callable[[Any], Domain], one: Any
) -> Domain | None:
    """None for a domain that was destroyed since it was listed."""
    try:
        return ask(one)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def _by_virsh() -> list[Domain]:
    found = []
    for uuid in _virsh('list', '--all', '--uuid').split():
        try:
            about = _fields(_virsh('dominfo', uuid))
            xml = _virsh('dumpxml', uuid)
        except commands.Failed as error:
            if 'failed to get domain' in error.said.lower():
                # destroyed since it was listed
                continue
            raise
        found.append(
            _domain(
                uuid,
                about.get('Name', ''),
                about.get('State', ''),
                about.get('Autostart') == 'enable',
                about.get('Persistent') == 'yes',
                xml,
            )
        )
    return found


def _virsh(*words: str) -> str:
    """What it prints.

    :raises HostError: what libvirt complains of, or there is no virsh
    """
    try:
        return commands.run(['virsh', '--readonly', '--connect', URI, *words])
    except commands.Failed as error:
        raise commands.Failed(virsh.plain(error.said), error.said) from error


def _fields(text: str) -> dict[str, str]:
    pairs = (line.partition(':') for line in text.splitlines())
    return {name.strip(): value.strip() for name, _colon, value in pairs}
