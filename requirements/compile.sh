#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Writes the hashed pins: one file an image, one for development. The development file comes first and constrains the
# others, so that tests run what the images run.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() {
  local target=$1
  shift
  uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
    --python-platform x86_64-manylinux_2_28 --output-file "requirements/$target.txt" "$@"
}
extras() { printf -- '--extra %s ' "$@"; }
compile dev pyproject.toml requirements/dev.in $(extras operator runtime sklearn lightgbm cli examples) "$@"
pinned="--constraint requirements/dev.txt"
compile operator pyproject.toml $pinned $(extras operator)
compile runtime-python pyproject.toml $pinned $(extras runtime)
compile runtime-sklearn pyproject.toml $pinned $(extras runtime sklearn)
compile runtime-lightgbm pyproject.toml $pinned $(extras runtime lightgbm)
compile build requirements/build.in $pinned
