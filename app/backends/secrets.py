"""Keys of backends: encrypted in the database, or in an environment variable of the service.

An encrypted one is bound to its backend, that backend's URL and the header it is for, so that no row of the database,
changed by somebody, sends it elsewhere.
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

ENV = "env:"
VARIABLE = re.compile(r"ASSAY_BACKEND_[A-Z0-9_]{1,100}")
"""Variables that may be referred to; an admin of the API must not read the others of the service."""
SENDABLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,4094}[\x21-\x7e])?")
"""A header's value."""
_NONCE = 12


class SecretError(ValueError):
    """A key that cannot be kept, or cannot be had. The message says what to do, and never the key."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A header's value as it is stored: `source` is `env:NAME`, or the encrypted value in base64."""

    header: str
    scheme: str
    """What stands before it: nothing, or `Bearer `."""
    source: str

    @property
    def shown(self) -> str:
        """What may be told of it."""
        return self.source if self.source.startswith(ENV) else "stored"


class Vault:
    """Encrypts and decrypts with AES-256-GCM, by a key derived (HKDF) from ASSAY_SECRET_KEY."""

    def __init__(self, secret_key: SecretStr | None) -> None:
        self._cipher: AESGCM | None = None
        if secret_key is not None:
            derived = HKDF(SHA256(), 32, salt=None, info=b"assay backends").derive(
                secret_key.get_secret_value().encode()
            )
            self._cipher = AESGCM(derived)

    def keep(self, value: str, place: str) -> str:
        """What to store of a value: itself where it is `env:NAME`, else encrypted. Raises `SecretError`.

        `place` is what the value is bound to.
        """
        if value.startswith(ENV):
            name = value.removeprefix(ENV)
            if not VARIABLE.fullmatch(name):
                raise SecretError("a variable that is referred to is named ASSAY_BACKEND_ and more, in capitals")
            _of_environment(name)
            return value
        if not SENDABLE.fullmatch(value):
            raise SecretError("holds 1 to 4,096 printable ASCII characters, without spaces at its ends")
        if self._cipher is None:
            raise SecretError(
                "the service has no ASSAY_SECRET_KEY to encrypt it with: set that variable, or put the key into a "
                "variable of the service and send env:ASSAY_BACKEND_..."
            )
        nonce = os.urandom(_NONCE)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, value.encode(), place.encode())).decode()

    def value(self, source: str, place: str) -> str:
        """The value of what `keep` returned. Raises `SecretError`."""
        if source.startswith(ENV):
            return _of_environment(source.removeprefix(ENV))
        if self._cipher is None:
            raise SecretError("the service has no ASSAY_SECRET_KEY to decrypt it with")
        sealed = base64.b64decode(source)
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], place.encode()).decode()
        except InvalidTag:
            raise SecretError("it was stored under another ASSAY_SECRET_KEY; add the backend again") from None


def _of_environment(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not SENDABLE.fullmatch(value):
        raise SecretError(f"the service's environment has no usable {name}")
    return value
