"""What counts as the same: tolerances, what is exact, what is refused, and the words for it."""

import json
import re
import shutil

import numpy as np
import pytest
from conftest import in_node

from litecheck import record, verdict


def runs(*arrays, dtype="float32"):
    """Return outputs of which y is the only one: a dict for each run."""
    return [{"y": np.asarray(array, dtype)} for array in arrays]


def expected(outputs, *changed):
    """Return the `Expected` of outputs, and of what they become when weights change."""
    ids = [[10 * index] for index in range(len(outputs))]
    return verdict.expected(outputs, changed or [outputs], "net.keras", ids)


@pytest.mark.parametrize(
    ("outputs", "changed", "tolerance"),
    [
        ([[[0.0]], [[50.0]]], None, 50e-4 + 50e-6),  # 1e-4 of the range, 1e-6 of the largest
        ([[[-50.0]], [[-50.0]]], None, 50e-6),
        ([[[0.0]], [[0.0]]], None, 0),
        ([[[0.0]], [[50.0]]], [[[0.25]], [[49.9]]], 50e-4 + 50e-6 + 2.5),  # 10 times the change
        ([[[0.0]], [[np.inf]]], None, 0),  # the range of what is finite
        ([[[0.0]], [[50.0]]], [[[np.inf]], [[50.0]]], np.inf),
    ],
)
def test_the_tolerance_of_a_component(outputs, changed, tolerance):
    outputs = runs(*outputs)
    found = expected(outputs, *([runs(*changed)] if changed else []))
    assert found.tolerances[0]["y"] == pytest.approx([tolerance], rel=1e-6, abs=1e-37)
    assert found.tolerances[1]["y"] == found.tolerances[0]["y"]


def test_the_largest_of_all_changes_counts():
    outputs = runs([[0.0]], [[100.0]])
    changed = [runs([[0.1]], [[100.0]]), runs([[0.0]], [[100.5]]), runs([[0.0]], [[100.0]])]
    assert expected(outputs, *changed).tolerances[0]["y"] == pytest.approx([0.01 + 5 + 1e-4])


@pytest.mark.parametrize("excess", [0.99, 1.01])
def test_an_error_may_be_as_large_as_the_tolerance(excess):
    outputs = runs([[0.0, 0.0]], [[1e6, 1.0]])
    tolerance = 1e-4 + 1e-6
    given = runs([[0.0, 0.0]], [[1e6, 1.0 + excess * tolerance]])
    same = verdict.compare(given, expected(outputs))
    assert bool(same.difference) == (excess > 1)
    assert same.of_range == pytest.approx(excess * tolerance, rel=1e-2)
    assert not same.broken


def test_a_small_component_beside_a_large_one():
    outputs = runs([[0.0, 0.0]], [[1e6, 1.0]])
    same = verdict.compare(runs([[0.0, 0.3]], [[1e6, 1.0]]), expected(outputs))
    assert same.error == pytest.approx(0.3)
    assert same.of_range == pytest.approx(0.3)
    assert same.difference.startswith(
        "output y, sample 0, component 1 is 0.30000001192092896, but net.keras returns 0.0,"
        " and rounding explains an error of 1.0e-04"
    )
    one = [{"y": run["y"].ravel()} for run in outputs]  # no axis beside it: one component
    assert not verdict.compare([{"y": np.float32([0, 0.3])}, one[1]], expected(one)).difference


def test_where_nothing_varies_the_magnitude_counts():
    for output, error, of_range in [(4.0, 1.0, 0.25), (0.0, 0.5, 0.5)]:
        same = verdict.compare(runs([[output + error]]), expected(runs([[output]])))
        assert (same.error, same.of_range) == (error, of_range)
    nearly = expected(runs([[1000.0]], [[1001.0]]))
    assert verdict.compare(runs([[1000.0]], [[1003.0]]), nearly).of_range == pytest.approx(
        0.2, 0.01
    )


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
    for changed in [[], [runs([[np.inf]], [[np.inf]])]]:  # even where nothing can be judged
        same = verdict.compare(runs(*given), expected(runs([[0.0]], [[50.0]]), *changed))
        assert same.broken.startswith(broken)
        assert same.difference.startswith(broken)


def test_sizes_exchanged_outputs_and_kinds():
    whole = expected(runs(np.zeros((1, 2, 6))))
    assert "shape (1, 6, 2)" in verdict.compare(runs(np.zeros((1, 6, 2))), whole).broken
    assert verdict.compare([{"z": np.zeros((1, 2, 6))}], whole).broken == "its outputs are z, not y"
    integers = runs(np.zeros((1, 2, 6)), dtype="int32")
    assert verdict.compare(integers, whole).broken == "output y of sample 0 is integer, not real"


def test_infinities():
    outputs = expected(runs([[-np.inf, 0.0]], [[np.inf, 1.0]]))
    assert not verdict.compare(runs([[-np.inf, 0.0]], [[np.inf, 1.0]]), outputs).difference
    for given in [[[np.inf, 0.0]], [[1e30, 0.0]], [[np.nan, 0.0]]]:
        assert verdict.compare(runs(given, [[np.inf, 1.0]]), outputs).difference
    assert expected(runs([[np.inf]])).tolerances[0]["y"] < 1e-30
    lowest = np.finfo("float32").min  # as the converter stores an infinite constant
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
    # A tie of the original: where its own output moves when weights hardly change.
    assert not verdict.compare(other, expected(outputs, outputs, other)).difference
    other[0]["y"][0, 9] = other[0]["y"][0, 8]
    assert "1 of 40" in verdict.compare(other, expected(outputs, [{"y": np.where(np.arange(40) == 7,
        other[0]["y"], outputs[0]["y"])}])).difference  # fmt: skip


def test_large_integers_are_compared_exactly():
    outputs = runs([[2**53 + 1]], dtype="int64")
    assert verdict.compare(runs([[2**53]], dtype="int64"), expected(outputs)).difference


def test_four_pairs_of_changes_where_outputs_are_exact():
    assert verdict.passes(runs([[1.0]])) == [1, -1]
    assert verdict.passes(runs([[1]], dtype="int32")) == [1, -1, 2, -2, 3, -3, 4, -4]


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


def test_where_rounding_explains_much_nothing_can_be_judged():
    outputs = runs([[0.0, 0.0]], [[1.0, 1.0]])
    assert expected(outputs).unclear()[:2] == (0, 2)
    for change, unclear in [(0.0009, 0), (0.0011, 1)]:  # ten times: just below and above 1 %
        changed = runs([[0.0, change]], [[1.0, 1.0]])
        assert expected(outputs, changed).unclear()[:2] == (unclear, 2)
    assert expected(runs([[1]], dtype="int32")).unclear() == (0, 0, 0)


def test_samples_are_named_by_their_numbers():
    outputs = runs([[0.0], [1.0]], [[2.0], [3.0]])
    found = verdict.expected(outputs, [outputs], "net", [[8, 9], [4, 5]])
    same = verdict.compare(runs([[0.0], [1.0]], [[2.0], [4.0]]), found)
    assert "sample 5, component 0 is 4.0, but net returns 3.0" in same.difference
    same = verdict.compare(runs([[0.0], [np.nan]], [[2.0], [np.nan]]), found)
    assert same.difference.startswith("2 of 4 samples give NaN or infinity: output y, sample 9,")


def test_one_odd_sample_hides_no_error_in_the_others():
    numbers = [[[float(i % 7), 1.0]] for i in range(60)]
    outputs = expected(runs(*numbers, [[1e9, 1.0]]))
    wrong = runs(*numbers, [[1e9, 1.0]])
    wrong[3]["y"][0, 0] = 0
    same = verdict.compare(wrong, outputs)
    assert same.difference.startswith("output y, sample 30, component 0 is 0.0, but net.keras")
    off = runs(*numbers, [[1.0001e9, 1.0]])  # the odd one has tolerances of its own
    assert not verdict.compare(off, outputs).difference
    assert verdict.compare(runs(*numbers, [[1.01e9, 1.0]]), outputs).difference
    assert outputs.unclear()[0] == 0


def test_a_run_of_several_samples_counts_them_once():
    outputs = [*runs([[0]], [[1]], dtype="int32"), *runs([[0], [1]], dtype="int32")]
    found = verdict.expected(outputs, [outputs], "net", [[0], [1], [0, 1]])
    wrong = [{"y": run["y"] + np.int32(run["y"] == 1)} for run in outputs]
    same = verdict.compare(wrong, found)
    assert same.difference.startswith(
        "1 of 2 elements of y differ: output y, sample 1, component 0"
    )
    late = [*outputs[:2], {"y": outputs[2]["y"] + 1}]  # wrong for several at once only
    assert verdict.compare(late, found).difference.startswith("2 of 4 elements of y differ")


def recorded(outputs, given, scales=None, changed=None):
    """Return the `Recorded` of outputs, and of those of a file where it was converted."""
    true = expected(outputs, *([changed] if changed else []))
    scales = scales or {"y": 0.0}
    tolerances = verdict.device_tolerances(given, true, scales, len(outputs))
    return record.Recorded([{}] * len(outputs), outputs, tolerances, true.ranges, True, "")


def test_a_device_may_err_as_the_file_does_and_its_tolerance_more():
    outputs, given = runs([[0.0, 0.0]], [[100.0, 1.0]]), runs([[0.0, 0.25]], [[98.0, 1.0]])
    tolerance = [0.01 + 1e-4, 1e-4 + 1e-6]
    for run in recorded(outputs, given).tolerances:  # 2% and 25% of the ranges
        assert run["y"] == pytest.approx([8 + tolerance[0], 0.25 + tolerance[1]], rel=1e-5)
    for run in recorded(outputs, outputs).tolerances:
        assert run["y"] == pytest.approx(tolerance, rel=1e-5)
    for run in recorded(outputs, given, {"y": 0.5}).tolerances:
        assert run["y"] == pytest.approx(
            [9, 1.25], rel=1e-5
        )  # two steps are more than the tolerance


def test_a_component_that_errs_little_by_chance_counts_as_the_middle_one():
    outputs = runs(np.zeros((1, 5)), np.ones((1, 5)))
    given = runs([[0, 0.1, 0.02, 0.03, 0.01]], np.ones((1, 5)))
    shares = [0.08, 0.1, 0.08, 0.1, 0.08]  # four times the middle, at most the worst
    for run in recorded(outputs, given).tolerances:
        assert run["y"] == pytest.approx(np.array(shares) + 1e-4 + 1e-6, rel=1e-4)


@pytest.mark.parametrize("excess", [0.999, 1.001])
@pytest.mark.parametrize("sign", [1, -1])
def test_agreement_ends_at_what_is_allowed(excess, sign):
    outputs = runs([[0.0]], [[100.0]], [[50.0]])
    known = recorded(outputs, runs([[0.0]], [[100.0]], [[49.0]]))
    reach = 1 + 0.01 + 1e-4
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
        (1.0, 3.4028235e38, False),  # how the converter stores infinity
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
    known = recorded(outputs, runs([[0.0, 127.0]], [[5.0, 2.0]]))  # as an int8 file outputs
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
    """The same records and outputs through browser/check.js: counts, differences, worst runs."""
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
        # Where rounding explains anything, NaN is wrong still.
        boundless = [{"y": np.full(shape, np.inf)} for _ in outputs]
        known = recorded(outputs, converted, changed=boundless if case % 11 == 5 else None)
        agreement = known.agreement(given)
        worst = re.match(r"in run (\d+)", agreement.worst)
        decided.append((agreement.agreeing, agreement.of_range, worst and int(worst[1])))
        fields = {
            "runs": record.runs_of(outputs, outputs, {"v": known.tolerances}),
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
    """LiteRT.js tells one name of a tensor; an output that is missing otherwise is a misfit."""
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
        (np.zeros((1, 2, 3), int), "in run 2, y is integer, not real"),
    ],
)
def test_a_device_that_returns_another_shape_or_kind(wrong, reason):
    outputs = runs(*np.ones((3, 1, 2, 3)))
    given = [outputs[0], {"y": wrong}, outputs[2]]
    agreement = recorded(outputs, outputs).agreement(given)
    assert (agreement.agreeing, agreement.worst, agreement.lost) == (2, reason, True)


def test_finite_outputs_need_no_slow_quantile(monkeypatch):
    """`np.nanquantile` takes 17 s for 100,000 components, `np.quantile` one."""
    monkeypatch.setattr(np, "nanquantile", None)
    generator = np.random.default_rng(3)
    numbers = generator.standard_normal((40, 1, 3)).astype("float32")
    numbers[7, 0, 1] = 1e9
    outputs = runs(*numbers)
    finite = expected(outputs)
    assert finite.tolerances[7]["y"].shape == (1, 3)  # the odd one has a tolerance of its own
    monkeypatch.undo()
    infinite = numbers.copy()
    infinite[5, 0, 0] = np.inf
    other = expected(runs(*infinite))
    for one, two in zip(finite.tolerances, other.tolerances, strict=True):
        one, two = (np.broadcast_to(side["y"], (1, 3)) for side in (one, two))
        np.testing.assert_array_equal(one[:, 1:], two[:, 1:])
    np.testing.assert_array_equal(finite.ranges["y"][1:], other.ranges["y"][1:])
