#!/usr/bin/env bash
# Commands that produced the scores in this folder, in order. Existing scores are kept; delete an
# agent's JSON file to score it again. The descriptions of the agents' training are kept in
# about.json (score_table's --how).
set -euo pipefail
run=runs/car-racing
models=(--vision "$run/round-1/vision/artifact" --memory "$run/round-4/memory/artifact")
scratch=(--algorithm ppo --env real --steps 1000000 --learning-rate 3e-4
  --log-std -0.5 --log-std-final -2.0 --seed 0)

wmrl train --out "$run" --minutes 60 --seed 0
cp "$run/curve.csv" results/curve.csv # 50 episodes per point, on separate seeds
wmrl train-controller runs/cma --algorithm cma-es --env dream "${models[@]}" --generations 600 \
  --population-size 64 --num-rollouts 16 --agent-steps 50 --dropout --action-noise 0.2 --seed 0
wmrl train-controller runs/real-z "${scratch[@]}" "${models[@]:0:2}" --memory none
wmrl train-controller runs/real-zh "${scratch[@]}" "${models[@]}"

python -m wmrl.scripts.release.score_table random "car-racing-dream=$run/round-4/agent" \
  "car-racing-real=$run/real/agent" cma-es-dream=runs/cma/artifact \
  real-z=runs/real-z/artifact real-zh=runs/real-zh/artifact
python -m wmrl.scripts.release.car_racing "$run" --command "wmrl train --minutes 60 --seed 0"
wmrl record car-racing-dream --out results/drive.webp --seed 1 --agent-steps 100 \
  --width 240 --height 180

# The same with discrete latents.
discrete=runs/car-racing-discrete
wmrl train --latents discrete --out "$discrete" --minutes 60 --seed 0
cp "$discrete/curve.csv" results/curve-symbols.csv
python -m wmrl.scripts.release.score_table "car-racing-symbols-dream=$discrete/round-4/agent" \
  "car-racing-symbols-real=$discrete/real/agent"
python -m wmrl.scripts.release.car_racing "$discrete" \
  --command "wmrl train --latents discrete --minutes 60 --seed 0"
wmrl compare-memories "$discrete"/round-*/data --out results/memories

# Earlier experiments. Fashion-MNIST comes from Debian's package dataset-fashion-mnist.
wmrl reproduce vqvae --out results/vqvae
wmrl reproduce binary-vae --out results/binary-vae
wmrl reproduce kl --out results/kl
wmrl reproduce dde --out results/dde # one arm and method at a time: --tasks, --methods
wmrl reproduce reuse --out results/reuse --ship wmrl/artifacts
wmrl reproduce codebook --out results/codebook
wmrl reproduce drivers --out results/drivers --ship wmrl/artifacts
wmrl reproduce policies --out results/policies
