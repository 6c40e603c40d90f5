#!/usr/bin/env bash
# Trains the adapters of benchmarks/ablation.yaml that come after the base, two at a time, one core each.
#
#   benchmarks/train_ablation.sh RUNS PORTRAITS PREPARED
#
# RUNS: folder of the results; what is there already is kept, an interrupted run goes on.
# PORTRAITS: pictures that IDI asks; PREPARED: the same after `emoji-adapter prepare`.
# Base and layers are weights/ablation/base and weights/ablation/layers.json.
set -euo pipefail
runs=${1:?folder of the results} portraits=${2:?portraits} own=${3:?prepared portraits}
base=weights/ablation/base layers=weights/ablation/layers.json
export OMP_NUM_THREADS=1
mkdir -p "$runs"

train() { # NAME RECIPE DATA START SEED [FLAGS]
  local name=$1 recipe=$2 data=$3 start=$4 seed=$5
  shift 5
  [ -d "$runs/$name/adapter" ] || emoji-adapter train --recipe "$recipe" --data "$data" --out "$runs/$name" \
    --set start="$start" --set seed="$seed" "$@" >"$runs/$name.log" 2>&1
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
  emoji-adapter prepare "$runs/triplets_$1" --out "$runs/prepared_$1" --detector-size 128 --workers 0
}

seeds() { # NAME RECIPE DATA START-NAME [FLAGS]
  local name=$1 recipe=$2 data=$3 start=$4
  shift 4
  train "$name" "$recipe" "$data" "$start" 1 "$@" &
  train "${name}_seed_2" "$recipe" "$data" "${start/%\/adapter/_seed_2/adapter}" 2 "$@" &
  both
}

train base_continued micro_idi_cpu "$own" "$base" 1 &
train base_layers micro_idi_cpu "$own" "$base" 1 --layers "$layers" &
both
[ -d "$runs/prepared_1" ] || triplets 1 "$base" 24
seeds idi_1 micro_idi_cpu "$runs/prepared_1" "$base" --layers "$layers"
[ -d "$runs/prepared_2" ] || triplets 2 "$runs/idi_1/adapter" 16
seeds idi_2 micro_idi_cpu "$runs/prepared_2" "$base" --layers "$layers"
seeds continued micro_idi_cpu "$runs/prepared_2" "$runs/idi_2/adapter" --set steps=80
seeds ica_one_step micro_ica_cpu "$runs/prepared_2" "$runs/idi_2/adapter"
seeds ica_midpoint micro_ica_cpu "$runs/prepared_2" "$runs/idi_2/adapter" --set ica.estimator=midpoint
