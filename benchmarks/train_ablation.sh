#!/usr/bin/env bash
# Trains the adapters of benchmarks/ablation.yaml that come after the base, two at a time, one core each.
#
#   benchmarks/train_ablation.sh RUNS PORTRAITS PREPARED
#
# RUNS: folder of the results; what is there already is kept, an interrupted run goes on.
# PORTRAITS: pictures that IDI asks; PREPARED: the same after `emoji-adapter prepare`.
# Base and layers are those of weights/ablation. Into it the results go by `benchmarks/packing.py pack`.
set -euo pipefail
runs=${1:?folder of the results} portraits=${2:?portraits} own=${3:?prepared portraits}
base=$runs/packed/base layers=(--layers weights/ablation/layers.json)
alone=(--set fresh=[] --set steps=100 --set checkpoint_every=50)
export OMP_NUM_THREADS=1
mkdir -p "$runs"
python benchmarks/packing.py unpack weights/ablation "$runs/packed"

train() { # NAME RECIPE DATA START SEED [FLAGS]
  local name=$1 recipe=$2 data=$3 start=$4 seed=$5 resume=()
  shift 5
  [ ! -d "$runs/$name/adapter" ] || return 0
  [ ! -d "$runs/$name/checkpoints" ] || resume=(--resume)
  emoji-adapter train --recipe "$recipe" --data "$data" --out "$runs/$name" --set start="$start" --set seed="$seed" \
    "${resume[@]}" "$@" >"$runs/$name.log" 2>&1
}

both() { # waits for the two jobs in the background; fails if one did
  local job
  for job in $(jobs -p); do wait "$job"; done
}

triplets() { # ROUND ADAPTER ATTEMPTS/128
  local part
  for part in 1 2; do
    emoji-adapter idi "$portraits" --out "$runs/triplets_$1" --part "$part/2" --workers 0 --set adapter="$2" --set seed="$1" \
      --set shards="$3" --set shard_size=128 --set steps=10 --set thresholds.expression=0.075 \
      >"$runs/triplets_$1_$part.log" 2>&1 &
  done
  both
  emoji-adapter prepare "$runs/triplets_$1" --turned "$portraits" --out "$runs/prepared_$1" --detector-size 128 --workers 0
}

seeds() { # NAME RECIPE DATA START-NAME [FLAGS]
  local name=$1 recipe=$2 data=$3 start=$4
  shift 4
  train "$name" "$recipe" "$data" "$start" 1 "$@" &
  train "${name}_seed_2" "$recipe" "$data" "${start/%\/adapter/_seed_2/adapter}" 2 "$@" &
  both
}

train base_continued micro_idi_cpu "$own" "$base" 1 &
train base_layers micro_idi_cpu "$own" "$base" 1 "${layers[@]}" &
both
[ -f "$runs/prepared_1/meta.json" ] || triplets 1 "$base" 24
seeds idi_1 micro_idi_cpu "$runs/prepared_1" "$base" "${layers[@]}"
[ -f "$runs/prepared_2/meta.json" ] || triplets 2 "$runs/idi_1/adapter" 16
seeds idi_2 micro_idi_cpu "$runs/prepared_2" "$base" "${layers[@]}"
seeds ica_one_step micro_ica_cpu "$runs/prepared_2" "$runs/idi_2/adapter"
seeds continued micro_idi_cpu "$runs/prepared_2" "$runs/idi_2/adapter" --set steps=50 --set warmup=10
seeds ica_midpoint micro_ica_cpu "$runs/prepared_2" "$runs/idi_2/adapter" --set ica.estimator=midpoint

# The photo left out, as the base was trained, in all layers: own crops, and triplets.
train alone_own micro_base_cpu "$own" "$base" 1 "${alone[@]}" &
train alone_idi micro_base_cpu "$runs/prepared_1" "$base" 1 "${alone[@]}" &
both

# The opponent: the base goes on as IP-Adapters are trained, each branch by itself.
stock=(--set steps=150 --set batch=48 --set preview_every=0)
train stock_identity micro_stock_identity_cpu "$own" "$base" 1 "${stock[@]}"
train stock micro_stock_expression_cpu "$own" "$runs/stock_identity/adapter" 1 "${stock[@]}"
