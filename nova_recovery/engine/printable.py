# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Names that tenants chose, on the terminals of operators."""

from __future__ import annotations


def clean(text: object) -> str:
    """The text on one line and harmless for a terminal.

    Tenants name servers as they like; what moves the cursor, colours the
    screen or turns the direction of writing is shown as its escape.
    """
    return ''.join(
        one if one.isprintable() else one.encode('unicode_escape').decode()
        for one in str(text)
    )


def lines(text: str) -> str:
    """The same, with its lines as they are."""
    return '\n'.join(clean(line) for line in text.split('\n'))
