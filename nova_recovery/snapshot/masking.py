# SPDX-License-Identifier: Apache-2.0

"""Rows without their secrets, fast enough for hundreds of thousands.

What is secret is decided by :mod:`nova_recovery.cloud.secrets` alone; here
only its verdict on a key is remembered, and strings that it can't find
anything in are spared.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Any

from nova_recovery.cloud import secrets

_ENCODE = json.JSONEncoder(separators=(',', ':')).encode

#: What kernels and mount programs take, in /proc/mounts and /etc/fstab.
_OPTION = re.compile(
    r'((?:^|[,\s])(?:secret|pass|password2?|passwd|key|token|keyring)=)'
    r'[^,\s]*',
    re.IGNORECASE,
)


def masked(value: Any) -> Any:
    """As :func:`secrets.mask`: what ``json.loads`` gave without secrets."""
    kind = type(value)
    if kind is str:
        if value.startswith('iqn.'):
            # the name of an iSCSI target, in each of very many rows
            return value
        # a secret inside of a string is named with = or :, or is JSON, or
        # stands behind an option
        if '=' in value or ':' in value or ' -' in value or value[:1] in '{[-':
            return _string(value)
        return value
    if kind is dict:
        return {
            key: secrets.MASK
            if secrets.is_secret(str(key)) and inner not in (None, '')
            else masked(inner)
            for key, inner in value.items()
        }
    if kind is list:
        return [masked(inner) for inner in value]
    return value


# portals and the like are the same for many volumes
@functools.lru_cache(maxsize=1024)
def _string(value: str) -> str:
    return str(secrets.mask(value))


def text(value: str | None) -> str | None:
    """JSON text without its secrets; what is no JSON is masked whole."""
    if not value:
        return None
    try:
        data = json.loads(value)
    except ValueError:
        return secrets.MASK
    if data is None:
        return None
    return compact(masked(data))


def compact(value: Any) -> str:
    """JSON without blanks."""
    return _ENCODE(value)


def pair(key: str | None, value: Any) -> Any:
    """The value that stands beside a key, masked if the key says so."""
    if value not in (None, '') and secrets.is_secret(key or ''):
        return secrets.MASK
    return masked(value)


def options(line: str) -> str:
    """Mount options or a line of fstab without keys and passwords.

    Of ``user=name%password`` (CIFS) the name stays. Names of files with
    credentials stay too.
    """
    line = re.sub(
        r'((?:^|[,\s])user(?:name)?=[^,\s%]*%)[^,\s]*',
        rf'\g<1>{secrets.MASK}',
        line,
    )
    # //user:password@server/share and the like
    line = re.sub(r'(//[^\s:/@]*):[^\s/]*@', rf'\1:{secrets.MASK}@', line)
    return _OPTION.sub(rf'\g<1>{secrets.MASK}', line)
