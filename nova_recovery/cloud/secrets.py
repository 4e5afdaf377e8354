# SPDX-License-Identifier: Apache-2.0

"""The one place where secrets are masked.

Database URLs, ``connection_info``, connectors and free text such as the
words of an exception go through here before anybody sees them.
"""

from __future__ import annotations

from collections.abc import Mapping
import json
import re
from typing import Any
import urllib.parse

MASK = '***'

# the last word of a key says what it holds: auth_password, keyring,
# discovery_auth_password, X-Auth-Token. 'secret_uuid' and 'secret_type' only
# name the libvirt secret and are needed to understand an rbd volume.
_SECRET_KEY = re.compile(
    r'(password|passwd|passphrase|secret|token|credentials?'
    r'|keyring|psk|(?:access|secret|private|encryption|auth|api|cephx?|dhchap'
    r'|hmac|account|storage)[_-]?key|^key)$',
    re.IGNORECASE,
)

# scheme://user:PASSWORD@host, greedy up to the last @ before a blank or a
# slash: a password with a bare @ must not show its second half
_URL_PASSWORD = re.compile(r'(\w[\w+.-]*://[^\s:/@]*):[^\s\'"]*@')

_NAMED_SECRET = re.compile(
    r'((?:\b|_|(?<=[\'"]))(?:password|passwd|passphrase|secret|token'
    r'|keyring|secret_key|access_key|transport_url|connection(?=\s*=))'
    r'[\'"]?\s*[=:]\s*[u]?)(\'[^\']*\'|"[^"]*"|[^\s,;&)}\]]+)',
    re.IGNORECASE,
)


def mask_url(url: str) -> str:
    """Return a URL without its password.

    A query parameter is masked where its name says that it is a secret.
    What can't be read as a URL is masked as a whole: it may be anything.
    """
    parts = urllib.parse.urlsplit(url)
    if not parts.scheme or '://' not in url:
        return MASK
    credentials, at, place = parts.netloc.rpartition('@')
    if at:
        user = credentials.partition(':')[0]
        place = f'{user}:{MASK}@{place}'
    query = '&'.join(
        f'{name}={MASK}' if _is_secret(name) else f'{name}{equals}{value}'
        for name, equals, value in (
            pair.partition('=') for pair in parts.query.split('&')
        )
    )
    path = parts.path
    if '@' in path or '@' in query:
        # a bare slash or question mark in the password: what urlsplit took
        # for the path is the rest of the password
        return f'{parts.scheme}://{MASK}'
    return f'{parts.scheme}://{place}{path}' + (f'?{query}' if query else '')


def mask(value: Any) -> Any:
    """Return a copy of plain data with what its keys call secret masked.

    Strings that hold a JSON object (nova's ``connection_info``, cinder's
    ``connector``) are masked inside and stay JSON.
    """
    if isinstance(value, Mapping):
        return {
            key: MASK
            if _is_secret(str(key)) and inner not in (None, '')
            else mask(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(mask(inner) for inner in value)
    if isinstance(value, str):
        return _mask_string(value)
    return value


def mask_text(text: str) -> str:
    """Return free text, such as an exception's, without its secrets."""
    text = _URL_PASSWORD.sub(rf'\1:{MASK}@', text)
    return _NAMED_SECRET.sub(_mask_named, text)


def _mask_named(match: re.Match[str]) -> str:
    value = match.group(2)
    if '://' in value:
        return match.group(1) + value
    quote = value[0] if value[0] in '\'"' else ''
    return f'{match.group(1)}{quote}{MASK}{quote}'


def _mask_string(text: str) -> str:
    if text[:1] in ('{', '['):
        try:
            data = json.loads(text)
        except ValueError:
            return mask_text(text)
        return json.dumps(mask(data))
    return mask_text(text)


def _is_secret(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None
