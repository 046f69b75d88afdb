#!/usr/bin/env bash
# Builds, tests and measures on a machine with an NVIDIA GPU, in one call of a few minutes:
#   bash benchmarks/gpu.sh [folder for logs and JSON]
# Needs nvcc, a C++20 compiler and a Python with torch (CUDA build), scikit-build-core, pybind11,
# pytest, pytest-benchmark, hypothesis, safetensors, matplotlib and rich; fetches nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-${OUT:-gpu-results}}")
mkdir -p "$out"

python3 -c 'import torch; assert torch.cuda.is_available(), "torch sees no GPU"'
arch=$(python3 -c 'import torch; print("%d%d" % torch.cuda.get_device_capability())')

echo "== build for sm_$arch"
python3 -m pip install --no-build-isolation --no-deps --no-index --target "$out/../gpu-site" --upgrade . \
  --config-settings=cmake.define.LOQA_CUDA=ON \
  --config-settings=cmake.define.CMAKE_CUDA_ARCHITECTURES="$arch-real" >"$out/build.log" 2>&1 ||
  { tail -60 "$out/build.log"; exit 1; }
export PYTHONPATH="$out/../gpu-site"
cd "$(mktemp -d)" # so that the installed package is what runs
repository=$OLDPWD
python3 -m loqa info | tee "$out/info.txt"

status=0
echo "== tests on the GPU"
python3 -m pytest -q -p no:cacheprovider -c "$repository/pyproject.toml" --rootdir "$repository" \
  "$repository/tests" -k cuda 2>&1 | tee "$out/tests.log" | tail -15 || status=1

echo "== memory and race checks of the kernels"
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck; do
    timeout 120 compute-sanitizer --tool "$tool" --error-exitcode 9 \
      python3 -m pytest -q -p no:cacheprovider -c "$repository/pyproject.toml" \
      --rootdir "$repository" "$repository/tests" -k "cuda and small" \
      >"$out/$tool.log" 2>&1 && echo "$tool: clean" || { echo "$tool: see $out/$tool.log"; status=1; }
  done
fi

echo "== measurements"
python3 -m pytest -q -p no:cacheprovider -c "$repository/pyproject.toml" --rootdir "$repository" \
  "$repository"/benchmarks/bench_*.py -k cuda --benchmark-json "$out/gpu.json" 2>&1 |
  tee "$out/benchmark.log" | tail -40 || status=1
exit $status
