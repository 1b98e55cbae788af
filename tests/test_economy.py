"""Energy and money: pure formulas, figures with their dates, and terms that make sense."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline import api, catalog
from roofline.economy import (
    Terms,
    cost_per_million,
    joules_per_token,
    power_meaning,
    power_of,
    price_covers,
    price_of,
    terms,
    terms_words,
    tokens_per_kwh,
    units_of,
    usd_per_million,
)
from roofline.hardware import Hardware
from roofline.spec import Price, SpecError
from roofline.units import UnitError, duration

POSITIVE = st.floats(1e-3, 1e6)


def hardware(name: str, *overrides: tuple[str, str]) -> Hardware:
    return catalog.load_hardware(name, overrides).spec


# -- formulas ----------------------------------------------------------------------------------------------------------


def test_a_token_costs_power_by_speed() -> None:
    # 350 W at 100 tok/s: 3.5 J a token; a kilowatt-hour is 3.6 MJ, so 3.6e6 / 3.5 = 1,028,571 tokens.
    assert joules_per_token(350.0, 100.0) == 3.5
    assert tokens_per_kwh(350.0, 100.0) == pytest.approx(3.6e6 / 3.5)


def test_a_million_tokens_of_an_owned_machine_worked_by_hand() -> None:
    # 1 kW at 1000 tok/s: a million tokens take 1000 s, 1/3.6 kWh, at 0.36 USD/kWh 0.10 USD.
    assert cost_per_million(1000.0, power_w=1000.0, kwh=0.36) == pytest.approx(0.1)
    # 3650 USD over 10 years of 365.25 days, all the time: 315,576,000 s; 1000 s of them are 0.011566 USD.
    alone = cost_per_million(1000.0, price=3650.0, lifetime_s=duration("10y"), utilisation=1.0)
    assert alone == pytest.approx(3650 * 1000 / 315_576_000)
    both = cost_per_million(1000.0, price=3650.0, power_w=1000.0, kwh=0.36, lifetime_s=duration("10y"), utilisation=1.0)
    assert both == pytest.approx(0.1 + 3650 * 1000 / 315_576_000)


def test_half_the_use_doubles_depreciation_and_leaves_energy() -> None:
    paid = {"price": 2000.0, "power_w": 300.0, "lifetime_s": duration("3y")}
    energy = cost_per_million(50.0, power_w=300.0, kwh=0.3)
    often, seldom = (cost_per_million(50.0, kwh=0.3, utilisation=share, **paid) for share in (0.6, 0.3))
    assert energy is not None
    assert often is not None
    assert seldom is not None
    assert seldom - energy == pytest.approx(2 * (often - energy))


def test_a_rented_machine_costs_its_rent_and_nothing_else() -> None:
    # 3.60 USD an hour are 0.001 USD a second; a million tokens at 100 tok/s take 10,000 s.
    assert cost_per_million(100.0, per_hour=3.6) == pytest.approx(10.0)
    assert cost_per_million(100.0, per_hour=3.6, price=9e9, power_w=9e9, kwh=9.0) == pytest.approx(10.0)
    # Half of each hour used: twice the price of a token.
    assert cost_per_million(100.0, per_hour=3.6, utilisation=0.5) == pytest.approx(20.0)


def test_nothing_known_is_no_cost_and_not_a_free_machine() -> None:
    assert cost_per_million(100.0) is None
    assert cost_per_million(100.0, power_w=300.0) is None  # no tariff
    assert cost_per_million(100.0, kwh=0.3) is None  # no power


@given(POSITIVE, POSITIVE, POSITIVE)
def test_cost_falls_with_speed_and_scalars_are_arrays(speed: float, price: float, power: float) -> None:
    speeds = np.array([speed, 2 * speed])
    costs = np.asarray(cost_per_million(speeds, price=price, power_w=power, kwh=0.3))
    assert costs[1] == pytest.approx(costs[0] / 2)
    assert costs[0] == cost_per_million(speed, price=price, power_w=power, kwh=0.3)
    assert np.all(joules_per_token(np.array([power]), speeds) * tokens_per_kwh(power, speeds) == pytest.approx(3.6e6))


@given(POSITIVE, POSITIVE, POSITIVE)
def test_energy_and_depreciation_add_up_and_watts_are_joules_by_speed(speed: float, price: float, power: float) -> None:
    both = usd_per_million(Terms(kwh=0.3), speed, price, power)
    parts = usd_per_million(Terms(kwh=0.3), speed, 0.0, power), usd_per_million(Terms(), speed, price, power)
    assert both == pytest.approx(sum(part for part in parts if part is not None))
    assert joules_per_token(power, speed) * speed == pytest.approx(power)


@given(POSITIVE, POSITIVE, POSITIVE, st.integers(2, 16))
def test_parts_of_a_machine_cost_a_token_what_the_whole_does(
    speed: float, price: float, power: float, parts: int
) -> None:
    """Each has its share of speed, price and power."""
    whole = usd_per_million(Terms(kwh=0.3), speed, price, power)
    assert usd_per_million(Terms(kwh=0.3), speed / parts, price / parts, power / parts) == pytest.approx(whole)


def test_a_part_of_the_cost_is_not_the_cost() -> None:
    assert usd_per_million(Terms(kwh=0.3), 100.0, None, 300.0) is None  # energy alone
    assert usd_per_million(Terms(kwh=0.3), 100.0, 900.0, None) is None  # depreciation alone
    assert usd_per_million(Terms(), 100.0, 900.0, None) is not None  # energy is not asked for
    assert usd_per_million(Terms(per_hour=3.6), 100.0, None, None) == pytest.approx(10.0)


# -- durations ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "days"), [("3y", 1095.75), ("36mo", 1095.75), ("2w", 14), (" 90 d ", 90), ("36h", 1.5), ("1.5y", 547.875)]
)
def test_durations_are_read_in_common_words(text: str, days: float) -> None:
    assert duration(text) == pytest.approx(days * 86400)


@pytest.mark.parametrize("text", ["", "3", "three years", "-3y", "3 y 2 mo", "1e3y", "9" * 200 + "y", "3Y"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UnitError, match="expected a duration"):
        duration(text)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"kwh": -0.1}, "--kwh: expected a price"),
        ({"kwh": float("nan")}, "--kwh: expected a price"),
        ({"utilisation": 0.0}, "--utilisation: expected a share"),
        ({"utilisation": 30.0}, "--utilisation: expected a share"),
        ({"lifetime": "forever"}, "--lifetime: expected a duration"),
        ({"lifetime": "0y"}, "--lifetime: expected 1h to 100y"),
        ({"per_hour": 1.0, "kwh": 0.3}, "--per-hour: expected no --kwh"),
        ({"per_hour": 1.0, "lifetime": "5y"}, "--per-hour: expected no --lifetime"),
    ],
)
def test_terms_that_make_no_sense_are_refused(words: dict[str, float], message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        terms(**words)  # type: ignore[arg-type]


def test_terms_are_told_in_words() -> None:
    assert terms_words(terms(kwh=0.3)) == "price over 3.0 years, used 30 % of the time, and energy at 0.300 USD/kWh"
    assert terms_words(terms(per_hour=2.5)) == "rented at 2.50 USD an hour"
    assert terms_words(Terms()).endswith("energy not counted")


def test_the_share_of_the_time_is_a_custom_only_of_what_is_owned() -> None:
    assert [terms().used, terms(per_hour=1.0).used, terms(per_hour=1.0, utilisation=0.5).used] == [0.3, 1.0, 0.5]


# -- figures -----------------------------------------------------------------------------------------------------------


def value(figure: object) -> float | None:
    return getattr(figure, "value", None)


def test_several_devices_are_paid_several_times() -> None:
    one, two = hardware("rtx-3090"), hardware("rtx-3090x2")
    assert value(price_of(two)) == 2 * (value(price_of(one)) or 0)
    assert value(power_of(two)) == 2 * (value(power_of(one)) or 0)
    # A file of a CPU is of one socket, also where the file itself is of a board with two.
    assert units_of(hardware("xeon-8480x2")) == units_of(hardware("2x-e5-2650v4")) == 2
    assert value(price_of(hardware("2x-e5-2650v4"))) == 2332
    assert units_of(hardware("m4-max-40")) == 1


def test_the_power_is_the_highest_that_is_stated_and_says_what_it_means() -> None:
    # Intel's 14900K: 125 W of base power, 253 W of turbo power; a Raspberry Pi 5 was measured at 10.5 to 13 W.
    assert (value(power_of(hardware("i9-14900k"))), power_meaning(hardware("i9-14900k"))) == (253, "limit")
    assert (value(power_of(hardware("strix-halo"))), power_meaning(hardware("strix-halo"))) == (120, "limit")
    assert (value(power_of(hardware("rpi5"))), power_meaning(hardware("rpi5"))) == (11.75, "measured")
    assert (value(power_of(hardware("rtx-4090"))), power_meaning(hardware("rtx-4090"))) == (450, "limit")
    assert power_meaning(hardware("ryzen-7950x")) == "tdp"
    # Apple's own table of what a Mac Studio draws at the wall, without a figure of the chip.
    assert (value(power_of(hardware("m2-ultra-76"))), power_meaning(hardware("m2-ultra-76"))) == (295, "limit")
    assert (power_of(hardware("m5-10gpu")), power_meaning(hardware("m5-10gpu"))) == (None, None)


def test_the_users_own_figures_win() -> None:
    own = hardware("i9-14900k", ("price", "400USD"), ("power", "180W"))
    assert (value(price_of(own)), value(power_of(own)), power_meaning(own)) == (400, 180, "override")


def test_the_price_is_that_of_the_board_with_the_memory_that_was_asked_for() -> None:
    assert value(price_of(hardware("rpi5"))) == value(price_of(hardware("rpi5-8gb"))) == 80
    assert value(price_of(hardware("rpi5-4gb"))) == 60
    assert price_of(hardware("rpi5-16gb")) is None  # no source says
    assert price_of(hardware("rtx-3090", ("memory.capacity", "48GB"))) is None
    assert price_of(hardware("rtx-4090d-48")) is None  # the price of the card with 24 GB is not its own
    # The memory of a socket is bought apart.
    assert value(price_of(hardware("i9-14900k", ("memory.capacity", "64GB")))) == 589


def test_what_a_price_leaves_out_is_said() -> None:
    assert "without the machine" in price_covers(hardware("rtx-4090"))
    assert "without board and memory" in price_covers(hardware("xeon-8480"))
    assert price_covers(hardware("m4-10gpu")) == price_covers(hardware("rpi5")) == ""


def test_every_price_of_the_catalog_has_a_date_not_before_the_launch() -> None:
    for name in api.list_hardware():
        spec = hardware(name)
        for price in (spec.price, *spec.price_options.values()):
            if price is not None:
                assert price.date, f"{name}: a price without a date"
                assert int(price.date[:4]) >= (spec.year or 0), name
                assert price.basis != "override"


@pytest.mark.parametrize("date", ["2020", "2020-09", "2020-09-24"])
def test_dates_of_prices_have_three_forms(date: str) -> None:
    assert Price(value="699 USD", date=date).date == date  # type: ignore[arg-type]


@pytest.mark.parametrize("date", ["20", "2020-13", "2020-9", "2020-09-32", "September 2020", "2020-09-24T00:00"])
def test_other_dates_are_refused(date: str) -> None:
    with pytest.raises(ValueError, match="expected YYYY"):
        Price(value="699 USD", date=date)  # type: ignore[arg-type]
