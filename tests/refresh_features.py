"""Write the features of the shipped observations anew: ``python -m tests.refresh_features``."""

from roofline.bench import shipped
from roofline.check.features import FILE, table


def main() -> None:
    FILE.write_text(table(shipped().observations), encoding="utf-8")


if __name__ == "__main__":
    main()
