"""Personal data at rest: AES-256-GCM for what is read back, a keyed hash for what is only looked up.

The keys live here, in the only module state of the store, because SQLAlchemy builds column types at import time.
Each ciphertext begins with the id of its key, so an old key stays readable after a new one is put in front. Hashes
have no such mark and go on with the oldest key, or whoever was known before a change would not be found after it.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
_NONCE_BYTES = 12
_ID_BYTES = 4


class EncryptionError(Exception):
    """A key is missing, malformed or wrong; the sentence says which."""


class _Key:
    def __init__(self, raw: bytes) -> None:
        self.id = hashlib.sha256(b"officer-key-id" + raw).digest()[:_ID_BYTES]
        self.cipher = AESGCM(raw)
        self.index = hashlib.sha256(b"officer-blind-index" + raw).digest()


_keys: dict[bytes, _Key] = {}
_in_use: list[_Key] = []  # for encrypting, and for what is looked up


def new_key() -> str:
    """A fresh key in the form settings carry it: 32 random bytes, URL-safe base64."""
    return base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def use_keys(current: str, *previous: str) -> None:
    """Encrypt with `current` from now on; read what any of the keys wrote. `previous`: the oldest last."""
    keys = [_Key(_decode(text)) for text in (current, *previous)]
    _keys.clear()
    _keys.update({key.id: key for key in keys})
    _in_use[:] = [keys[0], keys[-1]]


def _decode(text: str) -> bytes:
    try:
        raw = base64.urlsafe_b64decode(text.encode())
    except ValueError as error:
        raise EncryptionError("the data key is not base64; make one with: python -m bot new-key") from error
    if len(raw) != KEY_BYTES:
        raise EncryptionError(f"the data key has {len(raw)} bytes instead of 32; make one with: python -m bot new-key")
    return raw


def _now_using() -> Sequence[_Key]:
    if not _in_use:
        raise EncryptionError("no data key is loaded; security.data_key in config.yaml names it")
    return _in_use


def encrypt(data: bytes) -> bytes:
    """Ciphertext: key id (4 bytes), nonce (12), AES-GCM of `data` with its tag (16)."""
    key = _now_using()[0]
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return key.id + nonce + key.cipher.encrypt(nonce, data, key.id)


def is_readable(blob: bytes) -> bool:
    """Whether the key that a ciphertext was made with is loaded."""
    return blob[:_ID_BYTES] in _keys


def decrypt(blob: bytes) -> bytes:
    """The data `encrypt` was given; EncryptionError when its key is not loaded or the bytes were changed."""
    key = _keys.get(blob[:_ID_BYTES])
    if key is None:
        raise EncryptionError("this data was encrypted with a key that is not loaded; add it to security.previous_keys")
    start = _ID_BYTES + _NONCE_BYTES
    try:
        return key.cipher.decrypt(blob[_ID_BYTES:start], blob[start:], key.id)
    except InvalidTag as error:
        raise EncryptionError("an encrypted value was changed in the database") from error


def blind_index(text: str, purpose: str) -> int:
    """A signed 64-bit number that equals for equal texts and tells nothing without the key; for exact look-up."""
    digest = hmac.digest(_now_using()[-1].index, f"{purpose}\0{text}".encode(errors="surrogatepass"), "sha256")
    return int.from_bytes(digest[:8], "big", signed=True)
