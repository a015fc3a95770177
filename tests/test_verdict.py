"""When outputs are the same: tolerances, exact outputs, refusals, and their messages."""

import json
import re
import shutil

import numpy as np
import pytest
from conftest import in_node

from litecheck import record, verdict


def runs(*arrays, dtype="float32"):
    """Return outputs with the only name y: a dict for each run."""
    return [{"y": np.asarray(array, dtype)} for array in arrays]


def expected(outputs, *trials, ids=None):
    """Return the `Expected` of outputs, and of their values in trials with coarse rounding."""
    trials = trials or [outputs]
    changes = {
        index: {name: verdict.moved(run[name], [trial[index][name] for trial in trials])}
        for index, run in enumerate(outputs)
        for name in run
    }
    ids = ids or [[10 * index] for index in range(len(outputs))]
    return verdict.expected(outputs, changes, "net.keras", ids)


def last_places(*numbers):
    """Return four units in the last place of numbers."""
    return 4 * np.spacing(np.float32(numbers)) + 2.0**-120


def test_the_tolerance_is_twice_the_change_and_four_last_places():
    outputs = runs([[0.0]], [[50.0]])
    found = [run["y"][0, 0] for run in expected(outputs).tolerances]
    assert found == pytest.approx(last_places(0, 50), rel=1e-6)
    found = [run["y"][0, 0] for run in expected(outputs, runs([[0.25]], [[49.0]])).tolerances]
    middle = 2 * (0.25 + 1) / 2  # the median of the line through both samples
    assert found == pytest.approx([middle, 2 * 1 + last_places(50)[0]], rel=1e-6)


def test_the_largest_of_all_changes_counts_in_both_directions():
    outputs = runs([[0.0]], [[100.0]])
    trials = [runs([[0.1]], [[100.0]]), runs([[0.0]], [[99.5]]), runs([[0.0]], [[100.0]])]
    tolerance = expected(outputs, *trials).tolerances[1]["y"]
    assert tolerance == pytest.approx(2 * 0.5, rel=1e-3)


def test_a_number_that_did_not_move_by_chance_has_the_tolerance_of_its_neighbours():
    """The axis with the smallest median counts."""
    outputs, trial = np.ones((3, 5, 4)), np.full((3, 5, 4), 1.001)
    trial[0, 0, 0] = 1
    (run,) = expected(runs(outputs), runs(trial), ids=[[0, 1, 2]]).tolerances
    assert run["y"][0, 0, 0] == pytest.approx(0.002, rel=1e-2)
    for axis in range(3):
        trial[...] = 1
        moved = tuple(0 if each == axis else slice(None) for each in range(3))
        trial[moved] = 1.001  # a plane across this axis moves
        (run,) = expected(runs(outputs), runs(trial), ids=[[0, 1, 2]]).tolerances
        assert run["y"][moved].min() == pytest.approx(0.002, rel=1e-2)
        assert run["y"][-1, -1, -1] == pytest.approx(last_places(1)[0])


def test_a_small_number_has_a_tolerance_of_its_own():
    """The large numbers may be along any axis: samples, the last axis, or one between."""
    outputs = np.ones((4, 5, 3)) * 1e6
    for place in [(0,), (slice(None), 0), (slice(None), slice(None), 0)]:
        small = outputs.copy()
        small[place] = 1.0
        trial = small * (1 + 1e-6)
        ids = [list(range(4))]
        found = expected(runs(small), runs(trial), ids=ids)
        wrong = small.copy()
        wrong[place] = 1.1
        same = verdict.compare(runs(wrong), found)
        assert "is 1.100000023841858, but net.keras returns 1.0" in same.difference
        assert not verdict.compare(runs(trial), found).difference


def test_a_run_that_was_not_measured_has_the_largest_tolerance_at_its_place():
    outputs = runs([[0.0, 1.0]], [[1.0, 2.0]], [[2.0, 3.0]])
    trial = runs([[0.0, 1.02]], [[1.0, 2.02]])
    changes = {
        index: {"y": verdict.moved(outputs[index]["y"], [trial[index]["y"]])} for index in (0, 1)
    }
    found = verdict.expected(outputs, changes, "net", [[0], [1], [2]])
    assert found.tolerances[1]["y"][0, 1] == pytest.approx(0.04, rel=1e-3)
    assert found.tolerances[2]["y"][0, 1] == pytest.approx(0.04, rel=1e-3)
    assert found.tolerances[2]["y"][0, 0] < 1e-5


def test_a_run_of_another_shape_that_was_not_measured_has_the_largest_tolerance_of_all():
    outputs = runs([[1.0, 2.0]], [[1.0, 2.0, 3.0]])
    changes = {0: {"y": verdict.moved(outputs[0]["y"], [outputs[0]["y"] + np.float32([0, 0.5])])}}
    found = verdict.expected(outputs, changes, "net", [[0], [1]])
    assert found.tolerances[1]["y"] == pytest.approx(np.ones((1, 3)), rel=1e-5)


def test_a_part_of_a_complex_number_is_judged_beside_its_other_part():
    """The first number of a spectrum is real, so noise in its imaginary part raises no doubt."""
    outputs = runs([[1 + 0j, 3j]], [[2 + 0j, 4j]], dtype="complex64")
    trial = runs([[1 + 0.001j, 3j]], [[2 + 0.001j, 4j]], dtype="complex64")
    assert not expected(outputs, trial).unclear["y"][0]
    trial = runs([[1 + 0.01j, 3j]], [[2 + 0.01j, 4j]], dtype="complex64")
    assert expected(outputs, trial).unclear["y"][0]


def test_where_another_function_was_measured_rounding_explains_nothing():
    outputs = runs([[0.0]], [[50.0]])
    changes = {
        index: {"y": verdict.moved(run["y"] + np.float32(1), [run["y"] + np.float32(1.1)])}
        for index, run in enumerate(outputs)
    }
    found = verdict.expected(outputs, changes, "net", [[0], [1]])
    assert [run["y"][0, 0] for run in found.tolerances] == pytest.approx(last_places(0, 50))


@pytest.mark.parametrize("excess", [0.99, 1.01])
def test_an_error_may_be_as_large_as_the_tolerance(excess):
    outputs = runs([[0.0, 0.0]], [[1e6, 1.0]])
    trial = runs([[0.0, 0.0]], [[1e6, 1.001]])
    given = runs([[0.0, 0.0]], [[1e6, 1.0 + excess * 0.002]])
    same = verdict.compare(given, expected(outputs, trial))
    assert bool(same.difference) == (excess > 1)
    assert same.of_range == pytest.approx(excess * 0.002, rel=1e-2)
    assert not same.broken


def test_where_nothing_varies_the_magnitude_counts():
    for output, error, of_range in [(4.0, 1.0, 0.25), (0.0, 0.5, 0.5)]:
        same = verdict.compare(runs([[output + error]]), expected(runs([[output]])))
        assert (same.error, same.of_range) == (error, of_range)


def test_the_range_is_that_of_the_narrowest_slice():
    """The output is a head of YOLO, (4 + classes, anchors): coordinates to 640, scores to 1."""
    head = np.zeros((6, 5, 8))
    head[:, :4] = np.linspace(0, 640, 6)[:, None, None]
    head[:, 4] = np.linspace(0, 1, 6)[:, None]
    wrong = head.copy()
    wrong[:, 4] = 0.5
    found = expected(runs(head), ids=[list(range(6))])
    assert found.ranges["y"].shape == (5, 8)
    assert verdict.compare(runs(wrong), found).of_range == pytest.approx(0.5)
    assert found.mixtures() == ["output y mixes ranges of 640 and 1: split it into two outputs"]
    assert not expected(runs(head[:, :4]), ids=[list(range(6))]).mixtures()
    thousand = expected(runs([[1000.0]], [[1001.0]]))
    assert verdict.compare(runs([[1000.99]], [[1001.0]]), thousand).of_range > 0.9


@pytest.mark.parametrize(
    ("given", "broken"),
    [
        ([[[0.0]], [[np.nan]]], "1 of 2 samples give NaN or infinity: output y, sample 10"),
        ([[[np.nan]], [[np.nan]]], "2 of 2 samples give NaN or infinity: output y, sample 0"),
        ([[[0.0]], [[np.inf]]], "1 of 2 samples give NaN"),
        ([[[0.0]], [50.0]], "output y of sample 10 has the shape (1,), not (1, 1)"),
        ([[[0.0]], [[50.0], [50.0]]], "output y of sample 10 has the shape (2, 1), not (1, 1)"),
    ],
)
def test_outputs_that_are_no_numbers_or_of_another_shape(given, broken):
    for changed in [[], [runs([[np.inf]], [[np.inf]])]]:  # even if the numbers cannot be judged
        same = verdict.compare(runs(*given), expected(runs([[0.0]], [[50.0]]), *changed))
        assert same.broken.startswith(broken)
        assert same.difference.startswith(broken)


def test_sizes_exchanged_outputs_and_kinds():
    whole = expected(runs(np.zeros((1, 2, 6))))
    assert "shape (1, 6, 2)" in verdict.compare(runs(np.zeros((1, 6, 2))), whole).broken
    assert verdict.compare([{"z": np.zeros((1, 2, 6))}], whole).broken == "its outputs are z, not y"
    integers = runs(np.zeros((1, 2, 6)), dtype="int32")
    assert verdict.compare(integers, whole).broken == "output y of sample 0 is int32, not real"
    longer = [{"y": integers[0]["y"].astype("int64")}]
    broken = verdict.compare(longer, expected(integers)).broken
    assert broken == "output y of sample 0 is int64, not int32"


def test_infinities():
    outputs = expected(runs([[-np.inf, 0.0]], [[np.inf, 1.0]]))
    assert not verdict.compare(runs([[-np.inf, 0.0]], [[np.inf, 1.0]]), outputs).difference
    for given in [[[np.inf, 0.0]], [[1e30, 0.0]], [[np.nan, 0.0]]]:
        assert verdict.compare(runs(given, [[np.inf, 1.0]]), outputs).difference
    assert expected(runs([[np.inf]])).tolerances[0]["y"] < 1e-30
    lowest = np.finfo("float32").min  # the converter stores an infinite constant so
    assert not verdict.compare(runs([[lowest, 0.0]], [[np.inf, 1.0]]), outputs).difference


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool", "S3"])
def test_exact_outputs(dtype):
    numbers = np.arange(40) % 2 if dtype == "bool" else np.arange(40)
    outputs = runs(numbers.reshape(1, 40), dtype=dtype)
    other = [{"y": outputs[0]["y"].copy()}]
    other[0]["y"][0, 7] = other[0]["y"][0, 8]
    assert not verdict.compare(outputs, expected(outputs)).difference
    same = verdict.compare(other, expected(outputs))
    assert same.difference.startswith(
        "1 of 40 elements of y differ: output y, sample 0, component 7"
    )
    assert same.error == 1
    # It is a tie of the original if coarse rounding gives this output.
    assert not verdict.compare(other, expected(outputs, outputs, other)).difference
    other[0]["y"][0, 9] = other[0]["y"][0, 8]
    assert "1 of 40" in verdict.compare(other, expected(outputs, [{"y": np.where(np.arange(40) == 7,
        other[0]["y"], outputs[0]["y"])}])).difference  # fmt: skip


def test_an_answer_between_the_candidates_of_a_tie_is_none():
    outputs, tie = runs([0], [3], dtype="int32"), runs([9], [3], dtype="int32")
    found = expected(outputs, tie, outputs)
    for answer, is_wrong in [(0, False), (9, False), (5, True)]:
        given = runs([answer], [3], dtype="int32")
        assert bool(verdict.compare(given, found).difference) == is_wrong
        known = recorded(outputs, outputs, trials=[tie])
        assert known.agreement(given).agreeing == 2 - is_wrong


def test_large_integers_are_compared_exactly():
    outputs = runs([[2**53 + 1]], dtype="int64")
    assert verdict.compare(runs([[2**53]], dtype="int64"), expected(outputs)).difference


def test_complex_numbers_have_two_parts():
    outputs = runs([[1 + 2j, 3j]], [[2 + 1j, 4j]], dtype="complex64")
    assert not verdict.compare(outputs, expected(outputs)).difference
    other = runs([[1 + 2j, 3j]], [[2 + 1j, 4.5j]], dtype="complex64")
    same = verdict.compare(other, expected(outputs))
    assert same.difference.startswith("output y, sample 10, component 1 is 4.5j, but")
    assert (same.error, same.of_range) == (0.5, 0.5)
    assert verdict.compare(
        runs([[1 + 2j, 3j]], [[2 - 1j, 4j]], dtype="complex64"), expected(outputs)
    ).difference


@pytest.mark.parametrize(("change", "unclear"), [(0.0048, 0), (0.0052, 2)])
def test_a_number_is_unclear_above_a_hundredth_of_its_spread(change, unclear):
    outputs = runs([[0.0, 0.0]], [[1.0, 1.0]])
    trial = runs([[0.0, change]], [[1.0, 1.0 + change]])
    found = expected(outputs, trial)
    assert found.unclear == {"y": (unclear, 4)}
    assert bool(found.doubts()) == bool(unclear)


def test_up_to_a_twentieth_of_unclear_numbers_leave_the_others_clear():
    outputs = runs(np.zeros((1, 40)), np.ones((1, 40)))
    for count, is_doubtful in [(1, False), (2, False), (3, True)]:
        trial = runs(np.zeros((1, 40)), np.ones((1, 40)))
        for run in trial:
            run["y"][0, :count] += 0.5
        found = expected(outputs, trial)
        assert found.unclear["y"] == (2 * count, 80)
        assert bool(found.doubts()) == is_doubtful
        assert f"rounding may change {2 * count} of 80 numbers" in found.reservations()[0]


def test_exact_outputs_that_came_out_otherwise_are_unclear():
    outputs = runs(*np.arange(20).reshape(20, 1), dtype="int32")
    for count, is_doubtful in [(0, False), (1, False), (2, True)]:
        trial = [{"y": run["y"] + np.int32(index < count)} for index, run in enumerate(outputs)]
        found = expected(outputs, trial)
        assert found.unclear["y"] == (count, 20)
        assert bool(found.doubts()) == is_doubtful


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_that_come_out_as_none_are_unclear(number):
    outputs = runs([[0.0]], [[1.0]])
    assert expected(outputs, runs([[number]], [[1.0]])).unclear["y"] == (1, 2)
    assert expected(outputs, runs([[0.0, 0.0]], [[1.0]])).unclear["y"] == (1, 2)


def test_outputs_that_hardly_vary_cannot_be_judged():
    for offset, words in [(1e6, "y cannot be judged: it hardly varies"), (1e3, None)]:
        found = expected(runs(*(offset + np.linspace(0, 1, 9)[:, None, None])))
        assert [each.startswith(words) for each in found.doubts()] == ([True] if words else [])
    assert not expected(runs([[1e6]], [[1e6]])).doubts()  # constant: judged by magnitude
    assert not expected(runs([[0.0]], [[0.0]])).doubts()
    assert not expected(runs([[1e6, 0.0]], [[1e6, 1.0]])).doubts()


def test_outputs_without_numbers():
    outputs = runs(np.zeros((3, 0)), np.zeros((2, 0)))
    found = expected(outputs, ids=[[0, 1, 2], [3, 4]])
    same = verdict.compare(outputs, found)
    assert same == (0.0, 0.0, "", "")
    assert not found.doubts()
    assert recorded(outputs, outputs).agreement(outputs).agreeing == 2
    assert verdict.compare(runs(np.zeros((3, 1)), np.zeros((2, 0))), found).broken


def test_samples_are_named_by_their_numbers():
    outputs = runs([[0.0], [1.0]], [[2.0], [3.0]])
    found = expected(outputs, ids=[[8, 9], [4, 5]])
    same = verdict.compare(runs([[0.0], [1.0]], [[2.0], [4.0]]), found)
    assert "sample 5, component 0 is 4.0, but net.keras returns 3.0" in same.difference
    same = verdict.compare(runs([[0.0], [np.nan]], [[2.0], [np.nan]]), found)
    assert same.difference.startswith("2 of 4 samples give NaN or infinity: output y, sample 9,")


def test_a_run_of_several_samples_counts_them_once():
    outputs = [*runs([[0]], [[1]], dtype="int32"), *runs([[0], [1]], dtype="int32")]
    found = expected(outputs, ids=[[0], [1], [0, 1]])
    wrong = [{"y": run["y"] + np.int32(run["y"] == 1)} for run in outputs]
    same = verdict.compare(wrong, found)
    assert same.difference.startswith(
        "1 of 2 elements of y differ: output y, sample 1, component 0"
    )
    late = [*outputs[:2], {"y": outputs[2]["y"] + 1}]  # wrong only for several at once
    assert verdict.compare(late, found).difference.startswith("2 of 4 elements of y differ")


def recorded(outputs, given, scales=None, trials=()):
    """Return the `Recorded` of outputs, and of a file's outputs at its conversion."""
    true = expected(outputs, *trials)
    scales = scales or {"y": 0.0}
    tolerances = verdict.device_tolerances(given, true, scales, range(len(outputs)))
    return record.Recorded(
        [{}] * len(outputs), outputs, tolerances, true.others, true.ranges, True, ""
    )


def test_a_device_may_err_as_the_file_does_and_its_tolerance_more():
    outputs, given = runs([[0.0, 0.0]], [[100.0, 1.0]]), runs([[0.0, 0.25]], [[98.0, 1.0]])
    tolerances = [last_places(0, 0), last_places(100, 1)]
    for run, tolerance in zip(recorded(outputs, given).tolerances, tolerances, strict=True):
        reach = np.array([[8, 0.25]]) + tolerance  # 2% and 25% of the ranges
        assert run["y"] == pytest.approx(reach, rel=1e-5)
    for run, tolerance in zip(recorded(outputs, outputs).tolerances, tolerances, strict=True):
        assert run["y"] == pytest.approx(tolerance[None], rel=1e-5)
    for run in recorded(outputs, given, {"y": 0.5}).tolerances:
        # Here, two steps are larger than the tolerance of the number.
        assert run["y"] == pytest.approx(np.array([[9, 1.25]]), rel=1e-5)


def test_a_component_that_errs_little_by_chance_counts_as_the_middle_one():
    outputs = runs(np.zeros((1, 5)), np.ones((1, 5)))
    given = runs([[0, 0.1, 0.02, 0.03, 0.01]], np.ones((1, 5)))
    shares = [0.08, 0.1, 0.08, 0.1, 0.08]  # four times the middle, at most the worst
    for run in recorded(outputs, given).tolerances:
        assert run["y"] == pytest.approx(np.array([shares]), rel=1e-4)


@pytest.mark.parametrize("forged", [1e30, np.inf])
def test_a_record_makes_no_device_agree_beyond_its_ranges(forged):
    outputs = runs([[0.0, 9.0]], [[10.0, 1.0]])
    known = recorded(outputs, outputs)
    known = known._replace(tolerances=[{"y": np.full((1, 2), forged)} for _ in outputs])
    for off, agreeing in [(0.49, 2), (0.51, 0)]:  # half of the range is the most
        given = [{"y": run["y"] + np.float32(10 * off)} for run in outputs]
        assert known.agreement(given).agreeing == agreeing


@pytest.mark.parametrize("excess", [0.999, 1.001])
@pytest.mark.parametrize("sign", [1, -1])
def test_agreement_ends_at_what_is_allowed(excess, sign):
    outputs = runs([[0.0]], [[100.0]], [[50.0]])
    known = recorded(outputs, runs([[0.0]], [[100.0]], [[49.0]]))
    reach = 1 + last_places(50)[0]
    agreement = known.agreement(runs([[0.0]], [[100.0]], [[50.0 + sign * excess * reach]]))
    assert (agreement.agreeing, agreement.of) == ((3, 3) if excess < 1 else (2, 3))
    assert agreement.of_range == pytest.approx(excess * reach / 100, rel=1e-4)
    assert agreement.worst.startswith("in run 3, y is " if excess > 1 else "")
    assert bool(agreement.worst) == (excess > 1)


@pytest.mark.parametrize(
    ("true", "given", "agrees"),
    [
        (1.0, np.nan, False),
        (1.0, np.inf, False),
        (1.0, 3.4028235e38, False),  # the converter stores infinity so
        (np.inf, np.inf, True),
        (np.inf, 3.4028235e38, True),
        (np.inf, -np.inf, False),
        (np.inf, 1e30, False),
        (np.inf, np.nan, False),
    ],
)
def test_agreement_on_what_is_no_number(true, given, agrees):
    outputs = runs([[0.0]], [[true]])
    agreement = recorded(outputs, outputs).agreement(runs([[0.0]], [[given]]))
    assert agreement.agreeing == 1 + agrees
    assert ("run 2" in agreement.worst) != agrees


def test_a_file_that_cannot_hold_infinity_is_no_excuse_for_other_numbers():
    outputs = runs([[0.0, np.inf]], [[5.0, 2.0]])
    known = recorded(outputs, runs([[0.0, 127.0]], [[5.0, 2.0]]))  # like an int8 file's
    assert known.agreement(runs([[0.0, 127.0]], [[5.0, 2.0]])).agreeing == 2
    assert known.agreement(runs([[0.0, 127.0]], [[5.0, 3.0]])).agreeing == 1
    assert known.agreement(runs([[9.0, 127.0]], [[5.0, 2.0]])).agreeing == 1


def test_exact_outputs_may_differ_as_much_as_the_file_did():
    outputs = runs([[1, 2]], [[9, 8]], dtype="int32")
    given = runs([[1, 3]], [[9, 8]], dtype="int32")
    assert recorded(outputs, outputs).agreement(given).agreeing == 1
    known = recorded(outputs, runs([[1, 2]], [[9, 7]], dtype="int32"))
    assert known.agreement(given).agreeing == 2
    agreement = known.agreement(runs([[2, 2]], [[9, 8]], dtype="int32"))
    assert "component 0 of y is 2 instead of 1" in agreement.worst


def test_the_worst_run_is_named_and_each_run_counts_once():
    outputs = runs([[0.0, 0.0]], [[10.0, 10.0]], [[5.0, 5.0]])
    given = runs([[1.0, 1.0]], [[10.0, 10.0]], [[5.0, 9.0]])
    agreement = recorded(outputs, outputs).agreement(given)
    assert (agreement.agreeing, agreement.of) == (1, 3)
    assert agreement.worst.startswith("in run 3, component 1 of y is 9.0 instead of 5.0")


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_the_page_decides_as_python_does(tmp_path):
    """For the same records and outputs, browser/check.js gives the same verdicts."""
    random, cases, decided = np.random.default_rng(5), [], []
    for case in range(300):
        shape = [(1, 3), (2, 3), (1, 1), (4,), (1, 2, 2)][case % 5]
        dtype = "int32" if case % 7 == 0 else "float32"
        outputs = [{"y": (10 * random.standard_normal(shape)).astype(dtype)} for _ in range(3)]
        if case % 4 == 1 and dtype == "float32":
            outputs[1]["y"].flat[0] = [np.inf, -np.inf, 3.4028235e38][case % 3]
        noise = [10.0 ** random.integers(-7, 1) * random.standard_normal(shape) for _ in outputs]
        given = [{"y": (run["y"] + n).astype(dtype)} for run, n in zip(outputs, noise, strict=True)]
        if case % 6 == 2 and dtype == "float32":
            given[2]["y"].flat[-1] = [np.nan, np.inf, 3.4028235e38][case % 3]
        converted = [{"y": (run["y"] + 0.1).astype(dtype)} for run in outputs]
        tie = [{"y": given[0]["y"]}, *outputs[1:]]
        known = recorded(outputs, converted, trials=[tie] if case % 3 == 1 else ())
        if case % 11 == 5:  # even if a record allows anything, NaN is wrong
            boundless = [{"y": np.full(shape, np.inf)} for _ in outputs]
            known = known._replace(tolerances=boundless)
        agreement = known.agreement(given)
        worst = re.match(r"in run (\d+)", agreement.worst)
        decided.append((agreement.agreeing, agreement.of_range, worst and int(worst[1])))
        fields = {
            "runs": [
                record.run(run, run, {"v": tolerance}, others)
                for run, tolerance, others in zip(
                    outputs, known.tolerances, known.others, strict=True
                )
            ],
            "ranges": record.pack(known.ranges),
        }
        cases.append({"record": fields, "came": [record.pack(run) for run in given]})
    (tmp_path / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    code = """
        import { readFileSync } from "node:fs";
        import { agreement, runsOf } from "./check.mjs";
        const cases = JSON.parse(readFileSync("cases.json", "utf-8"));
        const found = cases.map(({ record, came }) => {
          const given = came.map((side) => {
            const fake = { runs: [{ inputs: side, outputs: side, tolerance: { v: side } }] };
            return { y: runsOf(fake, "v")[0].outputs.y.values };
          });
          const { count, ofRange, worst } = agreement(record, runsOf(record, "v"), given);
          return [count, Number.isFinite(ofRange) ? ofRange : "inf", worst && worst.run];
        });
        console.log(JSON.stringify(found));
        """
    found = in_node(tmp_path, code)
    assert len({count for count, _, _ in decided}) == 4
    for (count, of_range, worst), (counted, share, run) in zip(decided, found, strict=True):
        assert (count, worst) == (counted, run)
        assert float(share) == pytest.approx(of_range, rel=1e-6)


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_the_page_knows_an_output_of_two_names(tmp_path):
    """LiteRT.js has one name for each tensor. An output that is really missing is a misfit."""
    code = """
        import { misfit } from "./check.mjs";
        const end = (...values) => ({ shape: [1, 2], values });
        const tensor = (name, shape = [1, 2]) => ({ name, shape });
        const runs = [{ inputs: { x: end(1, 2) }, outputs: { a: end(3, 4), b: end(3, 4) } }];
        const others = [{ ...runs[0], outputs: { a: end(3, 4), b: end(3, 5) } }];
        console.log(JSON.stringify([
          misfit(runs, [tensor("x")], [tensor("b")]),
          misfit(others, [tensor("x")], [tensor("b")]),
          misfit(others, [tensor("x")], [tensor("a"), tensor("b")]),
          misfit(runs, [tensor("z")], [tensor("b")]),
          misfit(runs, [tensor("x", [1, 3])], [tensor("b")]),
        ]));
        """
    assert in_node(tmp_path, code) == [
        "",
        "its outputs are b, not a, b",
        "",
        "its inputs are z, not x",
        "x has the shape [1, 3], not [1, 2]",
    ]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (np.zeros((1, 3, 2)), "in run 2, y has the shape (1, 3, 2), not (1, 2, 3)"),
        (np.zeros(6), "in run 2, y has the shape (6,), not (1, 2, 3)"),
        (np.zeros((1, 2, 3), int), "in run 2, y is int64, not real"),
    ],
)
def test_a_device_that_returns_another_shape_or_kind(wrong, reason):
    outputs = runs(*np.ones((3, 1, 2, 3)))
    given = [outputs[0], {"y": wrong}, outputs[2]]
    agreement = recorded(outputs, outputs).agreement(given)
    assert (agreement.agreeing, agreement.worst, agreement.lost) == (2, reason, True)


@pytest.mark.filterwarnings("error")
def test_an_output_without_numbers_has_no_mean_error():
    given, true = ([{"y": np.full((1, 2), y), "z": np.ones((1, 0))}] for y in (1.0, 3.0))
    ranges = {"y": np.full(2, 4.0), "z": np.ones(0)}
    assert verdict.mean_error(given, true, ranges) == 0.5
    only = [{"z": np.ones((1, 0))}]
    assert verdict.mean_error(only, only, {"z": np.ones(0)}) == 0


def test_finite_outputs_need_no_slow_quantile(monkeypatch):
    """For 100,000 components `np.nanquantile` takes 17 s, and `np.quantile` 1 s."""
    monkeypatch.setattr(np, "nanquantile", None)
    generator = np.random.default_rng(3)
    numbers = generator.standard_normal((40, 1, 3)).astype("float32")
    numbers[7, 0, 1] = 1e9
    outputs = runs(*numbers)
    finite = expected(outputs)
    assert finite.tolerances[7]["y"].shape == (1, 3)  # the unusual number has its own tolerance
    monkeypatch.undo()
    infinite = numbers.copy()
    infinite[5, 0, 0] = np.inf
    other = expected(runs(*infinite))
    for one, two in zip(finite.tolerances, other.tolerances, strict=True):
        one, two = (np.broadcast_to(side["y"], (1, 3)) for side in (one, two))
        np.testing.assert_array_equal(one[:, 1:], two[:, 1:])
    np.testing.assert_array_equal(finite.ranges["y"][1:], other.ranges["y"][1:])
