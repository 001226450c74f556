# What the scripts in the machine have in common: the device as a camera of 4096 pixels.

device=${device:-/dev/video0}

# HDMI timings of 4096 × 2160 pixels: frames may then be as wide, and of any height.
timings() {
  index=$(v4l2-ctl -d "$device" --list-dv-timings | awk '
    /Index:/ { index_ = $2 } /Active width: 4096/ { wide = index_ }
    /Active height: 2160/ && wide == index_ { print index_; exit }')
  v4l2-ctl -d "$device" --set-dv-bt-timings "index=$index" >/dev/null
}

# A station: pixel format, line rate, further lines of [source].
station() {
  cat <<STATION
name = "vivid"
[camera]
pixels_per_line = 4096
line_rate_hz = $2
pixel_format = "$1"
[optics]
mm_per_pixel = 0.3
[material]
kind = "strip"
speed_m_per_s = { min = 1, nominal = 2, max = 4 }
[source]
kind = "v4l2"
device = "$device"
frame_lines = 256
$3
STATION
}

# The same for `run` and `doctor`: with a network so small that it is ready at once.
small_model() {
  cat <<STATION
[model]
file = "/share/screen.onnx"
[engine]
name = "embedded"
workers = 1
batch = 1
[recording]
folder = "/tmp/record"
STATION
}
