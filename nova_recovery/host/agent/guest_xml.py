# SPDX-License-Identifier: Apache-2.0

"""What the guide changes in the XML of a guest, and nothing else of it.

The address that its console listens on, and DHCPSERVER of its interfaces.
Their values are exchanged where they stand, so that all else stays to the
byte. Nothing is expanded or fetched: a text with a DOCTYPE is refused.
"""

import re
from typing import Dict, List, NamedTuple, Optional, Tuple
from xml.parsers import expat  # nosec B407

from nova_recovery.host.agent.lines import AgentError

#: What the console is called among the values; an interface is its MAC.
VNC = 'vnc'
_PARAMETER = 'DHCPSERVER'


class _Spot(NamedTuple):
    """Where a value stands: the bytes between its quotes."""

    what: str
    value: str
    begin: int
    end: int


class _Reader:
    """Finds the values in one text."""

    def __init__(self, text: bytes) -> None:
        self.spots: List[_Spot] = []
        #: MAC -> where the interface begins and ends
        self.interfaces: Dict[str, Tuple[int, int]] = {}
        self._text = text
        self._path: List[str] = []
        self._vnc = False
        self._began = 0
        self._mac: Optional[str] = None
        self._servers: List[_Spot] = []
        # whatever encoding the text claims to have
        self._parser = expat.ParserCreate('utf-8')
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        try:
            self._parser.Parse(text, True)
        except expat.ExpatError as error:
            raise AgentError('XML of a guest: {}'.format(error)) from None

    def _doctype(self, *_words: object) -> None:
        raise AgentError('XML of a guest: it has a DOCTYPE')

    def _start(self, name: str, has: Dict[str, str]) -> None:
        self._path.append(name)
        path = self._path[1:]
        if path == ['devices', 'graphics']:
            self._vnc = has.get('type') == 'vnc'
            if self._vnc and 'listen' in has:
                self.spots.append(self._spot(VNC, 'listen', has))
        elif path == ['devices', 'graphics', 'listen']:
            if self._vnc and has.get('type') == 'address' and 'address' in has:
                self.spots.append(self._spot(VNC, 'address', has))
        elif path == ['devices', 'interface']:
            self._began, self._mac = self._parser.CurrentByteIndex, None
            self._servers = []
        elif path == ['devices', 'interface', 'mac']:
            self._mac = has.get('address', '').lower()
        elif path == ['devices', 'interface', 'filterref', 'parameter']:
            if has.get('name') == _PARAMETER and 'value' in has:
                self._servers.append(self._spot('', 'value', has))

    def _end(self, _name: str) -> None:
        if self._path[1:] == ['devices', 'interface'] and self._mac:
            end = self._text.index(b'>', self._parser.CurrentByteIndex) + 1
            self.interfaces[self._mac] = (self._began, end)
            self.spots += [
                one._replace(what=self._mac) for one in self._servers
            ]
        self._path.pop()

    def _spot(self, what: str, name: str, has: Dict[str, str]) -> _Spot:
        """Of an attribute of the tag that begins here."""
        found = re.compile(
            b'<[^\\s/>]+(?:\\s+[^\\s=]+\\s*=\\s*(?:"[^"]*"|\'[^\']*\'))*?'
            b'\\s+' + name.encode() + b'\\s*=\\s*(?:"([^"]*)"|\'([^\']*)\')'
        ).match(self._text, self._parser.CurrentByteIndex)
        if found is None:
            raise AgentError('XML of a guest: no {} found'.format(name))
        return _Spot(what, has[name], *found.span(found.lastindex or 0))


def values(text: bytes) -> Dict[str, str]:
    """What it says.

    :returns: ``vnc`` -> the address of the console, '' where it has none,
        and the MAC of each interface -> DHCPSERVER of its filter, '' where
        it has none; several that differ, with commas
    :raises AgentError: it is no XML, or none that is read
    """
    read = _Reader(text)
    found = {}
    for what in [VNC] + sorted(read.interfaces):
        mine = {spot.value for spot in read.spots if spot.what == what}
        found[what] = ', '.join(sorted(mine))
    return found


def exchanged(text: bytes, what: str, was: str, shall: str) -> bytes:
    """The same with another value, wherever it is the one that it was.

    :param what: as in :func:`values`
    """
    for spot in reversed(_Reader(text).spots):
        if (spot.what, spot.value) == (what, was):
            text = text[: spot.begin] + shall.encode() + text[spot.end :]
    return text


def interface(text: bytes, mac: str) -> bytes:
    """The XML of an interface alone.

    :raises AgentError: there is none
    """
    found = _Reader(text).interfaces.get(mac)
    if found is None:
        raise AgentError('no interface {}'.format(mac))
    return text[found[0] : found[1]]
