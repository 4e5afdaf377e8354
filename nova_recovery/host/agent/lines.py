# SPDX-License-Identifier: Apache-2.0

"""What the agent says: one JSON object a line, in ASCII.

A name of a file is bytes, JSON is not. ``path`` is text to read, in which a
byte that is no UTF-8 stands as ``\\xff`` and a backslash of the name's own is
left alone; where there is such a byte, ``path_base64`` has the exact bytes
beside it. A path without ``path_base64`` is exact as it stands.
"""

import base64
import errno
import json
import sys
from typing import Any, Dict


class AgentError(Exception):
    """What can't go on; says what to do."""


class Refused(AgentError):
    """What a gate forbids; nothing was changed."""


class Usage(AgentError):
    """What was typed makes no sense; says what to type."""


def say(event: str, **fields: Any) -> None:
    """Print one line at once: who reads it may be a person or a program."""
    line = json.dumps(dict(fields, event=event), sort_keys=True)
    sys.stdout.write(line + '\n')
    sys.stdout.flush()


def path_fields(path: bytes, name: str = 'path') -> Dict[str, str]:
    """The fields of a line that say exactly which file is meant."""
    try:
        return {name: path.decode('utf-8')}
    except UnicodeDecodeError:
        return {
            name: path.decode('utf-8', 'backslashreplace'),
            name + '_base64': base64.b64encode(path).decode('ascii'),
        }


def marked(mark: str, code: int, text: str) -> str:
    """All lines of a verb as one, which survives what surrounds it.

    ``nova-recovery:MARK:EXIT CODE:BASE64:end`` between line ends: ptys put a
    CR before a line end, banners and sudo write before it, and who is cut
    off never writes the end.
    """
    return '\nnova-recovery:{}:{}:{}:end\n'.format(
        mark, code, base64.b64encode(text.encode()).decode()
    )


def code(error: OSError) -> str:
    """Its name in errno.h."""
    return errno.errorcode.get(error.errno or 0, 'error')


def loads(data: bytes) -> Any:
    """What one line said."""
    return json.loads(data.decode('ascii'))
