"""Write the features of the shipped observations, after a change to them or the catalog: ``python -m tests.refresh_features``."""

from roofline.bench import shipped
from roofline.check.features import FILE, table


def main() -> None:
    FILE.write_text(table(shipped().observations), encoding="utf-8")


if __name__ == "__main__":
    main()
