"""What counts as the same: limits, what is exact, what is refused, and the words for it."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from conftest import REPOSITORY

from backstage import artifacts, verdict


def runs(*arrays, dtype="float32"):
    """Return answers with one output y: a dict for each run."""
    return [{"y": np.asarray(array, dtype)} for array in arrays]


def right(answers, *changed):
    """Return the `Right` of answers, and of what they become when weights change."""
    numbers = [[10 * index] for index in range(len(answers))]
    return verdict.right(answers, changed or [answers], "net.keras", numbers)


@pytest.mark.parametrize(
    ("answers", "changed", "limit"),
    [
        ([[[0.0]], [[50.0]]], None, 50e-4 + 50e-6),  # 1e-4 of the range, 1e-6 of the largest
        ([[[-50.0]], [[-50.0]]], None, 50e-6),
        ([[[0.0]], [[0.0]]], None, 0),
        ([[[0.0]], [[50.0]]], [[[0.25]], [[49.9]]], 50e-4 + 50e-6 + 2.5),  # 10 times the change
        ([[[0.0]], [[np.inf]]], None, 0),  # the range of what is finite
        ([[[0.0]], [[50.0]]], [[[np.inf]], [[50.0]]], np.inf),
    ],
)
def test_the_limit_of_a_component(answers, changed, limit):
    answers = runs(*answers)
    found = right(answers, *([runs(*changed)] if changed else []))
    assert found.limits[0]["y"] == pytest.approx([limit], rel=1e-6, abs=1e-37)
    assert found.limits[1]["y"] == found.limits[0]["y"]


def test_the_largest_of_all_changes_counts():
    answers = runs([[0.0]], [[100.0]])
    changed = [runs([[0.1]], [[100.0]]), runs([[0.0]], [[100.5]]), runs([[0.0]], [[100.0]])]
    assert right(answers, *changed).limits[0]["y"] == pytest.approx([0.01 + 5 + 1e-4])


@pytest.mark.parametrize("excess", [0.99, 1.01])
def test_an_error_may_be_as_large_as_the_limit(excess):
    answers = runs([[0.0, 0.0]], [[1e6, 1.0]])
    limit = 1e-4 + 1e-6
    given = runs([[0.0, 0.0]], [[1e6, 1.0 + excess * limit]])
    same = verdict.compare(given, right(answers))
    assert bool(same.difference) == (excess > 1)
    assert same.of_range == pytest.approx(excess * limit, rel=1e-2)
    assert not same.broken


def test_a_small_component_beside_a_large_one():
    answers = runs([[0.0, 0.0]], [[1e6, 1.0]])
    same = verdict.compare(runs([[0.0, 0.3]], [[1e6, 1.0]]), right(answers))
    assert same.error == pytest.approx(0.3)
    assert same.of_range == pytest.approx(0.3)
    assert same.difference.startswith(
        "output y, sample 0, component 1 answers 0.30000001192092896 where net.keras answers 0.0,"
        " and rounding explains an error of 1.0e-04"
    )
    one = [{"y": run["y"].ravel()} for run in answers]  # no axis beside it: one component
    assert not verdict.compare([{"y": np.float32([0, 0.3])}, one[1]], right(one)).difference


def test_where_nothing_varies_the_magnitude_counts():
    for answer, error, of_range in [(4.0, 1.0, 0.25), (0.0, 0.5, 0.5)]:
        same = verdict.compare(runs([[answer + error]]), right(runs([[answer]])))
        assert (same.error, same.of_range) == (error, of_range)
    nearly = right(runs([[1000.0]], [[1001.0]]))
    assert verdict.compare(runs([[1000.0]], [[1003.0]]), nearly).of_range == pytest.approx(
        0.2, 0.01
    )


@pytest.mark.parametrize(
    ("given", "broken"),
    [
        ([[[0.0]], [[np.nan]]], "1 of 2 samples answer NaN or infinity: output y, sample 10"),
        ([[[np.nan]], [[np.nan]]], "2 of 2 samples answer NaN or infinity: output y, sample 0"),
        ([[[0.0]], [[np.inf]]], "1 of 2 samples answer NaN"),
        ([[[0.0]], [50.0]], "output y of sample 10 has the shape (1,), not (1, 1)"),
        ([[[0.0]], [[50.0], [50.0]]], "output y of sample 10 has the shape (2, 1), not (1, 1)"),
    ],
)
def test_answers_that_are_no_numbers_or_of_another_shape(given, broken):
    for changed in [[], [runs([[np.inf]], [[np.inf]])]]:  # even where nothing can be judged
        same = verdict.compare(runs(*given), right(runs([[0.0]], [[50.0]]), *changed))
        assert same.broken.startswith(broken)
        assert same.difference.startswith(broken)


def test_sizes_exchanged_outputs_and_kinds():
    whole = right(runs(np.zeros((1, 2, 6))))
    assert "shape (1, 6, 2)" in verdict.compare(runs(np.zeros((1, 6, 2))), whole).broken
    assert verdict.compare([{"z": np.zeros((1, 2, 6))}], whole).broken == "its outputs are z, not y"
    integers = runs(np.zeros((1, 2, 6)), dtype="int32")
    assert verdict.compare(integers, whole).broken == "output y is integer, not real"


def test_infinities():
    answers = right(runs([[-np.inf, 0.0]], [[np.inf, 1.0]]))
    assert not verdict.compare(runs([[-np.inf, 0.0]], [[np.inf, 1.0]]), answers).difference
    for given in [[[np.inf, 0.0]], [[1e30, 0.0]], [[np.nan, 0.0]]]:
        assert verdict.compare(runs(given, [[np.inf, 1.0]]), answers).difference
    assert right(runs([[np.inf]])).limits[0]["y"] < 1e-30
    lowest = np.finfo("float32").min  # as the converter stores an infinite constant
    assert not verdict.compare(runs([[lowest, 0.0]], [[np.inf, 1.0]]), answers).difference


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool", "S3"])
def test_exact_answers(dtype):
    numbers = np.arange(40) % 2 if dtype == "bool" else np.arange(40)
    answers = runs(numbers.reshape(1, 40), dtype=dtype)
    other = [{"y": answers[0]["y"].copy()}]
    other[0]["y"][0, 7] = other[0]["y"][0, 8]
    assert not verdict.compare(answers, right(answers)).difference
    same = verdict.compare(other, right(answers))
    assert same.difference.startswith(
        "1 of 40 elements of y differ: output y, sample 0, component 7"
    )
    assert same.error == 1
    # A tie of the original: where its own answer moves when weights hardly change.
    assert not verdict.compare(other, right(answers, answers, other)).difference
    other[0]["y"][0, 9] = other[0]["y"][0, 8]
    assert "1 of 40" in verdict.compare(other, right(answers, [{"y": np.where(np.arange(40) == 7,
        other[0]["y"], answers[0]["y"])}])).difference  # fmt: skip


def test_large_integers_are_compared_exactly():
    answers = runs([[2**53 + 1]], dtype="int64")
    assert verdict.compare(runs([[2**53]], dtype="int64"), right(answers)).difference


def test_four_pairs_of_changes_where_answers_are_exact():
    assert verdict.passes(runs([[1.0]])) == [1, -1]
    assert verdict.passes(runs([[1]], dtype="int32")) == [1, -1, 2, -2, 3, -3, 4, -4]


def test_complex_numbers_have_two_parts():
    answers = runs([[1 + 2j, 3j]], [[2 + 1j, 4j]], dtype="complex64")
    assert not verdict.compare(answers, right(answers)).difference
    other = runs([[1 + 2j, 3j]], [[2 + 1j, 4.5j]], dtype="complex64")
    same = verdict.compare(other, right(answers))
    assert same.difference.startswith("output y, sample 10, component 1 answers 4.5j where")
    assert (same.error, same.of_range) == (0.5, 0.5)
    assert verdict.compare(runs([[1 + 2j, 3j]], [[2 - 1j, 4j]], dtype="complex64"), right(answers))


def test_where_rounding_explains_much_nothing_can_be_judged():
    answers = runs([[0.0, 0.0]], [[1.0, 1.0]])
    assert right(answers).unclear()[:2] == (0, 2)
    for change, unclear in [(0.0009, 0), (0.0011, 1)]:  # ten times: just below and above 1 %
        changed = runs([[0.0, change]], [[1.0, 1.0]])
        assert right(answers, changed).unclear()[:2] == (unclear, 2)
    assert right(runs([[1]], dtype="int32")).unclear() == (0, 0, 0)


def test_samples_are_named_by_their_numbers():
    answers = runs([[0.0], [1.0]], [[2.0], [3.0]])
    found = verdict.right(answers, [answers], "net", [[8, 9], [4, 5]])
    same = verdict.compare(runs([[0.0], [1.0]], [[2.0], [4.0]]), found)
    assert "sample 5, component 0 answers 4.0 where net answers 3.0" in same.difference
    same = verdict.compare(runs([[0.0], [np.nan]], [[2.0], [np.nan]]), found)
    assert same.difference.startswith("2 of 4 samples answer NaN or infinity: output y, sample 9,")


def test_one_odd_sample_hides_no_error_in_the_others():
    numbers = [[[float(i % 7), 1.0]] for i in range(60)]
    answers = right(runs(*numbers, [[1e9, 1.0]]))
    wrong = runs(*numbers, [[1e9, 1.0]])
    wrong[3]["y"][0, 0] = 0
    same = verdict.compare(wrong, answers)
    assert same.difference.startswith(
        "output y, sample 30, component 0 answers 0.0 where net.keras"
    )
    off = runs(*numbers, [[1.0001e9, 1.0]])  # the odd one has limits of its own
    assert not verdict.compare(off, answers).difference
    assert verdict.compare(runs(*numbers, [[1.01e9, 1.0]]), answers).difference
    assert answers.unclear()[0] == 0


def test_a_run_of_several_samples_counts_them_once():
    answers = [*runs([[0]], [[1]], dtype="int32"), *runs([[0], [1]], dtype="int32")]
    found = verdict.right(answers, [answers], "net", [[0], [1], [0, 1]])
    wrong = [{"y": run["y"] + np.int32(run["y"] == 1)} for run in answers]
    same = verdict.compare(wrong, found)
    assert same.difference.startswith(
        "1 of 2 elements of y differ: output y, sample 1, component 0"
    )
    late = [*answers[:2], {"y": answers[2]["y"] + 1}]  # wrong for several at once only
    assert verdict.compare(late, found).difference.startswith("2 of 4 elements of y differ")


def proven(answers, given, scales=None, changed=None):
    """Return the `Proven` of right answers, and of those of a file where it was converted."""
    true = right(answers, *([changed] if changed else []))
    allowed = verdict.allowed(given, true, scales or {"y": 0.0}, len(answers))
    return verdict.Proven([{}] * len(answers), answers, allowed, true.ranges, True, "")


def test_a_device_may_err_as_the_file_does_and_its_limit_more():
    answers, given = runs([[0.0, 0.0]], [[100.0, 1.0]]), runs([[0.0, 0.25]], [[98.0, 1.0]])
    limit = [0.01 + 1e-4, 1e-4 + 1e-6]
    for run in proven(answers, given).allowed:  # 2% and 25% of the ranges
        assert run["y"] == pytest.approx([8 + limit[0], 0.25 + limit[1]], rel=1e-5)
    for run in proven(answers, answers).allowed:
        assert run["y"] == pytest.approx(limit, rel=1e-5)
    for run in proven(answers, given, {"y": 0.5}).allowed:
        assert run["y"] == pytest.approx([9, 1.25], rel=1e-5)  # two steps are more than the limit


def test_a_component_that_errs_little_by_chance_counts_as_the_middle_one():
    answers = runs(np.zeros((1, 5)), np.ones((1, 5)))
    given = runs([[0, 0.1, 0.02, 0.03, 0.01]], np.ones((1, 5)))
    shares = [0.08, 0.1, 0.08, 0.1, 0.08]  # four times the middle, at most the worst
    for run in proven(answers, given).allowed:
        assert run["y"] == pytest.approx(np.array(shares) + 1e-4 + 1e-6, rel=1e-4)


@pytest.mark.parametrize("excess", [0.999, 1.001])
@pytest.mark.parametrize("sign", [1, -1])
def test_agreement_ends_at_what_is_allowed(excess, sign):
    answers = runs([[0.0]], [[100.0]], [[50.0]])
    known = proven(answers, runs([[0.0]], [[100.0]], [[49.0]]))
    reach = 1 + 0.01 + 1e-4
    agreement = verdict.agreement(runs([[0.0]], [[100.0]], [[50.0 + sign * excess * reach]]), known)
    assert (agreement.count, agreement.of) == ((3, 3) if excess < 1 else (2, 3))
    assert agreement.of_range == pytest.approx(excess * reach / 100, rel=1e-4)
    assert agreement.worst.startswith("in run 3, y answers " if excess > 1 else "")
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
    answers = runs([[0.0]], [[true]])
    agreement = verdict.agreement(runs([[0.0]], [[given]]), proven(answers, answers))
    assert agreement.count == 1 + agrees
    assert ("run 2" in agreement.worst) != agrees


def test_a_file_that_cannot_hold_infinity_is_no_excuse_for_other_numbers():
    answers = runs([[0.0, np.inf]], [[5.0, 2.0]])
    known = proven(answers, runs([[0.0, 127.0]], [[5.0, 2.0]]))  # as an int8 file answers
    assert verdict.agreement(runs([[0.0, 127.0]], [[5.0, 2.0]]), known).count == 2
    assert verdict.agreement(runs([[0.0, 127.0]], [[5.0, 3.0]]), known).count == 1
    assert verdict.agreement(runs([[9.0, 127.0]], [[5.0, 2.0]]), known).count == 1


def test_parts_of_a_proof_that_do_not_fit():
    answers = runs([[0.0, 1.0]], [[1.0, 0.0]])
    known = proven(answers, answers)._replace(inputs=runs([[1.0]], [[2.0]]))
    known.require_consistent()
    less = runs([[0.0, 1.0]])
    for wrong in [
        known._replace(inputs=[], answers=[], allowed=[]),
        known._replace(ranges={}),
        known._replace(ranges={"z": known.ranges["y"]}),
        known._replace(ranges={"y": np.zeros(2)}),
        known._replace(ranges={"y": np.ones(3)}),
        known._replace(answers=[*less, {}]),
        known._replace(answers=[*less, *runs([[1.0]])]),
        known._replace(allowed=[known.allowed[0], {"y": np.float32([1, np.nan])}]),
        known._replace(allowed=[known.allowed[0], {"y": np.ones((2, 2))}]),
        known._replace(inputs=[{"x": np.ones(1)}, {"z": np.ones(1)}]),
    ]:
        with pytest.raises(ValueError, match=r"\w"):
            wrong.require_consistent()


def test_exact_answers_may_differ_as_much_as_the_file_did():
    answers = runs([[1, 2]], [[9, 8]], dtype="int32")
    given = runs([[1, 3]], [[9, 8]], dtype="int32")
    assert verdict.agreement(given, proven(answers, answers)).count == 1
    known = proven(answers, runs([[1, 2]], [[9, 7]], dtype="int32"))
    assert verdict.agreement(given, known).count == 2
    agreement = verdict.agreement(runs([[2, 2]], [[9, 8]], dtype="int32"), known)
    assert "component 0 answers 2 where 1 is right" in agreement.worst


def test_the_worst_run_is_named_and_each_run_counts_once():
    answers = runs([[0.0, 0.0]], [[10.0, 10.0]], [[5.0, 5.0]])
    agreement = verdict.agreement(
        runs([[1.0, 1.0]], [[10.0, 10.0]], [[5.0, 9.0]]), proven(answers, answers)
    )
    assert (agreement.count, agreement.of) == (1, 3)
    assert agreement.worst.startswith("in run 3, y, component 1 answers 9.0 where 5.0 is right")


def test_only_runs_of_the_shapes_that_a_runtime_takes():
    answers = runs([[0.0]], [[1.0]])
    known = proven(answers, answers)._replace(
        inputs=[{"x": np.zeros((1, 2))}, {"x": np.zeros((8, 2))}]
    )
    assert len(known.only({"x": [1, 2]}).answers) == 1
    assert known.only({"x": [3, 2]}) is None


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_the_page_decides_as_python_does(tmp_path):
    """The same proofs and answers through browser/proof.js: counts, differences, worst runs."""
    random, cases, expected = np.random.default_rng(5), [], []
    for case in range(300):
        shape = [(1, 3), (2, 3), (1, 1), (4,), (1, 2, 2)][case % 5]
        dtype = "int32" if case % 7 == 0 else "float32"
        answers = [{"y": (10 * random.standard_normal(shape)).astype(dtype)} for _ in range(3)]
        if case % 4 == 1 and dtype == "float32":
            answers[1]["y"].flat[0] = [np.inf, -np.inf, 3.4028235e38][case % 3]
        noise = [10.0 ** random.integers(-7, 1) * random.standard_normal(shape) for _ in answers]
        given = [{"y": (run["y"] + n).astype(dtype)} for run, n in zip(answers, noise, strict=True)]
        if case % 6 == 2 and dtype == "float32":
            given[2]["y"].flat[-1] = [np.nan, np.inf, 3.4028235e38][case % 3]
        converted = [{"y": (run["y"] + 0.1).astype(dtype)} for run in answers]
        known = proven(answers, converted)
        agreement = verdict.agreement(given, known)
        worst = re.match(r"in run (\d+)", agreement.worst)
        expected.append((agreement.count, agreement.of_range, worst and int(worst[1])))
        sides = [("inputs", answers), ("answers", answers), ("allowed", known.allowed)]
        runs = [
            {side: {"y": artifacts.packed(part[i]["y"])} for side, part in sides} for i in range(3)
        ]
        for run in runs:
            run["allowed"] = {"v": run["allowed"]}
        ranges = {"y": artifacts.packed(known.ranges["y"])}
        came = [artifacts.packed(run["y"]) for run in given]
        cases.append({"proof": {"runs": runs, "ranges": ranges}, "came": came})
    shutil.copy(REPOSITORY / "browser/proof.js", tmp_path / "proof.mjs")
    (tmp_path / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    (tmp_path / "all.mjs").write_text(
        """
        import { readFileSync } from "node:fs";
        import { agreement, runsOf } from "./proof.mjs";
        const cases = JSON.parse(readFileSync("cases.json", "utf-8"));
        const found = cases.map(({ proof, came }) => {
          const given = came.map((y) => {
            const side = { y };
            const fake = { runs: [{ inputs: side, answers: side, allowed: { v: side } }] };
            return { y: runsOf(fake, "v")[0].answers.y.values };
          });
          const { count, ofRange, worst } = agreement(proof, runsOf(proof, "v"), given);
          return [count, Number.isFinite(ofRange) ? ofRange : "inf", worst && worst.run];
        });
        console.log(JSON.stringify(found));
        """,
        encoding="utf-8",
    )
    process = subprocess.run(["node", "all.mjs"], cwd=tmp_path, capture_output=True, check=True)
    found = json.loads(process.stdout)
    assert len({count for count, _, _ in expected}) == 4
    for (count, of_range, worst), (counted, share, run) in zip(expected, found, strict=True):
        assert (count, worst) == (counted, run)
        assert float(share) == pytest.approx(of_range, rel=1e-6)


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_the_page_knows_an_output_of_two_names(tmp_path):
    """LiteRT.js tells one name of a tensor; an output that is missing otherwise is a misfit."""
    shutil.copy(REPOSITORY / "browser/proof.js", tmp_path / "proof.mjs")
    (tmp_path / "all.mjs").write_text(
        """
        import { misfit } from "./proof.mjs";
        const end = (...values) => ({ shape: [1, 2], values });
        const tensor = (name, shape = [1, 2]) => ({ name, shape });
        const runs = [{ inputs: { x: end(1, 2) }, answers: { a: end(3, 4), b: end(3, 4) } }];
        const others = [{ ...runs[0], answers: { a: end(3, 4), b: end(3, 5) } }];
        console.log(JSON.stringify([
          misfit(runs, [tensor("x")], [tensor("b")]),
          misfit(others, [tensor("x")], [tensor("b")]),
          misfit(others, [tensor("x")], [tensor("a"), tensor("b")]),
          misfit(runs, [tensor("z")], [tensor("b")]),
          misfit(runs, [tensor("x", [1, 3])], [tensor("b")]),
        ]));
        """,
        encoding="utf-8",
    )
    process = subprocess.run(["node", "all.mjs"], cwd=tmp_path, capture_output=True, check=True)
    assert json.loads(process.stdout) == [
        "",
        "its outputs are b, not a, b",
        "",
        "its inputs are z, not x",
        "x has the shape [1, 3], not [1, 2]",
    ]
