"""How is a model converted and checked? Runs the command `convert`, and `litecheck.convert`."""

import contextlib
import io
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from litecheck import (
    apart,
    artifacts,
    causes,
    converters,
    models,
    record,
    repairs,
    rescue,
    rewriting,
    samples,
    script,
)
from litecheck.artifacts import FLOAT_ENDS, INTEGERS, PART
from litecheck.table import FIRST, SLOW, Check, Refused, Test, print_note


def convert(
    model: Any,
    name: str | None = None,
    given: samples.Given | None = None,
    test: Test | None = None,
    signature: str | None = None,
    batch: int | None = None,
    loops: bool = False,
    float_ends: bool = False,
    scale: str | None = None,
    progress: rescue.Progress | None = None,
) -> Check:
    """Convert a model to every variant, check each, and save it; see `litecheck.convert`.

    Samples and a test set beside the model are found by their names. If the process of a conversion
    died, the next call continues from its progress, and prints nothing twice.
    """
    model, name = artifacts.as_text(model), artifacts.as_text(name)
    progress = progress or rescue.Progress()
    sources: list[models.Source] = []
    check: Check | None = None

    def opened(sizes: models.Sizes) -> models.Model:
        found = models.load(model, name, signature, sizes, loops)
        sources.append(found.source)
        _require_own_name(found)
        return found

    def checked(found: models.Model) -> Check:
        beside = found.stem() if isinstance(model, str) else ""
        x = samples.find(beside, "samples") if beside and given is None else given
        xy = samples.find(beside, "test") if beside and test is None else test
        try:
            return Check(found, x, xy, scale)
        except script.Failure as error:
            if not batch or "too few samples" not in str(error):
                raise
            raise script.Failure(f"{error}, or a smaller batch") from error

    try:
        with _printing(not progress.is_resumed()):
            first = opened(batch)
            path, source = first.path.removeprefix("the model "), first.source
            print(f"model {path}, signature {source.signature}")
            if source.has_state and not any("Random" in op for op in source.ops):
                print("the model keeps a state from run to run: runs are compared in their order")
            check = checked(first)
        try:
            latest = _with_float32(check, progress)
        except script.Failure as error:
            check = _with_fixed_sizes(check, error, opened, checked, progress)
            latest = _made(check, "float16", progress)
        for variant in ("dynamic range", INTEGERS):  # each is converted while the one before runs
            following = _made(check, variant, progress)
            _add(check, latest, progress)
            latest = following
        _add(check, latest, progress)
        is_lossy = INTEGERS in check.rows and not _repair(check, progress)
        if float_ends:
            _add(check, _made(check, FLOAT_ENDS, progress), progress)
        if is_lossy and check.has_test_set():
            _add(check, _made(check, SLOW, progress), progress)
    finally:
        if check:
            sources.append(check.integers)
        for source in sources:  # a notebook keeps the `Check`, and so the sources
            source.discard()
    print(check.advice())
    check.save()
    from litecheck import pictures

    figure = pictures.compared(check.columns(), check.costliest())
    pictures.save(figure, f"{check.model.name}.variants.png")
    return check


def _require_own_name(model: models.Model) -> None:
    """Raise `Failure` if files of this name belong to another signature of the same model."""
    with contextlib.suppress(script.Unreadable):
        entry = record.find(f"{model.name}{artifacts.VARIANTS[FIRST].suffix}")
        if not entry or os.path.normpath(entry.source()) != os.path.normpath(model.path):
            return
        key, known = model.source.signature, entry.fields["model"].get("signature", "")
        if known in ("", key):
            return
        rest = model.options[2:] if "--signature" in model.options else model.options
        own = ["--signature", key, *rest, "--output", f"{model.name}.{key}"]
        raise script.Failure(
            f"{entry.path} belongs to the signature {known}, and its files would be replaced"
            f"\nGive the new files their own name: {script.command('convert', model.path, *own)}"
        )


def _with_fixed_sizes(
    check: Check,
    error: script.Failure,
    opened: Callable[[models.Sizes], models.Model],
    checked: Callable[[models.Model], Check],
    progress: rescue.Progress,
) -> Check:
    """Convert a refused model again: with a batch size of 1, then with the samples' sizes.

    Args:
        check: the `Check` that refused the model.
        error: the reason.
        opened: loads the model with other sizes.
        checked: returns a new `Check` for a loaded model.
        progress: the progress of the conversion.

    Returns:
        A `Check` that has float32.

    Raises:
        Failure: neither helps. It is `error`, the reason for the original sizes.
    """
    inputs, run = check.model.source.inputs, check.calibrating.runs[0]
    ways: list[tuple[models.Sizes, str]] = []
    if check.model.source.is_batched():
        words = "the batch size is fixed to 1: LiteRT cannot run this model with a variable one"
        ways.append((1, words))
    if check.calibrating.source and any(None in input.shape[1:] for input in inputs.values()):
        shapes = {name: array.shape for name, array in run.items()}
        words = "sizes are fixed to those of the samples: LiteRT gets variable ones wrong"
        ways.append((shapes, words))
    for sizes, words in ways:
        with contextlib.suppress(script.Failure):
            with _printing(False):
                again = checked(opened(sizes))
            _add(again, _made(again, FIRST, progress), progress)
            print_note(words)
            return again
    raise error


def _printing(is_new: bool) -> contextlib.AbstractContextManager[Any]:
    """Return a context that prints only if this is new, and was not printed before."""
    return contextlib.nullcontext() if is_new else contextlib.redirect_stdout(io.StringIO())


class Made(NamedTuple):
    """The files of a variant, before they are compared.

    Attributes:
        variant: the name of the variant.
        path: where the file will be saved.
        contents: the contents of the files that were made. The first sound one is saved. If the
            process died after it saved a file, that file.
        runner: the runner that runs the first of them already, or None.
        reason: why there are none, or "".
        note: a line to print below the row, or "".
    """

    variant: str
    path: str
    contents: Sequence[bytes]
    runner: apart.Runner | None = None
    reason: str = ""
    note: str = ""


def _with_float32(check: Check, progress: rescue.Progress) -> Made:
    """Add float32 to the table, and return float16, which is converted while float32 runs.

    Raises:
        Failure: float32 cannot be converted, or returns different outputs.
    """
    first, half = (_made(check, variant, progress) for variant in (FIRST, "float16"))
    if not check.model.source.rewritten:
        check.look_ahead(first.contents[0])
    _add(check, first, progress)
    return half


def _made(check: Check, variant: str, progress: rescue.Progress) -> Made:
    """Convert a model to a variant, and begin to run it.

    What a process did before it died is not repeated: its file is read again.

    Raises:
        Failure: float32 cannot be converted.
    """
    path = f"{check.model.name}{artifacts.VARIANTS[variant].suffix}"
    content = artifacts.read_if(path, progress.saved.get(variant))
    if content is not None:
        return Made(variant, path, [content], check.start(variant, content))
    error: Exception = script.Failure(progress.left_out.get(variant, ""))
    reason = str(error)
    if variant not in progress.left_out:
        progress.begin(variant)
        try:
            contents, note = converters.files(check, variant), ""
            sound = rewriting.with_sound_states(contents[-1]) if "int" in variant else None
            if sound:
                contents[-1] = sound
                note = "the scales of LSTM states were corrected for LiteRT's int8 kernel"
            return Made(variant, path, contents, check.start(variant, contents[0]), note=note)
        except Exception as refusal:  # the converter and its calibrator raise many kinds
            error, reason = refusal, causes.refusal(refusal, variant)
    if variant == FIRST:
        raise script.Failure(causes.of_converting(check.model.source, error)) from error
    return Made(variant, path, [], reason=reason)


def _add(check: Check, made: Made, progress: rescue.Progress) -> None:
    """Add a converted variant to the table, or print why it is not saved.

    Raises:
        Failure: float32 returns different outputs.
    """
    is_new = progress.is_new(made.variant)
    progress.begin(made.variant)
    with _printing(is_new):
        try:
            _keep_first_sound(check, made, progress.notes.get(made.variant, ""))
        except Refused as error:
            if made.variant == FIRST:
                raise
            check.leave_out(made.variant, made.path, str(error))
    _end(check, made.variant, progress)


def _keep_first_sound(check: Check, made: Made, note: str) -> None:
    """Save the first sound file of a variant, and print its row.

    Args:
        check: the `Check`.
        made: the files of the variant.
        note: the note of this variant from a process that died, or "".

    Raises:
        Failure: no file is sound.
    """
    error: script.Failure = Refused(made.reason)
    runner = made.runner
    for content in made.contents:
        try:
            found = check.tried(made.variant, content, made.path, runner)
        except script.Failure as failure:
            error, runner = failure, None
            continue
        check.keep(found._replace(row=found.row._replace(note=note)))
        if made.note:
            print_note(made.note)
        return
    raise error


def _end(check: Check, variant: str, progress: rescue.Progress) -> None:
    """Note the end of a variant in the progress: its file, or why it was not saved."""
    row = check.rows.get(variant)
    reason = check.left_out.get(variant, ("", ""))[1]
    progress.end(variant, row.sha256 if row else None, reason, row.note if row else "")


def _repair(check: Check, progress: rescue.Progress) -> bool:
    """Look for the reason why full integer loses much, unless a process did before it died.

    Returns:
        Whether the loss is repaired, or there is none.
    """
    if PART in progress.saved or PART in progress.left_out:
        if progress.left_out.get(PART) != "":
            _add(check, _made(check, PART, progress), progress)
        return PART in check.rows or not check.loses(INTEGERS)
    progress.begin(PART)
    is_repaired = False
    try:
        is_repaired = repairs.repair(check, lambda: _end(check, INTEGERS, progress))
    except (ValueError, RuntimeError, TypeError) as error:  # LiteRT refuses what is tried
        print_note(f"cannot find what loses accuracy: {causes.refusal(error)}")
    _end(check, PART, progress)
    return is_repaired
