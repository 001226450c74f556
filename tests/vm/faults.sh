# A run in which everything happens to the camera that can.
. /share/prepare.sh
timings
{ station mono8 4000; small_model; } >station.toml
millsight --json run --station station.toml >/share/faults.json 2>/share/faults.err &
run=$!
press() { v4l2-ctl -d "$device" -c "$1" 2>&1; sleep "${2:-3}"; }
# The networks are ready when there is a record.
until [ -e /tmp/record/record.sqlite ] || ! kill -0 $run; do sleep 0.2; done
sleep 4
press inject_v4l2_buf_flag_error=1
press percentage_of_dropped_buffers=40 4
press percentage_of_dropped_buffers=0
press inject_fatal_streaming_error=1 4
press disconnect=1 4
# The next buffer that is given back is refused; then the next start of the stream.
press inject_vidioc_qbuf_error=1 4
press inject_vidioc_streamon_error=1 1
press inject_fatal_streaming_error=1 5
press inject_vidioc_reqbufs_error=1 1
press inject_fatal_streaming_error=1 5
# Unplugged and plugged in again: it then has other timings until someone sets them.
echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind
sleep 3
echo vivid.0 >/sys/bus/platform/drivers/vivid/bind
sleep 2
timings
sleep 9
kill -INT $run
wait $run
millsight record export /tmp/record --out /share/faults.jsonl
