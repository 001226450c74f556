# Every format, and what is said of a device that cannot be used.
. /share/prepare.sh
timings
millsight --json devices >/share/devices.json || exit 1
millsight devices
for format in mono8 mono10 mono12 mono16 rgb8 bgr8; do
  station $format 15000 >$format.toml
  millsight --json capture --station $format.toml --out /tmp/lines --lines 2048 >/share/$format.json
done

# A flat field of the driver's own black and white.
pattern() {
  v4l2-ctl -d "$device" -c test_pattern="$1" -c brightness="$2" -c osd_text_mode=2 >/dev/null
}
station mono8 15000 >flat.toml
v4l2-ctl -d "$device" --list-ctrls-menus >menus
black=$(awk -F: '/: 100% Black$/ { print $1 + 0 }' menus)
white=$(awk -F: '/: 100% White$/ { print $1 + 0 }' menus)
until_said() {
  until grep -q "$1" told; do sleep 0.2; done
}
# White of the given brightness.
flat_field() {
  : >told
  {
    until_said 'Cover the lens'
    pattern "$black" 128
    sleep 1
    echo
    until_said 'Uncover the lens'
    pattern "$white" "$1"
    sleep 1
    echo
  } | millsight --json flat-field record --station flat.toml --lines 1024 --out "$2" 2>told
}
flat_field 128 /share/bright.json
cp told /share/bright.txt
flat_field 60 /share/flat.json
pattern 0 128

# A capture that cannot begin says why, and so does the doctor.
refused() {
  millsight capture --station "$1.toml" --out /tmp/none --lines 256 >"/share/$1.txt" 2>&1
  { cat "$1.toml"; small_model; } >whole.toml
  millsight doctor --station whole.toml >"/share/$1.doctor" 2>&1
}
station mono8 15000 >busy.toml
v4l2-ctl -d "$device" --stream-mmap --stream-count=100000 >/dev/null 2>&1 &
sleep 2
refused busy
millsight devices >/share/devices-busy.txt
kill $!
wait $! 2>/dev/null
sed 's/pixels_per_line = 4096/pixels_per_line = 8192/' busy.toml >wide.toml
refused wide
station mono8 15000 'controls = { brightnes = 3 }' >unknown.toml
refused unknown
station mono8 15000 'controls = { brightness = 300 }' >large.toml
refused large
sed "s#$device#/dev/video7#" busy.toml >absent.toml
refused absent
mkdir -p /etc
echo 'video:x:44:' >/etc/group
echo 'nobody:x:65534:65534::/tmp:/bin/sh' >/etc/passwd
chown 0:44 "$device"
chmod 660 "$device"
chmod 777 /tmp
{ cat busy.toml; small_model; } >refused.toml
as_nobody() {
  su nobody -s /bin/sh -c "$1"
}
as_nobody 'millsight capture --station refused.toml --out none --lines 256' >/share/refused.txt 2>&1
as_nobody 'millsight doctor --station refused.toml' >/share/refused.doctor 2>&1
as_nobody 'millsight devices' >/share/devices-refused.txt

# Nothing is connected.
echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind
millsight devices >/share/devices-none.txt
exit 0
