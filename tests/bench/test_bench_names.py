"""What the benchmark takes for a name."""

import pytest

from fsbot.bench.names import names_in


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("The main exception was Josh Waitzkin.", ["Josh Waitzkin"]),
        ("Roger Sherman was there.", ["Sherman"]),
        ("It rains. We stay. Then Emacs starts.", ["Emacs"]),
        (
            "qui était Premier ministre ? Monsieur Raffarin, me semble-t-il.",
            ["Premier", "Raffarin"],
        ),
        ("rue de la Bâtie-Neuve, à Éze", ["Bâtie-Neuve", "Éze"]),
        ("editing Aristotle's works", ["Aristotle"]),
        ("Today I am in the UK", []),
        ("en Ré ou en Ré", []),
        ("vers Lyon, puis Lyon", ["Lyon"]),
        ("", []),
    ],
)
def test_names_are_capitals_that_begin_no_sentence(text: str, names: list[str]) -> None:
    assert names_in(text) == names
