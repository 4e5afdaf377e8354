# SPDX-License-Identifier: Apache-2.0

"""One option of nova.conf, without oslo.config."""

import glob
import os
import re
import socket
from typing import List, Optional, Sequence, Tuple

from nova_recovery.host.agent import files

_SECTION = re.compile(r'\[([^]]*)\]\s*$')
_OPTION = re.compile(r'([^\s=:#;\[][^=:]*?)\s*[=:]\s*(.*?)\s*$')


def value(
    paths: Sequence[str], name: str, section: str = 'DEFAULT'
) -> Tuple[Optional[str], Optional[str]]:
    """The last value that the files give to an option.

    :param paths: files, and directories whose ``*.conf`` count in the order
        of their names, as ``--config-file`` and ``--config-dir``
    :returns: (value, file); (None, None) where no file has it
    :raises OSError: one can't be read
    """
    found = (None, None)  # type: Tuple[Optional[str], Optional[str]]
    for path in expanded(paths):
        here = ''
        for line in files.read(path):
            match = _SECTION.match(line)
            if match:
                here = match.group(1)
                continue
            match = _OPTION.match(line)
            if match and here == section and match.group(1) == name:
                found = (_unquoted(match.group(2)), path)
    return found


def expanded(paths: Sequence[str]) -> List[str]:
    """The files that are there; a directory stands for its ``*.conf``."""
    found = []  # type: List[str]
    for path in paths:
        if os.path.isdir(path):
            found += sorted(glob.glob(os.path.join(path, '*.conf')))
        elif os.path.exists(path):
            found.append(path)
    return found


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in '\'"':
        return text[1:-1]
    return text


def host(paths: Sequence[str]) -> Tuple[Optional[str], str]:
    """What nova-compute calls itself, and where that is written.

    :returns: (name, file); the name is None where it can't be told, and the
        file then says why. Without the option nova takes the machine's name
        (nova/conf/netconf.py).
    """
    try:
        name, path = value(paths, 'host')
    except OSError as error:
        return None, '{}: {}'.format(error.filename, error.strerror)
    if name is None:
        return socket.gethostname(), 'the name of the machine'
    path = str(path)
    if not name or '$' in name:
        return None, '{}: host = {}'.format(path, name)
    return name, path
