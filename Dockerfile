# docker build --tag fdrd .                                   # CPU
# docker build --tag fdrd:cuda --build-arg TORCH=cu128 .      # NVIDIA GPUs: docker run --gpus all
# docker run --rm --volume "$PWD:/mnt" fdrd build raw/
FROM python:3.13-slim AS build
ARG TORCH=cpu
RUN pip install --no-cache-dir uv
COPY . /src
RUN uv venv /opt/fdrd \
    && uv pip install --no-cache --python /opt/fdrd --torch-backend "$TORCH" '/src[view,lora]'

FROM python:3.13-slim
COPY --from=build /opt/fdrd /opt/fdrd
ENV PATH=/opt/fdrd/bin:$PATH HOME=/tmp
USER 1000:1000
WORKDIR /mnt
ENTRYPOINT ["fdrd"]
