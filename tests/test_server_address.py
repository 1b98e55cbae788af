"""Addresses of servers and keys: every form that people write, and nothing secret in a message."""

import pytest

from roofline.engine.server.address import parse_address, read_key
from roofline.spec import SpecError


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        (" http://localhost:8080/ ", "http://localhost:8080"),
        ("http://localhost:8080/v1", "http://localhost:8080"),
        ("http://localhost:8080/v1/", "http://localhost:8080"),
        ("HTTPS://Example.com/llm/v1/", "https://example.com/llm"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("http://[2001:db8::7]", "http://[2001:db8::7]"),
    ],
)
def test_forms_of_an_address(text: str, base: str) -> None:
    assert parse_address(text).base == base
    assert parse_address(base).path("/health") == base + "/health"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("localhost:8080", "begins with http:// or https://"),
        ("127.0.0.1:8080", "begins with http:// or https://"),
        ("file:///etc/passwd", "begins with http:// or https://"),
        ("ftp://host/", "begins with http:// or https://"),
        ("", "begins with http:// or https://"),
        ("http://", "a URL with a host"),
        ("http:///path", "a URL with a host"),
        ("http://host:99999", "such as"),
        ("http://host:port", "such as"),
        ("http://host:0", "a port from 1 to 65535"),
        ("http://::1:8080", r"such as .* or http://\[::1\]:8080"),
        ("http://[::1", "such as"),
        ("http://host/a b", "such as"),
        ("http://host\r\nX: y", "such as"),
        ("http://host/?a=b", r"without \? and #"),
        ("http://host/#x", r"without \? and #"),
        ("http://" + "a" * 3000, "such as"),
    ],
)
def test_other_texts_are_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=f"server: expected .*{message}") as caught:
        parse_address(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text",
    [
        "http://user:hunter2@host:8080",
        "http://hunter2@host",
        "http://host:8080/?key=hunter2",
        "ftp://user:hunter2@host",
        "user:hunter2@host:8080",
        "http://user:hunter2@host:port",
        "http://user:hunter2@[::1",
        "http://user:hunter2@host/ x",
    ],
)
def test_a_secret_in_an_address_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_address(text)
    assert "hunter2" not in str(caught.value)


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", " sk-123 ")
    assert read_key("SOME_KEY") == "sk-123"
    assert read_key(None) is None


@pytest.mark.parametrize("value", ["", "  ", "hunter2 x", "hunter2\nx", "hünter2"])
def test_a_missing_or_bad_key_is_not_repeated(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", value)
    with pytest.raises(SpecError, match="SOME_KEY: expected an API key") as caught:
        read_key("SOME_KEY")
    assert "nter2" not in str(caught.value)
