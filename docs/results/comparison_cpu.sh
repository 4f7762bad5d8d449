#!/usr/bin/env bash
# How comparison_cpu.csv was made: this package's six models and five of anomalib's, on every folder of DATA.
#
#   bash docs/results/comparison_cpu.sh DATA CACHE TEXTURES VGG16
#
# DATA      folders in MVTec AD's layout; textures are named road_crack and magnetic_tile, the rest are objects
# CACHE     hf/ and torch/ with ResNet-18's ImageNet weights; if they lack its last stage (layer4), which nothing but the
#           pretexts' classifiers use, add "head_layer: layer3" to CutSwapPatchcore and to the jigsaw's options below
# TEXTURES  images to paste, e.g. DTD
# VGG16     file with VGG-16's weights, for CutSwap's saliency
#
# One CPU thread, 128 px. Give it again after an interruption. Steps, not minutes, so that another machine trains as long; but for
# Draem, of which three minutes are some 20 steps: its rows are those of cpu_3_minutes.csv, where nothing but accuracy was measured.
set -euo pipefail
DATA=$1 CACHE=$2 TEXTURES=$3 VGG16=$4
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

arguments() { # of the models, for objects or, with SBM off as its paper has it, textures
    cat <<YAML
Patchcore: {backbone: resnet18, coreset_sampling_ratio: 0.01}
Slsg: {pretrain: imagenet, optimizer: adamw, freeze_encoder: false, learning_rate: 0.0005, texture_root: $TEXTURES}
Pouta: {texture_root: $TEXTURES, network: {score_window: 11}}
CutSwapPatchcore: {backbone_bn: eval, steps: 64, batch_size: 16, learning_rate: 0.002, coreset_sampling_ratio: 0.01, saliency_weights: $VGG16}
SbmPfamPadim: {backbone: resnet18, $1}
SbmPfamPatchcore: {backbone: resnet18, coreset_sampling_ratio: 0.01, $1}
SbmPfamCfa: {backbone: resnet18, epochs: 2, $1}
YAML
}
arguments "jigsaw_epochs: null, jigsaw_steps: 60, jigsaw_batch_size: 8" > "$work/objects.yaml"
arguments "shape_bias: false" > "$work/textures.yaml"

for folder in "$DATA"/*/train; do
    category=$(basename "$(dirname "$folder")")
    case $category in road_crack | magnetic_tile) kind=textures ;; *) kind=objects ;; esac
    run() {
        python -m anomalib_plugins benchmark --root "$DATA" --categories "$category" --image-size 128 --threads 1 \
            --weights-cache "$CACHE" --model-args "$work/$kind.yaml" --output comparison_cpu.csv "$@"
    }
    run --models Padim Patchcore
    run --models Cfa --batch-size 4 --max-epochs 2
    run --models SbmPfamPadim SbmPfamPatchcore SbmPfamCfa CutSwapPatchcore --precision bf16-mixed
    run --models Pouta Slsg --max-steps 100 --precision bf16-mixed
    run --models Draem --max-minutes 3 --textures "$TEXTURES"
    run --models EfficientAd --max-steps 100 || true # downloads its teacher; without internet it is named as failed
done
