"""Names in a claim, however they are spelled: λ for `lam`, x̂ for `x_hat`, dW for ∂L/∂W.

What may stand for what is said by the tables `GREEK`, `MARKS`, `SQUARES` and `GRADIENTS`. A
spelling counts only if it is meant for one name; a name of forward's own always means itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache

from .functions import refuse
from .spelling import LOSSES, rewrite

__all__ = ["Names"]

GREEK: dict[str, tuple[str, ...]] = {  # how a Greek letter is written in a program
    "α": ("alpha",),
    "β": ("beta",),
    "γ": ("gamma",),
    "δ": ("delta",),
    "ε": ("epsilon", "eps"),
    "ζ": ("zeta",),
    "η": ("eta",),
    "θ": ("theta",),
    "κ": ("kappa",),
    "λ": ("lambda", "lam", "lambd", "lmbda", "lamb", "lmbd"),
    "μ": ("mu",),
    "ν": ("nu",),
    "ξ": ("xi",),
    "ρ": ("rho",),
    "σ": ("sigma",),
    "τ": ("tau",),
    "φ": ("phi",),
    "χ": ("chi",),
    "ψ": ("psi",),
    "ω": ("omega",),
    "Γ": ("Gamma",),
    "Δ": ("Delta",),
    "Θ": ("Theta",),
    "Λ": ("Lambda",),
    "Φ": ("Phi",),
    "Ψ": ("Psi",),
    "Ω": ("Omega",),
}
MARKS = {
    "\u0302": "hat",
    "\u0304": "bar",
    "\u0305": "bar",
    "\u0303": "tilde",
    "\u0307": "dot",
    "\u20d7": "",  # the arrow of a vector
}
SQUARES = {"σ": ("sigma2", "sigma_2", "sigma_sq", "sigma_squared", "var", "variance", "σ2")}  # σ²
_LETTER_OF = {word: letter for letter, words in GREEK.items() for word in words}
_LATIN = re.compile(rf"({'|'.join(sorted(_LETTER_OF, key=len, reverse=True))})(?=_?\d*_?$)")
_MARK_OF = {word: mark for mark, word in MARKS.items() if word and mark != "\u0305"}
_MARKED = re.compile(rf"([^\W_]+?)_?({'|'.join(_MARK_OF)})(?![a-z])_?(.*)")

# What a gradient is called; x stands for the name, l for the loss.
_N = r"[\w\u0300-\u036f]+"
GRADIENTS: tuple[re.Pattern[str], ...] = tuple(
    re.compile(pattern.replace(r"\w+", _N))
    for pattern in (
        r"∂(?P<l>\w+)/∂(?P<x>\w+)",
        r"d(?P<l>\w+)/d(?P<x>\w+)",
        r"∇_?(?P<x>\w+)(?:\s(?P<l>\w+))?",
        r"(?P<x>\w+)\.grad",
        r"(?P<x>\w+?)_(?:grad|gradient)",
        r"(?:grad|Grad)_?(?P<x>\w+)",
        r"(?P<x>\w+?)[gG]rad",
        r"d(?P<l>L|J|loss)_?d_?(?P<x>\w+)",
        r"d_?(?P<x>\w+)",
        r"g_?(?P<x>\w+)",
    )
)
_IN_CLAIMS = (
    "d{}",
    "d_{}",
    "grad_{}",
    "grad{}",
    "{}_grad",
    "{}grad",
    "∇{}",
    "∇_{}",
    "dL_d{}",
    "dLd{}",
    "dJ_d{}",
    "dJd{}",
)


def plain(name: str) -> str:
    """Return the form that all spellings of a name share.

    Example:
        >>> plain("λ_1"), plain("lam1"), plain("x̂"), plain("x_hat"), plain("W₁")
        ('lambda1', 'lambda1', 'xhat', 'xhat', 'W1')
    """
    found = ""
    for c in unicodedata.normalize("NFD", unicodedata.normalize("NFKC", name)):
        found += MARKS.get(c, GREEK[c][0] if c in GREEK else c)
    found = found.replace("_", "")
    return _LATIN.sub(lambda m: GREEK[_LETTER_OF[m[1]]][0], found) if found else name


@lru_cache(maxsize=4096)
def spellings(name: str) -> tuple[str, ...]:
    """All that may stand for a name, itself first.

    Example:
        >>> {"λ1", "λ_1", "lambda1", "lam_1"} <= set(spellings("lam1"))
        True
        >>> "x̂" in set(spellings("x_hat"))
        True
    """
    forms = [name, plain(name)]
    if match := _LATIN.match(plain(name)):
        letter, rest = _LETTER_OF[match[1]], plain(name)[match.end() :]
        forms += [f"{word}{rest}" for word in (letter, *GREEK[letter])]
        forms += [f"{word}_" for word in GREEK[letter] if not rest]
    if match := _MARKED.fullmatch(plain(name)) or _MARKED.fullmatch(name):
        base, mark, rest = match.groups()
        forms.append(unicodedata.normalize("NFC", base[0] + _MARK_OF[mark] + base[1:] + rest))
        forms += [f"{base}_{mark}{rest}", f"{base}{mark}{rest}"]
    indexed = (re.sub(r"(?<=[^\W\d_])(\d+)$", r"_\1", form) for form in forms)
    return tuple(x for pair in zip(forms, indexed, strict=True) for x in pair)


class Names:
    """The names that a claim may use, with their other spellings.

    known      the names themselves
    gradients  the names whose gradients may occur, as dW or ∂L/∂W
    losses     what the loss is called, beside L, J, C, E, loss and cost
    scalars    the names that stand for one number (None: not known)

    Example:
        >>> names = Names(["W1", "lam", "Z"], gradients=["W1", "Z"])
        >>> names.resolve("λ"), names.resolve("dZ"), names.resolve("W_1")
        ('lam', '∂L/∂Z', 'W1')
    """

    def __init__(
        self,
        known: Iterable[str] = (),
        gradients: Collection[str] = (),
        losses: Iterable[str] = (),
        scalars: Collection[str] | None = None,
    ):
        self.known = set(known)
        self.gradients, self.scalars = set(gradients), scalars
        self.losses = (LOSSES - self.gradients) | set(losses)
        self.others: dict[str, set[str]] = {}  # the names that a spelling may stand for
        for name in self.known:
            for form in spellings(name):
                self.others.setdefault(form, set()).add(name)
        for name in self.gradients:
            for form in spellings(name):
                for pattern in _IN_CLAIMS:
                    self.others.setdefault(pattern.format(form), set()).add(f"∂L/∂{name}")
        self.forms = {form: name for name in self.gradients for form in spellings(name)}
        for name in self.known & self.others.keys():
            del self.others[name]
        self.length = max(map(len, self), default=0)  # of the longest spelling

    def __contains__(self, word: object) -> bool:
        return word in self.known or word in self.others

    def __iter__(self) -> Iterator[str]:
        yield from self.known
        yield from self.others

    def resolve(self, word: str) -> str | None:
        """Return the name that a word stands for; None if there is none.

        Raises:  ClaimError if there are several
        """
        if word in self.known:
            return word
        found = self.others.get(word)
        if not found:
            return None
        if len(found) > 1:
            refuse("ambiguous-name", name=word, names=", ".join(sorted(found)))
        return next(iter(found))

    def squared(self, word: str) -> str | None:
        """Return the name of the variance that σ² stands for, if there is one."""
        found = [name for name in SQUARES.get(word, ()) if name in self.known]
        return found[0] if len(found) == 1 and word not in self else None

    def longest(self, word: str) -> int:
        """Return the length of the longest name that a word begins with; 0: there is none."""
        most = min(len(word), self.length)
        return next((n for n in range(most, 0, -1) if word[:n] in self), 0)

    def with_loops(self, loops: Iterable[str]) -> Names:
        """The same with the names of loops; they hide other spellings."""
        loops = set(loops)
        if not loops:
            return self
        new = object.__new__(Names)
        new.known, new.gradients, new.losses = self.known | loops, self.gradients, self.losses
        new.scalars, new.forms = self.scalars, self.forms
        new.others = {k: x for k, x in self.others.items() if k not in loops}
        new.length = max(self.length, *map(len, loops))
        return new

    def target(self, text: str) -> str | None:
        """Return the name whose gradient a text names; None if it names none.

        Example:
            >>> names = Names(gradients=["W1", "b"])
            >>> [names.target(t) for t in ("dL/dW1", "∂J/∂W_1", "W1_grad", "∇b", "db", "dw1", "A")]
            ['W1', 'W1', 'W1', 'b', 'b', 'W1', None]
        """
        text = re.sub(r"\s*/\s*", "/", rewrite(text.strip()).text.translate(_LOWERED).strip())
        text = re.sub(r"([∂∇])\s+", r"\1", text)
        if text in self.gradients:
            return text
        for pattern in GRADIENTS:
            match = pattern.fullmatch(text)
            if not match or (match.groupdict().get("l") or "L") not in self.losses:
                continue
            if (name := self._named(match["x"])) is not None:
                return name
        return self._named(text)

    def differentiated(self, word: str) -> tuple[str, str] | None:
        """Return the name that a word after ∂ begins with, and what stands beside it.

        Example:
            >>> Names(["W"], gradients=["Z"]).differentiated("ZW")
            ('Z', 'W')
        """
        for n in range(min(len(word), 80), 0, -1):
            name = self._named(word[:n])
            if name is not None and (n == len(word) or self.longest(word[n:])):
                return name, word[n:]
        return None

    def _named(self, word: str) -> str | None:
        if word in self.gradients or word in self.forms:
            return word if word in self.gradients else self.forms[word]
        lower = [name for name in self.gradients if name.lower() == word.lower()]
        return lower[0] if len(lower) == 1 else None


_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
