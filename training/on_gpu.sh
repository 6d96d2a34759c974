#!/usr/bin/env bash
# Ten minutes of a GPU, in one command: the tests marked cuda, times of training and inversion steps, then training
# from the newest state in this folder for what is left of the time. See training/README.md.
#
#   training/on_gpu.sh --data faces.zip --out results
#
# Where only a small tree may travel to the GPU (64 MiB, the zip file included), leave these out first; nothing here
# reads them, and the tree is 21 MiB without them:
#
#   rm -r weights/faces-128/{encoder,preconditioner,generator}.safetensors docs/images benchmarks/results
#   git checkout weights docs benchmarks          brings them back
#
#   training/on_gpu.sh --rehearse --out results          the same at a tiny size, on the CPU
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONUNBUFFERED=1
exec "${PYTHON:-python3}" -m training.on_gpu "$@"
