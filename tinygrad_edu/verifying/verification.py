"""verify: hold gradients that somebody derived against the engine's, and say what is wrong.

    verify(forward, claims, inputs=…)

`forward` is the author's own function, which computes the loss in tensor operations or in plain
NumPy. A claim is what somebody says ∂L/∂(name) is: an expression in NumPy's spelling or in the
slides', the function `backprop` of a program, or an array. The truth is `grad` on what `forward`
records, on random problems of many sizes (`problems`). A wrong claim gets a diagnosis: the smallest
change of its own text that makes it right (`repair`), and a counterexample of the smallest sizes
and roundest numbers.

An expression is worked out by an interpreter that allows nothing else (`evaluation`). A function
is a program, and it is *run* as one: do not verify functions of people you do not trust outside
`python -m tinygrad_edu verify`, and read in `submissions` what that protects from and what not.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .branches import count_reached, source_of
from .claims import Claim, Sheet, is_slides
from .derivations import Function, line_text
from .edits import describe
from .functions import ClaimError
from .guards import guards
from .hinting import HINTS, within
from .inputs import TARGETS, CannotCheck, Kind
from .prepared import ATTEMPTS, Prepared, with_numbers
from .problems import Problem, usual_kind
from .proposals import Proposals
from .repair import Repair, factor_between
from .report import Counterexample, Report, Verdict
from .running import Here, has_backprop
from .sampling import LEAST, Drawn
from .truth import Truth, digits_of
from .wording import LANGUAGES, Told, say

__all__ = ["assert_right", "verified", "verify"]

_SOFTMAX = {"softmax", "log_softmax", "logsumexp", "cross_entropy", "log"}


def assert_right(forward: Callable[..., Any], claims: Any, **settings: Any) -> Report:
    """`verify` for a test: an AssertionError with the report if a claim is wrong.

    Raises:  AssertionError
    Example:
        >>> assert_right(lambda w: (w * w).sum(), {"w": "2 * w"}, inputs={"w": "n"}).right
        True
    """
    report = verify(forward, claims, **settings)
    report.raise_if_wrong()
    return report


def verify(
    forward: Callable[..., Any],
    claims: Any,
    *,
    inputs: Mapping[str, Any],
    wrt: Sequence[str] | None = None,
    given: Mapping[str, str] | None = None,
    lang: str = "en",
    repair: bool = True,
    seed: int = 0,
    hints: int = 3,
) -> Report:
    """Hold claims about ∂L/∂(name) against the gradients of what `forward` computes.

    forward   computes the loss from named arrays, in tensor operations or in plain NumPy
    claims    {name: claim}, a claim being an expression (text), an array (for example inputs) or a
              function; or one function such as the chapter's `backprop`, whose arguments are known
              names (`self` gives all of them) and which returns a dictionary or a tuple; or a text
              of lines, `∂L/∂W1 = XᵀE1` and `E1 = …`; or what `explain` has found
    inputs    for each argument of `forward` an example array, a number, a shape (a tuple), or its
              sizes as letters with, if need be, the kind of its entries: "m n", "m k onehot",
              "k m onehot(axis=0)", "m 1 binary", "m k labels" (`inputs` has the table). Axes of
              example arrays that only happen to be equally long are told apart by running
              `forward`; axes of length 1 stay 1
    wrt       the names that the values of a returned tuple belong to, in order
    given     more names for claims to use, as expressions: {"err": "A2 - Y"}
    lang      "en" or "ko"
    hints     how much is told of a mistake: 0 the verdict only, 1 where it is, 2 of what kind, 3
              the change that makes it right. The report holds nothing of a higher level

    A name in a claim is an argument of `forward`, a local variable of it, a letter of a size, m,
    the number of rows, a name of `given`, or `∂L/∂Z2` where that is claimed too. Claims may be
    about any of the first two (`Z2`, `A1`).

    An entry is right if it differs from the gradient's by no more than 1e-7·|gradient| + 1e-10·(the
    size of the terms that it is a sum of), on about 40 random problems: of many sizes, with unlike
    scales, and on both sides of each threshold that can be reached; the report says what was not
    reached (`sampling`, `truth`). Leading axes of length 1 do not count, and what NumPy broadcasts
    to the gradient's shape counts as that. Results of `backprop` may be arrays of any library that
    gives NumPy its numbers; those in float32 are compared to five digits. A right claim is thus not
    proven, but wrong ones that pass are wrong by less than rounding. The search for changes is
    bounded by the operations it does; a report says where the bound was reached. A function is run
    as it stands, without a bound on its time.

    Raises:  CannotCheck, which is a ValueError, if there is nothing to hold claims against
    Source:  the verdict on what `forward` computes is `grad`'s
    Example:
        >>> def forward(X, Y, W):
        ...     E = X @ W - Y
        ...     return (E * E).sum() / 2
        >>> sizes = {"X": "m n", "Y": "m k", "W": "n k"}
        >>> print(verify(forward, {"W": "X @ E", "E": "E"}, inputs=sizes).table())
        claim  verdict  text
        E      right    E
        W      WRONG    X @ E → X.T @ E
    """
    if lang not in LANGUAGES:
        raise ValueError(f"lang must be one of {', '.join(LANGUAGES)}, received {lang!r}")
    if hints not in HINTS:
        raise ValueError(f"hints must be one of {', '.join(map(str, HINTS))}, received {hints!r}")
    try:
        prepared = Prepared(forward, inputs, given, seed)
        return verified(prepared, claims, wrt=wrt, lang=lang, repair=repair, hints=hints)
    except CannotCheck as error:
        error.lang = lang
        raise


def verified(
    prepared: Prepared,
    claims: Any,
    *,
    wrt: Sequence[str] | None = None,
    lang: str = "en",
    repair: bool = True,
    hints: int = 3,
) -> Report:
    """Hold claims against problems that are prepared, as `verify` does.

    Raises:  CannotCheck
    Example:
        >>> prepared = Prepared(lambda w: (w * w).sum(), {"w": "n"})
        >>> [verified(prepared, {"w": text}).right for text in ("w", "2 * w")]
        [False, True]
    """
    if has_backprop(claims) or isinstance(claims, type):
        try:
            claims = Here(claims)
        except ClaimError as error:
            raise CannotCheck(error.what, **error.about) from None
    prepared = with_numbers(prepared, claims, wrt)
    return _Verification(prepared, claims, wrt, lang, repair, hints).report()


@dataclass
class _Tried:
    """The problems of one choice of kinds, and how the claims fare on them."""

    kinds: Mapping[str, Kind]
    drawn: Drawn
    outcomes: dict[Claim, list[bool]] = field(default_factory=dict)
    errors: dict[Claim, ClaimError] = field(default_factory=dict)

    @property
    def problems(self) -> list[tuple[str, Problem]]:
        return self.drawn.problems

    @property
    def has_classes(self) -> bool:
        return any(kind.name == "onehot" for kind in self.kinds.values())


class _Verification:
    def __init__(
        self,
        prepared: Prepared,
        claims: Any,
        wrt: Sequence[str] | None,
        lang: str,
        repair: bool,
        hints: int,
    ):
        self.prepared, self.forward, self.lang = prepared, prepared.forward, lang
        self.hints, self.repair = hints, repair and hints > 0
        self.specs, self.letters = prepared.specs, prepared.letters
        prepared.begin()
        self.choices = (_Tried(kinds, drawn) for kinds, drawn in prepared.choices())
        self.tried = next(self.choices)
        self.first = self.tried.problems[0][1]
        rank = {name: i for i, name in enumerate(self.first.order)}
        with np.errstate(all="ignore"):
            found = Sheet(self.first, prepared.given, wrt).read(claims)
        for claim in found:
            if claim.name not in rank and claim.refusal is None:
                raise CannotCheck("about-nothing", name=claim.name, known=", ".join(rank))
        self.claims = sorted(found, key=lambda claim: rank.get(claim.name, len(rank)))
        if not self.claims:
            raise CannotCheck("no-claim")

    def say(self, what: str, /, **about: Any) -> str:
        return say(what, self.lang, **about)

    # --- the verdicts

    def report(self) -> Report:
        with np.errstate(all="ignore"):
            done: list[_Tried] = []
            for tried in itertools.chain([self.tried], self.choices):
                for claim in self.claims:
                    self.try_on(claim, tried)
                done.append(tried)
                if all(map(all, tried.outcomes.values())):
                    break
            # What the targets hold is taken to be what makes most claims right; else, for a loss
            # with a softmax, vectors that add up to 1; else anything.
            classes = bool(_SOFTMAX & done[0].problems[0][1].operations.keys())
            self.tried = max(
                done,
                key=lambda t: (sum(map(all, t.outcomes.values())), classes and t.has_classes),
            )
            right = {claim: all(self.tried.outcomes[claim]) for claim in self.claims}
            code = getattr(inspect.unwrap(self.forward), "__code__", None)
            words = getattr(code, "co_names", ())
            self.proposals = Proposals(self.claims, right, self.ordered(), words)
            wrong = [claim for claim in self.claims if not right[claim]]
            if self.repair and not all(map(self.is_imprecise, wrong)):
                self.proposals.search()
            verdicts = [self.judge(claim) for claim in self.claims]
        notes = self.notes(verdicts)
        return Report([within(v, self.hints, self.lang) for v in verdicts], notes, self.lang)

    def try_on(self, claim: Claim, tried: _Tried) -> None:
        problems = [p for _, p in tried.problems]
        if claim.on_example:
            example = self.prepared.example()
            problems = [] if example is None else [example]
        outcomes, errors = self.outcomes(claim, problems)
        if not all(outcomes) and claim.other is not None:
            other = Claim(claim.name, claim.text, claim.other)
            if all(self.outcomes(other, problems)[0]):
                claim.derivation, claim.other, outcomes = claim.other, None, [True] * len(outcomes)
        if claim.too_much:  # on one problem, and therefore on none
            outcomes, errors = [False] * len(problems), [claim.too_much]
        if not problems:
            outcomes, errors = [False], [ClaimError("array-needs-example")]
        tried.outcomes[claim] = outcomes
        if errors:
            tried.errors[claim] = errors[0]

    def outcomes(
        self, claim: Claim, problems: Sequence[Problem]
    ) -> tuple[list[bool], list[ClaimError]]:
        found, errors = [], []
        for problem in problems:
            try:
                found.append(claim.agrees(problem))
            except ClaimError as error:
                errors.append(error)
                found.append(False)
        return found, errors

    def judge(self, claim: Claim) -> Verdict:
        """Return the verdict on a claim, with all that is to be said of it."""
        outcomes, error = self.tried.outcomes[claim], self.tried.errors.get(claim)
        verdict = Verdict(claim.name, "right" if all(outcomes) else "wrong", claim.text)
        if verdict.right:
            verdict.remarks += self.on_precision(claim) + self.on_guards(claim)
        elif claim.refusal or claim.on_example:
            self.refuse(claim, verdict, error)
        else:
            if error and not any(outcomes):
                verdict.status = "error"
            self.diagnose(claim, verdict, error)
            if self.hints > 1:
                verdict.counterexample = self.counterexample(claim)
            self.add_remarks(claim, verdict, outcomes)
        return verdict

    def refuse(self, claim: Claim, verdict: Verdict, error: ClaimError | None) -> None:
        """Say why a claim cannot be read, or how an array differs from the gradient."""
        if error and claim.refusal:
            verdict.status, verdict.reason = "unreadable", error.said(self.lang)
        elif error:
            verdict.status, verdict.reason = "error", self.say("cannot", reason=error)
        elif (example := self.prepared.example()) is not None:
            self.differ(claim, verdict, [example])

    def diagnose(self, claim: Claim, verdict: Verdict, error: ClaimError | None) -> None:
        """Say what is wrong with a claim: its change, its precision, where it differs, or the error
        of a problem on which it cannot be worked out."""
        is_imprecise = not error and self.is_imprecise(claim)
        repaired = None if is_imprecise else self.proposals.found.get(claim)
        if repaired is not None:
            self.tell(claim, verdict, repaired)
        elif error:
            verdict.reason = self.say("cannot", reason=error)
        else:
            self.differ(claim, verdict, self.ordered(), is_imprecise)
        if claim in self.proposals.given_up:
            verdict.remarks.append(self.say("search-ended", tries=self.proposals.budget.tries))
        if error and not verdict.before and "text" in error.about and "line" in error.about:
            verdict.before, verdict.line = error.about["text"], error.about["line"]
        if self.repair and claim.function is not None and claim.function.tree is None:
            verdict.remarks.append(self.say("no-source", function=claim.function.name))

    def add_remarks(self, claim: Claim, verdict: Verdict, outcomes: Sequence[bool]) -> None:
        """Say on which sides of a threshold, or at which sizes, a wrong claim is right."""
        if verdict.kinds == ("precision",):  # where it is right is chance
            return
        special: dict[str, list[bool]] = {}
        for ok, (what, _) in zip(outcomes, self.tried.problems, strict=True):
            special.setdefault(what, []).append(ok)
        general = all(special.pop(""))
        if within_sides := [] if general else self.beyond_threshold(outcomes):
            verdict.remarks += within_sides  # … and sizes are not the reason
        else:
            self.add_conditions(claim, verdict, special, general)
        if "axis-missing" in verdict.kinds and (remark := self.also_added(claim.name)):
            verdict.remarks.insert(0, remark)

    def add_conditions(
        self, claim: Claim, verdict: Verdict, special: Mapping[str, list[bool]], right: bool
    ) -> None:
        """Say where a claim is right, or, if it is `right` in general, where it is not."""
        for what, oks in special.items():
            if all(oks) == right:
                continue
            if right or self.holds_at(claim, what, verdict.counterexample):
                verdict.conditions.append(what)
        if not right and 1 < len(special) == len(verdict.conditions):
            verdict.conditions = []  # right at all of them: another scale is what it fails on
        if verdict.conditions:
            verdict.status = "special"
            where = self.say("or").join(verdict.conditions)
            verdict.remarks[:0] = (
                [self.say("except", conditions=where)]
                if right
                else self.only_for(verdict.conditions, where)
            )

    def holds_at(self, claim: Claim, what: str, example: Counterexample | None) -> bool:
        """Return True if a claim is right at special sizes, which takes at least three problems of
        that size whose gradient depends on the data, and no counterexample there."""
        a, _, b = what.partition(" = ")
        if example is not None and example.sizes[a] == (1 if b == "1" else example.sizes[b]):
            return False
        problems = self.prepared.special(what, self.tried.kinds, claim.name)
        return len(problems) >= LEAST and all(self.outcomes(claim, problems)[0])

    def beyond_threshold(self, outcomes: Sequence[bool]) -> list[str]:
        """Return the remark that a claim fails on just those problems that reach a side of a
        threshold, if there is such a side."""
        general = [
            (ok, p) for ok, (what, p) in zip(outcomes, self.tried.problems, strict=True) if not what
        ]
        right = count_reached(p.branches for ok, p in general if ok)
        wrong = count_reached(p.branches for ok, p in general if not ok)
        if sum(ok for ok, _ in general) < LEAST:
            return []
        failures = len(general) - sum(ok for ok, _ in general)
        for branch, times in wrong.items():
            if times == failures and not right.get(branch):
                side = Told(branch[-1])
                return [self.say("only-within", source=source_of(branch), side=side)]
        return []

    # --- precision

    def is_imprecise(self, claim: Claim) -> bool:
        """Return True if a claim is nowhere further from the gradient than rounding to float32."""
        try:
            return all(claim.truth(p).nearly(claim.value(p)) for p in self.ordered())
        except ClaimError:
            return False

    def on_precision(self, claim: Claim) -> list[str]:
        """Return the remark on a right claim whose numbers have less precision than float64."""
        if claim.values is None or (claim.on_example and self.prepared.example() is None):
            return []
        problem = self.prepared.example() if claim.on_example else self.first
        assert problem is not None
        dtype = getattr(claim.value(problem), "dtype", None)
        if not isinstance(dtype, np.dtype) or dtype.kind != "f" or dtype.itemsize >= 8:
            return []
        bound = claim.truth(problem).relative_for(dtype)
        return [self.say("in-precision", dtype=dtype.name, tolerance=f"{bound:.0e}")]

    def on_guards(self, claim: Claim) -> list[str]:
        """Return the remark on a right claim that leaves out a tiny number which forward adds."""
        problem = self.prepared.example() if claim.on_example else self.first
        if problem is None or not problem.unguarded or problem.recorded is None:
            return []
        problems = [problem] if claim.on_example else self.ordered()
        truths = [(claim.truth(p), claim.value(p)) for p in problems]
        if all(t.is_exactly(x) or not t.without_guards(x) for t, x in truths):
            return []
        inputs = {x: name for name, x in problem.inputs.items() if isinstance(x, float)}
        numbers = (inputs.get(x, f"{x:.0e}") for x in guards(problem.recorded[0]))
        return [self.say("but-for-guards", numbers=", ".join(numbers))]

    def only_for(self, conditions: list[str], where: str) -> list[str]:
        remarks = [self.say("only-for", conditions=where)]
        for condition in conditions:
            letter, _, one = condition.partition(" = ")
            if one == "1" and letter in self.output_letters():
                remarks.append(self.say("one-output", condition=condition))
        return remarks

    def also_added(self, name: str) -> str:
        """Return the remark on the axis of ∂L/∂name that a sum over all entries adds up too."""
        axes = [letter for letter in self.axes_of(name) if letter != "m"]
        if len(axes) != 1:
            return ""
        column = self.axes_of(name)[1:] == ["1"] or self.samples_last()
        meaning = Told(self.meaning(axes[0]), name=name)
        return self.say("also-rows" if column else "also-columns", columns=axes[0], meaning=meaning)

    def axes_of(self, name: str) -> list[str]:
        """Return the letter of each axis of a value: as it was said, or as the sizes tell."""
        if name in self.specs:
            return [str(axis) for axis in self.specs[name].axes]
        letters = {n: letter for letter, n in self.first.sizes.items()}
        return [letters.get(n, str(n)) for n in self.first.gradients[name].shape]

    def samples_last(self) -> bool:
        """Return True if the samples are the columns of the targets."""
        return any(
            len(spec.axes) > 1 and spec.axes[-1] == "m" != spec.axes[0]
            for name, spec in self.specs.items()
            if name in TARGETS
        )

    def meaning(self, letter: str) -> str:
        """Return the key of the word for what an axis counts: classes, hidden units, samples …"""
        if letter == "m":
            return "samples"
        if letter in self.output_letters():
            classes = bool(_SOFTMAX & self.first.operations.keys())
            return "classes" if classes else "outputs"
        uses = [s.axes for s in self.specs.values() if letter in s.axes]
        if any("m" in axes for axes in uses):
            return "features"
        return "hidden-units" if len(uses) > 1 else "entries"

    def output_letters(self) -> set[str]:
        """Return the letters that count outputs: the axis of the targets that is not m."""
        return {
            axis
            for name, spec in self.specs.items()
            if (name in TARGETS or spec.kind in ("onehot", "labels")) and len(spec.axes) > 1
            for axis in spec.axes
            if isinstance(axis, str) and axis != "m"
        }

    def ordered(self) -> list[Problem]:
        """The problems, those whose sizes all differ first."""
        return [p for _, p in sorted(self.tried.problems, key=lambda pair: bool(pair[0]))]

    # --- what is wrong

    def tell(self, claim: Claim, verdict: Verdict, found: Repair) -> None:
        assert claim.derivation is not None
        slides = is_slides(claim.text) and claim.function is None
        verdict.kinds = found.kinds
        reasons = [describe(edit, self.lang, slides) for edit in found.edits]
        verdict.reason = self.say("and").join(dict.fromkeys(reasons))
        places = sorted(set(found.lines))
        before, after = claim.derivation.lines, found.derivation.lines
        verdict.before = "; ".join(line_text(before[i], slides) for i in places)
        verdict.after = "; ".join(line_text(after[i], slides) for i in places)
        if claim.function is not None:
            node = before[places[0]][1]
            while node.source is None and node.parts:
                node = node.parts[-1]
            if node.source is not None:
                lines = node.source.count("\n", 0, node.span[0])
                verdict.line = claim.function.first_line + lines
        if (other := self.proposals.same.get(claim)) is not None:
            verdict.remarks.append(self.say("same", other=other.name))

    def differ(
        self,
        claim: Claim,
        verdict: Verdict,
        problems: Sequence[Problem],
        is_imprecise: bool | None = None,
    ) -> None:
        """Say where and how a claim differs that no small change makes right."""
        for problem in problems:
            truth = claim.truth(problem)
            try:
                value = claim.value(problem)
            except ClaimError as error:  # also where the search has used up the claim's work
                verdict.reason = self.say("cannot", reason=error)
                continue
            if truth.agrees(value):
                continue
            if truth.nearly(value) if is_imprecise is None else is_imprecise:
                digits = digits_of(truth.relative_difference(value))
                verdict.kinds = ("precision",)
                verdict.reason = self.say("precision", digits=digits)
                return
            verdict.kinds, verdict.reason = self.difference(value, truth, problem)
            if verdict.kinds == ("factor",) and len(problems) > 1:
                word = self.factor_on_all(claim, problems)
                verdict.reason = self.say("factor", c=word) if word else self.entry(value, truth)
                verdict.kinds = ("factor",) if word else ("differs",)
            if claim.function is not None:
                verdict.remarks += self.begins(claim.function, problem)
            return

    def begins(self, function: Function, problem: Problem) -> list[str]:
        """The variables of a function that forward has too, with another value."""
        remarks = []
        for name, value in function.locals_on(problem).items():
            if name in problem.gradients and name not in function.parameters:
                right = Truth(problem.names[name])
                if not right.agrees(value):
                    _, how = self.difference(value, right, problem)
                    remarks.append(self.say("begins", name=name, difference=how))
        return remarks

    def difference(self, value: Any, truth: Truth, problem: Problem) -> tuple[tuple[str, ...], str]:
        """In what way a value differs from the truth: a word and a sentence."""
        try:
            x = np.asarray(value, dtype=float)
        except Exception:  # whatever an object of the author's own raises
            reason = ClaimError("not-array", kind=type(value).__name__)
            return ("shape",), self.say("cannot", reason=reason)
        true = truth.array
        if x.ndim == 2 and x.T.shape == true.shape and truth.agrees(x.T):
            return ("transposed",), self.say("transposed")
        if x.shape != true.shape:
            return ("shape",), self.say("shape", got=x.shape, expected=true.shape)
        c, m = factor_between(x, true), problem.names.get("m")
        if c is not None:
            word = _number(c)
            if m and np.ndim(m) == 0 and m > 1:
                word = "m" if abs(c - m) < 1e-8 else "1/m" if abs(c * m - 1) < 1e-8 else word
            negative = abs(c + 1) < 1e-8
            kind = "sign" if negative else "factor"
            return (kind,), self.say("negative" if negative else "factor", c=word)
        return ("differs",), self.entry(value, truth)

    def factor_on_all(self, claim: Claim, problems: Sequence[Problem]) -> str:
        """Return the factor between a claim and the gradient if it is one number or one size on
        all problems, else ""."""
        found: list[tuple[float, Problem]] = []
        for problem in problems:
            try:
                x = np.asarray(claim.value(problem), dtype=float)
            except (ClaimError, TypeError, ValueError):
                return ""
            true = problem.gradients[claim.name]
            if np.abs(true).max(initial=0.0) > 1e-9:
                c = factor_between(x, true)
                if c is None:
                    return ""
                found.append((c, problem))
        if not found:
            return ""
        if all(np.isclose(c, found[0][0], rtol=1e-7) for c, _ in found):
            return _number(found[0][0])
        for word, size in _factors_of_sizes(self.letters):
            if all(np.isclose(c, size(p.names), rtol=1e-7) for c, p in found):
                return word
        return ""

    def entry(self, value: Any, truth: Truth) -> str:
        """Return the sentence on the first entry that differs."""
        x, true = np.asarray(value, dtype=float), truth.array
        place = tuple(int(i) for i in np.argwhere(~(abs(x - true) <= truth.bound_for(value)))[0])
        got, expected = f"{x[place]:.6g}", f"{true[place]:.6g}"
        if got == expected:
            got, expected = f"{x[place]:.12g}", f"{true[place]:.12g}"
        return self.say("entry", place=list(place), got=got, expected=expected)

    def counterexample(self, claim: Claim) -> Counterexample | None:
        """Return small sizes and whole numbers on which a claim is wrong, None if none are found.

        What fails because shapes do not fit fails for all numbers of these sizes.
        """
        for sizes in self.prepared.small_sizes():
            for attempt in range(ATTEMPTS):
                problem = self.prepared.small(sizes, self.tried.kinds, attempt)
                if problem is None:
                    continue
                try:
                    value = claim.value(problem)
                except ClaimError as error:
                    if error.what == "line-misfits":
                        break
                    continue
                truth = claim.truth(problem)
                if not truth.agrees(value):
                    true = np.where(np.abs(truth.array) <= truth.bound, 0.0, truth.array)
                    return Counterexample(sizes, problem.inputs, value, true)
        return None

    def notes(self, verdicts: list[Verdict]) -> list[str]:
        notes = []
        for name, kind in self.tried.kinds.items():
            spec = self.specs[name]
            inferred = spec.kind is None or kind != usual_kind(spec)
            if kind.name == "binary" and inferred:
                notes.append(self.say("given", fact=self.say("binary", name=name)))
            elif kind.axis is not None and inferred:
                where = "vector" if len(spec.axes) == 1 else "columns" if kind.axis == 0 else "rows"
                fact = self.say(f"{kind.name}-{where}", name=name)
                notes.append(self.say("given", fact=fact))
        wrong = [v for v in verdicts if not v.right and v.status != "unreadable"]
        if wrong and len(verdicts) > 1 and self.hints:
            first = max(wrong, key=lambda v: bool(v.kinds))  # not one that only fails with another
            notes.append(self.say("first", name=first.name))
        if self.prepared.separated:
            shapes = (f"{k} ({', '.join(map(str, s.axes))})" for k, s in self.specs.items()
                      if s.axes)  # fmt: skip
            notes.append(self.say("read-off", sizes=", ".join(shapes)))
        for letter in sorted(self.prepared.unclear):
            notes.append(self.say("ambiguous", letter=letter))
        notes += self.checked()
        return notes

    def checked(self) -> list[str]:
        """Return the sentences on what the claims were held against, and what was not reached."""
        notes = []
        arrays = [claim.name for claim in self.claims if claim.on_example]
        if arrays:
            notes.append(self.say("checked-example", names=", ".join(arrays)))
        if len(arrays) == len(self.claims):
            return notes
        problems = self.tried.problems
        sizes = ", ".join(f"{k}={n}" for k, n in problems[0][1].sizes.items()) or "–"
        notes.append(self.say("checked", problems=len(problems), sizes=sizes))
        for why in dict.fromkeys(self.tried.drawn.left_out.values()):
            left = [size for size, reason in self.tried.drawn.left_out.items() if reason is why]
            notes.append(self.say("left-out", sizes="; ".join(left), reason=why))
        places = dict.fromkeys(
            self.say("place", source=source_of(branch), side=Told(branch[-1]))
            for branch in self.tried.drawn.unreached
        )
        if places:
            notes.append(self.say("unreached", places="; ".join(places)))
        return notes


def _number(x: float) -> str:
    """A factor, with enough digits to tell it from 1."""
    return f"{x:.12g}" if 0 < abs(abs(x) - 1) < 1e-5 else f"{x:.6g}"


def _factors_of_sizes(
    letters: Sequence[str],
) -> Iterator[tuple[str, Callable[[Mapping[str, Any]], float]]]:
    """Yield the factors that sizes give, each as a word and as a function of the names."""
    names = list(dict.fromkeys(["m", *letters]))
    for a in names:
        yield a, lambda n, a=a: n.get(a, 0)  # type: ignore[misc]
        yield f"1/{a}", lambda n, a=a: 1 / n.get(a, np.inf)  # type: ignore[misc]
        yield f"√{a}", lambda n, a=a: np.sqrt(n.get(a, 0))  # type: ignore[misc]
        yield f"1/√{a}", lambda n, a=a: 1 / np.sqrt(n.get(a, np.inf))  # type: ignore[misc]
    for a, b in itertools.permutations(names, 2):
        yield f"{a}/{b}", lambda n, a=a, b=b: n.get(a, 0) / n.get(b, np.inf)  # type: ignore[misc]
        if a < b:
            yield f"{a}·{b}", lambda n, a=a, b=b: n.get(a, 0) * n.get(b, 0)  # type: ignore[misc]
            yield (
                f"1/({a}·{b})",
                lambda n, a=a, b=b: (
                    1
                    / (  # type: ignore[misc]
                        n.get(a, np.inf) * n.get(b, np.inf)
                    )
                ),
            )
