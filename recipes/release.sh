#!/bin/sh
# A codec and a piano like the bundled ones, on the piano alone, from the MIDI corpus to the package, with the environment active (. .venv/bin/activate):
#     sh recipes/release.sh path/to/pop909-001-849.zip
# The whole way in minutes, with next to no training, into a folder of its own and nothing in the package:
#     sh recipes/release.sh path/to/pop909-001-849.zip TRIAL
set -eu
zip=$1
trial=${2:-}
if [ -n "$trial" ]; then
    work=$trial models=$trial/models size=nano few="--limit 4" short="--set stages.0.steps=25" brief="--set stages.apt.steps=10"
else
    work=. models=src/orchestrion/models size=release few="" short="" brief=""
fi
data="POP909 (MIT) played by FluidSynth with FluidR3 GM (MIT). The songs that it arranges belong to their authors."

# $few, $short and $brief are several words or none
# shellcheck disable=SC2086
orchestrion prepare "$zip" -o "$work/corpora/pop909" $few
# shellcheck disable=SC2086
orchestrion train spectral --size "$size" --data "$work/corpora/pop909" -o "$work/runs/spectral" \
    --set system.codec.channels=1 $short
# a decoder of longer spectra anew, with phases that are made to agree behind it; latents stay as they are
# shellcheck disable=SC2086
orchestrion train spectral --size "$size" --from "$work/runs/spectral" --data "$work/corpora/pop909" \
    -o "$work/runs/decoder" --set stages.0.trains=codec.decoder --set stages.0.fit=false \
    --set system.codec.decoder_size=4096 --set system.codec.decoder_width=384 --set system.codec.griffin_lim=4 \
    --set system.codec.noise=0.01 --set stages.0.objective.partials=3 --set stages.0.objective.flux=3 \
    --set stages.0.objective.turning=3 --set stages.0.steps=7000 $short
# the mono mix is what the latents tell of; where its notes stand between two channels is learnt from stereo
# shellcheck disable=SC2086
orchestrion train spectral --size "$size" --from "$work/runs/decoder" --data "$work/corpora/pop909" \
    -o "$work/runs/spectral-v5" --set stages.0.trains=codec.decoder.side --set stages.0.fit=false \
    --set system.codec.channels=2 --set system.codec.side_width=128 --set stages.0.objective.side=5 \
    --set stages.0.learning_rate=2e-3 --set stages.0.warmup=50 --set stages.0.steps=1200 $short
python recipes/bundle.py "$work/runs/spectral-v5/model" spectral-v5 --to "$models" --data "$data" \
    --summary "A codec for piano: stereo 44.1 kHz, 64 numbers 21.5 times a second."
# shellcheck disable=SC2086
orchestrion train flow --size "$size" --from "$models/spectral-v5" --data "$work/corpora/pop909" \
    -o "$work/runs/piano-flow" $short
python recipes/bundle.py "$work/runs/piano-flow/model" piano-flow --to "$models" --codec spectral-v5 --data "$data" \
    --summary "Piano by rectified flow over spectral-v5." --defaults '{"cfg_scale": 1.5, "cfg_until": 0.2, "steps": 5}'
# the same network goes on as a GAN, which needs two steps: quickly at first, until its clips have notes again
# shellcheck disable=SC2086
orchestrion train apt --size "$size" --from "$models/piano-flow" --stage apt --data "$work/corpora/pop909" \
    -o "$work/runs/piano-gan-1" --set stages.apt.steps=200 --set stages.apt.schedule=constant \
    --set stages.apt.learning_rate=7e-5 --set stages.apt.critic_rate=7e-5 $brief
# shellcheck disable=SC2086
orchestrion train apt --size "$size" --from "$work/runs/piano-gan-1" --stage apt \
    --data "$work/corpora/pop909" -o "$work/runs/piano-gan" $brief
python recipes/bundle.py "$work/runs/piano-gan/model" piano-gan --to "$models" --codec spectral-v5 --data "$data" \
    --summary "Piano in two steps: piano-flow, trained on as a GAN against Musika's critic, over spectral-v5."
