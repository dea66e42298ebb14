"""Keys of backends: what is kept of them, and that they are bound to their place."""

from __future__ import annotations

import base64

import pytest
from pydantic import SecretStr

from app.backends.secrets import Secret, SecretError, Vault

KEY = SecretStr("k" * 32)
PLACE = "id\nhttps://a.example/\nAuthorization"


def test_a_value_comes_back_and_its_stored_form_does_not_tell_it() -> None:
    stored = Vault(KEY).keep("s3cret value", PLACE)
    assert b"s3cret" not in base64.b64decode(stored)
    assert Vault(KEY).value(stored, PLACE) == "s3cret value"
    assert Vault(KEY).keep("s3cret value", PLACE) != stored
    assert Secret("X", "", stored).shown == "stored"


@pytest.mark.parametrize("change", ["other id", "other url", "other header", "other key", "damaged"])
def test_a_stored_key_is_of_no_use_elsewhere(change: str) -> None:
    stored, place, vault = Vault(KEY).keep("secret", PLACE), PLACE, Vault(KEY)
    if change == "other key":
        vault = Vault(SecretStr("o" * 32))
    elif change == "damaged":
        data = bytearray(base64.b64decode(stored))
        data[-1] ^= 1
        stored = base64.b64encode(data).decode()
    else:
        parts = {"other id": "id", "other url": "https://a.example/", "other header": "Authorization"}
        place = PLACE.replace(parts[change], "x")
    with pytest.raises(SecretError, match="another ASSAY_SECRET_KEY") as raised:
        vault.value(stored, place)
    assert "secret value" not in str(raised.value)


def test_without_a_secret_key_only_references_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_BACKEND_TOKEN", " from outside\n")
    vault = Vault(None)
    assert vault.keep("env:ASSAY_BACKEND_TOKEN", PLACE) == "env:ASSAY_BACKEND_TOKEN"
    assert vault.value("env:ASSAY_BACKEND_TOKEN", PLACE) == "from outside"
    assert Secret("X", "", "env:ASSAY_BACKEND_TOKEN").shown == "env:ASSAY_BACKEND_TOKEN"
    with pytest.raises(SecretError, match="set that variable, or put the key into a variable"):
        vault.keep("a value", PLACE)
    with pytest.raises(SecretError, match="no ASSAY_SECRET_KEY"):
        vault.value(Vault(KEY).keep("a value", PLACE), PLACE)
    monkeypatch.delenv("ASSAY_BACKEND_TOKEN")
    with pytest.raises(SecretError, match="no usable ASSAY_BACKEND_TOKEN"):
        vault.value("env:ASSAY_BACKEND_TOKEN", PLACE)


@pytest.mark.parametrize(
    "name",
    ["ASSAY_DATABASE_URL", "ASSAY_SECRET_KEY", "PATH", "ASSAY_BACKEND_", "ASSAY_BACKEND_x", "", "ASSAY_BACKEND_A B"],
)
def test_no_other_variable_of_the_service_can_be_sent(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name:
        monkeypatch.setenv(name, "host secret")
    with pytest.raises(SecretError, match="is named ASSAY_BACKEND_"):
        Vault(KEY).keep(f"env:{name}", PLACE)


@pytest.mark.parametrize("value", ["", " a", "a ", "a\nb", "a\r\nX: b", "ä", "\x00", "x" * 4097])
def test_what_no_header_can_hold_is_refused(value: str) -> None:
    with pytest.raises(SecretError, match="printable ASCII") as raised:
        Vault(KEY).keep(value, PLACE)
    assert len(str(raised.value)) < 200
