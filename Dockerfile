# syntax=docker/dockerfile:1
# docker build --tag millrace .                        serves on CPUs
# docker build --tag millrace:cuda --target cuda .     serves on NVIDIA GPUs; the driver comes from the host
#
# Dependencies come before the source, locked with their hashes by `make lock`, for linux/amd64. What is served is what
# was tested: Python 3.11, torch 2.13.

FROM python:3.11.14-slim-bookworm AS base
ENV PATH=/opt/millrace/bin:$PATH PYTHONUNBUFFERED=1


FROM base AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore TORCH=/opt/millrace/lib/python3.11/site-packages/torch
RUN python -m venv --without-pip /opt/millrace


# The CPU kernels, for each level of x86-64 and not for the processor that happens to build: there is no compiler later.
FROM build AS kernels
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY app/model/native app/model/native
RUN python -m app.model.native.variants


FROM build AS package
COPY config/requirements/build.txt config/requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --require-hashes --requirement config/requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY config/default.toml config/
COPY app app
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip --python /opt/millrace/bin/python install --no-cache-dir --no-deps --prefix /package /wheels/*.whl
COPY --from=kernels /build/app/model/native/prebuilt /package/lib/python3.11/site-packages/app/model/native/prebuilt


# What torch brings for those who compile against it or test it is left out; not every build has all of it.
FROM build AS dependencies-cpu
COPY config/requirements/cpu.txt config/requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/millrace/bin/python install --no-deps --require-hashes \
        --extra-index-url https://download.pytorch.org/whl/cpu --requirement config/requirements/cpu.txt \
    && find "$TORCH/bin" -type f ! -name torch_shm_manager -delete \
    && rm -rf "$TORCH/include" "$TORCH/share" "$TORCH/test"


FROM build AS dependencies-cuda
COPY config/requirements/cuda.txt config/requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/millrace/bin/python install --no-deps --require-hashes \
        --requirement config/requirements/cuda.txt \
    && find "$TORCH/bin" -type f ! -name torch_shm_manager -delete \
    && rm -rf "$TORCH/include" "$TORCH/share" "$TORCH/test"


# Nothing is written but to /models, where models from the hub are kept, and /tmp: the rest may be read-only.
FROM base AS runtime
RUN python -m pip uninstall --yes --root-user-action ignore pip setuptools wheel \
    && rm -r /usr/local/lib/python3.11/ensurepip \
    && useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin millrace \
    && install --directory --owner millrace --group millrace /models
ENV HF_HOME=/models MILLRACE_HOST=0.0.0.0
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --retries=3 --start-period=15m --start-interval=2s \
    CMD ["python", "-c", "import os, ssl, urllib.request as u; tls = 'MILLRACE_TLS_CERTIFICATE' in os.environ; u.urlopen(f\"http{'s' * tls}://127.0.0.1:{os.environ.get('MILLRACE_PORT', 8000)}/ready\", context=ssl._create_unverified_context())"]
ENTRYPOINT ["millrace"]
CMD ["serve"]


# Triton builds its launchers with a C compiler. They are kept in /tmp, which therefore must not be mounted noexec.
FROM runtime AS cuda
USER 0:0
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
USER 10001:10001
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=dependencies-cuda /opt/millrace /opt/millrace
COPY --from=package /package /opt/millrace


FROM runtime AS cpu
COPY --from=dependencies-cpu /opt/millrace /opt/millrace
COPY --from=package /package /opt/millrace
