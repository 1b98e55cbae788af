"""Prefixes follow one rule, two spellings of one quantity agree, and nothing else is taken for a quantity."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline import units
from roofline.units import UnitError, count, format_duration, format_number, format_quantity, parse, round_digits

SI = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}


def test_the_tables_of_prefixes_are_powers_of_1000_and_of_1024() -> None:
    # BIPM, SI brochure (9th edition), table 7; IEC 80000-13 for the binary ones.
    assert units.SI_PREFIXES == SI
    assert units.BINARY_PREFIXES == {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
    for prefix, power in {"m": 3, "µ": 6, "n": 9, "p": 12}.items():
        assert units.SMALL_PREFIXES[prefix] == pytest.approx(10.0**-power, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("3.35 TB/s", "B/s", 3.35e12),
        ("17.1GB/s", "B/s", 17.1e9),
        ("8 GB", "B", 8_000_000_000),
        ("8 GiB", "B", 8_589_934_592),
        ("64 KiB", "B", 65_536),
        ("64 KB", "B", 64_000),  # with a capital K, and still a thousand
        ("512", "B", 512),
        ("989.4 TFLOP/s", "FLOP/s", 989.4e12),
        ("660.6 TOP/s", "FLOP/s", 660.6e12),
        ("40 TOPS", "FLOP/s", 40e12),
        ("38.4 GFLOPS", "FLOP/s", 38.4e9),
        ("4267 MT/s", "T/s", 4.267e9),
        ("16 GT/s", "T/s", 16e9),
        ("2400 MHz", "Hz", 2.4e9),
        ("3 µs", "s", 3e-6),
        ("3 us", "s", 3e-6),
        ("1.5e3 ms", "s", 1.5),
        ("350 W", "W", 350),
        ("1,599 USD", "USD", 1599),
        ("1_599 $", "USD", 1599),
        ("  .5 GB ", "B", 5e8),
        (24, "B", 24),
        (2.5, "Hz", 2.5),
    ],
)
def test_quantities_in_the_words_of_datasheets(text: str | float, unit: str, value: float) -> None:
    assert parse(text, unit) == pytest.approx(value, rel=1e-15)


def test_gb_and_gib_are_different_words() -> None:
    assert parse("24 GiB", "B") / parse("24 GB", "B") == pytest.approx(1.024**3)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("17.1 GB", "B/s"),  # an amount is no rate
        ("17.1 GB/s", "B"),
        ("17.1 Gbit/s", "B/s"),  # bits are not bytes
        ("17.1 Gb/s", "B/s"),
        ("5 GHz", "B/s"),
        ("5 MT/s", "Hz"),
        ("4 XB", "B"),
        ("4 GiiB", "B"),
        ("4 G", "B"),
        ("4 B B", "B"),
        ("", "B"),
        ("GB", "B"),
        ("four GB", "B"),
        ("0x10 B", "B"),
        ("1.2.3 GB", "B"),
        ("- 5 GB", "B"),
        ("nan", "B"),
        ("inf GB", "B"),
        ("1e999 B", "B"),
        ("1e300 EB", "B"),
        (math.nan, "B"),
        (math.inf, "B"),
        (True, "B"),
        ("8 GB\n9 GB", "B"),
    ],
)
def test_anything_else_is_refused_with_the_unit_and_the_text(text: str | float, unit: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse(text, unit)
    message = str(caught.value)
    assert f"in {unit}" in message
    assert repr(text) in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["1,5 GB", "17,1 GB", "1,23,456 B", "12,3456 B", "5, GB"])
def test_a_decimal_comma_is_not_read_as_a_separator_of_thousands(text: str) -> None:
    # "17,1 GB/s" in a European datasheet is 17.1, not 171: better refused than wrong by ten.
    with pytest.raises(UnitError):
        parse(text, "B")


def test_an_integer_beyond_floats_is_refused() -> None:
    with pytest.raises(UnitError):
        parse(10**400, "B")


# -- counts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("4096", 4096), ("4k", 4096), ("32K", 32768), ("1m", 2**20), ("1,024", 1024), (7, 7)]
)
def test_counts_are_binary_as_in_context_lengths(text: str | int, value: int) -> None:
    assert count(text) == value


@pytest.mark.parametrize(
    "text", ["", "-1", "1.5", "4g", "4kk", "four", "1e3", "4 096", "9" * 5000], ids=lambda text: text[:6]
)
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(UnitError, match="expected a whole number"):
        count(text)


# -- text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "unit", "binary", "text"),
    [
        (17.068e9, "B/s", False, "17.1 GB/s"),
        (4 * 2**30, "B", True, "4.00 GiB"),
        (999.9, "B", False, "1.00 kB"),  # rounding carries into the next prefix
        (999.4, "B", False, "999 B"),
        (0.9999, "s", False, "1.00 s"),
        (999.9e-6, "s", False, "1.00 ms"),
        (2.5e-6, "s", False, "2.50 µs"),
        (0, "B", False, "0 B"),
        (-5e9, "B", False, "-5.00 GB"),
    ],
)
def test_quantities_as_people_write_them(value: float, unit: str, binary: bool, text: str) -> None:
    assert format_quantity(value, unit, binary=binary) == text


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(1234.5, 3, "1234"), (2.5, 3, "2.50"), (9.999, 3, "10.0"), (0, 3, "0"), (0.00123, 2, "0.0012")],
)
def test_numbers_never_have_an_exponent(value: float, digits: int, text: str) -> None:
    assert format_number(value, digits) == text


RANGES = st.floats(min_value=1e-11, max_value=9e20)


@given(RANGES, st.sampled_from(["B", "B/s", "FLOP/s", "Hz", "s", "W"]), st.integers(min_value=1, max_value=12))
def test_what_is_written_is_read_back(value: float, unit: str, digits: int) -> None:
    # d significant digits are off by at most half a unit of the last one: 0.5 · 10^(1−d) of the value.
    assert parse(format_quantity(value, unit, digits), unit) == pytest.approx(value, rel=0.5001 * 10.0 ** (1 - digits))


@given(st.floats(min_value=1, max_value=1e21), st.integers(min_value=3, max_value=12))
def test_what_is_written_in_binary_is_read_back(value: float, digits: int) -> None:
    text = format_quantity(value, "B", digits, binary=True)
    assert parse(text, "B") == pytest.approx(value, rel=0.5001 * 10.0 ** (1 - digits))
    assert 1 <= float(text.split()[0]) < 1024.5


@given(RANGES)
def test_the_prefix_leaves_1_to_999_before_the_point(value: float) -> None:
    assert 1 <= float(format_quantity(value, "s").split()[0]) < 1000


@given(st.floats(min_value=1e-300, max_value=1e300), st.integers(min_value=1, max_value=15))
def test_rounding_keeps_the_digits_asked_for(value: float, digits: int) -> None:
    assert round_digits(value, digits) == pytest.approx(value, rel=0.5001 * 10.0 ** (1 - digits))


@given(
    st.sampled_from(sorted(SI)),
    st.floats(min_value=0.001, max_value=999),
    st.sampled_from(["B", "FLOP/s", "Hz", "T/s"]),
)
def test_a_prefix_multiplies_whatever_the_unit(prefix: str, number: float, unit: str) -> None:
    assert parse(f"{number} {prefix}{unit}", unit) == pytest.approx(number * SI[prefix], rel=1e-15)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.41, "410 ms"), (115, "115 s"), (999.4, "999 s"), (999.6, "16.7 min"), (2112, "35.2 min"), (7190, "120 min"),
        (7200, "2.00 h"), (86400, "24.0 h"), (172800, "2.00 d"), (math.inf, "inf s"),
    ],
)  # fmt: skip
def test_long_times_are_told_by_the_clock(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
