# Every format, and what is said of a device that cannot be used.
. /share/prepare.sh
timings
millsight --json devices >/share/devices.json || exit 1
millsight devices
for format in mono8 mono10 mono12 mono16 rgb8 bgr8; do
  station $format 15000 >$format.toml
  millsight --json capture --station $format.toml --out /tmp/lines --lines 2048 >/share/$format.json
done

# A capture that cannot begin says why.
refused() {
  millsight capture --station "$1.toml" --out /tmp/none --lines 256 >"/share/$1.txt" 2>&1
}
station mono8 15000 >busy.toml
v4l2-ctl -d "$device" --stream-mmap --stream-count=100000 >/dev/null 2>&1 &
sleep 2
refused busy
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
su nobody -s /bin/sh -c 'millsight capture --station busy.toml --out none --lines 256' >/share/refused.txt 2>&1
exit 0
