#!/bin/sh
# A codec and a piano like the bundled ones, on the piano alone, from the MIDI corpus to the package, with the environment active (. .venv/bin/activate):
#     sh recipes/release.sh path/to/pop909-001-849.zip
# The whole way in minutes, with next to no training, into a folder of its own and nothing in the package:
#     sh recipes/release.sh path/to/pop909-001-849.zip TRIAL
set -eu
zip=$1
trial=${2:-}
if [ -n "$trial" ]; then
    work=$trial models=$trial/models size=nano few="--limit 4" short="--set stages.0.steps=25"
else
    work=. models=src/orchestrion/models size=release few="" short=""
fi
data="POP909 (MIT) played by FluidSynth with FluidR3 GM (MIT). The songs that it arranges belong to their authors."

# $few and $short are several words or none
# shellcheck disable=SC2086
orchestrion prepare "$zip" -o "$work/corpora/pop909-mono" --channels 1 $few
# shellcheck disable=SC2086
orchestrion train spectral --size "$size" --data "$work/corpora/pop909-mono" -o "$work/runs/spectral-v2" $short
python recipes/bundle.py "$work/runs/spectral-v2/model" spectral-v2 --to "$models" --data "$data" \
    --summary "A codec for piano: mono 44.1 kHz, 64 numbers 21.5 times a second."
# shellcheck disable=SC2086
orchestrion train flow --size "$size" --from "$models/spectral-v2" --data "$work/corpora/pop909-mono" \
    -o "$work/runs/piano-flow" $short
python recipes/bundle.py "$work/runs/piano-flow/model" piano-flow --to "$models" --codec spectral-v2 --data "$data" \
    --summary "Piano by rectified flow over spectral-v2." --defaults '{"cfg_scale": 2.0, "cfg_until": 0.2}'
