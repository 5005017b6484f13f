"""The case names: whether a prompt with the names a call is about makes them come out right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fsbot.bench.playing import Played
from fsbot.bench.report import CaseReport, Figure
from fsbot.bench.scoring import WordErrors, align, compare, errors_by_part, final_text, words
from fsbot.bench.speech import SIDES, Reference
from fsbot.bench.workshop import Workshop, planned_call

NAME = re.compile(r"(?:\b[A-Z\u00c0-\u00dd][\w’'-]{2,}\b ?)+")
"""Words with a capital and three letters or more, one after the other."""


def names_in(text: str) -> list[str]:
    """Runs of words that are written with a capital although no sentence begins with them."""
    inside = re.split(r"[.!?…]\s+", text)
    found = []
    for sentence in inside:
        rest = sentence.partition(" ")[2]
        found += NAME.findall(rest)
    return list(dict.fromkeys(name.strip().removesuffix("'s") for name in found))


@dataclass(frozen=True, slots=True)
class _Heard:
    """Of one playing: names right, and word errors turn by turn."""

    right: int
    said: int
    errors: list[WordErrors]


def names(workshop: Workshop) -> CaseReport:
    """The calls in which names are said: without a prompt, and with the call's names in its
    channel variable fsbot_prompt."""
    calls = [call for call in workshop.calls if _prompt(call)]
    without = _heard(calls, _play(workshop, calls, prompted=False))
    prompted = _heard(calls, _play(workshop, calls, prompted=True))
    difference = compare(prompted.errors, without.errors)
    figures = [
        Figure("words of names", without.said),
        Figure("right without a prompt", _share(without), "%"),
        Figure(
            "right with the names in fsbot_prompt",
            _share(prompted),
            "%",
            "more",
            met=prompted.right > without.right,
        ),
    ]
    if difference is not None:
        figures.append(
            Figure("word error rate of everything, with the prompt minus without", str(difference))
        )
    return CaseReport(
        "names",
        f"final text of {len(calls)} calls, {workshop.wishes.at_once} at a time; names: words "
        f"with a capital in mid-sentence; {workshop.point.summary}",
        tuple(figures),
        {"prompts": {call.name: _prompt(call) for call in calls}},
    )


def _prompt(call: Reference) -> str:
    found = [name for turn in call.turns for name in names_in(turn.text)]
    return ", ".join(dict.fromkeys(found))


def _play(workshop: Workshop, calls: Sequence[Reference], *, prompted: bool) -> Played:
    planned = [planned_call(call, _prompt(call) if prompted else "") for call in calls]
    seconds = sum(call.seconds for call in calls) / workshop.wishes.at_once
    title = f"{len(calls)} calls {'with' if prompted else 'without'} their names"
    return workshop.play(planned, workshop.wishes.at_once, workshop.point, title, seconds)


def _heard(calls: Sequence[Reference], played: Played) -> _Heard:
    right = said = 0
    errors = []
    for call in calls:
        for side in SIDES:
            turns, heard = call.turns_of(side), final_text(played.calls[call.name].records, side)
            errors += errors_by_part([turn.text for turn in turns], heard)
            wanted = [_marked(turn.text) for turn in turns]
            spoken = [word for turn in wanted for word, _ in turn]
            is_name = [name for turn in wanted for _, name in turn]
            matched = {place for place, _ in align(spoken, words(heard)).matches}
            said += sum(is_name)
            right += sum(is_name[place] for place in matched)
    return _Heard(right, said, errors)


def _marked(text: str) -> list[tuple[str, bool]]:
    """The words of a text, normalised, and whether each is part of a name."""
    name_words = {word for name in names_in(text) for word in words(name)}
    return [(word, word in name_words) for word in words(text)]


def _share(heard: _Heard) -> float:
    return 100 * heard.right / max(1, heard.said)
