"""The nearest measured points: a distance that is one, and a file of features that agrees with the catalog."""

from itertools import combinations
from typing import Literal

import numpy as np
import pytest

import roofline
from roofline.bench import shipped
from roofline.bench.expected import expect
from roofline.check.features import Features, features, shipped_features
from roofline.check.nearest import PENALTIES, WEIGHTS, Point, distance, measured_point, near, nearest
from roofline.spec import SpecError

HERE = Point("a", "m", "q4_0", "cuda", "llama.cpp", Features("q4_0", 4e9, 14e9, 1e12, 1e14))


def with_features(point: Point, features: Features, **names: str) -> Point:
    return Point(**{**{key: getattr(point, key) for key in point.__slots__}, "features": features, **names})


def test_the_features_are_those_of_the_catalog() -> None:
    """Written by `python -m tests.refresh_features`; run it after a change to the observations or the catalog."""
    known, missing = shipped_features(), []
    for seen in shipped().observations:
        try:
            expected = expect(seen)
        except SpecError:
            continue
        if expected.prediction.placement is not None:  # near to no device alone
            continue
        if seen.id not in known:
            missing.append(seen.id)
            continue
        now, kept = features(expected.prediction, expected.phase), known[seen.id]
        assert kept.type == now.type, seen.id
        for name in ("bytes_per_token", "flops_per_token", "bandwidth", "peak"):
            assert getattr(kept, name) == pytest.approx(getattr(now, name), rel=0.05), f"{seen.id}: {name}"
    assert missing == []
    assert set(known) <= {seen.id for seen in shipped().observations}


def test_a_distance_is_the_sum_of_weighted_logarithms() -> None:
    twice = with_features(HERE, Features("q4_0", 8e9, 14e9, 1e12, 1e14))
    assert distance(HERE, twice, "decode") == pytest.approx(WEIGHTS["decode"][0] * np.log(2))
    faster = with_features(HERE, Features("q4_0", 4e9, 14e9, 2e12, 4e14))
    _, _, bandwidth, peak = WEIGHTS["prefill"]
    assert distance(HERE, faster, "prefill") == pytest.approx(bandwidth * np.log(2) + peak * np.log(4))
    assert distance(HERE, with_features(HERE, HERE.features, model="n"), "decode") == pytest.approx(PENALTIES["model"])
    older = with_features(HERE, HERE.features, runtime="llama.cpp-2024-06")
    other = with_features(HERE, HERE.features, runtime="llamafile-0.8")
    assert 0 < distance(HERE, older, "decode") < distance(HERE, other, "decode")


def test_a_distance_is_symmetric_and_zero_to_itself() -> None:
    known = shipped_features()
    points = [measured_point(seen, known[seen.id]) for seen in shipped().observations[::40] if seen.id in known]
    for phase in ("decode", "prefill"):
        assert all(distance(point, point, phase) == 0 for point in points)
        for one, two in combinations(points, 2):
            assert distance(one, two, phase) == pytest.approx(distance(two, one, phase))


@pytest.mark.parametrize("place", range(0, 500, 50))
def test_a_measured_run_is_nearest_to_itself(place: int) -> None:
    seen = shipped().observations[place]
    expected = expect(seen)
    phase: Literal["prefill", "decode"] = "prefill" if seen.phase == "pp" else "decode"
    first, *others = nearest(expected.prediction, phase)
    hardware = f"{seen.hardware}x{seen.count}" if seen.count > 1 else seen.hardware
    assert (first.hardware, first.model, first.quant, first.phase) == (hardware, seen.model, seen.quant, phase)
    assert first.distance < 0.05 and all(other.distance >= first.distance for other in others)


def test_points_are_in_order_each_configuration_once() -> None:
    prediction = roofline.predict("rpi5", "mistral-7b", "q4_0")
    phases: tuple[Literal["prefill", "decode"], ...] = ("prefill", "decode")
    for phase in phases:
        found = nearest(prediction, phase, 8)
        assert len(found) == 8 and {point.phase for point in found} == {phase}
        assert [point.distance for point in found] == sorted(point.distance for point in found)
        assert all(point.source and point.tok_s > 0 for point in found)
        runs = [(point.hardware, point.model, point.quant, point.runtime) for point in found]
        assert len(set(runs)) == len(runs)
        assert all(point.ratio is not None and point.ratio > 0 for point in found)


def test_the_ratio_is_the_error_of_the_prediction_there() -> None:
    (point,) = nearest(roofline.predict("rtx-3090", "llama-3.1-8b", "q4_k_m"), "decode", 1)
    seen = next(seen for seen in shipped().observations if seen.id == point.id)
    assert point.ratio == pytest.approx(float(expect(seen).phase.tok_s) / seen.tok_s)


def test_only_accepted_rows_and_only_phases_that_exist() -> None:
    assert near(HERE, "decode", 3, lambda seen: seen.backend == "metal") != []
    assert {point.backend for point in near(HERE, "decode", 3, lambda seen: seen.backend == "metal")} == {"metal"}
    assert near(HERE, "decode", 3, lambda _: False) == []
    assert nearest(roofline.predict("rpi5", "mistral-7b", "q4_0", gen=0), "decode") == []


def test_a_prediction_of_many_points_is_placed_at_its_first() -> None:
    many = roofline.predict("rpi5", "mistral-7b", "q4_0", depth=np.array([0.0, 4096.0]))
    one = roofline.predict("rpi5", "mistral-7b", "q4_0")
    assert nearest(many, "decode") == nearest(one, "decode")
