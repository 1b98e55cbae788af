"""What README.md and docs/ promise is what the tool does."""

import re
import shlex
import tomllib

import pytest

from roofline.hardware import Hardware
from roofline.model import Model
from roofline.spec import Spec, validate
from tests.doc_blocks import FENCE, ROOT, Page, commands, pages, rendered

README = Page(ROOT / "README.md")


def shell_blocks(page: Page) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", page.text, flags=re.M | re.S)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_printed_output_is_real(page: Page) -> None:
    assert page.text == rendered(page), "run: python -m tests.refresh_docs"


def test_the_first_command_prints_the_first_block() -> None:
    """README's first command, less the setting up, is the command whose output README shows."""
    last = shell_blocks(README)[0].strip().split("&&")[-1].strip()
    first_block = next(match["body"] for match in FENCE.finditer(README.text) if match["language"] == "console")
    shown = next(command for _, command in commands(first_block))
    assert shlex.split(last) == [".venv/bin/roofline", *shlex.split(shown)[1:]]


def test_the_two_commands_stand_alone() -> None:
    """Each starts from a fresh clone: it makes the environment, installs into it, and runs from it."""
    first, second = shell_blocks(README)[:2]
    for block in (first, second):
        assert len(block.strip().splitlines()) == 1
        make, install, run = (part.strip() for part in block.split("&&"))
        assert make == "python3 -m venv .venv"
        assert install.startswith(".venv/bin/pip install")
        assert run.startswith(".venv/bin/")
    assert ".venv/bin/pytest" in second


@pytest.mark.parametrize("kind", [Hardware, Model], ids=["hardware", "model"])
def test_the_recipes_show_valid_files(kind: type[Spec]) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    marker = f"<!-- checked: {kind.__name__.lower()} -->"
    (example,) = re.findall(rf"^{re.escape(marker)}\n```toml\n(.*?)^```$", text, flags=re.M | re.S)
    spec = validate(kind, tomllib.loads(example), "CONTRIBUTING.md")
    if isinstance(spec, Model) and spec.parameters is not None:
        assert spec.parameter_count == spec.parameters.value


def test_links_between_pages_lead_somewhere() -> None:
    for page in [
        README,
        *(Page(path) for path in sorted((ROOT / "docs").rglob("*.md"))),
        Page(ROOT / "CONTRIBUTING.md"),
    ]:
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.text):
            if not re.match(r"[a-z]+:", link):
                assert (page.path.parent / link).exists(), f"{page.name} links to {link}"


def test_the_changelog_knows_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\]", changelog, flags=re.M)
    assert headings[0] == "Unreleased"
    assert version in headings or headings == ["Unreleased"]
