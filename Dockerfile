# CPU:   docker build -t prime-audit .
# CUDA:  docker build -t prime-audit:cuda --build-arg TORCH=cu130 .     (run with --gpus all)
# Run:   docker run --rm -v "$PWD:/work" prime-audit compare --methods prime,perpcs --out runs/first
# /work must be writable for user 1000; -v prime-audit:/home/audit/.cache keeps the cache.

# The Python version with which the numbers in this repository were measured.
FROM python:3.11-slim AS build
COPY . /src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /src

FROM python:3.11-slim
# A folder of download.pytorch.org/whl. CUDA builds bring their own libraries; only the driver is the host's.
ARG TORCH=cpu
# Or a mirror of that folder.
ARG INDEX=https://download.pytorch.org/whl/${TORCH}
COPY constraints.txt /tmp/
RUN pip install --no-cache-dir -c /tmp/constraints.txt torch --index-url "${INDEX}"
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir -c /tmp/constraints.txt /wheels/*.whl
RUN useradd --uid 1000 --create-home audit \
 && install --directory --owner=audit /work /home/audit/.cache
USER 1000
WORKDIR /work
ENTRYPOINT ["prime-audit"]
CMD ["--help"]
