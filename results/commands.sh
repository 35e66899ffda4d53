#!/usr/bin/env bash
# What made the scores in this folder, in order. Rows are scored once; delete a row's JSON to score
# it again. How each driver learned, in words, is kept in about.json (score_table's --how).
set -euo pipefail
run=runs/car-racing
eye=(--vision "$run/round-1/vision/artifact" --memory "$run/round-4/memory/artifact")
scratch=(--algorithm ppo --env real --steps 1000000 --learning-rate 3e-4
  --log-std -0.5 --log-std-final -2.0 --seed 0)

wmrl train --out "$run" --hours 1 --seed 0
cp "$run/curve.csv" results/curve.csv # 50 episodes a point, on seeds of its own
wmrl train-controller runs/cma --algorithm cma-es --env dream "${eye[@]}" --generations 600 \
  --population 64 --rollouts 16 --decisions 50 --dropout --action-noise 0.2 --seed 0
wmrl train-controller runs/real-z "${scratch[@]}" "${eye[@]:0:2}" --memory none
wmrl train-controller runs/real-zh "${scratch[@]}" "${eye[@]}"

python -m wmrl.scripts.release.score_table random "car-racing-dream=$run/round-4/driver" \
  "car-racing-real=$run/real/driver" cma-es-dream=runs/cma/artifact \
  real-z=runs/real-z/artifact real-zh=runs/real-zh/artifact
python -m wmrl.scripts.release.car_racing "$run" --command "wmrl train --hours 1 --seed 0"
wmrl record car-racing-dream --out results/drive.webp --seed 1 --decisions 100 \
  --width 240 --height 180

# The same in symbols.
symbols=runs/car-racing-symbols
wmrl train --symbols --out "$symbols" --hours 1 --seed 0
cp "$symbols/curve.csv" results/curve-symbols.csv
python -m wmrl.scripts.release.score_table "car-racing-symbols-dream=$symbols/round-4/driver" \
  "car-racing-symbols-real=$symbols/real/driver"
python -m wmrl.scripts.release.car_racing "$symbols" --command "wmrl train --symbols --hours 1 --seed 0"
wmrl compare-memories "$symbols"/round-*/data --out results/memories

# Earlier experiments. Fashion-MNIST is that of Debian's package dataset-fashion-mnist.
wmrl reproduce vqvae --out results/vqvae
wmrl reproduce binary-vae --out results/binary-vae
wmrl reproduce kl --out results/kl
wmrl reproduce dde --out results/dde # an arm and a method at a time: --tasks, --methods
wmrl reproduce reuse --out results/reuse --ship wmrl/artifacts
wmrl reproduce codebook --out results/codebook
wmrl reproduce drivers --out results/drivers --ship wmrl/artifacts
wmrl reproduce policies --out results/policies
