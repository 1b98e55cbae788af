"""Write the real output into README.md and docs/: ``python -m tests.refresh_docs``."""

from tests.doc_blocks import pages, rendered


def main() -> None:
    for page in pages():
        real = rendered(page)
        changed = real != page.text
        page.path.write_text(real, encoding="utf-8")
        print(f"{'changed' if changed else 'same   '} {page.name}")


if __name__ == "__main__":
    main()
