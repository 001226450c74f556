#!/bin/bash
# Runs a script in a virtual machine with Debian's kernel and its test driver vivid, which
# makes video devices out of nothing.
#
#   vivid.sh [-p "PARAMETERS OF VIVID"] [-t SECONDS] -s FOLDER SCRIPT FILE...
#
# FOLDER lies at /share in the machine. SCRIPT is run by sh. The files, programs and
# libraries, lie at /job/bin, which is in the path, with all that they are linked to; what it prints, this prints. Exit status:
# that of the script; 77 where something that is needed cannot be had, 124 after the time,
# 125 where the machine failed.
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/millsight/vm
parameters="n_devs=1 num_inputs=1 input_types=3 node_types=1 ccs_cap_mode=1"
seconds=300
share=
while getopts "p:t:s:" option; do
  case $option in
    p) parameters=$OPTARG ;;
    t) seconds=$OPTARG ;;
    s) share=$(realpath "$OPTARG") ;;
    *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
script=$1
shift

lacking() {
  echo "vivid.sh: $1" >&2
  exit 77
}

for program in qemu-system-x86_64 busybox python3 dpkg-deb apt-get; do
  command -v $program >/dev/null || lacking "$program is not installed"
done
file "$(command -v busybox)" 2>/dev/null | grep -q dynamically && lacking "busybox is linked dynamically: install busybox-static"

# In the order in which they are loaded.
modules="virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci netfs
  fscache 9pnet 9pnet_virtio 9p rc-core cec mc videodev videobuf2-common videobuf2-v4l2
  videobuf2-memops videobuf2-vmalloc videobuf2-dma-contig v4l2-dv-timings v4l2-tpg vivid"

# The kernel, unpacked beforehand so that the emulated processor need not, and a first
# file system with its modules.
prepare() {
  local work package
  work=$(mktemp -d "$cache/work.XXXXXX")
  trap 'rm -rf "$work"' RETURN
  package=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image-/ { print $2; exit }')
  [ -n "$package" ] || lacking "apt knows no linux-image-amd64"
  (cd "$work" && apt-get -o APT::Sandbox::User=root download -q "$package" >&2) ||
    lacking "the kernel package $package cannot be downloaded"
  local patterns=('./boot/vmlinuz-*')
  for module in $modules; do patterns+=("./lib/modules/*/$module.ko"); done
  dpkg-deb --fsys-tarfile "$work"/*.deb | tar -x -C "$work" --wildcards "${patterns[@]}"
  python3 - "$work"/boot/vmlinuz-* "$work/kernel" <<'PYTHON'
import lzma, sys
packed = open(sys.argv[1], "rb").read()
at = packed.find(b"\xfd7zXZ\0")
while at >= 0:
    try:
        kernel = lzma.LZMADecompressor(format=lzma.FORMAT_XZ).decompress(packed[at:])
    except lzma.LZMAError:
        kernel = b""
    if kernel[:4] == b"\x7fELF":
        break
    at = packed.find(b"\xfd7zXZ\0", at + 1)
open(sys.argv[2], "wb").write(kernel)
PYTHON
  mkdir -p "$work"/root/{bin,modules,proc,sys,dev,tmp,share,job}
  cp "$(command -v busybox)" "$work/root/bin/busybox"
  for module in $modules; do
    cp "$(find "$work/lib/modules" -name "$module.ko" | head -n 1)" "$work/root/modules/"
    echo "$module"
  done >"$work/root/modules/order"
  cat >"$work/root/init" <<'INIT'
#!/bin/busybox sh
export PATH=/job/bin:/bin LD_LIBRARY_PATH=/job/lib HOME=/tmp
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
stty -F /dev/ttyS1 raw -echo
stty -F /dev/ttyS2 raw -echo
. /job/parameters
for module in $(cat /modules/order); do
  case $module in
    vivid) insmod /modules/vivid.ko $vivid ;;
    *) insmod /modules/$module.ko ;;
  esac || echo "the module $module cannot be loaded" >/dev/ttyS1
done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 share /share
cd /tmp
sh /job/script >/dev/ttyS1 2>&1 </dev/null
echo $? >/dev/ttyS2
sync
poweroff -f
INIT
  chmod +x "$work/root/init"
  (cd "$work/root" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$work/base"
  mv "$work/kernel" "$cache/kernel"
  mv "$work/base" "$cache/base"
}

mkdir -p "$cache"
# Several may want to run at once.
exec 9>"$cache/lock"
flock 9
[ -e "$cache/base" ] || prepare
flock -u 9

job=$(mktemp -d)
trap 'rm -rf "$job"' EXIT
mkdir -p "$job"/root/job/{bin,lib} "$job/root/lib64"
cp "$script" "$job/root/job/script"
printf 'vivid=%q\n' "$parameters" >"$job/root/job/parameters"
for name in "$@"; do
  file=$(command -v "$name" || echo "$name")
  cp "$file" "$job/root/job/bin/"
  strip "$job/root/job/bin/$(basename "$file")" 2>/dev/null || true
  ldd "$file" 2>/dev/null | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' |
    while read -r library; do cp -n "$library" "$job/root/job/lib/" 2>/dev/null || true; done
done
cp /lib64/ld-linux-x86-64.so.2 "$job/root/lib64/"
(cd "$job/root" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$job/own"
cat "$cache/base" "$job/own" >"$job/initrd"

: >"$job/status"
set +e
# A processor without fused multiplications: emulated, they take ten times as long.
timeout -k 5 "$seconds" qemu-system-x86_64 -accel tcg,thread=multi -cpu Nehalem -m 2048 -smp 2 \
  -display none -monitor none -nodefaults -no-reboot -nic none \
  -kernel "$cache/kernel" -initrd "$job/initrd" \
  -append "console=ttyS0 panic=-1 quiet mitigations=off" \
  -virtfs "local,path=$share,mount_tag=share,security_model=none" \
  -serial "file:$job/console" -serial stdio -serial "file:$job/status" </dev/null
ended=$?
status=$(tr -dc 0-9 <"$job/status")
if [ "$ended" = 124 ]; then
  echo "vivid.sh: not finished after $seconds s" >&2
  exit 124
elif [ -z "$status" ]; then
  echo "vivid.sh: the machine ended without a word (qemu $ended); its console said:" >&2
  tail -n 20 "$job/console" >&2
  exit 125
fi
exit "$status"
