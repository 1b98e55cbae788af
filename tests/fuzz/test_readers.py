"""Property tests of the three readers: whatever the file holds, a model or one line."""

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fuzz.target import READERS, check, mutate, seeds

KINDS = sorted(READERS)
_FOLDER_IS_SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.mark.parametrize("kind", KINDS)
def test_the_seeds_are_valid(kind: str, tmp_path: Path) -> None:
    for content in seeds(tmp_path)[kind]:
        if (model := check(kind, content, tmp_path)) is not None:
            assert model.layers >= 2
            break
    else:
        pytest.fail(f"no seed of kind {kind} is read")


@pytest.mark.parametrize("kind", KINDS)
@_FOLDER_IS_SHARED
@given(chance=st.randoms(use_true_random=False), which=st.integers(0, 10))
def test_a_damaged_file_gives_a_model_or_one_line(
    kind: str, chance: random.Random, which: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    corpus = seeds(folder)[kind]
    check(kind, mutate(corpus[which % len(corpus)], chance), folder)


@pytest.mark.parametrize("kind", KINDS)
@_FOLDER_IS_SHARED
@given(content=st.binary(max_size=300))
@example(content=b"")
@example(content=bytes(300))
def test_any_bytes_give_a_model_or_one_line(
    kind: str, content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    check(kind, content, folder)
    check(kind, b"GGUF\x03\x00\x00\x00" + content, folder)


@pytest.mark.parametrize("kind", KINDS)
def test_every_prefix_gives_a_model_or_one_line(kind: str, tmp_path: Path) -> None:
    for content in seeds(tmp_path)[kind]:
        for length in range(0, len(content), 1 if kind != "gguf" else 7):
            check(kind, content[:length], tmp_path)
