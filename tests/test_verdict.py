"""What counts as the same: limits, what is exact, what is refused, and the words for it."""

import numpy as np
import pytest

from backstage import verdict


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
