"""Verify: gradients that somebody derived by hand, are they right, and what is wrong with them.

verification   `verify`: the verdict on each claim
claims, derivations    what was claimed: expressions, lines, functions, arrays
grammar, expressions   reading a claim without eval, and printing it
running                calling a function that is claimed
functions, evaluation  what it may call, and its worth within bounds
problems, sampling     random problems of many sizes and scales, and their gradients
prepared               … made once for all claims on a forward
edits                  the table of mistakes, each declared once in mistakes or textbook
vocabulary, repair     the smallest change that makes a claim right
proposals              … and that makes no other claim wrong
report, hinting        what was found, and how much of it is told
wording                the sentences, in English and Korean
submissions            a class's work, each submission judged in processes of its own
collecting, sources    reading it: files, folders, notebooks, encodings
judge, worker          the process that gives the verdict
student, elsewhere     the process that runs the submission, and the judge's way to it
wire, limits           messages without pickle; limits on processes, the sandbox
answers, table         what came of it: rows, CSV, JSON, the mistakes of a class
"""
