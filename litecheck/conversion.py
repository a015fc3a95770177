"""How does a model become files? The command `convert`, and `litecheck.convert`."""

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

    Samples and a test set beside the model are found. A conversion whose process died goes on from
    its progress, and does not print again what was printed.
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
        return Check(found, x, xy, scale)

    try:
        with _printing(not progress.is_resumed()):
            first = opened(batch)
            path, source = first.path.removeprefix("the model "), first.source
            print(f"model {path}, signature {source.signature}")
            if source.has_state and not any("Random" in op for op in source.ops):
                print("it keeps a state from run to run: runs are compared in their order")
            check = checked(first)
        try:
            latest = _with_float32(check, progress)
        except script.Failure as error:
            check = _with_fixed_sizes(check, error, opened, checked, progress)
            latest = _made(check, "float16", progress)
        for variant in ("dynamic range", INTEGERS):  # each is converted while the latest is run
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
        for source in sources:  # not only when the `Check` is gone, which a notebook keeps
            source.discard()
    print(check.advice())
    check.save()
    from litecheck import pictures

    figure = pictures.compared(check.columns(), check.costliest())
    pictures.save(figure, f"{check.model.name}.variants.png")
    return check


def _require_own_name(model: models.Model) -> None:
    """Raise `Failure` if the files of this name are of another signature of the same model."""
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
            f"{entry.path} is of the signature {known}, and its files would be replaced"
            f"\nGive these a name of their own: {script.command('convert', model.path, *own)}"
        )


def _with_fixed_sizes(
    check: Check,
    error: script.Failure,
    opened: Callable[[models.Sizes], models.Model],
    checked: Callable[[models.Model], Check],
    progress: rescue.Progress,
) -> Check:
    """Convert a model that was refused again: with a batch of one, then with the samples' sizes.

    Returns:
        A `Check` with float32.

    Raises:
        Failure: neither helps; it says why the model was refused as it is.
    """
    inputs, run = check.model.source.inputs, check.calibrating.runs[0]
    ways: list[tuple[models.Sizes, str]] = []
    if check.model.source.is_batched():
        ways.append((1, "the batch is fixed to 1: LiteRT does not run it with one that varies"))
    if check.calibrating.source and any(None in input.shape[1:] for input in inputs.values()):
        shapes = {name: array.shape for name, array in run.items()}
        ways.append((shapes, "sizes are fixed to those of the samples: LiteRT mistakes others"))
    for sizes, words in ways:
        with contextlib.suppress(script.Failure):
            with _printing(False):
                again = checked(opened(sizes))
            _add(again, _made(again, FIRST, progress), progress)
            print_note(words)
            return again
    raise error


def _printing(is_new: bool) -> contextlib.AbstractContextManager[Any]:
    """Return a context that prints what is new, and nothing that was printed before."""
    return contextlib.nullcontext() if is_new else contextlib.redirect_stdout(io.StringIO())


class Made(NamedTuple):
    """What came of converting a model to a variant, before it is compared.

    Attributes:
        variant: its name.
        path: where it is saved.
        contents: the files that were made, of which the first that is sound is saved; or the one
            that was saved before its process died.
        runner: what has begun to run the first of them, if anything does.
        reason: why there are none.
        note: what is printed below its row.
    """

    variant: str
    path: str
    contents: Sequence[bytes]
    runner: apart.Runner | None = None
    reason: str = ""
    note: str = ""


def _with_float32(check: Check, progress: rescue.Progress) -> Made:
    """Add float32 to the table, and return float16, which is converted while float32 is run.

    Raises:
        Failure: float32 cannot be converted, or returns other outputs.
    """
    first, half = (_made(check, variant, progress) for variant in (FIRST, "float16"))
    if not check.model.source.rewritten:
        check.look_ahead(first.contents[0])
    _add(check, first, progress)
    return half


def _made(check: Check, variant: str, progress: rescue.Progress) -> Made:
    """Convert a model to a variant, unless a process that died has, and begin to run it.

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
                note = "the scales of LSTM's states were set as LiteRT's integers need them"
            return Made(variant, path, contents, check.start(variant, contents[0]), note=note)
        except Exception as refusal:  # the converter and its calibrator raise many kinds
            error, reason = refusal, causes.refusal(refusal, variant)
    if variant == FIRST:
        raise script.Failure(causes.of_converting(check.model.source, error)) from error
    return Made(variant, path, [], reason=reason)


def _add(check: Check, made: Made, progress: rescue.Progress) -> None:
    """Add a variant that was converted to the table; say why where that cannot be done.

    Raises:
        Failure: float32 returns other outputs.
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
    """Save the first file of a variant that is sound, and print its row.

    Args:
        check: the `Check`.
        made: the variant.
        note: what a process that died noted of it.

    Raises:
        Failure: there is no such file.
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
    """Note in the progress what came of a variant."""
    row = check.rows.get(variant)
    reason = check.left_out.get(variant, ("", ""))[1]
    progress.end(variant, row.sha256 if row else None, reason, row.note if row else "")


def _repair(check: Check, progress: rescue.Progress) -> bool:
    """Look for what full integer loses, unless a process that died has; return whether it helps.

    It helps, too, where nothing is lost.
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
        print_note(f"what loses it is not known: {causes.refusal(error)}")
    _end(check, PART, progress)
    return is_repaired
