"""Model shapes from files: this project's TOML, GGUF, and Hugging Face's config.json."""

from __future__ import annotations

from pathlib import Path

from roofline.model import Model
from roofline.readers.config_json import read_config
from roofline.readers.gguf_file import GgufFile, read_gguf
from roofline.readers.gguf_model import model_of
from roofline.spec import SpecError, read_toml, validate

__all__ = ["GgufFile", "model_of", "read_config", "read_gguf", "read_model_file", "read_model_toml"]


def read_model_file(path: Path) -> tuple[Model, GgufFile | None]:
    """The model a file describes, and the GGUF header if it came from one.

    GGUF is told by its first bytes, TOML and config.json by their suffix; a folder stands for the config.json in it.
    Raises SpecError with one line for anything else and for every defect inside.
    """
    try:
        if path.is_dir():
            if not (path / "config.json").is_file():
                raise SpecError(f"{path}: expected a model file or a folder with a config.json, found neither")
            path = path / "config.json"
        if not path.is_file():  # opening a pipe would wait for its writer
            raise SpecError(f"{path}: expected a model file, found none")
        with path.open("rb") as begin:
            magic = begin.read(4)
    except OSError as error:
        raise SpecError(f"{path}: expected a readable model file, found: {error.strerror or error}") from None
    suffix = path.suffix.lower()
    if suffix == ".gguf" or magic == b"GGUF":
        file = read_gguf(path)
        return model_of(file), file
    if suffix == ".toml":
        return read_model_toml(path), None
    if suffix == ".json":
        return read_config(path), None
    raise SpecError(f"{path}: expected a GGUF file, a config.json or a TOML file, found {suffix or 'no suffix'!r}")


def read_model_toml(path: Path) -> Model:
    """A model file of the catalog's kind."""
    return validate(Model, read_toml(path), path)
