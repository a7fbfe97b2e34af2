"""What the verifier says, in English and in Korean: every sentence, in one place.

A sentence names what it is about in braces: `{old}` and `{new}`, the student's text before and
after, `{factor}`, `{axis}` … The Korean puts a noun after each of them (`{factor} 인수가`), so that
no particle depends on how a formula is read aloud.
"""

from __future__ import annotations

from typing import Any

__all__ = ["EDITS", "HINTS", "LANGUAGES", "SENTENCES", "Told", "declare", "error_text", "say"]

LANGUAGES = ("en", "ko")

# What is wrong with a claim: a sentence for each mistake, from its declaration (see `edits`).
EDITS: dict[str, tuple[str, str]] = {}
HINTS: dict[str, tuple[str, str]] = {}  # the same without the formula that repairs it

# Everything else that is said: in a report, …
SENTENCES: dict[str, tuple[str, str]] = {
    "over-all": ("it must add up all entries", "모든 원소를 더해야 합니다"),
    "over-0": (
        "it must add up the rows only, each column by itself (axis=0, the slides' 1ᵀE)",
        "샘플(행)끼리만 더해 열마다 값이 하나씩 남아야 합니다(axis=0, 슬라이드의 1ᵀE)",
    ),
    "over-1": (
        "it must add up each row by itself (axis=1)",
        "열끼리만 더해 행마다 값이 하나씩 남아야 합니다(axis=1)",
    ),
    "also-columns": (
        "as it stands it adds up the {columns} columns ({meaning}) too",
        "지금 식은 열 {columns}개까지 모두 더해 버립니다({meaning})",
    ),
    "also-rows": (
        "as it stands it adds up the {columns} rows ({meaning}) too",
        "지금 식은 행 {columns}개까지 모두 더해 버립니다({meaning})",
    ),
    "classes": ("the classes", "클래스"),
    "outputs": ("the outputs", "출력"),
    "hidden-units": ("the hidden units", "은닉 유닛"),
    "features": ("the features", "특성"),
    "samples": ("the samples", "샘플"),
    "entries": ("the entries of {name}", "{name}의 원소"),
    "right": ("right", "맞음"),
    "wrong": ("WRONG", "틀림"),
    "special": ("WRONG except in special cases", "특수한 경우에만 맞음"),
    "error": ("WRONG", "틀림"),
    "unreadable": ("CANNOT BE READ", "읽을 수 없음"),
    "cannot be checked": ("cannot be checked", "확인할 수 없음"),
    "refused-file": (
        "{file}: cannot be checked: {reason}",
        "{file}: 확인할 수 없음 – {reason}",
    ),
    "only-for": ("it is right only where {conditions}", "{conditions}인 경우에만 맞습니다"),
    "one-output": (
        "for one output ({condition}) the claim is right",
        "출력이 하나인 경우({condition})에는 맞습니다",
    ),
    "except": (
        "it is right, but not where {conditions}",
        "다른 경우에는 맞지만 {conditions}인 경우에는 틀립니다",
    ),
    "search-ended": (
        "no repair was found among the {tries:,} changes that were tried, which is the bound",
        "변경 {tries:,}가지를 시도했으나 고칠 방법을 찾지 못했고, 그 이상은 시도하지 않았습니다",
    ),
    "and": (" and ", ". 그리고 "),
    "or": (" or ", " 또는 "),
    "change": ("change", "수정 전"),
    "to": ("to", "수정 후"),
    "line": ("in line {line}", "{line}행"),
    "same": ("the same mistake as in ∂L/∂{other}", "∂L/∂{other} 식과 같은 실수입니다"),
    "first": (
        "working back from the loss, the first mistake is in ∂L/∂{name}",
        "손실에서 거꾸로 따라가면 ∂L/∂{name}에서 처음 틀립니다",
    ),
    "one-right": ("the claim is right", "식이 맞습니다"),
    "one-unreadable": ("the claim cannot be read", "식을 읽을 수 없습니다"),
    "some-unreadable": (
        "{wrong} of {n} claims cannot be read",
        "식 {n}개 중 {wrong}개를 읽을 수 없습니다",
    ),
    "some-of-both": (
        "{wrong} of {n} claims {is_or_are} wrong, {unreadable} cannot be read",
        "식 {n}개 중 {wrong}개가 틀렸고 {unreadable}개는 읽을 수 없습니다",
    ),
    "one-wrong": ("the claim is wrong", "식이 틀렸습니다"),
    "some-right": ("all {n} claims are right", "식 {n}개가 모두 맞습니다"),
    "some-wrong": ("{wrong} of {n} claims {is_or_are} wrong", "식 {n}개 중 {wrong}개가 틀렸습니다"),
    "checked": (
        "checked on {problems} random problems, sizes such as {sizes}",
        "무작위로 만든 문제 {problems}개로 확인했습니다(크기의 예: {sizes})",
    ),
    "given": ("given that {fact}", "가정: {fact}"),
    "checked-example": (
        "compared with one example, the inputs as given: {names}",
        "주어진 입력값 하나로만 비교했습니다: {names}",
    ),
    "left-out": (
        "sizes left out: {sizes}; there {reason}",
        "확인하지 않은 크기: {sizes}. 이유: {reason}",
    ),
    "unreached": (
        "nothing was checked where no problem reaches: {places}",
        "다음 구간에 이르는 문제가 없어 그곳은 확인하지 않았습니다: {places}",
    ),
    "place": ("`{source}` {side}", "`{source}`에서 {side}"),
    "only-within": (
        "it is right on the problems that do not reach `{source}` {side}",
        "다음 구간에 이르지 않는 문제에서는 맞습니다: `{source}`, {side}",
    ),
    "side-positive": ("above 0", "0보다 큰 쪽"),
    "side-negative": ("below 0", "0보다 작은 쪽"),
    "side-first-larger": (
        "with the first argument the larger",
        "첫째 인수가 더 큰 쪽",
    ),
    "side-second-larger": (
        "with the second argument the larger",
        "둘째 인수가 더 큰 쪽",
    ),
    "side-inside": ("between its bounds", "두 경계 사이"),
    "side-below": ("below its lower bound", "아래 경계보다 작은 쪽"),
    "side-above": ("above its upper bound", "위 경계보다 큰 쪽"),
    "side-true": ("where the condition holds", "조건이 참인 쪽"),
    "side-false": ("where the condition does not hold", "조건이 거짓인 쪽"),
    "precision": (
        "it agrees with the gradient to {digits} digits and no further: the reason is the "
        "precision of its numbers (float32, or slopes measured by differences), not the formula",
        "그레이디언트와 {digits}자리까지만 일치합니다. 식이 아니라 수의 정밀도(float32나 수치 "
        "미분)가 원인입니다",
    ),
    "in-precision": (
        "its numbers are {dtype}, and so compared with a tolerance of {tolerance}",
        "{dtype} 값이므로 허용 오차 {tolerance}까지 같은 값으로 보았습니다",
    ),
    "but-for-guards": (
        "it is right without the {numbers} that forward adds so that nothing is divided by 0 or "
        "log 0",
        "forward가 0으로 나누거나 log 0을 피하려고 더한 {numbers} 값을 빼면 맞습니다",
    ),
    "no-source": (
        "no change is proposed, since the source of {function} cannot be had; write it as a `def` "
        "in a file or a notebook",
        "{function} 함수의 소스를 얻을 수 없어 수정안을 찾지 않았습니다. 파일이나 노트북에 `def`로 "
        "정의하십시오",
    ),
    "onehot-rows": (
        "the rows of {name} are one-hot (each adds up to 1)",
        "{name}의 각 행은 원-핫 벡터",
    ),
    "onehot-columns": (
        "the columns of {name} are one-hot (each adds up to 1)",
        "{name}의 각 열은 원-핫 벡터",
    ),
    "onehot-vector": ("{name} is one-hot (it adds up to 1)", "{name} 값은 원-핫 벡터"),
    "probability-rows": ("the rows of {name} add up to 1", "{name}의 각 행의 합은 1"),
    "probability-columns": ("the columns of {name} add up to 1", "{name}의 각 열의 합은 1"),
    "probability-vector": ("{name} adds up to 1", "{name}의 합은 1"),
    "binary": ("the entries of {name} are 0 or 1", "{name}의 각 원소는 0 또는 1"),
    "read-off": (
        "the example arrays were taken to have the sizes {sizes}; say inputs={{…}} if that is not "
        "meant",
        "예시 배열의 크기를 {sizes} 모양으로 보았습니다. 다르다면 inputs={{…}} 형식으로 알려 "
        "주십시오",
    ),
    "ambiguous": (
        "the axes {letter} of the example arrays are equally long and were taken for one size; say "
        "which are meant, as in inputs={{'X': 'm n', …}}",
        "예시 배열에서 길이가 같은 {letter} 축들의 크기가 같은 것으로 보았습니다. "
        "inputs={{'X': 'm n', …}}처럼 각 크기를 알려 주십시오",
    ),
    "counterexample": ("smallest counterexample", "가장 작은 반례"),
    "claimed": ("claimed", "제출한 값"),
    "true": ("true", "올바른 값"),
    "shape": (
        "the claim has shape {got}, the gradient {expected}",
        "제출한 식의 모양은 {got}, 그레이디언트의 모양은 {expected}입니다",
    ),
    "factor": ("the claim is {c} times the gradient", "제출한 식은 그레이디언트의 {c}배입니다"),
    "negative": ("the claim has the opposite sign", "제출한 식의 부호가 반대입니다"),
    "transposed": ("the claim is the transpose", "제출한 식은 그레이디언트의 전치 행렬입니다"),
    "entry": (
        "the first entry that differs is {place}: claimed {got}, true {expected}",
        "처음으로 다른 원소는 {place}입니다. 제출한 값 {got}, 올바른 값 {expected}",
    ),
    "begins": (
        "the function's {name} is not what forward has under that name, {difference}",
        "함수 안의 {name} 값부터 forward의 값과 다릅니다. {difference}",
    ),
    "cannot": ("it cannot be worked out: {reason}", "계산할 수 없습니다. {reason}"),
    "missing": ("{function} returns nothing for it", "{function} 함수가 이 값을 반환하지 않습니다"),
    "column-claim": ("claim", "식"),
    "column-verdict": ("verdict", "판정"),
    "column-text": ("text", "내용"),
    "file": ("file", "파일"),
    "result": ("result", "결과"),
    "right-claims": ("right", "맞은 수"),
    "claims": ("claims", "전체 수"),
    "first mistake": ("first mistake", "첫 번째 실수"),
    "diagnosis": ("diagnosis", "진단"),
    "fix": ("change", "수정"),
    # … of a claim that cannot be read
    "empty": ("the claim is empty", "식이 비어 있습니다"),
    "long": (
        "the claim has {letters} letters, at most {most} are read",
        "식이 {letters}자입니다. {most}자까지만 읽습니다",
    ),
    "nested": (
        "the claim is nested more than {most} levels deep",
        "식이 {most}단계보다 깊게 중첩되어 있습니다",
    ),
    "too-deep": ("the claim is nested too deep", "식이 너무 깊게 중첩되어 있습니다"),
    "several": (
        "the claim is several expressions with commas between; give one for each name",
        "쉼표로 나뉜 식이 여러 개입니다. 이름마다 식을 하나씩 쓰십시오",
    ),
    "unreadable-at": (
        "the claim cannot be read at {rest}",
        "식의 이 부분을 읽을 수 없습니다: {rest}",
    ),
    "breaks-off": (
        "the claim cannot be read: something is missing at its end",
        "식을 읽을 수 없습니다. 끝부분이 빠졌습니다",
    ),
    "missing-at-end": (
        "the claim cannot be read: {sign!r} is missing at its end",
        "식을 읽을 수 없습니다. 끝에 {sign!r} 기호가 빠졌습니다",
    ),
    "missing-sign": (
        "the claim cannot be read: {sign!r} is missing before {rest}",
        "식을 읽을 수 없습니다. {rest} 앞에 {sign!r} 기호가 빠졌습니다",
    ),
    "not-allowed": ("{what} is not allowed in a claim", "식에는 {what} 표현을 쓸 수 없습니다"),
    "unpacking": (
        "f(*arguments) is not allowed in a claim",
        "식에는 f(*arguments) 표현을 쓸 수 없습니다",
    ),
    "forbidden-name": (
        "{name} is not a name that a claim may use",
        "식에는 {name} 이름을 쓸 수 없습니다",
    ),
    "no-constant": (
        "{name} is not a value that a claim may use",
        "식에는 {name} 값을 쓸 수 없습니다",
    ),
    "no-function": (
        "{name} is not a function of this language",
        "{name} 함수는 식에 쓸 수 있는 함수가 아닙니다",
    ),
    "no-method": (
        "{name} is not a method of this language",
        "{name} 메서드는 식에 쓸 수 있는 메서드가 아닙니다",
    ),
    "no-attribute": (
        ".{name} is not allowed in a claim; of an array there are {known} and methods such as "
        ".sum(axis=0)",
        "식에는 .{name} 속성을 쓸 수 없습니다. 배열에는 {known} 속성과 .sum(axis=0) 같은 메서드가 "
        "있습니다",
    ),
    "many-arguments": (
        "{name} takes at most {most} arguments by place in a claim",
        "식에서 {name} 함수의 위치 인수는 {most}개까지입니다",
    ),
    "no-setting": (
        "{name}(…, {setting}=…) is not allowed in a claim",
        "식에는 {name}(…, {setting}=…) 표현을 쓸 수 없습니다",
    ),
    "long-text": (
        "a text in a claim can only be the subscripts of np.einsum",
        "식 안의 문자열은 np.einsum의 첨자로만 쓸 수 있습니다",
    ),
    "large-number": ("the number {number} is too large", "{number} 값은 너무 큽니다"),
    "loop-names": (
        "a comprehension runs over names, such as `for i in range(m)`",
        "컴프리헨션의 변수는 `for i in range(m)`처럼 이름이어야 합니다",
    ),
    "letters": (
        "a formula has at most {most} indices",
        "한 식의 인덱스는 {most}개까지입니다",
    ),
    "sum-over-nothing": (
        "Σ_{letter}: nothing after it has the index {letter}",
        "Σ_{letter} 뒤의 식에 인덱스 {letter_as_subject} 나오지 않습니다",
    ),
    "sign-not-read": (
        "the sign {sign} is not read; write {instead}",
        "{sign} 기호는 읽지 않습니다. 이렇게 쓰십시오: {instead}",
    ),
    "latex-command": (
        "the LaTeX command {command} is not read; write the formula as in X^\\top (A - Y) / m",
        "LaTeX 명령 {command} 표기는 읽지 않습니다. X^\\top (A - Y) / m 꼴로 쓰십시오",
    ),
    "latex-power": (
        "{text}: LaTeX raises one letter only; write {instead}",
        "{text}: LaTeX에서는 한 글자만 위첨자가 됩니다. 이렇게 쓰십시오: {instead}",
    ),
    "sample-index": (
        "{text}: the index of a sample is not read; write all samples at once, as in Xᵀ(A − Y)/m, "
        "or entries, as in Σ_i X[i,j]·E[i,k]",
        "{text}: 샘플 번호는 읽지 않습니다. Xᵀ(A − Y)/m처럼 모든 샘플을 한 번에 쓰거나 "
        "Σ_i X[i,j]·E[i,k]처럼 원소로 쓰십시오",
    ),
    "sum-limits": (
        "a sum with the limits {limits} is not read; a sum runs over a whole axis, as in "
        "Σ_i or Σ_{{i=1}}^m",
        "합의 범위 {limits} 표기는 읽지 않습니다. Σ_i 또는 Σ_{{i=1}}^m처럼 축 전체에 대해 쓰십시오",
    ),
    "sum-length": (
        "Σ_{letter} ends at {got}, but the axis has length {length}",
        "Σ_{letter} 합은 {got}에서 끝나지만 축의 길이는 {length}입니다",
    ),
    "name-indices": (
        "the indices {letters} are not summed over; name them in front, in the order of the "
        "gradient's axes: [{letters}] …",
        "합하지 않은 인덱스 {letters} 표기를 그레이디언트의 축 순서대로 맨 앞에 "
        "쓰십시오: [{letters}] …",
    ),
    "bars": (
        "|…||…| is not read; write |a|·|b|, or ‖v‖ for the length of a vector",
        "|…||…| 표기는 읽지 않습니다. |a|·|b| 또는 벡터의 길이 ‖v‖ 꼴로 쓰십시오",
    ),
    "norm-which": (
        "‖…‖_{which} is not read here; write ‖x‖ for the square root of the sum of all squares, "
        "or sum(|x|)",
        "여기서 ‖…‖_{which} 표기는 읽지 않습니다. 모든 제곱합의 제곱근은 ‖x‖, 절댓값의 합은 "
        "sum(|x|) 꼴로 쓰십시오",
    ),
    "denominator": (
        "it is not clear what stands below the line in {text}; write a bracket, as in "
        "(a/m)·b or a/(m·b)",
        "{text}: 어디까지가 분모인지 알 수 없습니다. (a/m)·b 또는 a/(m·b)처럼 괄호를 쓰십시오",
    ),
    "argument-brackets": (
        "it is not clear what {name} is taken of; write brackets, as in {name}(A)",
        "{name} 함수를 어디까지 적용하는지 알 수 없습니다. {name}(A)처럼 괄호를 쓰십시오",
    ),
    "two-maxima": (
        "{name}(a, {axis}) has two meanings; write np.{name}imum(a, {axis}) for the larger or "
        "smaller of the two, or {name}(a, axis={axis})",
        "{name}(a, {axis}) 표기는 두 가지로 읽을 수 있습니다. 둘 중 하나를 고르는 것이면 "
        "np.{name}imum(a, {axis}), 축이면 {name}(a, axis={axis}) 꼴로 쓰십시오",
    ),
    "ambiguous-name": (
        "{name!r} may stand for {names}; write the one that is meant",
        "{name!r} 이름이 {names} 가운데 어느 것인지 알 수 없습니다. 그 이름을 그대로 쓰십시오",
    ),
    "not-of-loss": (
        "{text} is not a derivative of the loss with respect to a name of forward",
        "{text} 표기는 forward에 있는 이름에 대한 손실의 미분이 아닙니다",
    ),
    "no-formula": (
        "it is no line `name = formula`",
        "`이름 = 식` 꼴의 줄이 아닙니다",
    ),
    # … or worked out
    "unclaimed": (
        "{name} is used but not claimed; add a line {name} = …",
        "{name} 값을 썼지만 그 식이 없습니다. {name} = … 줄을 더하십시오",
    ),
    "total-work": (
        "the claim takes more work than one claim may: over {most} steps on all problems",
        "식 하나에 허용된 계산량을 넘었습니다(모든 문제를 합해 {most}단계 초과)",
    ),
    "unknown-name": (
        "the name {name!r} is not known; known are {known}",
        "정의되지 않은 이름입니다: {name!r}. 쓸 수 있는 이름: {known}",
    ),
    "no-entry": (
        "in index notation {name} needs its indices, as in {name}[i,j]",
        "인덱스 표기에서는 {name}[i,j]처럼 인덱스를 써야 합니다",
    ),
    "entry-axes": (
        "{text}: the array has {axes} axes",
        "{text}: 배열의 축은 {axes}개입니다",
    ),
    "entry-one": (
        "{text}: the index 1 stands for an axis of length 1, this one has {length}",
        "{text}: 인덱스 1은 길이가 1인 축에 씁니다. 이 축의 길이는 {length}입니다",
    ),
    "free-letter": (
        "{text}: an index is neither summed over nor in front",
        "{text}: 합하지 않은 인덱스가 맨 앞의 목록에 없습니다",
    ),
    "fails": (
        "{text}: {reason}",
        "{text}: 이 부분을 계산할 수 없습니다(모양이나 값을 확인하십시오)",
    ),
    "not-for": (
        "{text}: {sign} is for numbers and arrays, not {what}",
        "{text}: {sign} 연산은 숫자와 배열에만 쓸 수 있습니다",
    ),
    "not-comparable": (
        "{text}: only numbers and arrays can be compared",
        "{text}: 숫자와 배열만 비교할 수 있습니다",
    ),
    "not-of-arrays": (
        "{text}: only an array has {name}",
        "{text}: {name} 표현은 배열에만 쓸 수 있습니다",
    ),
    "not-real": (
        "{text} is not an array of real numbers",
        "{text} 값은 실수 배열이 아닙니다",
    ),
    "real-array": (
        "an array in a claim holds real numbers",
        "식 안의 배열에는 실수만 넣을 수 있습니다",
    ),
    "not-array": ("it is a {kind}, not an array", "배열이 아니라 {kind} 값입니다"),
    "steps": (
        "the claim takes more than {most} steps",
        "식을 계산하는 데 {most}단계가 넘게 걸립니다",
    ),
    "work": (
        "the claim computes more than {most} entries",
        "식이 계산하는 원소가 {most}개를 넘습니다",
    ),
    "axes": (
        "an array in a claim has at most {most} axes",
        "식 안의 배열의 축은 {most}개까지입니다",
    ),
    "large-result": ("{text} is too large a number", "{text} 값이 너무 큽니다"),
    "large-array": (
        "{text} would have {size} entries or more; at most {most} are computed",
        "{text} 배열의 원소가 {size}개 이상이 됩니다. {most}개까지만 계산합니다",
    ),
    "large-list": (
        "{text} holds more than {most} entries",
        "{text} 목록의 원소가 {most}개를 넘습니다",
    ),
    "list-index": (
        "{text}: the index of a list is a whole number",
        "{text}: 리스트의 인덱스는 정수여야 합니다",
    ),
    "loop-over": (
        "{text}: a loop runs over range, zip, enumerate or an array",
        "{text}: 반복은 range, zip, enumerate 또는 배열에 대해서만 할 수 있습니다",
    ),
    "loop-values": (
        "{values} values do not fit the names ({names})",
        "값 {values}개가 이름 ({names})의 수와 맞지 않습니다",
    ),
    "einsum-text": (
        "np.einsum: the subscripts come first, as text such as 'mn,nk->mk'",
        "np.einsum의 첫 인수는 'mn,nk->mk' 같은 문자열이어야 합니다",
    ),
    # … of a function that is claimed
    "function-fails": (
        "{function} fails: {error}",
        "{function} 함수를 실행하다가 오류가 났습니다: {error}",
    ),
    "line-misfits": (
        "line {line} fails, {text}: {left} has shape {left_shape}, {right} has shape {right_shape}",
        "{line}행을 계산할 수 없습니다, {text}: {left} 배열의 모양은 {left_shape}, {right} 배열의 "
        "모양은 {right_shape}",
    ),
    "line-fails": (
        "line {line} fails, {text}: {error}",
        "{line}행을 계산할 수 없습니다, {text}: {error}",
    ),
    "function-takes": (
        "{function} takes {names}, which forward knows nothing of; compute it in forward, or say "
        "what it is with given={{'err': 'A2 - Y'}}",
        "{function} 함수의 인수 {names} 값은 forward에 없습니다. forward에서 계산하거나 "
        "given={{'err': 'A2 - Y'}}처럼 알려 주십시오",
    ),
    "returns-none": (
        "{function} returns nothing: its `return` is missing",
        "{function} 함수가 아무것도 반환하지 않습니다. `return` 문이 빠졌습니다",
    ),
    "stores-none": (
        "{function} returns nothing and stores no gradient in self; return {{'W': …, 'b': …}}, or "
        "store self.dW = … or self.grads['W'] = …",
        "{function} 함수가 아무것도 반환하지 않고 self에 저장한 그레이디언트도 없습니다. "
        "{{'W': …, 'b': …}} 딕셔너리를 반환하거나 self.dW = … 또는 self.grads['W'] = …처럼 "
        "저장하십시오",
    ),
    "no-backprop": (
        "the class {kind} has no method `backprop`; name the method: {methods}",
        "클래스 {kind}에 `backprop` 메서드가 없습니다. 메서드를 지정하십시오: {methods}",
    ),
    "not-claimed": (
        "it is asked for, but not claimed",
        "과제에서 요구한 그레이디언트인데 제출하지 않았습니다",
    ),
    "function-order": (
        "{function} returns {n} values whose names are not known; return a dictionary, or say "
        "wrt=['W1', 'b1', …]",
        "{function} 함수가 반환하는 값 {n}개의 이름을 알 수 없습니다. 딕셔너리를 반환하거나 "
        "wrt=['W1', 'b1', …]처럼 알려 주십시오",
    ),
    "function-names": (
        "{function} returns {names}, which are no names of forward; there are {known}; say "
        "wrt=['W1', 'b1', …]",
        "{function} 함수가 반환하는 {names} 이름은 forward에 없습니다. 있는 이름: {known}. "
        "wrt=['W1', 'b1', …]처럼 알려 주십시오",
    ),
    # … of what cannot be checked at all
    "no-claim": ("there is no claim to check", "확인할 식이 없습니다"),
    "about-nothing": (
        "there is a claim about {name!r}, which the loss does not depend on or forward does not "
        "have; there are {known}",
        "{name!r} 이름은 forward에 없거나 손실이 그 값에 의존하지 않습니다. 있는 이름: {known}",
    ),
    "no-line": (
        "a line of claims is `name = formula`, received {line!r}",
        "식은 한 줄에 `이름 = 식` 꼴로 써야 합니다: {line!r}",
    ),
    "not-forward": (
        "the line {name} = … is not what forward computes; a gradient is written ∂L/∂{name} = …",
        "{name} = … 줄은 forward의 값과 다릅니다. 그레이디언트는 ∂L/∂{name} = … 꼴로 쓰십시오",
    ),
    "goes-round": (
        "the claims about {names} refer to one another",
        "{names} 식들이 서로를 참조합니다",
    ),
    "bad-sizes": (
        "{name}={text!r}: expected letters for sizes and at most one of {kinds}",
        "{name}={text!r}: 크기를 나타내는 글자와 {kinds} 중 하나까지만 쓸 수 있습니다",
    ),
    "bad-axis": (
        "{name}={text!r}: the axis of the classes is one of its {axes} axes, counted from 0",
        "{name}={text!r}: 클래스의 축은 0부터 센 축 {axes}개 중 하나여야 합니다",
    ),
    "labels-classes": (
        "{name}={text!r}: labels need the number of classes, as in 'm k labels'",
        "{name}={text!r}: labels에는 'm k labels'처럼 클래스의 수가 필요합니다",
    ),
    "no-entries": ("an example input has no entries", "예시 입력에 원소가 없습니다"),
    "not-a-loss": (
        "forward must return the loss, one number computed from its inputs; it returned {what}",
        "forward는 입력으로 계산한 손실(숫자 하나)을 반환해야 합니다. 반환한 것: {what}",
    ),
    "nothing": ("nothing", "없음"),
    "a-constant": ("a constant", "상수"),
    "shape-of": ("shape {shape}", "모양 {shape}"),
    "a-kind": ("a {kind}", "{kind}"),
    "not-a-function": (
        "forward must be a function of your own: {error}",
        "forward는 직접 정의한 함수여야 합니다: {error}",
    ),
    "forward-takes": (
        "forward takes {names}; nothing is said of the shape of {lacking}",
        "forward의 인수는 {names}입니다. 다음 인수의 모양을 알 수 없습니다: {lacking}",
    ),
    "gradient-fails": (
        "the gradient of forward fails: {error}",
        "forward의 그레이디언트를 계산하다가 오류가 났습니다: {error}",
    ),
    "fills-array": (
        "forward writes into entries of an array, `{line}`, which cannot be recorded; collect the "
        "values in a list and join them with np.stack(values) or np.concatenate(values), or write "
        "np.where(mask, a, b) for single entries",
        "forward가 배열의 원소에 값을 씁니다(`{line}`). 이런 대입은 기록할 수 없습니다. 값을 "
        "리스트에 모아 np.stack(values)나 np.concatenate(values)로 합치거나 np.where(mask, a, b)를 "
        "쓰십시오",
    ),
    "forward-fails": (
        "forward fails: {error}",
        "forward를 실행하다가 오류가 났습니다: {error}",
    ),
    "not-finite": (
        "the loss or its gradients are not finite on random inputs",
        "무작위 입력에서 손실이나 그레이디언트가 유한하지 않습니다",
    ),
    "array-needs-example": (
        "an array can only be held against example inputs: give arrays for all inputs",
        "배열로 제출한 식은 예시 입력이 모두 배열일 때만 확인할 수 있습니다",
    ),
    # … of files
    "large-file": ("the file is larger than 1 MB", "파일이 1 MB보다 큽니다"),
    "no-reading": ("the file cannot be read: {error}", "파일을 읽을 수 없습니다: {error}"),
    "not-utf8": ("the file is not text in UTF-8", "파일이 UTF-8 텍스트가 아닙니다"),
    "empty-file": ("the file is empty", "파일이 비어 있습니다"),
    "bad-python": (
        "line {line}: the Python is wrong: {error}",
        "{line}행 파이썬 문법 오류: {error}",
    ),
    "exits": (
        "it ends the process itself (sys.exit)",
        "프로그램이 스스로 종료합니다(sys.exit)",
    ),
    "memory": ("it takes too much memory", "메모리를 너무 많이 씁니다"),
    "recursion": ("it calls itself without end", "자기 자신을 끝없이 호출합니다"),
    "file-fails": (
        "running the file fails: {error}",
        "파일을 실행하다가 오류가 났습니다: {error}",
    ),
    "check-fails": ("checking it fails: {error}", "확인하다가 오류가 났습니다: {error}"),
    "no-forward": (
        "the file has no function `forward`; if it stands in another file, say so with --task FILE",
        "파일에 함수 `forward`가 없습니다. 다른 파일에 있으면 --task FILE로 지정하십시오",
    ),
    "no-shapes": ("the file has no dictionary `shapes`", "파일에 딕셔너리 `shapes`가 없습니다"),
    "wrong-kinds": (
        "`forward` must be a function and `shapes` a dictionary",
        "`forward`는 함수, `shapes`는 딕셔너리여야 합니다",
    ),
    "no-claims": (
        "the file has neither `claims` nor `backprop`",
        "파일에 `claims`도 `backprop`도 없습니다",
    ),
    "slow": ("it takes more than {seconds:g} seconds", "{seconds:g}초가 넘게 걸립니다"),
    "killed": (
        "the process was ended by the system (memory?)",
        "시스템이 프로세스를 종료했습니다(메모리 부족일 수 있습니다)",
    ),
    "no-result": (
        "the process ended without a result (exit code {code})",
        "프로세스가 결과 없이 끝났습니다(종료 코드 {code})",
    ),
    "no-files": (
        "there is no .py, .ipynb or text file in the folder",
        "폴더에 .py, .ipynb 또는 텍스트 파일이 없습니다",
    ),
    "empty-folder": ("the folder is empty", "폴더가 비어 있습니다"),
    "no-path": ("there is no such file or folder", "그런 파일이나 폴더가 없습니다"),
    "bad-python-cell": (
        "cell {cell}, line {line}: the Python is wrong: {error}",
        "셀 {cell}, {line}행 파이썬 문법 오류: {error}",
    ),
    "not-notebook": ("the file is not a notebook", "노트북 파일이 아닙니다"),
    "is-link": ("it is a link to another file", "다른 파일을 가리키는 링크입니다"),
    "not-file": ("it is not a plain file", "일반 파일이 아닙니다"),
    "several-files": (
        "several files have `claims` or `backprop`: {files}",
        "`claims`나 `backprop`이 있는 파일이 여러 개입니다: {files}",
    ),
    "task-not-python": (
        "a task is a Python file or a notebook",
        "과제 파일은 파이썬 파일이나 노트북이어야 합니다",
    ),
    "bad-answer": (
        "its answer has not the form of a report",
        "결과가 보고서 형식이 아닙니다",
    ),
    "differentiates": (
        "it has a library compute derivatives: {what}",
        "미분을 라이브러리로 계산합니다: {what}",
    ),
    "own-forward": (
        "`forward` is the submission's own",
        "제출물 자신의 `forward`로 확인했습니다",
    ),
    "note": ("note", "비고"),
    "class-counts": (
        "{n} submissions: {right} right, {wrong} wrong, {cannot} cannot be checked",
        "제출물 {n}개: 맞음 {right}개, 틀림 {wrong}개, 확인할 수 없음 {cannot}개",
    ),
    "class-mistakes": ("mistakes, and how many made them:", "실수와 그 실수를 한 제출물의 수:"),
    "class-more": ("… and {n} more", "… 그 밖에 {n}가지"),
    "protections": (
        "protections: separate processes; {limits}; {sandbox}",
        "보호 장치: 분리된 프로세스; {limits}; {sandbox}",
    ),
    "limits-all": (
        "limits on time, memory and files",
        "시간·메모리·파일 크기 제한",
    ),
    "limits-time": (
        "a limit on time only (no limits on memory and files: this system has no `resource`)",
        "시간 제한만 적용(이 시스템에는 `resource` 모듈이 없어 메모리·파일 크기 제한 없음)",
    ),
    "sandbox-on": ("sandbox (bubblewrap)", "샌드박스(bubblewrap)"),
    "sandbox-none": ("no sandbox ({why})", "샌드박스 없음({why})"),
    "sandbox-absent": ("bubblewrap is not installed", "bubblewrap이 설치되어 있지 않음"),
    "sandbox-off": ("turned off", "사용하지 않도록 지정함"),
    "no-sandbox": ("there is no sandbox: {why}", "샌드박스를 쓸 수 없습니다: {why}"),
    # … by the help of the command
    "help-program": (
        "Check gradients that were derived by hand.",
        "손으로 유도한 그레이디언트를 확인합니다.",
    ),
    "help-verify": (
        "check the claims in files, or in a folder of submissions",
        "파일이나 제출물 폴더에 있는 식을 확인합니다",
    ),
    "help-about": (
        "Check files that hold a function `forward`, a dictionary `shapes`, and `claims` or a "
        "function `backprop` (see docs/verifying.md). With a folder: one row for each file, or for "
        "each student's folder. What is not only text is run, in a process of its own with limits "
        "on time and memory. Exit code: 0 right, 1 wrong, 2 cannot be checked.",
        "함수 `forward`, 딕셔너리 `shapes`, 그리고 `claims`나 함수 `backprop`이 있는 파일을 "
        "확인합니다(docs/verifying.md 참고). 폴더를 지정하면 파일마다, 또는 학생 폴더마다 한 행씩 "
        "출력합니다. 텍스트만 있는 제출물이 아니면 시간과 메모리를 제한한 별도의 프로세스에서 "
        "실행합니다. 종료 코드: 0 맞음, 1 틀림, 2 확인할 수 없음.",
    ),
    "help-files": (
        "files (.py, .ipynb, .txt), or folders of them",
        "파일(.py, .ipynb, .txt) 또는 그런 파일이 있는 폴더",
    ),
    "help-task": (
        "the teacher's file, where `forward` and `shapes` come from",
        "`forward`와 `shapes`가 있는 과제 파일",
    ),
    "help-format": (
        "how the result is written (text; with a folder: csv)",
        "결과의 형식(기본값 text, 폴더이면 csv)",
    ),
    "help-output": (
        "write the result to a file, in UTF-8",
        "결과를 UTF-8 파일로 저장합니다",
    ),
    "help-lang": ("language of the messages (en)", "메시지의 언어(기본값 en)"),
    "help-hints": (
        "what is told of a mistake: 0 the verdict only, 1 where it is, 2 of what kind, 3 its "
        "repair (3)",
        "실수를 어디까지 알려 줄지 정합니다: 0 판정만, 1 위치, 2 종류, 3 수정 방법(기본값 3)",
    ),
    "help-sandbox": (
        "run submissions in bubblewrap: where it is installed, always, never (auto)",
        "제출물을 bubblewrap 안에서 실행합니다: 설치되어 있으면(auto), 항상(on), 사용 안 함(off) "
        "(기본값 auto)",
    ),
    "help-seconds": ("time for a file (20)", "파일 하나의 제한 시간(초, 기본값 20)"),
    "help-memory": ("memory for a file (2048)", "파일 하나의 메모리 제한(MB, 기본값 2048)"),
    "help-jobs": ("files at the same time (2)", "동시에 확인하는 파일 수(기본값 2)"),
    "help-help": ("show this help and exit", "이 도움말을 출력하고 끝냅니다"),
    "help-version": ("show the version and exit", "버전을 출력하고 끝냅니다"),
    "help-positionals": ("positional arguments", "위치 인수"),
    "help-options": ("options", "옵션"),
    "help-usage": ("usage: ", "사용법: "),
    # … where a report gives hints, and no answer
    "look-at": ("look at", "살펴볼 곳"),
    "line-of-cell": ("in cell {cell}, line {line}", "셀 {cell}, {line}행"),
}


def declare(kind: str, sentences: tuple[str, str], hint: tuple[str, str]) -> None:
    """Keep the sentence of a mistake and its hint, each in both languages.

    Example:
        >>> from tinygrad_edu.verifying import mistakes
        >>> say("sign", "en"), say("sign", "ko")
        ('the sign is wrong', '부호가 틀렸습니다')
    """
    EDITS[kind], HINTS[kind] = sentences, hint


def say(what: str, lang: str = "en", /, **about: Any) -> str:
    """A sentence in one of the languages.

    Example:
        >>> say("some-right", "en", n=4)
        'all 4 claims are right'
        >>> say("some-right", "ko", n=4)
        '식 4개가 모두 맞습니다'
    """
    sentences = SENTENCES.get(what) or EDITS[what]
    own = {k: x.said(lang) if isinstance(x, Told) else x for k, x in about.items()}
    if "letter" in own:
        own["letter_as_subject"] = own["letter"] + _subject_particle(own["letter"])
    if "wrong" in own:
        own["is_or_are"] = "is" if own["wrong"] == 1 else "are"
    return sentences[LANGUAGES.index(lang)].format(**own)


def _subject_particle(letter: str) -> str:
    """Return 이 after a letter whose Korean name ends in a consonant (엘, 엠, 엔, 알), else 가."""
    return "이" if letter[-1:].lower() in ("l", "m", "n", "r") else "가"


class Told(ValueError):
    """An error that can be said in each of the languages; `str` says it in that of `lang`.

    Example:
        >>> Told("empty").said("ko")
        '식이 비어 있습니다'
    """

    def __init__(self, what: str, /, **about: Any):
        self.what, self.about, self.lang = what, about, "en"
        super().__init__(what)

    def __str__(self) -> str:
        return self.said(self.lang)

    def said(self, lang: str) -> str:
        """The message in a language."""
        return say(self.what, lang, **self.about)


def error_text(error: BaseException) -> str:
    """Return the type of an exception and its message, or the type alone if the message is empty.

    Example:
        >>> error_text(ValueError("no")), error_text(NotImplementedError())
        ('ValueError: no', 'NotImplementedError')
    """
    try:
        message = str(error).strip()
    except Exception:  # the exception's own __str__ may fail
        message = ""
    kind = type(error).__name__
    return f"{kind}: {message}" if message else kind
