"""The engine on a simulated clock, as the benchmark's case live plays calls."""

from collections.abc import Sequence

from hearing import SOUNDS, without_probabilities

from fsbot.bench.simulated import Call, InstantEngine, Played, SimulatedEngine, play
from fsbot.engine.events import StreamEnded, UtteranceEnded, UtteranceFinal
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions, StreamOptions

CALLS = [Call(SOUNDS / "utterance-fr.flac", "fr")] * 2
FILE, LIVE = (StreamOptions(skip_late_updates=live) for live in (False, True))


def ends(played: Sequence[Sequence[Played]]) -> list[float]:
    return [
        moment
        for sides in played
        for side in sides
        for moment, event in side.events
        if isinstance(event, StreamEnded)
    ]


def test_two_runs_say_the_same_at_the_same_moments(babbler: SpeechModel) -> None:
    runs = [play(SimulatedEngine(babbler, EngineOptions(), 2), LIVE, CALLS) for _ in range(2)]
    one, other = ([side.events for sides in played for side in sides] for played in runs)
    assert one == other
    assert len(ends(runs[0])) == len(CALLS)


def test_an_engine_that_takes_no_time_says_live_what_it_says_of_a_file(
    babbler: SpeechModel,
) -> None:
    said = []
    for options in (FILE, LIVE):
        ((side,),) = play(InstantEngine(babbler, EngineOptions(), 2), options, CALLS[:1])
        events = [event for _, event in side.events]
        said.append(without_probabilities([e for e in events if isinstance(e, UtteranceFinal)]))
    assert said[0] == said[1] != []


def test_text_comes_later_by_what_it_takes_to_compute(babbler: SpeechModel) -> None:
    ((instant,),) = play(InstantEngine(babbler, EngineOptions(), 2), LIVE, CALLS[:1])
    ((simulated,),) = play(SimulatedEngine(babbler, EngineOptions(), 2), LIVE, CALLS[:1])
    closing = instant.told("fr")["closing"]
    assert closing == [0.0] * sum(isinstance(e, UtteranceEnded) for _, e in instant.events)
    (first,) = ends([[instant]])
    (later,) = ends([[simulated]])
    assert later > first >= 5.0, "the sound lasts that long"
