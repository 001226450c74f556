# A hundred failures of the stream: nothing may be left of each.
. /share/prepare.sh
timings
station mono8 4000 >station.toml
millsight --json capture --station station.toml >/share/reconnects.json 2>/share/reconnects.err &
run=$!
count() { echo "$(ls /proc/$run/fd | wc -l) $(grep -c video /proc/$run/maps) $(awk '/VmRSS/ { print $2 }' /proc/$run/status)"; }
sleep 3
for number in $(seq 100); do
  [ "$number" = 10 ] && count >/share/before
  v4l2-ctl -d "$device" -c inject_fatal_streaming_error=1 >/dev/null 2>&1
  sleep 0.6
done
sleep 2
count >/share/after
kill -INT $run
wait $run
exit 0
