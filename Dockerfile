# fsbot with the weights of Whisper base inside: it starts on a host without a network.
FROM python:3.11-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /opt/fsbot
COPY setup.cfg pyproject.toml constraints.txt README.md LICENSE ./
COPY models models
COPY fsbot fsbot
RUN pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" -c constraints.txt .
# A volume that is mounted here for the first time takes over the owner.
RUN useradd --create-home fsbot && install -d -o fsbot -g fsbot /shared /transcripts
USER fsbot
WORKDIR /home/fsbot
RUN fsbot models pull base
ENV FSBOT_RECORDINGS_DIRECTORY=/shared/recordings \
    FSBOT_TRANSCRIPTS_DIRECTORY=/transcripts
ENTRYPOINT ["fsbot"]
CMD ["run"]
