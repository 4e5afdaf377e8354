# SPDX-License-Identifier: Apache-2.0

"""The one place where secrets are masked.

Database URLs, ``connection_info``, connectors, command lines and free text
such as the words of an exception go through here before anybody sees them.
What is a secret is told by the name that stands before it, in all of them by
the same rule: :func:`is_secret`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import functools
import json
import re
from typing import Any

MASK = '***'

# The words of a key: auth_password, X-Auth-Token, adminPass, APIKey.
_WORD = re.compile(r'[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+')
#: Behind the word that says what it is: password_0, ssh_private_key_pem.
_BEHIND = frozenset(
    'pem der hash hashed value b64 base64 text plain plaintext data enc '
    'encrypted old new current'.split()
)
_SECRETS = frozenset(
    'pass pwd pswd pw jwt bearer authorization cookie otp'.split()
)
#: Written together with what is before them, too: serverpassword.
_ENDINGS = tuple(
    'password passwords passwd passphrase passcode secret secrets token '
    'tokens credential credentials keyring keyrings psk'.split()
)
#: What makes a key a secret one; a public key is none, and secret_uuid only
#: names the libvirt secret, which is needed to understand an rbd volume.
_KEYS = frozenset(
    'access secret private encryption auth api ceph cephx dhchap hmac '
    'account storage ssl tls'.split()
)

#: Options of the client whose abbreviations are taken too (argparse).
_OPTIONS = (
    '--os-password',
    '--os-passcode',
    '--os-token',
    '--os-access-token',
    '--os-application-credential-secret',
    '--os-client-secret',
    '--os-consumer-secret',
    '--os-oauth2-client-secret',
    '--os-authorization-code',
    '--os-code',
)

#: Programs whose -p, -P or -k is followed by a secret.
_PROGRAM = re.compile(r'\b(?:ipmi\w+|fence_\w+|sshpass|racadm|mysql\w*)\b')
_SHORT = re.compile(r'(?<!\S)(-[pPk])\s+[^\s-]\S*')
_CURL = re.compile(r'(?<!\S)(-u\s+[^\s:]+):\S+')
_LONG = re.compile(r'(?<!\S)(--?[A-Za-z][\w-]*)\s+(?=[^\s-])')
_HEADER = re.compile(
    r'\b((?:Authorization|Cookie)\\*["\']?\s*[:=]\s*\\*["\']?)[^"\'\\\r\n]+'
    r'|\b((?:Bearer|Basic)\s+)[\w.~+/=-]{6,}',
    re.IGNORECASE,
)

# A name and what stands between it and its value: ``password=``,
# ``"password": ``, ``\"password\": `` (JSON in JSON), ``'password' => ``
_KEY = re.compile(
    r'((?:--)?[A-Za-z][\w.-]*)\\*["\']?\s*(?:=>|[=:])\s*(?:[ub](?=["\']))?'
)
_VALUE = re.compile(
    r'"(?:[^"\\]|\\.)*"'
    r"|'(?:[^'\\]|\\.)*'"
    r'|\\+["\'].*?\\+["\']'
    r'|\[[^\]]*\]|\{[^{}]*\}'
    r'|[^\s,;&)}\]]+',
    re.DOTALL,
)
_JSON = re.compile(r'\{\\*"|\[\s*[{"]')
#: So many beginnings of JSON in a text are tried.
_TRIES = 100

_URL = re.compile(r'\b([A-Za-z][\w+.-]*)://([^\s\'"<>]+)')
# mysql://nova:two words@db1/nova, but not "mysql://db1:3306 as nova@db1:1"
_BLANK = re.compile(
    r'\b((?!http|ws)\w[\w+.-]*://[^\s:/@\'"]*):(?!\d+\s)[^\s\'"/@]*'
    r'(?: [^\s\'"/@]+)+@(?=[\w.\[\]:-]+[/:])'
)
#: Of these a slash ends the server's name, whatever follows.
_WEB = frozenset({'http', 'https', 'ws', 'wss'})
_NO_PASSWORD = re.compile(r'[^:/@]*(?::\d+)?/[^@]*')


@functools.lru_cache(maxsize=8192)
def is_secret(key: str) -> bool:
    """Whether the value beside a key, an option or a variable is one."""
    words = [word.lower() for word in _WORD.findall(key)]
    if words == ['key']:
        return True
    while len(words) > 1 and (words[-1].isdigit() or words[-1] in _BEHIND):
        del words[-1]
    if not words:
        return False
    last = words[-1]
    if last in _SECRETS or last.endswith(_ENDINGS):
        return True
    if last in ('key', 'keys'):
        return len(words) > 1 and words[-2] in _KEYS
    return any(last.startswith(f'{kind}key') for kind in _KEYS)


def mask_url(url: str) -> str:
    """Return a URL without its password.

    A query parameter is masked where its name says that it is a secret.
    What can't be read as a URL is masked as a whole: it may be anything.
    """
    scheme, mark, rest = url.partition('://')
    if not mark or not re.fullmatch(r'[A-Za-z][\w+.-]*', scheme):
        return MASK
    body, question, query = _without_password(scheme, rest).partition('?')
    pairs = (pair.partition('=') for pair in query.split('&'))
    shown = '&'.join(
        f'{name}={MASK}' if equals and is_secret(name) else name + equals + v
        for name, equals, v in pairs
    )
    return f'{scheme}://{body}{question}{shown}'


def mask(value: Any) -> Any:
    """Return a copy of plain data with what its keys call secret masked.

    Strings that hold a JSON object (nova's ``connection_info``, cinder's
    ``connector``) are masked inside and stay JSON.
    """
    if isinstance(value, Mapping):
        return {
            key: MASK
            if inner not in (None, '') and is_secret(str(key))
            else mask(inner)
            for key, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return type(value)(mask(inner) for inner in value)
    if isinstance(value, str):
        return _mask_string(value)
    return value


def mask_text(text: str) -> str:
    """Return free text, such as an exception's, without its secrets."""
    text = _mask_json(text)
    text = _BLANK.sub(rf'\1:{MASK}@', text)
    text = _URL.sub(
        lambda url: f'{url[1]}://{_without_password(url[1], url[2])}', text
    )
    text = _HEADER.sub(lambda found: f'{found[1] or found[2]}{MASK}', text)
    text = _masked_values(text, _LONG, is_secret_option)
    text = _CURL.sub(rf'\1:{MASK}', text)
    if _PROGRAM.search(text):
        text = _SHORT.sub(rf'\1 {MASK}', text)
    return _masked_values(text, _KEY, _is_secret_name)


def mask_command(words: Sequence[str]) -> list[str]:
    """The words of a command line, without secrets."""
    shown: list[str] = []
    hide = False
    for word in words:
        name, equals, _ = word.partition('=')
        secret = name.startswith('-') and is_secret_option(name)
        if hide:
            shown.append(MASK)
        elif secret and equals:
            shown.append(f'{name}={MASK}')
        else:
            shown.append(mask_text(word))
        hide = secret and not equals and not hide
    return shown


def is_secret_option(name: str) -> bool:
    """Whether a secret follows an option, abbreviated as argparse allows."""
    if is_secret(name):
        return True
    # -p and --os are of others too, and ambiguous
    return len(name) > len('--os-') and _begins(name, _OPTIONS)


def _begins(name: str, options: Iterable[str]) -> bool:
    return any(option.startswith(name.lower()) for option in options)


def _without_password(scheme: str, rest: str) -> str:
    """What stands behind ``scheme://``, without the password in it.

    Up to the last @: a password with a bare one must not show its second
    half. That it isn't of the query or the path is sure on the web, and
    where a port and a slash are before it.
    """
    end = len(rest)
    if scheme.lower() in _WEB:
        end = min((at for at in map(rest.find, '/?#') if at >= 0), default=end)
    elif _NO_PASSWORD.fullmatch(rest.partition('?')[0]) and '?' in rest:
        end = rest.index('?')
    before, at_sign, place = rest[:end].rpartition('@')
    user, colon, _ = before.partition(':')
    if not at_sign or not colon or '/' in user or before == 'USER:PASSWORD':
        return rest
    return f'{user}:{MASK}@{place}{rest[end:]}'


def _mask_json(text: str) -> str:
    """The JSON within a text, such as the body of an answer, masked."""
    decoder = json.JSONDecoder()
    done, shown = 0, []
    for number, found in enumerate(_JSON.finditer(text)):
        if number >= _TRIES:
            break
        if found.start() < done:
            continue
        try:
            value, end = decoder.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            continue
        masked = mask(value)
        if masked != value:
            shown += [text[done : found.start()], json.dumps(masked)]
            done = end
    return ''.join([*shown, text[done:]])


def _masked_values(text: str, names: re.Pattern[str], secret: Any) -> str:
    """The text with the values masked that stand behind such names."""
    done, shown = 0, []
    for found in names.finditer(text):
        if found.start() < done or not secret(found[1]):
            continue
        value = _VALUE.match(text, found.end())
        if value is None or _is_placeholder(found[1], value[0]):
            continue
        if found[1].lower() in _URLS and (
            '://' in value[0] or '=' not in found[0]
        ):
            # done already, or a sentence
            continue
        quote = re.match(r'\\*["\']', value[0])
        edge = quote[0] if quote else ''
        shown += [text[done : found.end()], edge, MASK, edge]
        done = value.end()
    return ''.join([*shown, text[done:]])


def _is_placeholder(name: str, value: str) -> bool:
    """Whether it is ``KEY=VALUE`` or ``key: no``, not the key of Ceph."""
    return name.lower() == 'key' and not re.search(r'[\d+/=]', value)


#: Options that hold a URL, or what was meant to be one.
_URLS = frozenset({'transport_url', 'connection', 'slave_connection'})


def _is_secret_name(name: str) -> bool:
    if name.startswith('--'):
        return is_secret_option(name)
    return is_secret(name) or name.lower() in _URLS


def _mask_string(text: str) -> str:
    if text[:1] in ('{', '['):
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            return mask_text(text)
        return json.dumps(mask(data))
    return mask_text(text)
