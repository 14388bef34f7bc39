#!/bin/sh
# Everything of the face path that wants a GPU, on a machine that has one and no Rust.
#
#   benches/gpu-check.sh pack [FOLDER]   where the product is built: gathers the program, the model pack, the photos and
#                                        the PyTorch script in FOLDER (.gpu-check; well under 64 MiB)
#   benches/gpu-check.sh run [FOLDER]    on the GPU machine (x86-64, glibc 2.36 or newer, Python with PyTorch 2.11):
#                                        runs every check of benches/GPU.md, prints JSON lines and a summary, and
#                                        writes both to FOLDER/result.txt; exit status 1 if a check failed
#
# PROFILE=debug packs the unoptimised build (for trying the script; figures then mean nothing). SECONDS_EACH sets how
# long each measurement runs (3). Neither mode needs a network.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
folder=${2:-$here/.gpu-check}

pack() {
    profile=${PROFILE:-release}
    flag=--release
    [ "$profile" = debug ] && flag=
    # shellcheck disable=SC2086
    (cd "$here" && cargo build $flag -p proofmill-face --example gpu_check)
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/proofmill
    mkdir -p "$folder/photos"
    cp "${CARGO_TARGET_DIR:-$here/target}/$profile/examples/gpu_check" "$folder/gpu_check"
    strip "$folder/gpu_check"
    cp -rL "${PROOFMILL_MODELS:-$cache/models}/proofmill-open-1" "$folder/"
    for photo in obama.jpg obama2.jpg obama3.jpg biden.jpg astronaut.png; do
        cp "${PROOFMILL_PHOTOS:-$cache/photos}/$photo" "$folder/photos/"
    done
    cp "$here/benches/peers/torch_resnet29.py" "$here/benches/gpu-check.sh" "$folder/"
    du -sh "$folder"
}

run() {
    python=${PYTHON:-python3}
    torch=$("$python" -c 'import os, torch; print(os.path.dirname(torch.__file__) + "/lib")') || {
        echo "gpu-check: $python has no PyTorch; libtorch_cuda comes from there" >&2
        exit 2
    }
    # The program's own run path yields to this.
    export LD_LIBRARY_PATH="$torch${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    out=$folder/result.txt
    check="$folder/gpu_check --pack $folder/proofmill-open-1 --photos $folder/photos --seconds ${SECONDS_EACH:-3}"
    failed=0
    {
        nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo "no nvidia-smi"
        echo "# without a visible device: the processor, and why"
        CUDA_VISIBLE_DEVICES='' "$folder/gpu_check" --discover --device cpu
        echo "# the checks"
    } >"$out" 2>&1 || failed=1
    # shellcheck disable=SC2086
    $check --device "${DEVICE:-cuda}" >>"$out" 2>&1 || failed=1
    echo "# the same network in PyTorch" >>"$out"
    "$python" "$folder/torch_resnet29.py" "$folder/proofmill-open-1/dlib_face_recognition_resnet_model_v1.dat" \
        --device "${DEVICE:-cuda}" --seconds 1 ${PEER_OPTIONS:-} >>"$out" 2>&1 || failed=1
    "$python" - "$out" <<'SUMMARY' | tee -a "$out"
import json, sys

lines = []
for text in open(sys.argv[1], encoding="utf-8", errors="replace"):
    try:
        value = json.loads(text)
    except ValueError:
        continue
    if isinstance(value, dict):
        lines.append(value)
print("\n# summary")
ours = [line for line in lines if line.get("check") == "forward" and "faces_per_second" in line]
peers = [line for line in lines if line.get("peer") == "torch" and "faces_per_second" in line]
for line in (line for line in lines if "check" in line and line["check"] != "forward"):
    detail = {k: round(v, 6) if isinstance(v, float) else v for k, v in line.items() if k not in ("check", "passed")}
    print("ok  " if line["passed"] else "FAIL", line["check"], json.dumps(detail))
rate = lambda line: line["faces_per_second"]
if ours:
    best = max(ours, key=rate)
    print(f"forward, ours: {rate(best):.0f} faces/s at batch {best['batch']}, half {best['half']}, fused {best['fused']}")
    for mode in ("eager", "compiled"):
        rows = [line for line in peers if line["mode"] == mode]
        if rows:
            peer = max(rows, key=rate)
            print(f"forward, PyTorch {mode}: {rate(peer):.0f} faces/s at batch {peer['batch']}, {peer['dtype']}, "
                  f"{peer['layout']}: ours is {rate(best) / rate(peer):.2f} x")
SUMMARY
    exit "$failed"
}

case ${1:-} in
    pack) pack ;;
    run) run ;;
    *) sed -n '2,14p' "$0" >&2; exit 2 ;;
esac
