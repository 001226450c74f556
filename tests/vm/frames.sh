# Two thousand frames, as fast as they come, through a whole run with the shipped model.
. /share/prepare.sh
timings
ifconfig lo up
{
  station mono8 15000
  cat <<STATION
[engine]
name = "onnxruntime"
library = "$(ls /job/bin/libonnxruntime*)"
workers = 1
batch = 1
[recording]
folder = "/tmp/record"
[web]
listen = "127.0.0.1:9187"
STATION
} >station.toml
millsight --json run --station station.toml >/share/frames.json 2>/share/frames.err &
run=$!
frames() {
  wget -q -O - http://127.0.0.1:9187/metrics 2>/dev/null | awk '/^millsight_camera_frames_total/ { print $2 }'
}
until [ "$(frames || true)" -ge 2000 ] 2>/dev/null || ! kill -0 $run; do sleep 1; done
kill -INT $run
wait $run
millsight record export /tmp/record --out /share/frames.jsonl
