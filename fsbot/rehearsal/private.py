"""Settings of a bot that talks to a stand-in switch of its own, in one folder."""

from pathlib import Path

from pydantic import SecretStr

from fsbot.settings import Esl, Recordings, RobotSection, Settings, Transcripts

HOST = "127.0.0.1"


def private_settings(
    settings: Settings,
    port: int,
    password: str,
    folder: Path,
    robot: RobotSection | None = None,
) -> Settings:
    """What the user has set of engine, vad and log, and nothing else of it.

    port, password: of the stand-in switch's event socket.
    """
    return Settings(
        esl=Esl(host=HOST, port=port, password=SecretStr(password)),
        recordings=Recordings(directory=folder / "recordings", retention="forever", min_free=0),
        transcripts=Transcripts(directory=folder / "transcripts"),
        engine=settings.engine,
        vad=settings.vad,
        robot=robot or RobotSection(),
        log=settings.log,
    )
